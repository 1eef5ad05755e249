//! A test of the checker: it accepts a correct store, and detects stores with the errors of a
//! broken cluster.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use raft_tests::cluster::TIMEOUT;
use raft_tests::history::{check_detected, check_linearizable, count};
use raft_tests::workload::Workload;
use tokio::net::TcpListener;

/// An error of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Corruption {
    None,
    /// A read returns the value before the last write.
    StaleRead,
    /// A write is acknowledged and lost.
    LostWrite,
    /// A delete is acknowledged, and the key still exists.
    Resurrection,
    /// A condition is ignored.
    BlindSwap,
}

/// The number of correct responses before the first corrupted one.
const VALID_OPS: u64 = 1_000;
/// The largest number of corrupted responses. A single one can have no effect, such as a lost write
/// that is overwritten before a read.
const CORRUPTED_OPS_MAX: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn correct_store_passes() -> Result<()> {
    let history = history_of(Corruption::None).await?;
    check_linearizable(&history)?;
    count(&history).check_each_at_least(10)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_corruption_is_detected() -> Result<()> {
    for corruption in [
        Corruption::StaleRead,
        Corruption::LostWrite,
        Corruption::Resurrection,
        Corruption::BlindSwap,
    ] {
        let history = history_of(corruption).await?;
        check_detected(Some(history)).with_context(|| format!("{corruption:?}"))?;
    }
    Ok(())
}

async fn history_of(
    corruption: Corruption,
) -> Result<Vec<raft_history::linearizability::HistoryOperation>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let store = Arc::new(Mutex::new(Store::new(corruption)));
    let server = tokio::spawn(serve(listener, Arc::clone(&store)));
    let mut workload = Workload::start(&[port], 7);
    workload.progress(3_000, TIMEOUT).await?;
    let history = workload.stop().await?;
    server.abort();
    let store = store.lock().map_err(|_| anyhow::anyhow!("the store panicked"))?;
    ensure!(
        (corruption == Corruption::None) == (store.corrupted == 0),
        "{} corrupted responses",
        store.corrupted
    );
    Ok(history.operations())
}

async fn serve(listener: TcpListener, store: Arc<Mutex<Store>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let store = Arc::clone(&store);
        let service = service_fn(move |request| answer(request, Arc::clone(&store)));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    store: Arc<Mutex<Store>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes);
    let value = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
    let condition = head
        .headers
        .get("if-match")
        .and_then(|value| value.to_str().ok()?.trim_matches('"').parse().ok());
    let mut response = Response::new(Full::default());
    if let Ok(mut store) = store.lock() {
        let key = head.uri.path();
        match head.method {
            Method::GET => match store.get(key) {
                Some((value, revision)) => {
                    *response.body_mut() = Full::from(value);
                    let headers = response.headers_mut();
                    headers.insert("x-raft-mod-revision", revision.into());
                }
                None => *response.status_mut() = StatusCode::NOT_FOUND,
            },
            Method::PUT if !store.put(key, value, condition) => {
                *response.status_mut() = StatusCode::PRECONDITION_FAILED;
            }
            Method::DELETE => store.delete(key),
            _ => {}
        }
    }
    Ok(response)
}

/// A store with the current and the previous value of each key.
struct Store {
    corruption: Corruption,
    corrupted: u64,
    requests: u64,
    revision: u64,
    now: HashMap<String, (String, u64)>,
    before: HashMap<String, (String, u64)>,
}

impl Store {
    fn new(corruption: Corruption) -> Self {
        Self {
            corruption,
            corrupted: 0,
            requests: 0,
            revision: 1,
            now: HashMap::new(),
            before: HashMap::new(),
        }
    }

    /// Counts a request, and returns true if its response must be corrupted in this way.
    fn corrupts(&mut self, corruption: Corruption, possible: bool) -> bool {
        self.requests += 1;
        let corrupts = self.corruption == corruption
            && possible
            && self.requests > VALID_OPS
            && self.corrupted < CORRUPTED_OPS_MAX;
        self.corrupted += u64::from(corrupts);
        corrupts
    }

    fn get(&mut self, key: &str) -> Option<(String, u64)> {
        if self.corrupts(Corruption::StaleRead, self.before.contains_key(key)) {
            return self.before.get(key).cloned();
        }
        self.now.get(key).cloned()
    }

    fn put(&mut self, key: &str, value: String, condition: Option<u64>) -> bool {
        // Only contended keys are read again.
        let is_read = key.contains("contended");
        let holds = condition
            .is_none_or(|revision| self.now.get(key).is_some_and(|(_, found)| *found == revision));
        if !holds && !self.corrupts(Corruption::BlindSwap, true) {
            return false;
        }
        if condition.is_none() && self.corrupts(Corruption::LostWrite, is_read) {
            return true;
        }
        self.revision += 1;
        if let Some(before) = self.now.insert(key.to_owned(), (value, self.revision)) {
            self.before.insert(key.to_owned(), before);
        }
        true
    }

    fn delete(&mut self, key: &str) {
        if !self.corrupts(Corruption::Resurrection, self.now.contains_key(key)) {
            self.now.remove(key);
        }
    }
}
