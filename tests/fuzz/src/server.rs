//! One server with its environment: a disk that completes writes at arbitrary times, a state
//! machine that checks the order of entries, and pending requests.

use bytes::Bytes;
use raft_core::{
    Config, ConfigError, Durable, Effects, Entry, Fetch, HardState, Instant, LogId, LogIndex,
    Membership, NodeId, Outbound, Raft, RestoredState, Snapshot, SnapshotChunkRequest,
    SnapshotInstall, Term, Write,
};

use crate::rng::Rng;

/// The disabled rules of the servers. Tests disable rules to show that the fuzzer detects them.
#[derive(Clone, Copy, Default)]
pub struct Rules {
    #[cfg(feature = "sabotage")]
    pub disabled: raft_core::DisabledRules,
}

/// A server, its disk and its state machine.
pub struct Server {
    pub raft: Raft,
    founders: Membership,
    config: Config,
    boot: u64,
    hard_state: HardState,
    log: Vec<Entry>,
    log_start: LogId,
    snapshot: Option<Snapshot>,
    writes: Vec<PendingWrite>,
    /// Tokens that the server has received already.
    old_tokens: Vec<Durable>,
    fetches: Vec<Fetch>,
    reads: Vec<SnapshotChunkRequest>,
    install: Option<SnapshotInstall>,
    applied: LogIndex,
    /// The size of the largest write so far.
    largest_batch: usize,
    /// The operations that do not complete before the next restart.
    stalled: StalledDisk,
    /// The latest term and commit index, which must not decrease.
    term: Term,
    commit: LogIndex,
    effects: Effects,
}

/// The operations of a disk that do not complete.
#[derive(Clone, Copy, Default)]
struct StalledDisk {
    writes: bool,
    reads: bool,
}

/// A write whose token is `None` after its completion.
struct PendingWrite {
    hard_state: Option<HardState>,
    log_start: Option<LogId>,
    entries: Vec<Entry>,
    token: Option<Durable>,
}

/// The largest number of messages of one drain, far above the need of these configurations.
const MESSAGES_MAX: usize = 8192;

impl Server {
    /// Starts a server for the first time, with a random configuration.
    pub fn new(
        id: NodeId,
        founders: &Membership,
        rules: Rules,
        rng: &mut Rng,
        now: Instant,
    ) -> Self {
        let mut config = Config::new(id);
        #[cfg(feature = "sabotage")]
        {
            config.disabled_rules = rules.disabled;
        }
        #[cfg(not(feature = "sabotage"))]
        let Rules {} = rules;
        config.record_events = rng.once_in(4);
        config.pre_vote = !rng.once_in(4);
        config.check_quorum = !rng.once_in(4);
        config.lease_drift_ppm = (config.check_quorum && rng.once_in(2)).then_some(1000);
        config.log_cache_bytes_max = rng.below(2000) as usize;
        config.uncommitted_bytes_max = 1 + (rng.below(64) * rng.below(64)) as usize;
        config.append_bytes_max = 1 + rng.below(400) as usize;
        config.in_flight_messages_max = 1 + rng.below(8) as usize;
        config.in_flight_bytes_max = 1 + rng.below(2000) as usize;
        config.command_bytes_max = 64;
        config.reads_max = 8;
        config.snapshot_chunk_bytes_max = 2;
        config.witness = founders.is_witness(id);
        let mut server = Self {
            raft: start(&mut config, first_state(founders), 1, now),
            founders: founders.clone(),
            config,
            boot: 1,
            hard_state: HardState::default(),
            log: Vec::new(),
            log_start: LogId::default(),
            snapshot: None,
            writes: Vec::new(),
            old_tokens: Vec::new(),
            fetches: Vec::new(),
            reads: Vec::new(),
            install: None,
            applied: LogIndex(0),
            largest_batch: 0,
            stalled: StalledDisk::default(),
            term: Term(0),
            commit: LogIndex(0),
            effects: Effects::default(),
        };
        server.check();
        server
    }

    /// Checks the conditions that hold after every call.
    pub fn check(&mut self) {
        let raft = &self.raft;
        assert!(raft.term() >= self.term, "the term does not decrease");
        assert!(raft.commit_index() >= self.commit, "the commit index does not decrease");
        let last = raft.last_log().index;
        assert!(raft.commit_index() <= last, "committed entries are in the log");
        assert!(raft.durable_index() <= last, "durable entries are in the log");
        assert!(raft.log_start().index <= last, "the log does not start after its end");
        self.term = raft.term();
        self.commit = raft.commit_index();
    }

    /// Drains the server until it has no effects, and appends its messages. Without inputs, the
    /// effects must end after a few drains. Returns the number of applied entries.
    pub fn drain(&mut self, messages: &mut Vec<Outbound>) -> u64 {
        let mut applied = 0;
        for _ in 0..4 {
            self.raft.drain(&mut self.effects);
            if self.effects.is_empty() {
                self.check_memory();
                return applied;
            }
            assert!(self.effects.messages.len() <= MESSAGES_MAX, "too many messages");
            messages.append(&mut self.effects.messages);
            if let Some(write) = self.effects.write.take() {
                let batch = bytes(write.entries().iter());
                self.largest_batch = self.largest_batch.max(batch);
                self.writes.push(PendingWrite::from(write));
            }
            self.fetches.append(&mut self.effects.fetches);
            self.reads.append(&mut self.effects.snapshot_chunk_requests);
            for entries in self.effects.committed.drain(..) {
                for entry in &entries {
                    assert!(self.install.is_none(), "no entry is applied during an installation");
                    assert_eq!(
                        entry.id.index,
                        self.applied.next(),
                        "each entry is applied once, in order"
                    );
                    self.applied = entry.id.index;
                    applied += 1;
                }
            }
            self.effects.snapshot_chunks.clear();
            self.effects.reads.clear();
            self.effects.events.clear();
            if let Some(install) = self.effects.install.take() {
                assert!(self.install.is_none(), "one snapshot is installed at a time");
                self.install = Some(install);
            }
        }
        unreachable!("the effects end after a few drains without inputs");
    }

    /// Checks that committed and durable entries leave memory, in the batches in which they arrived
    /// or were restored.
    fn check_memory(&self) {
        let settled = self.raft.commit_index().min(self.raft.durable_index());
        let entries = self.raft.entries(LogIndex(0));
        let settled = entries.take_while(|entry| entry.id.index <= settled);
        let held = bytes(settled);
        let window = self.config.log_cache_bytes_max;
        let limit = window.max(window / 16 + self.largest_batch);
        let stopped = self.raft.stopped();
        assert!(held <= limit || stopped.is_some(), "{held} bytes in memory, limit {limit}");
    }

    /// The largest size of the entries in the log cache and in flight, in bytes.
    pub fn memory_max(&self) -> usize {
        let config = &self.config;
        let sent = config.in_flight_bytes_max + config.append_bytes_max;
        config.log_cache_bytes_max + config.uncommitted_bytes_max + sent
    }

    /// The largest size of the entries of a message, in bytes.
    pub fn append_max(&self) -> usize {
        self.config.append_bytes_max
    }

    /// Proposes a command. A leader that accepts it must have few entries that are not committed or
    /// not durable.
    pub fn propose(&mut self, command: Bytes, now: Instant) {
        let settled = self.raft.commit_index().min(self.raft.durable_index());
        let unsettled = self.raft.entries(settled.next());
        let unsettled = bytes(unsettled);
        if self.raft.propose(command, now).is_ok() {
            let limit = self.config.uncommitted_bytes_max;
            assert!(unsettled < limit, "{unsettled} uncommitted bytes, limit {limit}");
        }
    }

    /// Completes a write, or returns an old token again.
    pub fn sync(&mut self, rng: &mut Rng, now: Instant) {
        if rng.once_in(16)
            && let Some(old) = rng.index(self.old_tokens.len())
        {
            let token = self.old_tokens[old].clone();
            return self.raft.persisted(token, now);
        }
        if self.stalled.writes {
            return;
        }
        let in_order = !rng.once_in(4);
        let index = if in_order { 0 } else { rng.below(4) as usize };
        let Some(token) = self.writes.get_mut(index).and_then(|write| write.token.take()) else {
            return;
        };
        if self.old_tokens.len() < 8 {
            self.old_tokens.push(token.clone());
        }
        let done = self.writes.iter().take_while(|write| write.token.is_none());
        let done = done.count();
        for write in self.writes.drain(..done) {
            apply_write(&mut self.hard_state, &mut self.log_start, &mut self.log, write);
        }
        self.raft.persisted(token, now);
    }

    /// Stalls all writes or all reads of the disk until the next restart.
    pub fn stall(&mut self, rng: &mut Rng) {
        if rng.once_in(2) {
            self.stalled.writes = true;
        } else {
            self.stalled.reads = true;
        }
    }

    /// Restarts the server. A random number of pending writes survives.
    pub fn restart(&mut self, rng: &mut Rng, now: Instant) {
        let survive = rng.below(self.writes.len() as u64 + 1) as usize;
        for write in self.writes.drain(..).take(survive) {
            apply_write(&mut self.hard_state, &mut self.log_start, &mut self.log, write);
        }
        self.boot += 1;
        let applied = self.snapshot.as_ref().map(|snapshot| snapshot.last.index);
        self.applied = applied.unwrap_or_default();
        let mut restored = RestoredState::new(
            self.boot,
            self.founders.clone(),
            self.hard_state,
            self.applied,
            self.config.log_cache_bytes_max,
        );
        if let Some(snapshot) = &self.snapshot {
            restored = restored.with_snapshot(snapshot.clone(), self.log_start);
        }
        for entry in &self.log {
            let pushed = restored.push(entry.clone());
            assert!(pushed.is_ok(), "the entries on the disk form a log: {pushed:?}");
        }
        self.raft = start(&mut self.config, restored, self.boot, now);
        self.fetches.clear();
        self.reads.clear();
        self.install = None;
        self.stalled = StalledDisk::default();
        self.term = Term(0);
        self.commit = LogIndex(0);
    }

    /// Returns the result of a fetch: the entries of the disk, or wrong ones.
    pub fn answer_fetch(&mut self, wrong: Option<Vec<Entry>>, now: Instant) {
        if self.stalled.reads {
            return;
        }
        let Some(fetch) = self.fetches.pop() else {
            return;
        };
        let wanted = fetch.from..=fetch.through;
        let right = || {
            let entries = self.log.iter();
            entries.filter(|entry| wanted.contains(&entry.id.index)).cloned().collect()
        };
        let entries = wrong.unwrap_or_else(right);
        self.raft.fetched(fetch, entries, now);
    }

    /// Returns the result of a read of a snapshot chunk.
    pub fn answer_read(&mut self, now: Instant) {
        if !self.stalled.reads
            && let Some(read) = self.reads.pop()
        {
            let data = Bytes::from_static(b"data").slice(..read.bytes.min(4));
            self.raft.provide_snapshot_chunk(read, data, now);
        }
    }

    /// Installs the received snapshot, or reports it as damaged. Returns true if it was installed.
    pub fn install(&mut self, damaged: bool, now: Instant) -> bool {
        if self.stalled.writes {
            return false;
        }
        let Some(install) = self.install.take() else {
            return false;
        };
        if damaged {
            self.raft.snapshot_damaged(install, now);
            return false;
        }
        let snapshot = install.snapshot().clone();
        assert!(snapshot.last.index > self.applied, "a snapshot advances the state machine");
        self.applied = snapshot.last.index;
        self.snapshot = Some(snapshot);
        self.raft.snapshot_installed(install.installed(), now);
        true
    }

    /// Takes a snapshot of applied entries, and retains a part of the log.
    pub fn compact(&mut self, rng: &mut Rng, now: Instant) {
        let last = LogIndex(self.applied.0.saturating_sub(rng.below(4)));
        let known = self.snapshot.as_ref().map(|snapshot| snapshot.last.index);
        let Some(term) = self.raft.term_at(last) else {
            return;
        };
        if last <= known.unwrap_or_default() || self.install.is_some() {
            return;
        }
        let snapshot = Snapshot {
            last: LogId::new(term, last),
            membership: self.raft.membership_at(last).clone(),
            identity: rng.below(3),
            size: rng.below(8),
        };
        self.snapshot = Some(snapshot.clone());
        let retain = LogIndex(last.0.saturating_sub(rng.below(6)));
        self.raft.report_snapshot(snapshot, retain, now);
    }
}

impl From<Write> for PendingWrite {
    fn from(write: Write) -> Self {
        Self {
            hard_state: write.hard_state(),
            log_start: write.log_start(),
            entries: write.entries().to_vec(),
            token: Some(write.synced()),
        }
    }
}

/// Applies a write to the contents of the disk.
fn apply_write(
    hard_state: &mut HardState,
    start: &mut LogId,
    log: &mut Vec<Entry>,
    write: PendingWrite,
) {
    *hard_state = write.hard_state.unwrap_or(*hard_state);
    if let Some(first) = write.log_start {
        if log.iter().all(|entry| entry.id != first) {
            log.clear();
        }
        log.retain(|entry| entry.id.index > first.index);
        *start = first;
    }
    if let Some(first) = write.entries.first() {
        log.retain(|entry| entry.id.index < first.id.index);
    }
    log.extend(write.entries);
}

fn bytes<'a>(entries: impl Iterator<Item = &'a Entry>) -> usize {
    entries.map(Entry::bytes).sum()
}

/// The state of a server that starts for the first time.
fn first_state(founders: &Membership) -> RestoredState {
    RestoredState::new(1, founders.clone(), HardState::default(), LogIndex(0), 0)
}

fn start(config: &mut Config, restored: RestoredState, seed: u64, now: Instant) -> Raft {
    let seed = seed ^ config.id.0;
    let mut raft = Raft::new(config.clone(), restored.clone(), seed, now);
    if let Err(ConfigError::WitnessMismatch) = raft {
        // A forged membership made this server a witness, or the opposite.
        config.witness = !config.witness;
        raft = Raft::new(config.clone(), restored, seed, now);
    }
    raft.unwrap_or_else(|error| unreachable!("the state on the disk is consistent: {error}"))
}
