//! A node: its parts, how they start and how they stop.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc as thread_mpsc;
use std::thread;
use std::time::{Duration, Instant as Clock};

use raft_core::{Instant, LogIndex, Membership, Message, NodeId, Raft, RestoredState};
use raft_kv::Kv;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::info;

use crate::client::Handle;
use crate::config::node_names::NodeNames;
use crate::config::secret::ClusterSecrets;
use crate::config::{NodeConfig, StartError};
use crate::consensus::apply_thread::{ApplyBacklog, ApplyThread, Committed};
use crate::consensus::disk_thread::{DiskCompletion, DiskRequest, DiskThread};
use crate::consensus::failure::{Failure, Failures, NodeFailure, Sentinel};
use crate::consensus::{Consensus, Input, StateSummary};
use crate::observe::event_log;
use crate::observe::health::Health;
use crate::observe::timings::Timings;
use crate::peer::{Answer, Call, InboundHandler, Peers, Question, Refusal, Reply};
use crate::storage::Storage;

/// A running node. Dropping it without [`shutdown`](Node::shutdown) abandons it.
pub struct Node {
    handle: Handle,
    inputs: mpsc::Sender<Input>,
    tasks: JoinSet<()>,
    peers: Peers,
    threads: Vec<thread::JoinHandle<()>>,
    failed: watch::Receiver<Option<NodeFailure>>,
    /// Runs consensus, peers and their timers. Client work runs elsewhere, and cannot delay them.
    _runtime: NodeRuntime,
    /// Unlocks the data directory when everything has stopped.
    _lock: StorageLock,
}

/// A runtime that may be dropped by asynchronous code.
struct NodeRuntime(Option<Runtime>);

/// Keeps the data directory locked.
struct StorageLock(#[allow(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

/// Inputs that wait for the loop; whoever has more to say waits.
const INPUTS_MAX: usize = 4096;
/// Threads for consensus and peers: one may encrypt or decrypt while the other runs the loop.
const NODE_THREADS: usize = 2;
/// A stopping leader waits this long for its successor.
const TRANSFER_TIME_MAX: Duration = Duration::from_secs(2);

impl Node {
    /// Starts a node: opens its data, and begins to talk to its peers.
    ///
    /// Consensus runs on threads of its own. Client requests run on the caller's runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`], in one line that says what to do.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        config.validate()?;
        let me = config.advertise.node_id();
        let secrets = match &config.cluster_secrets {
            Some(secrets) => secrets.clone(),
            None => ClusterSecrets::development()?,
        };
        let socket = bind(&config)?;
        let opened = tokio::task::spawn_blocking({
            let config = config.clone();
            move || RecoveredState::new(&config)
        });
        let opened = opened.await.map_err(StartError::Task)??;
        Self::assemble(config, me, secrets, socket, opened)
    }

    fn assemble(
        config: NodeConfig,
        me: NodeId,
        secrets: ClusterSecrets,
        socket: UdpSocket,
        opened: RecoveredState,
    ) -> Result<Self, StartError> {
        let RecoveredState { storage, raft, kv, last } = opened;
        let Storage { database, meta, log, state, mark, lock, .. } = storage;
        let clients = tokio::runtime::Handle::current();
        let runtime = NodeRuntime::new()?;
        let entered = runtime.enter();
        let (inputs, inputs_queue) = mpsc::channel(INPUTS_MAX);
        let (disk, disk_queue) = thread_mpsc::channel::<DiskRequest>();
        let (apply, apply_queue) = thread_mpsc::channel::<Vec<Committed>>();
        let (glance, glance_watch) = watch::channel(StateSummary::default());
        let (applied, applied_watch) = watch::channel(kv.applied_index());
        let (failures, failed) = Failures::new();
        let began = Clock::now();
        let health = Arc::new(Health::new(began));
        let backlog = ApplyBacklog::default();
        let timings = Timings::default();
        let names = config.members().into_iter().map(|address| {
            let name =
                if address == config.advertise { config.name.clone() } else { address.to_string() };
            (address.node_id(), name)
        });
        let names = NodeNames::new(names);
        let (recorder, journal, keep_journal) = event_log::new(config.name.clone(), names.clone());

        let mut tasks = JoinSet::new();
        let receiver = NodeInbound {
            name: config.name.clone(),
            inputs: inputs.clone(),
            handle: watch::channel(None).0.into(),
            clients,
        };
        let peers =
            Peers::start(me, socket, secrets, &config.peers, &names, receiver.clone(), &mut tasks)?;
        let handle = Handle::new(crate::client::HandleInner {
            config: config.clone(),
            inputs: inputs.clone(),
            peers: peers.clone(),
            summary: glance_watch,
            applied: applied_watch.clone(),
            health: health.clone(),
            state,
            log: log.clone(),
            journal,
            names: names.clone(),
            timings: timings.clone(),
        });
        receiver.handle.send_replace(Some(handle.clone()));

        let writer = DiskThread {
            database,
            meta,
            log,
            last,
            mark,
            health: health.clone(),
            timings: timings.clone(),
        };
        let finished = inputs.clone();
        let disk_failures = failures.clone();
        let writer = spawn_thread("raft-disk", failures.sentinel("the disk thread"), move || {
            writer.run(&disk_queue, |done| {
                let input = match done {
                    DiskCompletion::Written(tokens) => Input::Persisted(tokens),
                    DiskCompletion::Fetched(fetch, entries) => Input::Fetched(fetch, entries),
                    DiskCompletion::Failed(failure) => {
                        disk_failures.report(failure);
                        Input::StorageFailed
                    }
                };
                // The loop is gone only when the node stops.
                let _ = finished.blocking_send(input);
            });
        })?;
        let applier = ApplyThread { kv, applied, backlog: backlog.clone(), timings };
        let applier_failures = failures.clone();
        let applier_inputs = inputs.clone();
        let applier =
            spawn_thread("raft-apply", failures.sentinel("the apply thread"), move || {
                if let Err(failure) = applier.run(&apply_queue) {
                    applier_failures.report(failure);
                    let _ = applier_inputs.blocking_send(Input::StorageFailed);
                }
            })?;
        let journal_thread =
            spawn_thread("raft-journal", failures.sentinel("the journal thread"), keep_journal)?;
        let consensus = Consensus {
            raft,
            began,
            inputs: inputs_queue,
            peers: peers.clone(),
            disk,
            apply,
            backlog,
            recorder,
            summary: glance,
            applied: applied_watch,
            health,
            proposals: BTreeMap::new(),
            reads: HashMap::new(),
        };
        tasks.spawn(async move {
            let _sentinel = failures.sentinel("the consensus loop");
            if let Some(reason) = consensus.run().await {
                failures.report(Failure::Consensus(names.put_into(reason.to_string())));
            }
        });
        info!(node = config.name, port = config.advertise.port(), "started");
        let threads = vec![writer, applier, journal_thread];
        drop(entered);
        Ok(Self {
            handle,
            inputs,
            tasks,
            peers,
            threads,
            failed,
            _runtime: runtime,
            _lock: StorageLock(lock),
        })
    }

    /// What clients use.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns when the node has stopped by itself, with the reason.
    pub async fn failed(&self) -> NodeFailure {
        let mut failed = self.failed.clone();
        let reason = match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            Err(_) => None,
        };
        match reason {
            Some(reason) => reason,
            // The node was stopped, and did not fail.
            None => std::future::pending().await,
        }
    }

    /// Makes another node the leader, if this node leads. Gives up after two seconds, or when no
    /// other voter answers.
    ///
    /// Requests to this node go on: the node forwards them to the new leader.
    pub async fn transfer_leadership(&self) {
        if !self.handle.leads() {
            return;
        }
        let transfer = async {
            while self.handle.leads() {
                let (reply, answer) = oneshot::channel();
                let sent = self.inputs.send(Input::Transfer { reply }).await;
                if sent.is_err() || !matches!(answer.await, Ok(true)) {
                    return;
                }
                self.handle.leads_no_more(self.handle.config().heartbeat_interval).await;
            }
            self.handle.knows_other_leader().await;
        };
        let _ = tokio::time::timeout(TRANSFER_TIME_MAX, transfer).await;
    }

    /// Stops the node, and returns when everything of it has ended.
    pub async fn shutdown(mut self) {
        self.handle.stop();
        let _ = self.inputs.send(Input::Stop).await;
        self.peers.close().await;
        self.tasks.shutdown().await;
        drop(self.inputs);
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A panic was reported by the thread's sentinel.
                let _ = thread.join();
            }
        });
        let _ = tokio::time::timeout(Duration::from_secs(5), joined).await;
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

/// What is read from the disk before anything runs.
struct RecoveredState {
    storage: Storage,
    raft: Raft,
    kv: Kv<crate::storage::StateStore>,
    last: LogIndex,
}

impl RecoveredState {
    fn new(config: &NodeConfig) -> Result<Self, StartError> {
        let storage = Storage::open(config)?;
        let damaged = |reason: String| StartError::damaged(&config.data_dir, reason);
        let kv = Kv::open(storage.state.share()).map_err(|error| damaged(error.to_string()))?;
        let mut core = raft_core::Config::new(config.advertise.node_id());
        core.election_timeout_min = config.election_timeout_min;
        core.election_timeout_max = config.election_timeout_max;
        core.heartbeat_interval = config.heartbeat_interval;
        core.record_events = true;
        let members = config.members();
        let membership = Membership::new(members.iter().map(crate::Address::node_id));
        let applied = LogIndex(kv.applied_index());
        let mut restored = RestoredState::new(
            storage.boot,
            membership,
            storage.hard_state,
            applied,
            core.log_cache_bytes_max,
        );
        let last =
            storage.log.restore(&mut restored).map_err(|error| damaged(error.to_string()))?;
        let reached = storage.mark.reached().last;
        if last < reached {
            let reason = format!("its log ends at entry {last}, and had reached entry {reached}");
            return Err(damaged(reason));
        }
        let raft =
            Raft::new(core, restored, rand::random(), Instant(0)).map_err(|error| match error {
                raft_core::ConfigError::AppliedBeyondLog
                | raft_core::ConfigError::SnapshotDoesNotFit
                | raft_core::ConfigError::LogNewerThanTerm => damaged(error.to_string()),
                error => StartError::Timing(error),
            })?;
        Ok(Self { storage, raft, kv, last })
    }
}

/// Hands to the node what its peers bring.
#[derive(Clone)]
struct NodeInbound {
    name: String,
    inputs: mpsc::Sender<Input>,
    /// Set as soon as there is one; a call that comes earlier waits.
    handle: Arc<watch::Sender<Option<Handle>>>,
    /// Where the requests of clients run, which other nodes forward.
    clients: tokio::runtime::Handle,
}

impl InboundHandler for NodeInbound {
    async fn message(&self, from: NodeId, message: Message) {
        // The loop is gone only when the node stops.
        let _ = self.inputs.send(Input::Message(from, message)).await;
    }

    async fn call(&self, _from: NodeId, call: Call) -> Answer {
        if let Some(Question::Name(_)) = call.question {
            return Reply::Name(self.name.clone()).into();
        }
        let mut handle = self.handle.subscribe();
        let handle = match handle.wait_for(Option::is_some).await {
            Ok(handle) => handle.clone(),
            Err(_) => None,
        };
        let Some(handle) = handle else { return Refusal::Stopping.into() };
        // The set aborts the call when the peer gives it up.
        let mut calls = JoinSet::new();
        calls.spawn_on(async move { handle.handle_peer_request(call).await }, &self.clients);
        match calls.join_next().await {
            Some(Ok(answer)) => answer,
            _ => Refusal::Unknown.into(),
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

fn spawn_thread(
    name: &str,
    sentinel: Sentinel,
    run: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, StartError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _sentinel = sentinel;
        run();
    });
    spawned.map_err(StartError::Thread)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use raft_kv::{Command, Put};

    use super::*;
    use crate::Address;
    use crate::config::secret::ClusterSecret;
    use crate::consensus::apply_thread::ProposalOutcome;

    /// Longer than anything that works takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    // The clients' runtime has one thread, which the test blocks.
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

        let inputs = nodes[leader].inputs.clone();
        let (done, wait) = thread_mpsc::channel();
        thread::spawn(move || {
            for number in 0..20 {
                let command = Command::new(Put::new("key", format!("{number}"))).encode();
                let (reply, answer) = oneshot::channel();
                inputs.blocking_send(Input::Propose { command, reply }).unwrap();
                let applied = answer.blocking_recv().unwrap();
                assert!(matches!(applied, ProposalOutcome::Applied(_)), "{applied:?}");
            }
            done.send(()).unwrap();
        });
        // This blocks the only thread of the clients' runtime.
        wait.recv_timeout(DEADLINE).expect("writes are committed without the clients' runtime");
        assert!(nodes[leader].handle.leads());
        for node in nodes {
            node.shutdown().await;
        }
    }
}
