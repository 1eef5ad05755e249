//! Limits on how many requests of one kind run at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::api::problem::Problem;

/// A limit on one kind of requests. Surplus requests wait for their turn.
///
/// A place rests for as long as it was used. Without this rest, clients that repeat a costly
/// request leave little time of the processors to the writes of others.
#[derive(Clone)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    name: &'static str,
}

/// A place of a request, released when it is dropped and has rested.
pub(crate) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    since: Instant,
}

/// The gates of the routes that cost most.
#[derive(Clone)]
pub(crate) struct Gates {
    pub(crate) list: Gate,
    pub(crate) log: Gate,
    pub(crate) txn: Gate,
}

/// Every node reads a transaction's keys on the thread that applies all writes, so two of the
/// largest transactions are enough at a time.
const TXN_PLACES: usize = 66;
/// A longer wait is refused.
const WAIT_MAX: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(1);

impl Gate {
    fn new(name: &'static str, places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), name }
    }

    /// Waits for a place, which is held until the return value is dropped.
    pub(crate) async fn enter(&self) -> Result<Place, Problem> {
        self.enter_as(1).await
    }

    /// Waits for as many places as the request costs.
    pub(crate) async fn enter_as(&self, places: u32) -> Result<Place, Problem> {
        match timeout(WAIT_MAX, Arc::clone(&self.places).acquire_many_owned(places)).await {
            Ok(Ok(permit)) => Ok(Place { permit: Some(permit), since: Instant::now() }),
            Ok(Err(_)) | Err(_) => {
                let detail =
                    format!("overloaded: too many {} requests; try again later", self.name);
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (permit, rest) = (self.permit.take(), self.since.elapsed().min(REST_MAX));
        tokio::spawn(async move {
            sleep(rest).await;
            drop(permit);
        });
    }
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            list: Gate::new("list", 1),
            log: Gate::new("log", 1),
            // One place for a transaction, and one for each of its reads.
            txn: Gate::new("transaction", TXN_PLACES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn surplus_request_waits_for_its_turn_and_is_refused_after_a_while() {
        let gate = Gate::new("list", 1);
        let first = gate.enter().await.unwrap();
        assert!(gate.enter().await.is_err());
        let second = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter().await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(second.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn place_rests_for_as_long_as_it_was_used() {
        let gate = Gate::new("list", 1);
        let first = gate.enter().await.unwrap();
        sleep(Duration::from_millis(300)).await;
        drop(first);
        let began = Instant::now();
        gate.enter().await.unwrap();
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(300), "{waited:?}");
        assert!(waited < Duration::from_millis(400), "{waited:?}");
    }
}
