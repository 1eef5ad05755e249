//! Overload by clients: too many or too large requests, unread responses and incomplete requests.
//!
//! During the overload, no node ends, no election takes place, and writes succeed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, NODES, TIMEOUT};
use raft_tests::http::{HttpClient, request};
use raft_tests::wait::until;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Long election timeouts. A busy machine causes no election, but a starved consensus loop does.
const FLAGS: [&str; 6] = [
    "--election-timeout-min-ms",
    "2000",
    "--election-timeout-max-ms",
    "4000",
    "--heartbeat-ms",
    "200",
];
/// The usual soft limit on open files.
const NODE_FILES_MAX: u32 = 1024;
const TEST_FILES: u64 = 4096;
/// The number of writes that must succeed during the overload.
const WRITES: usize = 100;
/// The memory budget of 256 MiB, with a margin for the allocator and the store.
const GROWTH_MAX: u64 = 600 << 20;
const MIB: usize = 1024 * 1024;
const VALUES: usize = 32;
/// The largest response of a transaction is 4 MiB.
const TXN_VALUE_BYTES: usize = 120_000;

/// The tests run one after the other, because each uses the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A cluster under a write load.
struct Subject {
    cluster: Cluster,
    term: u64,
    resident: Vec<u64>,
    acknowledged: Arc<AtomicUsize>,
    writers: JoinSet<Result<()>>,
}

impl Subject {
    /// Starts a cluster with 32 values of a size.
    async fn start(value_bytes: usize) -> Result<Self> {
        raise_limit()?;
        let mut cluster = Cluster::prepare(&FLAGS)?;
        for node in 0..NODES {
            cluster.start_node_limited(node, NODE_FILES_MAX)?;
        }
        let leader = cluster.leader().await?;
        let term = cluster.status(leader).await?.term;
        let mut http = cluster.http(leader);
        for number in 0..VALUES {
            put(&mut http, &format!("large-{number:02}"), &vec![b'v'; value_bytes]).await?;
        }
        cluster.settled().await?;
        let acknowledged = Arc::<AtomicUsize>::default();
        let mut writers = JoinSet::new();
        for writer in 0..4 {
            let mut http = cluster.http((leader + writer) % NODES);
            let acknowledged = Arc::clone(&acknowledged);
            writers.spawn(async move {
                loop {
                    let key = format!("small-{writer}");
                    put(&mut http, &key, b"value").await?;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let resident = (0..NODES).map(|node| cluster.resident_bytes(node));
        let resident = resident.collect::<Result<_>>()?;
        let mut subject = Self { cluster, term, resident, acknowledged, writers };
        subject.writes_go_on().await?;
        Ok(subject)
    }

    /// Waits until more writes are acknowledged.
    async fn writes_go_on(&mut self) -> Result<()> {
        let enough = self.acknowledged.load(Ordering::Relaxed) + WRITES;
        until("writes are acknowledged", TIMEOUT, async || {
            Ok((self.acknowledged.load(Ordering::Relaxed) >= enough).then_some(()))
        })
        .await?;
        match self.writers.try_join_next() {
            Some(ended) => ended.context("a writer panicked")?.context("a write failed"),
            None => Ok(()),
        }
    }

    /// Checks that writes succeed during the overload, without an election or growing memory.
    async fn endures(&mut self) -> Result<()> {
        self.writes_go_on().await?;
        self.cluster.check_running()?;
        for node in 0..NODES {
            let grown = self.cluster.resident_bytes(node)?.saturating_sub(self.resident[node]);
            ensure!(grown < GROWTH_MAX, "node {node} grew by {} MiB", grown / MIB as u64);
        }
        Ok(())
    }

    /// Ends the test.
    async fn finish(mut self) -> Result<()> {
        self.writers.shutdown().await;
        until("all nodes answer", TIMEOUT, async || {
            for node in 0..NODES {
                let term = self.cluster.status(node).await?.term;
                if term != self.term {
                    return Ok(Some(Err(term)));
                }
            }
            Ok(Some(Ok(())))
        })
        .await?
        .map_err(|term| anyhow::anyhow!("an election took place: term {term}"))?;
        self.cluster.finish().await
    }

    /// Opens connections to each node, sends bytes, and keeps the connections open.
    async fn open(&self, each: usize, bytes: &[u8]) -> Result<Vec<TcpStream>> {
        let mut streams = Vec::new();
        for node in 0..NODES {
            for _ in 0..each {
                streams.push(open(self.cluster.port(node), bytes).await?);
            }
        }
        Ok(streams)
    }
}

/// Opens a connection, and sends bytes until the node stops reading.
async fn open(port: u16, bytes: &[u8]) -> Result<TcpStream> {
    let connected = timeout(TIMEOUT, TcpStream::connect(("127.0.0.1", port))).await;
    let mut stream = connected.context("no connection in time")?.context("no connection")?;
    // The node may reject the request and close the connection early.
    let _ = timeout(TIMEOUT, stream.write_all(bytes)).await;
    Ok(stream)
}

fn raise_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(TEST_FILES);
    ensure!(maximum >= TEST_FILES, "the test needs {TEST_FILES} open files, not {maximum}");
    let current = Some(limit.current.unwrap_or(TEST_FILES).max(TEST_FILES));
    let raised = Rlimit { current, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit on open files")
}

/// Repeats a write until it is acknowledged. An overloaded node may reject it.
async fn put(http: &mut HttpClient, key: &str, value: &[u8]) -> Result<()> {
    loop {
        let answer = http.ask(Method::PUT, &format!("/v1/kv/{key}"), value).await?;
        match answer.status {
            StatusCode::NO_CONTENT => return Ok(()),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            status => anyhow::bail!("{status}: {}", answer.text()),
        }
    }
}

/// A transaction that reads all values.
fn large_txn() -> Vec<u8> {
    let reads = (0..VALUES).map(|number| format!(r#"{{"get": {{"key": "large-{number:02}"}}}}"#));
    let body = format!(r#"{{"success": [{}]}}"#, reads.collect::<Vec<_>>().join(","));
    let head = format!(
        "POST /v1/txn HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head, body].concat().into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// Runs clients that repeat a request while writes succeed.
async fn repeat(subject: &mut Subject, clients: usize, bytes: &[u8]) -> Result<()> {
    let mut readers = JoinSet::new();
    let answers = Arc::<AtomicUsize>::default();
    for client in 0..clients {
        let (port, bytes) = (subject.cluster.port(client % NODES), bytes.to_vec());
        let answers = Arc::clone(&answers);
        readers.spawn(async move {
            loop {
                let mut stream = open(port, &bytes).await?;
                stream.shutdown().await?;
                let _ = stream.read_to_end(&mut Vec::new()).await;
                answers.fetch_add(1, Ordering::Relaxed);
            }
            #[allow(unreachable_code, reason = "gives the task its type")]
            Ok::<_, anyhow::Error>(())
        });
    }
    for round in 0..3 {
        subject.endures().await.with_context(|| format!("round {round}"))?;
    }
    until("the readers are answered", TIMEOUT, async || {
        Ok((answers.load(Ordering::Relaxed) >= clients).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_stop_node() -> Result<()> {
    let _alone = ALONE.lock().await;
    let mut subject = Subject::start(0).await?;
    // This connection is open before all others are used.
    let mut http = subject.cluster.http(0);
    put(&mut http, "first", b"value").await?;
    let idle = subject.open(700, b"").await?;
    subject.endures().await?;
    // The storage engine opens files for these writes.
    for number in 0..60 {
        put(&mut http, &format!("large-{number}"), &vec![b'v'; 800_000]).await?;
    }
    subject.endures().await?;
    drop(idle);
    let answer = until("a new connection is served", TIMEOUT, async || {
        let answer = subject.cluster.http(0).send(request(Method::GET, "/livez", b"")?).await?;
        Ok((answer.status == StatusCode::OK).then_some(answer))
    });
    answer.await?;
    subject.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_transactions_do_not_starve_consensus() -> Result<()> {
    let _alone = ALONE.lock().await;
    // One transaction is over the limit of a response, the other is not. In a debug build, QUIC
    // alone takes 0.3 s of a processor for a response of 4 MiB.
    for value_bytes in [MIB, TXN_VALUE_BYTES / 4] {
        let mut subject = Subject::start(value_bytes).await?;
        repeat(&mut subject, 6, &large_txn()).await?;
        subject.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_responses_do_not_grow_node() -> Result<()> {
    let _alone = ALONE.lock().await;
    let mut subject = Subject::start(TXN_VALUE_BYTES).await?;
    let mut unread = subject.open(60, &large_txn()).await?;
    unread.extend(subject.open(60, &get("/v1/kv?prefix=large-&limit=1000")).await?);
    for _ in 0..3 {
        subject.endures().await?;
    }
    drop(unread);
    subject.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_bodies_do_not_grow_node() -> Result<()> {
    let _alone = ALONE.lock().await;
    let mut subject = Subject::start(0).await?;
    let mut stalled = b"POST /v1/txn HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 3000000\r\n\r\n"
        .to_vec();
    stalled.extend(vec![b' '; 2_900_000]);
    let stalled = subject.open(300, &stalled).await?;
    for _ in 0..3 {
        subject.endures().await?;
    }
    drop(stalled);
    subject.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn log_and_list_readers_do_not_starve_consensus() -> Result<()> {
    let _alone = ALONE.lock().await;
    let mut subject = Subject::start(MIB).await?;
    repeat(&mut subject, 8, &get("/v1/log?limit=1000")).await?;
    repeat(&mut subject, 8, &get("/v1/kv?limit=1000")).await?;
    subject.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_event_subscribers_do_not_slow_writes() -> Result<()> {
    let _alone = ALONE.lock().await;
    let mut subject = Subject::start(0).await?;
    let mut stalled = subject.open(130, &get("/v1/events?detail=all")).await?;
    for _ in 0..3 {
        subject.endures().await?;
    }
    let mut refused = 0;
    for stream in &mut stalled {
        let mut answer = [0; 12];
        timeout(TIMEOUT, stream.read_exact(&mut answer)).await??;
        refused += usize::from(answer == *b"HTTP/1.1 503");
    }
    // The node drops stalled subscribers and then accepts others.
    ensure!(refused > 0, "all were accepted");
    drop(stalled);
    subject.finish().await
}

/// The nodes stop with success although connections are open, without aborting a request.
#[tokio::test(flavor = "multi_thread")]
async fn open_connections_do_not_delay_stop() -> Result<()> {
    let _alone = ALONE.lock().await;
    let mut subject = Subject::start(0).await?;
    let mut open = subject.open(1, &get("/v1/events")).await?;
    open.extend(subject.open(1, b"GET / HTTP/1.1\r\nhost: local").await?);
    open.extend(subject.open(1, b"").await?);
    open.extend(subject.open(1, &get("/livez")).await?);
    let body = b"PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf";
    open.extend(subject.open(1, body).await?);
    subject.writers.shutdown().await;
    subject.cluster.stop().await?;
    for node in 0..NODES {
        let said = subject.cluster.output(node);
        ensure!(!said.contains("requests were aborted"), "{said}");
    }
    drop(open);
    subject.cluster.finish().await
}
