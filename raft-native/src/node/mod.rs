//! A node: the list of its parts, their start and their stop.

mod recovery;
mod start_error;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use raft_storage::Flusher;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

use crate::client::{Handle, PeerHandler, Stores};
use crate::config::NodeConfig;
use crate::config::node_names::NodeNames;
use crate::config::secret::ClusterSecrets;
use crate::consensus::apply_thread::ApplyThread;
use crate::consensus::disk_thread::DiskThread;
use crate::consensus::failure::{Failures, NodeFailure};
use crate::consensus::threads::Threads;
use crate::consensus::{self, Consensus, ConsensusHandle, Outputs, table_thread};
use crate::node::recovery::RecoveredState;
use crate::observe::Observations;
use crate::observe::disk_space::{DiskSpace, SpaceLimits, SpaceWatch};
use crate::observe::event_log;
use crate::observe::health::Health;
use crate::observe::timings::Timings;
use crate::peer::Peers;

pub use start_error::StartError;

/// A running node. A drop without [`shutdown`](Node::shutdown) abandons its threads.
pub struct Node {
    handle: Handle,
    consensus: ConsensusHandle,
    tasks: JoinSet<()>,
    peers: Peers,
    threads: Threads,
    /// Stops the thread that writes tables.
    flusher: Flusher,
    /// Stops the measurements of the disk space.
    space_watch: SpaceWatch,
    failed: watch::Receiver<Option<NodeFailure>>,
    /// Runs the consensus loop, the peers and their timers. Client requests run elsewhere, so they
    /// cannot delay consensus.
    _runtime: NodeRuntime,
    /// Unlocks the data directory after all threads have ended.
    _lock: StorageLock,
}

/// A runtime that asynchronous code may drop.
struct NodeRuntime(Option<Runtime>);

/// Keeps the data directory locked.
struct StorageLock(#[allow(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

/// The threads of the runtime: one may encrypt or decrypt while the other runs the loop.
const NODE_THREADS: usize = 2;
/// The longest duration of a leadership transfer at the stop.
const TRANSFER_TIME_MAX: Duration = Duration::from_secs(2);
/// The threads have this long to end at the stop.
const JOIN_TIME_MAX: Duration = Duration::from_secs(5);

impl Node {
    /// Starts a node: opens its data directory and connects to its peers.
    ///
    /// Consensus runs on threads of its own. Client requests run on the runtime of the caller.
    ///
    /// # Errors
    ///
    /// [`StartError`], whose text is one line with advice.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        config.validate()?;
        let secrets = match &config.cluster_secrets {
            Some(secrets) => secrets.clone(),
            None => ClusterSecrets::development()?,
        };
        let socket = bind(&config)?;
        let recovered = tokio::task::spawn_blocking({
            let config = config.clone();
            move || RecoveredState::read(&config)
        });
        let recovered = recovered.await.map_err(StartError::Task)??;
        Self::start_parts(config, secrets, socket, recovered)
    }

    /// Starts the parts of the node. Each part gets the handles of the parts that it uses.
    fn start_parts(
        config: NodeConfig,
        secrets: ClusterSecrets,
        socket: UdpSocket,
        recovered: RecoveredState,
    ) -> Result<Self, StartError> {
        let RecoveredState { log, flusher, lock, raft, kv } = recovered;
        let clients = tokio::runtime::Handle::current();
        let runtime = NodeRuntime::new()?;
        let entered = runtime.enter();
        let (failures, failed) = Failures::new();
        let mut threads = Threads::new(failures.clone());
        let mut tasks = JoinSet::new();

        let names = NodeNames::of_members(&config);
        let (recorder, events, run_event_log) = event_log::new(config.name.clone(), names.clone());
        let health = Arc::new(Health::new(StdInstant::now()));
        let limits = SpaceLimits { reserve: config.disk_reserve, quota: config.quota };
        let space = Arc::new(DiskSpace::new(limits));
        let (space_watch, watch_space) = space.watch(&config.data_dir);
        threads.spawn("raft-space", |_| watch_space()).map_err(StartError::Thread)?;
        let observed = Observations { health, timings: Timings::default(), names, events, space };
        threads.spawn("raft-events", |_| run_event_log()).map_err(StartError::Thread)?;

        let (inputs, inputs_queue) = consensus::inputs();
        let me = config.advertise.node_id();
        let peers = Peers::new(me, socket, secrets, &config.peers, &observed.names, &mut tasks)?;
        let stores = Stores { state: kv.store().readers(), log: log.reader() };
        let (health, timings) = (observed.health.clone(), observed.timings.clone());
        let disk = DiskThread::spawn(log, health, timings, inputs.clone(), &mut threads)
            .map_err(StartError::Thread)?;
        let apply = ApplyThread::spawn(kv, observed.timings.clone(), inputs.clone(), &mut threads)
            .map_err(StartError::Thread)?;
        table_thread::spawn(flusher.clone(), inputs.clone(), &mut threads)
            .map_err(StartError::Thread)?;
        let outputs = Outputs { peers: peers.clone(), disk, apply, recorder };
        let watches =
            Consensus::spawn(raft, inputs_queue, outputs, &observed, failures, &mut tasks);
        let consensus = ConsensusHandle::new(inputs, watches);
        info!(node = config.name, port = config.advertise.port(), "started");
        let handle = Handle::new(config, consensus.clone(), peers.clone(), stores, observed);
        peers.serve(PeerHandler::new(handle.clone(), clients), &mut tasks);

        drop(entered);
        let (_runtime, _lock) = (runtime, StorageLock(lock));
        Ok(Self {
            handle,
            consensus,
            tasks,
            peers,
            threads,
            flusher,
            space_watch,
            failed,
            _runtime,
            _lock,
        })
    }

    /// The operations of the node for clients.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns when the node has stopped without a request, with the reason.
    pub async fn failed(&self) -> NodeFailure {
        let mut failed = self.failed.clone();
        let reason = match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            Err(_) => None,
        };
        match reason {
            Some(reason) => reason,
            // The node was stopped and did not fail.
            None => std::future::pending().await,
        }
    }

    /// Transfers the leadership to another node, if this node is the leader. Gives up after two
    /// seconds, or if no other voter responds.
    ///
    /// Clients can still use this node, which forwards their requests to the new leader.
    pub async fn transfer_leadership(&self) {
        if !self.handle.is_leader() {
            return;
        }
        let deadline = Instant::now() + TRANSFER_TIME_MAX;
        let transfer = async {
            while self.handle.is_leader() {
                if !matches!(self.consensus.transfer(deadline).await, Ok(true)) {
                    return;
                }
                self.handle.ceases_to_lead(self.handle.config().heartbeat_interval).await;
            }
            self.handle.knows_other_leader().await;
        };
        let _ = tokio::time::timeout_at(deadline, transfer).await;
    }

    /// Stops the node, and returns when its tasks and threads have ended.
    pub async fn shutdown(self) {
        let Self { handle, consensus, mut tasks, peers, threads, flusher, space_watch, .. } = self;
        handle.stop();
        consensus.stop().await;
        peers.close().await;
        tasks.shutdown().await;
        flusher.stop();
        drop(space_watch);
        let joined = tokio::task::spawn_blocking(move || threads.join());
        let _ = tokio::time::timeout(JOIN_TIME_MAX, joined).await;
        info!("stopped");
    }
}

impl NodeRuntime {
    fn new() -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NODE_THREADS)
            .thread_name("raft-node")
            .enable_all()
            .build();
        Ok(Self(Some(runtime.map_err(StartError::Thread)?)))
    }

    fn enter(&self) -> Option<tokio::runtime::EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }
}

impl Drop for NodeRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn bind(config: &NodeConfig) -> Result<UdpSocket, StartError> {
    let port = config.advertise.port();
    let socket = UdpSocket::bind(SocketAddr::new(config.listen, port));
    socket.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => StartError::PortInUse { port, protocol: "UDP" },
        _ => StartError::Listen { port, error },
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc;
    use std::thread;

    use raft_kv::{Command, Put};

    use super::*;
    use crate::Address;
    use crate::config::secret::ClusterSecret;
    use crate::consensus::apply_thread::ProposalOutcome;

    /// Longer than the duration of any successful operation.
    const DEADLINE: Duration = Duration::from_secs(60);

    // The runtime of clients has one thread, which the test blocks.
    #[tokio::test]
    async fn blocked_client_runtime_does_not_stop_consensus() {
        let directory = tempfile::tempdir().unwrap();
        let sockets: [UdpSocket; 3] =
            std::array::from_fn(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let ports = sockets.map(|socket| socket.local_addr().unwrap().port());
        let secrets = ClusterSecrets::from(ClusterSecret::generate().unwrap());
        let mut nodes = Vec::new();
        for port in ports {
            let peers = ports.iter().filter(|other| **other != port);
            let peers = peers.map(|port| Address::new("localhost", *port)).collect();
            let name = format!("node{port}");
            let mut config = NodeConfig::new(&name, port, peers, directory.path().join(&name));
            config.cluster_secrets = Some(secrets.clone());
            nodes.push(Node::start(config).await.unwrap());
        }
        let elected = nodes.iter().map(|node| {
            let handle = node.handle();
            Box::pin(async move { handle.becomes_leader().await })
        });
        let elected = futures_util::future::select_all(elected);
        let (_, leader, _) = tokio::time::timeout(DEADLINE, elected).await.unwrap();

        let consensus = nodes[leader].consensus.clone();
        let (done, wait) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let runtime = runtime.unwrap();
            for number in 0..20 {
                let command = Command::new(Put::new("key", format!("{number}"))).encode();
                let applied =
                    runtime.block_on(consensus.propose(command, Instant::now() + DEADLINE));
                assert!(matches!(applied, Ok(ProposalOutcome::Applied(_))), "{applied:?}");
            }
            done.send(()).unwrap();
        });
        // This blocks the only thread of the runtime of clients.
        wait.recv_timeout(DEADLINE).expect("writes are committed without the runtime of clients");
        assert!(nodes[leader].handle.is_leader());
        for node in nodes {
            node.shutdown().await;
        }
    }
}
