//! The judge itself on trial: clients at work on a store that is honest, and on ones that lie in
//! the ways a broken cluster would.

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
use raft_tests::cluster::PATIENCE;
use raft_tests::history::{check_caught, count, judge};
use raft_tests::workload::Workload;
use tokio::net::TcpListener;

/// What may be wrong with a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lie {
    None,
    /// A read finds what was there before the last write.
    StaleRead,
    /// A write is acknowledged and forgotten.
    LostWrite,
    /// A removal is acknowledged, and the key is still there.
    Resurrection,
    /// A condition is not looked at.
    BlindSwap,
}

/// How many requests are answered truly before the first that is not.
const TRUTHS: u64 = 1_000;
/// One alone may go unnoticed: a lost write that is overwritten before anybody reads it.
const LIES: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn correct_store_passes() -> Result<()> {
    let history = history_of(Lie::None).await?;
    judge(&history)?;
    count(&history).check_each_at_least(10)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_corruption_is_detected() -> Result<()> {
    for lie in [Lie::StaleRead, Lie::LostWrite, Lie::Resurrection, Lie::BlindSwap] {
        let history = history_of(lie).await?;
        check_caught(Some(history)).with_context(|| format!("{lie:?}"))?;
    }
    Ok(())
}

async fn history_of(lie: Lie) -> Result<Vec<raft_sim::linearizability::HistoryOperation>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let store = Arc::new(Mutex::new(Store::new(lie)));
    let server = tokio::spawn(serve(listener, Arc::clone(&store)));
    let mut workload = Workload::start(&[port], 7);
    workload.progress(3_000, PATIENCE).await?;
    let history = workload.stop().await?;
    server.abort();
    let store = store.lock().map_err(|_| anyhow::anyhow!("the store panicked"))?;
    ensure!((lie == Lie::None) == (store.lies == 0), "{} lies", store.lies);
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

/// A register for each key, and its value before the last write.
struct Store {
    lie: Lie,
    lies: u64,
    requests: u64,
    revision: u64,
    now: HashMap<String, (String, u64)>,
    before: HashMap<String, (String, u64)>,
}

impl Store {
    fn new(lie: Lie) -> Self {
        Self { lie, lies: 0, requests: 0, revision: 1, now: HashMap::new(), before: HashMap::new() }
    }

    /// Whether this request is answered with that lie.
    fn lies(&mut self, lie: Lie, possible: bool) -> bool {
        self.requests += 1;
        let lies = self.lie == lie && possible && self.requests > TRUTHS && self.lies < LIES;
        self.lies += u64::from(lies);
        lies
    }

    fn get(&mut self, key: &str) -> Option<(String, u64)> {
        if self.lies(Lie::StaleRead, self.before.contains_key(key)) {
            return self.before.get(key).cloned();
        }
        self.now.get(key).cloned()
    }

    fn put(&mut self, key: &str, value: String, condition: Option<u64>) -> bool {
        // Of a key that is read again: those that are written once are not, here.
        let is_read = key.contains("contended");
        let holds = condition
            .is_none_or(|revision| self.now.get(key).is_some_and(|(_, found)| *found == revision));
        if !holds && !self.lies(Lie::BlindSwap, true) {
            return false;
        }
        if condition.is_none() && self.lies(Lie::LostWrite, is_read) {
            return true;
        }
        self.revision += 1;
        if let Some(before) = self.now.insert(key.to_owned(), (value, self.revision)) {
            self.before.insert(key.to_owned(), before);
        }
        true
    }

    fn delete(&mut self, key: &str) {
        if !self.lies(Lie::Resurrection, self.now.contains_key(key)) {
            self.now.remove(key);
        }
    }
}
