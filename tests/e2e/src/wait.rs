//! Waiting for something to become true.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks. It bounds how late something is noticed, never whether it is.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks until the answer is something, and fails after the deadline with the last thing that was in
/// the way.
///
/// # Errors
///
/// If there was no answer in time; what `look` failed with is part of the message.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let obstacle = match tokio::time::timeout(within, look()).await {
            Ok(Ok(Some(found))) => return Ok(found),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some("no answer to the last look".to_owned()),
        };
        if start.elapsed() > within {
            match obstacle {
                None => bail!("not within {within:?}: {what}"),
                Some(obstacle) => bail!("not within {within:?}: {what} (last: {obstacle})"),
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
