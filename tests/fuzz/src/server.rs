//! One server and what surrounds it: a disk that syncs when it likes, a state machine that counts,
//! and the answers that it owes.

use bytes::Bytes;
use raft_core::{
    Config, ConfigError, Durable, Effects, Entry, Fetch, HardState, Instant, LogId, LogIndex,
    Membership, NodeId, Outbound, Raft, RestoredState, Snapshot, SnapshotChunkRequest,
    SnapshotInstall, Term, Write,
};

use crate::chance::Chance;

/// Which rules the servers keep: all, unless somebody wants to see that it is noticed.
#[derive(Clone, Copy, Default)]
pub struct Rules {
    #[cfg(feature = "sabotage")]
    pub broken: raft_core::DisabledRules,
}

pub struct Server {
    pub raft: Raft,
    founders: Membership,
    config: Config,
    boot: u64,
    hard_state: HardState,
    log: Vec<Entry>,
    log_start: LogId,
    snapshot: Option<Snapshot>,
    writes: Vec<Pending>,
    /// Tokens that were handed over already.
    old_tokens: Vec<Durable>,
    fetches: Vec<Fetch>,
    reads: Vec<SnapshotChunkRequest>,
    install: Option<SnapshotInstall>,
    applied: LogIndex,
    /// The size of the largest write so far.
    largest_batch: usize,
    /// What never answers until the next restart.
    hanging: Hanging,
    /// What must never go back.
    term: Term,
    commit: LogIndex,
    effects: Effects,
}

/// What a server waits for in vain.
#[derive(Clone, Copy, Default)]
struct Hanging {
    writes: bool,
    reads: bool,
}

struct Pending {
    hard_state: Option<HardState>,
    log_start: Option<LogId>,
    entries: Vec<Entry>,
    token: Option<Durable>,
}

/// Far more than one call can need with these configurations.
const MESSAGES_MAX: usize = 8192;

impl Server {
    pub fn new(
        id: NodeId,
        founders: &Membership,
        rules: Rules,
        chance: &mut Chance,
        now: Instant,
    ) -> Self {
        let mut config = Config::new(id);
        #[cfg(feature = "sabotage")]
        {
            config.disabled_rules = rules.broken;
        }
        #[cfg(not(feature = "sabotage"))]
        let Rules {} = rules;
        config.record_events = chance.once_in(4);
        config.pre_vote = !chance.once_in(4);
        config.check_quorum = !chance.once_in(4);
        config.lease_drift_ppm = (config.check_quorum && chance.once_in(2)).then_some(1000);
        config.log_cache_bytes_max = chance.below(2000) as usize;
        config.uncommitted_bytes_max = 1 + (chance.below(64) * chance.below(64)) as usize;
        config.append_bytes_max = 1 + chance.below(400) as usize;
        config.in_flight_messages_max = 1 + chance.below(8) as usize;
        config.in_flight_bytes_max = 1 + chance.below(2000) as usize;
        config.command_bytes_max = 64;
        config.reads_max = 8;
        config.snapshot_chunk_bytes_max = 2;
        config.witness = founders.is_witness(id);
        let mut server = Self {
            raft: start(&mut config, first(founders), 1, now),
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
            hanging: Hanging::default(),
            term: Term(0),
            commit: LogIndex(0),
            effects: Effects::default(),
        };
        server.check();
        server
    }

    /// What holds after every call.
    pub fn check(&mut self) {
        let raft = &self.raft;
        assert!(raft.term() >= self.term, "terms grow");
        assert!(raft.commit_index() >= self.commit, "commit indexes grow");
        let last = raft.last_log().index;
        assert!(raft.commit_index() <= last, "what is committed is in the log");
        assert!(raft.durable_index() <= last, "what is durable is in the log");
        assert!(raft.log_start().index <= last, "a log starts before it ends");
        self.term = raft.term();
        self.commit = raft.commit_index();
    }

    /// Takes the effects out, until there are none, and returns the messages. What is drained must
    /// come to an end without any input.
    ///
    /// Returns how many entries were applied.
    pub fn drain(&mut self, messages: &mut Vec<Outbound>) -> u64 {
        let mut applied = 0;
        for _ in 0..4 {
            self.raft.drain(&mut self.effects);
            if self.effects.is_empty() {
                self.check_memory();
                return applied;
            }
            assert!(self.effects.messages.len() <= MESSAGES_MAX, "few messages");
            messages.append(&mut self.effects.messages);
            if let Some(write) = self.effects.write.take() {
                let batch = bytes(write.entries().iter());
                self.largest_batch = self.largest_batch.max(batch);
                self.writes.push(Pending::from(write));
            }
            self.fetches.append(&mut self.effects.fetches);
            self.reads.append(&mut self.effects.snapshot_chunk_requests);
            for piece in self.effects.committed.drain(..) {
                for entry in &piece {
                    assert!(self.install.is_none(), "nothing is applied meanwhile");
                    assert_eq!(entry.id.index, self.applied.next(), "once, and in order");
                    self.applied = entry.id.index;
                    applied += 1;
                }
            }
            self.effects.snapshot_chunks.clear();
            self.effects.reads.clear();
            self.effects.events.clear();
            if let Some(install) = self.effects.install.take() {
                assert!(self.install.is_none(), "one snapshot at a time");
                self.install = Some(install);
            }
        }
        unreachable!("drains without inputs come to an end");
    }

    /// What is committed and durable leaves memory, in the batches in which it came or was
    /// restored.
    fn check_memory(&self) {
        let settled = self.raft.commit_index().min(self.raft.durable_index());
        let entries = self.raft.entries(LogIndex(0));
        let settled = entries.take_while(|entry| entry.id.index <= settled);
        let held = bytes(settled);
        let window = self.config.log_cache_bytes_max;
        let limit = window.max(window / 16 + self.largest_batch);
        let stopped = self.raft.stopped();
        assert!(held <= limit || stopped.is_some(), "{held} bytes are held, of {limit}");
    }

    /// What a server may hold of its log in memory, and send.
    pub fn memory_max(&self) -> usize {
        let config = &self.config;
        let sent = config.in_flight_bytes_max + config.append_bytes_max;
        config.log_cache_bytes_max + config.uncommitted_bytes_max + sent
    }

    /// The size of a message with entries.
    pub fn append_max(&self) -> usize {
        self.config.append_bytes_max
    }

    /// A leader that takes a command holds little that is not committed or not durable.
    pub fn propose(&mut self, command: Bytes, now: Instant) {
        let settled = self.raft.commit_index().min(self.raft.durable_index());
        let unsettled = self.raft.entries(settled.next());
        let unsettled = bytes(unsettled);
        if self.raft.propose(command, now).is_ok() {
            let limit = self.config.uncommitted_bytes_max;
            assert!(unsettled < limit, "{unsettled} bytes wait, of {limit}");
        }
    }

    /// A write is done, or its token comes once more.
    pub fn sync(&mut self, chance: &mut Chance, now: Instant) {
        if chance.once_in(16)
            && let Some(old) = chance.place(self.old_tokens.len())
        {
            let token = self.old_tokens[old].clone();
            return self.raft.persisted(token, now);
        }
        if self.hanging.writes {
            return;
        }
        let in_order = !chance.once_in(4);
        let place = if in_order { 0 } else { chance.below(4) as usize };
        let Some(token) = self.writes.get_mut(place).and_then(|write| write.token.take()) else {
            return;
        };
        if self.old_tokens.len() < 8 {
            self.old_tokens.push(token.clone());
        }
        let done = self.writes.iter().take_while(|write| write.token.is_none());
        let done = done.count();
        for write in self.writes.drain(..done) {
            store(&mut self.hard_state, &mut self.log_start, &mut self.log, write);
        }
        self.raft.persisted(token, now);
    }

    /// From here on, until it starts again, the disk does not answer when it writes, or when it
    /// reads.
    pub fn hang(&mut self, chance: &mut Chance) {
        if chance.once_in(2) {
            self.hanging.writes = true;
        } else {
            self.hanging.reads = true;
        }
    }

    /// Loses memory and what is not durable, and starts again.
    pub fn restart(&mut self, chance: &mut Chance, now: Instant) {
        let survive = chance.below(self.writes.len() as u64 + 1) as usize;
        for write in self.writes.drain(..).take(survive) {
            store(&mut self.hard_state, &mut self.log_start, &mut self.log, write);
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
            assert!(pushed.is_ok(), "what was written is a log: {pushed:?}");
        }
        self.raft = start(&mut self.config, restored, self.boot, now);
        self.fetches.clear();
        self.reads.clear();
        self.install = None;
        self.hanging = Hanging::default();
        self.term = Term(0);
        self.commit = LogIndex(0);
    }

    /// Answers a question about entries, rightly or not.
    pub fn answer_fetch(&mut self, wrong: Option<Vec<Entry>>, now: Instant) {
        if self.hanging.reads {
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

    /// Answers a question about a snapshot.
    pub fn answer_read(&mut self, now: Instant) {
        if !self.hanging.reads
            && let Some(read) = self.reads.pop()
        {
            let data = Bytes::from_static(b"data").slice(..read.bytes.min(4));
            self.raft.provide_snapshot_chunk(read, data, now);
        }
    }

    /// Installs the snapshot that has arrived, or finds it damaged.
    ///
    /// Returns whether one was installed.
    pub fn install(&mut self, damaged: bool, now: Instant) -> bool {
        if self.hanging.writes {
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
        assert!(snapshot.last.index > self.applied, "snapshots go forward");
        self.applied = snapshot.last.index;
        self.snapshot = Some(snapshot);
        self.raft.snapshot_installed(install.installed(), now);
        true
    }

    /// Takes a snapshot of something that was applied, and keeps some of the log.
    pub fn compact(&mut self, chance: &mut Chance, now: Instant) {
        let last = LogIndex(self.applied.0.saturating_sub(chance.below(4)));
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
            identity: chance.below(3),
            size: chance.below(8),
        };
        self.snapshot = Some(snapshot.clone());
        let retain = LogIndex(last.0.saturating_sub(chance.below(6)));
        self.raft.report_snapshot(snapshot, retain, now);
    }
}

impl From<Write> for Pending {
    fn from(write: Write) -> Self {
        Self {
            hard_state: write.hard_state(),
            log_start: write.log_start(),
            entries: write.entries().to_vec(),
            token: Some(write.synced()),
        }
    }
}

fn store(hard_state: &mut HardState, start: &mut LogId, log: &mut Vec<Entry>, write: Pending) {
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

fn first(founders: &Membership) -> RestoredState {
    RestoredState::new(1, founders.clone(), HardState::default(), LogIndex(0), 0)
}

fn start(config: &mut Config, restored: RestoredState, seed: u64, now: Instant) -> Raft {
    let seed = seed ^ config.id.0;
    let mut raft = Raft::new(config.clone(), restored.clone(), seed, now);
    if let Err(ConfigError::WitnessMismatch) = raft {
        // A lie about who is a witness has become its membership.
        config.witness = !config.witness;
        raft = Raft::new(config.clone(), restored, seed, now);
    }
    raft.unwrap_or_else(|error| unreachable!("what was stored fits together: {error}"))
}
