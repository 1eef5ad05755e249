//! Limits on the number of costly requests at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::api::problem::Problem;

/// A limit on one kind of requests. Surplus requests wait for a permit.
///
/// After its use, a permit pauses for as long as it was used. Without the pause, clients that
/// repeat a costly request would leave little processor time for the writes of other clients.
#[derive(Clone)]
pub(crate) struct ConcurrencyLimit {
    permits: Arc<Semaphore>,
    name: &'static str,
}

/// The permits of a request. They are released some time after the drop.
pub(crate) struct Permit {
    permits: Option<OwnedSemaphorePermit>,
    since: Instant,
}

/// The limits of the most costly routes.
#[derive(Clone)]
pub(crate) struct ConcurrencyLimits {
    pub(crate) list: ConcurrencyLimit,
    pub(crate) log: ConcurrencyLimit,
    pub(crate) txn: ConcurrencyLimit,
}

/// The number of transactions and of their reads at a time. Every node reads the keys of a
/// transaction on the apply thread, so the limit allows only two of the largest transactions.
const TXN_PERMITS: usize = 66;
/// A request that gets no permit in this time is refused.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The longest pause of a permit.
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl ConcurrencyLimit {
    fn new(name: &'static str, permits: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits)), name }
    }

    /// Waits for one permit.
    pub(crate) async fn acquire(&self) -> Result<Permit, Problem> {
        self.acquire_many(1).await
    }

    /// Waits for several permits.
    pub(crate) async fn acquire_many(&self, count: u32) -> Result<Permit, Problem> {
        match timeout(WAIT_MAX, Arc::clone(&self.permits).acquire_many_owned(count)).await {
            Ok(Ok(permits)) => Ok(Permit { permits: Some(permits), since: Instant::now() }),
            Ok(Err(_)) | Err(_) => {
                let detail = format!("overloaded: too many {} requests; retry later", self.name);
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (permits, pause) = (self.permits.take(), self.since.elapsed().min(PAUSE_MAX));
        tokio::spawn(async move {
            sleep(pause).await;
            drop(permits);
        });
    }
}

impl Default for ConcurrencyLimits {
    fn default() -> Self {
        Self {
            list: ConcurrencyLimit::new("list", 1),
            log: ConcurrencyLimit::new("log", 1),
            // One permit for a transaction, and one for each of its reads.
            txn: ConcurrencyLimit::new("transaction", TXN_PERMITS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn surplus_request_waits_for_permit_and_is_refused_after_timeout() {
        let limit = ConcurrencyLimit::new("list", 1);
        let first = limit.acquire().await.unwrap();
        assert!(limit.acquire().await.is_err());
        let second = tokio::spawn({
            let limit = limit.clone();
            async move { limit.acquire().await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(second.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn permit_pauses_for_as_long_as_it_was_used() {
        let limit = ConcurrencyLimit::new("list", 1);
        let first = limit.acquire().await.unwrap();
        sleep(Duration::from_millis(300)).await;
        drop(first);
        let began = Instant::now();
        limit.acquire().await.unwrap();
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(300), "{waited:?}");
        assert!(waited < Duration::from_millis(400), "{waited:?}");
    }
}
