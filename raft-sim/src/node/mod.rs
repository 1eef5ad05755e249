//! One simulated machine: a real server, a real state machine, a disk and a clock.

pub(crate) mod apply;
pub(crate) mod disk;
pub(crate) mod disk_ops;
pub(crate) mod kv_store;
pub(crate) mod snapshot;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft_core::{
    Instant, LogIndex, Membership, Message, NodeId, Raft, ReadId, RestoredState, Role, Snapshot,
    SnapshotInstalled, Term,
};
use raft_kv::{Kv, Lessor};

use crate::check::lease::KeepAlive;
use crate::node::disk::Disk;
use crate::node::kv_store::SharedStore;
use crate::util::rng::{DurationRange, SimRng};
use crate::world::action::Request;
use crate::world::config::{WorldConfig, WorldError};

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) process: Process,
    pub(crate) disk: Disk,
    pub(crate) sync: DurationRange,
    /// When the latest write will be synced; writes are synced in order.
    pub(crate) disk_busy_until: u64,
    pub(crate) clock: Clock,
    pub(crate) boot: u64,
    /// The state machine as it survives a crash: behind the log, and consistent in itself.
    pub(crate) kv_on_disk: Kv<SharedStore>,
    /// Whether it has lost a disk, and with it what it had promised.
    pub(crate) wiped: bool,
}

/// What runs on the machine.
#[derive(Clone, Debug)]
pub(crate) enum Process {
    Running(Box<Running>),
    /// It ended; the reason, if it ended itself.
    Down {
        reason: Option<String>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) raft: Raft,
    pub(crate) kv: Kv<SharedStore>,
    /// What has arrived while the process was paused.
    pub(crate) paused: Option<VecDeque<Arrival>>,
    /// Commands that wait to be committed, by position.
    pub(crate) proposals: BTreeMap<LogIndex, (Term, RequestId)>,
    pub(crate) reads: BTreeMap<ReadId, (RequestId, Reading)>,
    /// Confirmed reads that wait until this position is applied.
    pub(crate) confirmed: Vec<(LogIndex, RequestId, Reading)>,
    /// Keeps the time of leases while the server leads, if anybody holds some.
    pub(crate) lessor: Option<Box<Lessor>>,
    /// A snapshot as far as it has arrived.
    pub(crate) arriving: Vec<u8>,
    /// Earlier snapshots of this server that it is still sending to followers. A restart removes
    /// them: a server that does not lead sends none.
    pub(crate) sent_snapshots: Vec<(Snapshot, Bytes)>,
    /// A whole snapshot that is being written to the disk.
    pub(crate) installing: Option<Installing>,
}

/// A snapshot on its way to the disk. It is there or it is not: a copy of a world makes no second
/// installation of it, because the token is a plain value there, too.
#[derive(Clone, Debug)]
pub(crate) struct Installing {
    pub(crate) snapshot: Snapshot,
    pub(crate) data: Bytes,
    pub(crate) kv: Kv<SharedStore>,
    pub(crate) token: SnapshotInstalled,
}

/// What a linearizable read is for.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// A key is to be read.
    Get(Request),
    /// A lease is to be kept alive, by the leader of this term.
    Keep { keeping: KeepAlive, term: Term },
}

/// Whom to answer: a client's operation, and which of its attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RequestId {
    pub(crate) operation: u64,
    pub(crate) attempt: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    Message(u64, Message),
    Request(RequestId),
    Synced(u64),
    Installed,
}

/// How often the state machine reaches the disk by itself, in entries; a long history does it more
/// seldom, because each time is a copy of everything.
const CHECKPOINT_EVERY: u64 = 32;
const CHECKPOINT_SHARE: u64 = 8;

/// A clock that may run fast or slow, and starts anew at a boot.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// A moment of the world, and the same moment on this clock.
    anchor: (u64, u64),
    drift: i32,
}

impl Clock {
    const MILLION: i128 = 1_000_000;

    pub(crate) fn new(world: u64, local: u64) -> Self {
        Self { anchor: (world, local), drift: 0 }
    }

    pub(crate) fn read(&self, world: u64) -> Instant {
        let passed = world.saturating_sub(self.anchor.0);
        if self.drift == 0 {
            return Instant(self.anchor.1.saturating_add(passed));
        }
        let passed = i128::from(passed);
        let local = passed * (Self::MILLION + i128::from(self.drift)) / Self::MILLION;
        Instant(self.anchor.1.saturating_add(u64::try_from(local).unwrap_or(0)))
    }

    /// The first moment of the world at which the clock shows `local` or more.
    pub(crate) fn world_time_of(&self, local: Instant) -> u64 {
        let passed = local.0.saturating_sub(self.anchor.1);
        if self.drift == 0 {
            return self.anchor.0.saturating_add(passed);
        }
        let passed = i128::from(passed);
        let rate = Self::MILLION + i128::from(self.drift);
        let world = (passed * Self::MILLION + rate - 1) / rate;
        self.anchor.0.saturating_add(u64::try_from(world).unwrap_or(u64::MAX))
    }

    pub(crate) fn drift(&self) -> i32 {
        self.drift
    }

    pub(crate) fn set_drift(&mut self, world: u64, drift: i32) {
        self.anchor = (world, self.read(world).0);
        // A clock that stands still or runs backwards is not monotonic.
        self.drift = drift.max(-900_000);
    }

    pub(crate) fn jump_to(&mut self, world: u64, local: Instant) {
        self.anchor = (world, self.read(world).0.max(local.0));
    }
}

impl Node {
    pub(crate) fn new(
        id: u64,
        config: &WorldConfig,
        now: u64,
        random: &mut SimRng,
    ) -> Result<Self, WorldError> {
        let kv = open_kv();
        let log = config.initial_logs.get(id as usize - 1);
        let term = config.initial_logs.iter().flatten().max().filter(|_| log.is_some());
        let mut node = Self {
            id,
            process: Process::Down { reason: None },
            disk: Disk::with_log(log.map_or(&[], Vec::as_slice), term.copied().unwrap_or(0)),
            sync: config.sync_latency,
            disk_busy_until: 0,
            clock: Clock::new(now, random.below(1_000_000_000)),
            boot: 0,
            kv_on_disk: kv,
            wiped: false,
        };
        node.start(config, now, random).map_err(WorldError::Core)?;
        Ok(node)
    }

    /// Starts the process from what is on the disk.
    pub(crate) fn start(
        &mut self,
        config: &WorldConfig,
        now: u64,
        random: &mut SimRng,
    ) -> Result<(), raft_core::ConfigError> {
        self.boot += 1;
        self.clock = Clock::new(now, random.below(1_000_000_000));
        self.disk_busy_until = now;
        let membership =
            if config.is_founder(self.id) { config.founding() } else { Membership::default() };
        let snapshot = self.disk.snapshot.as_ref().map(|(snapshot, _)| snapshot);
        // A witness has nothing to apply, and no state but the place where its log begins.
        let snapshot_index = snapshot.map_or(LogIndex(0), |snapshot| snapshot.last.index);
        let applied = LogIndex(self.kv_on_disk.applied_index()).max(snapshot_index);
        let (hard_state, window) = (self.disk.hard_state, config.log_cache_bytes_max);
        let mut restored = RestoredState::new(self.boot, membership, hard_state, applied, window);
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
        let raft = Raft::new(config.core(NodeId(self.id)), restored, random.next(), local)?;
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

    /// Ends the process, and loses what was not synced.
    pub(crate) fn crash(&mut self, reason: Option<String>, random: &mut SimRng) {
        self.process = Process::Down { reason };
        self.disk.lose_unsynced(random);
        self.disk.failing = false;
    }

    /// Forgets everything that was on the disk. The process must be down.
    pub(crate) fn wipe(&mut self) {
        self.disk = Disk::default();
        self.kv_on_disk = open_kv();
        self.wiped = true;
    }

    /// Writes the state machine to the disk now and then, in one piece.
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

    /// The process, if there is one, paused or not.
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

    /// The process, if it runs.
    pub(crate) fn awake_mut(&mut self) -> Option<&mut Running> {
        self.running_mut().filter(|running| running.paused.is_none())
    }

    /// When the process wants to be woken, in the world's time.
    pub(crate) fn wakes_at(&self, now: u64) -> Option<u64> {
        let running = self.running().filter(|running| running.paused.is_none())?;
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
        Err(error) => unreachable!("an empty store in memory is a new state machine: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drifting_clock_inverse_is_exact() {
        for drift in [-500_000, -77, 0, 1, 333_333] {
            let mut clock = Clock::new(1000, 5);
            clock.set_drift(4000, drift);
            for local in [3005, 3006, 10_007, 123_456_789] {
                let world = clock.world_time_of(Instant(local));
                assert!(clock.read(world) >= Instant(local));
                assert!(world <= 4000 || clock.read(world - 1) < Instant(local));
            }
        }
    }
}
