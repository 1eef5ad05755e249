//! A simulated machine: a Raft server, a state machine, a disk and a clock.
//!
//! A node acts only on itself and returns what it did. The world observes and delivers it.

pub(crate) mod apply;
pub(crate) mod client_api;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod disk;
mod disk_ops;
pub(crate) mod injected_bug;
pub(crate) mod kv_store;
pub(crate) mod leases;
pub(crate) mod snapshot;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft_core::{
    Instant, LogIndex, Membership, Message, NodeId, Raft, ReadId, RestoredState, Role, Snapshot,
    Term,
};
use raft_kv::{Kv, Lessor};

use crate::network::latency::DurationRange;
use crate::node::client_api::{PendingRead, RequestId};
use crate::node::clock::Clock;
use crate::node::config::{ClusterConfig, DiskConfig};
use crate::node::disk::Disk;
use crate::node::kv_store::SharedStore;
use crate::node::snapshot::Installing;
use crate::util::rng::SimRng;

/// A simulated machine.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The number of the server, from 1.
    pub(crate) id: u64,
    pub(crate) process: Process,
    pub(crate) disk: Disk,
    /// How long the disk takes to make a write durable.
    pub(crate) sync_latency: DurationRange,
    /// When the disk has completed all writes. Writes complete in order.
    pub(crate) disk_busy_until: u64,
    pub(crate) clock: Clock,
    /// The number of starts of the process.
    pub(crate) boot: u64,
    /// The durable copy of the state machine. It is consistent, and behind the log.
    pub(crate) kv_on_disk: Kv<SharedStore>,
    /// The server has lost a disk and the votes and entries on it.
    pub(crate) wiped: bool,
}

/// The process on a machine.
#[derive(Clone, Debug)]
pub(crate) enum Process {
    Running(Box<Running>),
    Down {
        /// Why the process ended, if it ended itself.
        reason: Option<String>,
    },
}

/// The memory of a process.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) raft: Raft,
    pub(crate) kv: Kv<SharedStore>,
    /// The deliveries that wait until the process is resumed. None if it is not paused.
    pub(crate) paused: Option<VecDeque<Delivery>>,
    /// The client requests whose commands wait to be committed, with the term of the proposal.
    pub(crate) proposals: BTreeMap<LogIndex, (Term, RequestId)>,
    /// The reads that wait for a confirmation.
    pub(crate) reads: BTreeMap<ReadId, (RequestId, PendingRead)>,
    /// The confirmed reads that wait until an entry is applied.
    pub(crate) confirmed: Vec<(LogIndex, RequestId, PendingRead)>,
    /// Measures the time of leases while the server leads.
    pub(crate) lessor: Option<Box<Lessor>>,
    /// The chunks of a snapshot that have arrived.
    pub(crate) arriving: Vec<u8>,
    /// Earlier snapshots of this server that followers still receive. A restart removes them,
    /// because a server that does not lead sends none.
    pub(crate) sent_snapshots: Vec<(Snapshot, Bytes)>,
    /// A complete snapshot whose write to the disk is pending.
    pub(crate) installing: Option<Installing>,
}

/// Something that a process receives.
#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    /// A message of another server.
    Message(u64, Message),
    /// A request of a client.
    Request(RequestId),
    /// The completion of a write.
    WriteCompleted(u64),
    /// The completion of a snapshot's write.
    SnapshotInstalled,
}

/// The state machine becomes durable at least every this many applied entries.
const CHECKPOINT_EVERY: u64 = 32;
/// The share of a long history after which the state machine becomes durable again. Each time
/// copies the list of all pairs, so a long history must do this less often.
const CHECKPOINT_SHARE: u64 = 8;

impl Node {
    pub(crate) fn new(
        id: u64,
        config: &ClusterConfig,
        disk: &DiskConfig,
        record_events: bool,
        random: &mut SimRng,
    ) -> Result<Self, raft_core::ConfigError> {
        let kv = open_kv();
        let log = config.initial_logs.get(id as usize - 1);
        let term = config.initial_logs.iter().flatten().max().filter(|_| log.is_some());
        let mut node = Self {
            id,
            process: Process::Down { reason: None },
            disk: Disk::with_log(log.map_or(&[], Vec::as_slice), term.copied().unwrap_or(0)),
            sync_latency: disk.sync_latency,
            disk_busy_until: 0,
            clock: Clock::new(0, random.below(1_000_000_000)),
            boot: 0,
            kv_on_disk: kv,
            wiped: false,
        };
        node.start(config, record_events, 0, random)?;
        Ok(node)
    }

    /// Starts the process from its disk.
    pub(crate) fn start(
        &mut self,
        config: &ClusterConfig,
        record_events: bool,
        now: u64,
        random: &mut SimRng,
    ) -> Result<(), raft_core::ConfigError> {
        self.boot += 1;
        self.clock = Clock::new(now, random.below(1_000_000_000));
        self.disk_busy_until = now;
        let membership = if config.is_founder(self.id) {
            config.initial_membership()
        } else {
            Membership::default()
        };
        let snapshot = self.disk.snapshot.as_ref().map(|(snapshot, _)| snapshot);
        // A witness applies nothing. Its only state is the start of its log.
        let snapshot_index = snapshot.map_or(LogIndex(0), |snapshot| snapshot.last.index);
        let applied = LogIndex(self.kv_on_disk.applied_index()).max(snapshot_index);
        let (hard_state, cache) = (self.disk.hard_state, config.log_cache_bytes_max);
        let mut restored = RestoredState::new(self.boot, membership, hard_state, applied, cache);
        if let Some(snapshot) = snapshot {
            restored = restored.with_snapshot(snapshot.clone(), self.disk.log_start);
        }
        for entry in &self.disk.log {
            if let Err(error) = restored.push(entry.clone()) {
                self.process = Process::Down { reason: Some(error.to_string()) };
                return Ok(());
            }
        }
        let local = self.clock.read(now);
        let core = config.core(NodeId(self.id), record_events);
        let raft = Raft::new(core, restored, random.next(), local)?;
        self.process = Process::Running(Box::new(Running {
            raft,
            kv: self.kv_on_disk.clone(),
            paused: None,
            proposals: BTreeMap::new(),
            reads: BTreeMap::new(),
            confirmed: Vec::new(),
            lessor: None,
            arriving: Vec::new(),
            sent_snapshots: Vec::new(),
            installing: None,
        }));
        Ok(())
    }

    /// Ends the process. The disk loses writes that were not synced.
    pub(crate) fn crash(&mut self, reason: Option<String>, random: &mut SimRng) {
        self.process = Process::Down { reason };
        self.disk.lose_unsynced(random);
        self.disk.failing = false;
    }

    /// Replaces the disk by an empty one. The process must be down.
    pub(crate) fn wipe(&mut self) {
        self.disk = Disk::default();
        self.kv_on_disk = open_kv();
        self.wiped = true;
    }

    /// Makes the state machine durable if it has applied enough entries since the last time.
    pub(crate) fn checkpoint(&mut self) {
        if let Process::Running(running) = &self.process
            && !self.disk.full
            && let behind =
                running.kv.applied_index().saturating_sub(self.kv_on_disk.applied_index())
            && behind >= CHECKPOINT_EVERY.max(self.kv_on_disk.applied_index() / CHECKPOINT_SHARE)
        {
            self.kv_on_disk = running.kv.clone();
        }
    }

    /// The process, paused or not.
    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.process {
            Process::Running(running) => Some(running),
            Process::Down { .. } => None,
        }
    }

    pub(crate) fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.process {
            Process::Running(running) => Some(running),
            Process::Down { .. } => None,
        }
    }

    /// The process, if it is not paused.
    pub(crate) fn awake(&self) -> Option<&Running> {
        self.running().filter(|running| running.paused.is_none())
    }

    /// The process, if it is not paused, and the time of its clock.
    pub(crate) fn awake_mut(&mut self, now: u64) -> Option<(&mut Running, Instant)> {
        let local = self.clock.read(now);
        let running = self.running_mut().filter(|running| running.paused.is_none())?;
        Some((running, local))
    }

    /// Returns true if the process runs and is the leader of its term. It may be paused.
    pub(crate) fn is_leader(&self) -> bool {
        self.running().is_some_and(|running| running.raft.role() == Role::Leader)
    }

    /// The virtual time at which the process must be woken.
    pub(crate) fn wakes_at(&self, now: u64) -> Option<u64> {
        let running = self.awake()?;
        let mut deadline = running.raft.deadline();
        if let Some(lessor) = &running.lessor
            && running.raft.role() == Role::Leader
            && let Some(expiry) = lessor.deadline()
        {
            let expiry = Instant(u64::try_from(expiry.as_micros()).unwrap_or(u64::MAX));
            deadline = Some(deadline.map_or(expiry, |deadline| deadline.min(expiry)));
        }
        Some(self.clock.world_time_of(deadline?).max(now))
    }
}

fn open_kv() -> Kv<SharedStore> {
    match Kv::open(SharedStore::default()) {
        Ok(kv) => kv,
        Err(error) => unreachable!("an empty store is a valid state machine: {error}"),
    }
}
