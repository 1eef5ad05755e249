//! A node: its parts, how they start and how they stop.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc as thread_mpsc;
use std::thread;
use std::time::{Duration, Instant as Clock};

use raft_core::{Instant, LogIndex, Membership, Message, NodeId, Raft, Restored};
use raft_kv::Kv;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::applier::{Applier, Backlog, Committed};
use crate::config::{NodeConfig, StartError};
use crate::consensus::{Consensus, Glance, Input};
use crate::handle::Handle;
use crate::identity::{Identity, development_secret};
use crate::journal;
use crate::names::Names;
use crate::peer::{Answer, Call, Peers, Receiver};
use crate::storage::Storage;
use crate::timings::Timings;
use crate::writer::{Finished, Job, Writer};

/// A running node. Dropping it without [`shutdown`](Node::shutdown) abandons it.
pub struct Node {
    handle: Handle,
    inputs: mpsc::Sender<Input>,
    tasks: JoinSet<()>,
    peers: Peers,
    threads: Vec<thread::JoinHandle<()>>,
    failed: watch::Receiver<bool>,
    /// Unlocks the data directory when everything has stopped.
    _lock: StorageLock,
}

/// Keeps the data directory locked.
struct StorageLock(#[allow(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

/// Inputs that wait for the loop; whoever has more to say waits.
const INPUTS_MAX: usize = 4096;

impl Node {
    /// Starts a node: opens its data, and begins to talk to its peers.
    ///
    /// # Errors
    ///
    /// [`StartError`], in one line that says what to do.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        config.validate()?;
        let me = config.advertise.node_id();
        let secret = match &config.cluster_secret {
            Some(secret) => secret.clone().into_bytes(),
            None => development_secret().map_err(StartError::Identity)?,
        };
        let identity = Identity::new(&secret, me).map_err(StartError::Identity)?;
        let socket = bind(&config)?;
        let opened = tokio::task::spawn_blocking({
            let config = config.clone();
            move || Opened::new(&config)
        });
        let opened = opened.await.map_err(|error| StartError::Identity(error.to_string()))??;
        Self::assemble(config, me, identity, socket, opened)
    }

    fn assemble(
        config: NodeConfig,
        me: NodeId,
        identity: Identity,
        socket: UdpSocket,
        opened: Opened,
    ) -> Result<Self, StartError> {
        let Opened { storage, raft, kv, last } = opened;
        let Storage { database, meta, log, state, mark, lock, .. } = storage;
        let (inputs, inputs_queue) = mpsc::channel(INPUTS_MAX);
        let (disk, disk_queue) = thread_mpsc::channel::<Job>();
        let (apply, apply_queue) = thread_mpsc::channel::<Vec<Committed>>();
        let (glance, glance_watch) = watch::channel(Glance::default());
        let (applied, applied_watch) = watch::channel(kv.applied_index());
        let (failed, failed_watch) = watch::channel(false);
        let backlog = Backlog::default();
        let timings = Timings::default();
        let names = config.members().into_iter().map(|address| {
            let name =
                if address == config.advertise { config.name.clone() } else { address.to_string() };
            (address.node_id(), name)
        });
        let names = Names::new(names);
        let (recorder, journal, keep_journal) = journal::new(config.name.clone(), names.clone());

        let mut tasks = JoinSet::new();
        let receiver =
            NodeReceiver { inputs: inputs.clone(), handle: watch::channel(None).0.into() };
        let peers =
            Peers::start(me, socket, identity, &config.peers, &names, receiver.clone(), &mut tasks)
                .map_err(StartError::Identity)?;
        let handle = Handle::new(crate::handle::Parts {
            config: config.clone(),
            inputs: inputs.clone(),
            peers: peers.clone(),
            glance: glance_watch,
            applied: applied_watch,
            state,
            log: log.clone(),
            journal,
            names: names.clone(),
            timings: timings.clone(),
        });
        receiver.handle.send_replace(Some(handle.clone()));

        let writer = Writer { database, meta, log, last, mark, timings: timings.clone() };
        let finished = inputs.clone();
        let writer_failed = failed.clone();
        let writer = spawn_thread("raft-disk", move || {
            writer.run(&disk_queue, |done| {
                let input = match done {
                    Finished::Written(tokens) => Input::Persisted(tokens),
                    Finished::Fetched(fetch, entries) => Input::Fetched(fetch, entries),
                    Finished::Failed => {
                        writer_failed.send_replace(true);
                        Input::StorageFailed
                    }
                };
                // The loop is gone only when the node stops.
                let _ = finished.blocking_send(input);
            });
        })?;
        let applier = Applier { kv, applied, backlog: backlog.clone(), timings };
        let applier_failed = failed.clone();
        let applier_inputs = inputs.clone();
        let applier = spawn_thread("raft-apply", move || {
            if !applier.run(&apply_queue) {
                applier_failed.send_replace(true);
                let _ = applier_inputs.blocking_send(Input::StorageFailed);
            }
        })?;
        let journal_thread = spawn_thread("raft-journal", keep_journal)?;
        let consensus = Consensus {
            raft,
            began: Clock::now(),
            inputs: inputs_queue,
            peers: peers.clone(),
            disk,
            apply,
            backlog,
            recorder,
            glance,
            proposals: BTreeMap::new(),
            reads: HashMap::new(),
        };
        tasks.spawn(async move {
            consensus.run().await;
            // A server that stopped for good has said why; the process must end.
            failed.send_replace(true);
        });
        info!(node = config.name, port = config.advertise.port(), "started");
        let threads = vec![writer, applier, journal_thread];
        Ok(Self {
            handle,
            inputs,
            tasks,
            peers,
            threads,
            failed: failed_watch,
            _lock: StorageLock(lock),
        })
    }

    /// What clients use.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns when the node has stopped by itself, which it does if it can promise nothing any more.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        let _ = failed.wait_for(|failed| *failed).await;
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
                if thread.join().is_err() {
                    error!("a thread of the node had failed");
                }
            }
        });
        let _ = tokio::time::timeout(Duration::from_secs(5), joined).await;
        info!("stopped");
    }
}

/// What is read from the disk before anything runs.
struct Opened {
    storage: Storage,
    raft: Raft,
    kv: Kv<crate::storage::StateStore>,
    last: LogIndex,
}

impl Opened {
    fn new(config: &NodeConfig) -> Result<Self, StartError> {
        let storage = Storage::open(config)?;
        let damaged =
            |reason: String| StartError::Damaged { path: config.data_dir.clone(), reason };
        let kv = Kv::open(storage.state.share()).map_err(|error| damaged(error.to_string()))?;
        let mut core = raft_core::Config::new(config.advertise.node_id());
        core.election_timeout_min = config.election_timeout_min;
        core.election_timeout_max = config.election_timeout_max;
        core.heartbeat_interval = config.heartbeat_interval;
        core.explain = true;
        let members = config.members();
        let membership = Membership::new(members.iter().map(crate::Address::node_id));
        let applied = LogIndex(kv.applied_index());
        let mut restored = Restored::new(
            storage.boot,
            membership,
            storage.hard_state,
            applied,
            core.window_bytes_max,
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
struct NodeReceiver {
    inputs: mpsc::Sender<Input>,
    /// Set as soon as there is one; a call that comes earlier waits.
    handle: Arc<watch::Sender<Option<Handle>>>,
}

impl Receiver for NodeReceiver {
    async fn message(&self, from: NodeId, message: Message) {
        // The loop is gone only when the node stops.
        let _ = self.inputs.send(Input::Message(from, message)).await;
    }

    async fn call(&self, _from: NodeId, call: Call) -> Answer {
        let mut handle = self.handle.subscribe();
        let handle = match handle.wait_for(Option::is_some).await {
            Ok(handle) => handle.clone(),
            Err(_) => None,
        };
        match handle {
            Some(handle) => handle.answer(call).await,
            None => crate::peer::Refusal::Stopping.into(),
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
    run: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, StartError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|error| StartError::Identity(error.to_string()))
}
