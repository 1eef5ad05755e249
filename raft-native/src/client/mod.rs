//! The operations of a node for its clients. Any node accepts any request, leader or not.

mod error;
mod inbound;
mod read;
mod session;
mod status;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raft_kv::Limits;
use raft_storage::{LogReader, StateReaders};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::client::session::Sessions;
use crate::config::NodeConfig;
use crate::consensus::{ConsensusHandle, StateSummary};
use crate::observe::Observations;
use crate::observe::event_log::{Detail, Subscription, TooManySubscribers};
use crate::observe::health::NotReady;
use crate::observe::timings::Timings;
use crate::peer::Peers;

pub use error::{RequestError, StorageFault};
pub(crate) use inbound::PeerHandler;
pub use read::Consistency;
pub(crate) use read::key_successor;

/// A running node as its clients use it. Clones refer to the same node.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

struct Inner {
    config: NodeConfig,
    consensus: ConsensusHandle,
    peers: Peers,
    stores: Stores,
    observed: Observations,
    /// The sessions under which the node repeats writes.
    sessions: Sessions,
    /// The permits of reads of the disk, which block their thread.
    disk_reads: Arc<Semaphore>,
    /// True if the node stops. It rejects all requests.
    is_stopping: AtomicBool,
    /// True if the node is about to stop. It still serves requests, but is not ready.
    is_draining: AtomicBool,
    /// Returns the number of log lines that were dropped, if the process can drop any.
    dropped_log_lines: OnceLock<DroppedLines>,
}

type DroppedLines = Box<dyn Fn() -> u64 + Send + Sync>;

/// The stores that requests read.
pub(crate) struct Stores {
    pub(crate) state: StateReaders,
    pub(crate) log: LogReader,
}

/// The pause before the node tries a request again.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// The number of reads of the disk at a time. Each one occupies a thread and up to 4 MiB.
const DISK_READS_MAX: usize = 16;

impl Handle {
    pub(crate) fn new(
        config: NodeConfig,
        consensus: ConsensusHandle,
        peers: Peers,
        stores: Stores,
        observed: Observations,
    ) -> Self {
        Self(Arc::new(Inner {
            config,
            consensus,
            peers,
            stores,
            observed,
            sessions: Sessions::default(),
            disk_reads: Arc::new(Semaphore::new(DISK_READS_MAX)),
            is_stopping: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            dropped_log_lines: OnceLock::new(),
        }))
    }

    /// Sets the function that counts dropped log lines for the metrics. Later calls are ignored.
    pub fn count_dropped_log_lines(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.0.dropped_log_lines.set(Box::new(count));
    }

    pub(crate) fn dropped_log_lines(&self) -> u64 {
        self.0.dropped_log_lines.get().map_or(0, |count| count())
    }

    /// Makes the node unready, so that load balancers use other nodes. The node still serves the
    /// requests that arrive.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.0.is_stopping.load(Ordering::Relaxed)
    }

    /// The limits of keys, values and requests.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::default()
    }

    /// The configuration of the node.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.0.config
    }

    /// Returns true if the node can serve requests now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness().is_ok()
    }

    /// Checks that the node knows a leader, has applied recent entries, and has a working disk.
    ///
    /// # Errors
    ///
    /// [`NotReady`] with the reason.
    pub fn readiness(&self) -> Result<(), NotReady> {
        let summary = self.0.consensus.summary();
        let is_draining = self.0.is_draining.load(Ordering::Relaxed);
        if summary.stopped.is_some() || self.is_stopping() || is_draining {
            return Err(NotReady::Stopping);
        }
        if summary.leader.is_none() {
            return Err(NotReady::NoLeader);
        }
        self.0.observed.health.check(self.0.consensus.applied(), std::time::Instant::now())
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.0.consensus.summary().is_leader
    }

    /// Returns when this node is the leader.
    #[cfg(test)]
    pub(crate) async fn becomes_leader(&self) {
        let mut summary = self.0.consensus.watch_summary();
        let _ = summary.wait_for(|summary| summary.is_leader).await;
    }

    /// Returns when this node is not the leader, or after the timeout.
    pub(crate) async fn ceases_to_lead(&self, within: Duration) {
        let mut summary = self.0.consensus.watch_summary();
        let _ = timeout(within, summary.wait_for(|summary| !summary.is_leader)).await;
    }

    /// Returns when another node is the leader.
    pub(crate) async fn knows_other_leader(&self) {
        let is_other = |summary: &StateSummary| summary.leader.is_some() && !summary.is_leader;
        let _ = self.0.consensus.watch_summary().wait_for(is_other).await;
    }

    /// Returns when the leader or its term differs from `since`. Without a leader in `since`, the
    /// future never completes: such a request retries anyway.
    async fn leader_changed(&self, since: StateSummary) {
        let has_changed = |now: &StateSummary| {
            now.leader.is_some() && (now.leader, now.term) != (since.leader, since.term)
        };
        let mut summary = self.0.consensus.watch_summary();
        if since.leader.is_none() || summary.wait_for(has_changed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Subscribes to the latest decisions and to the future ones.
    pub(crate) fn events(&self, detail: Detail) -> Result<Subscription, TooManySubscribers> {
        self.0.observed.events.subscribe(detail)
    }

    /// The name of the leader that this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        self.0.consensus.summary().leader.map(|leader| self.0.observed.names.get(leader))
    }

    /// The durations of the work of the threads of the node.
    pub(crate) fn timings(&self) -> &Timings {
        &self.0.observed.timings
    }

    /// The address of each other member, with true if there is a connection to it.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (String, bool)> {
        self.0.peers.members().map(|(_, peer)| (peer.address.to_string(), peer.is_connected()))
    }
}
