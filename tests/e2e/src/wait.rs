//! Waits for conditions.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The time between two checks of a condition. It only affects how fast a change is noticed.
const INTERVAL: Duration = Duration::from_millis(20);

/// Calls `check` until it returns a value.
///
/// # Errors
///
/// Returns an error if there is no value in time. The message contains the last error of `check`.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut check: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let obstacle = match tokio::time::timeout(within, check()).await {
            Ok(Ok(Some(found))) => return Ok(found),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some("the last check did not end".to_owned()),
        };
        if start.elapsed() > within {
            match obstacle {
                None => bail!("timed out after {within:?}: {what}"),
                Some(obstacle) => {
                    bail!("timed out after {within:?}: {what} (last error: {obstacle})")
                }
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
