//! The server: its state, its inputs, and the drain of its effects.

pub(crate) mod append_entries;
#[cfg(feature = "model")]
pub(crate) mod canonicalize;
pub(crate) mod disk_full;
pub(crate) mod election;
pub(crate) mod log_fetch;
pub(crate) mod membership_change;
pub(crate) mod persist;
pub(crate) mod propose;
pub(crate) mod read;
pub(crate) mod replication;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod transfer;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::iter;
use core::time::Duration;

use crate::api::config::{Config, ConfigError};
use crate::api::effects::{Effects, Outbound, ReadOutcome, SnapshotChunk};
use crate::api::entries::Entries;
use crate::api::entry::{Entry, HardState, Snapshot};
use crate::api::event::{Event, IgnoreReason, StepDownReason, StopReason};
use crate::api::message::Message;
use crate::api::restore::RestoredState;
use crate::api::types::{Instant, LogId, LogIndex, NodeId, Term};
use crate::log::Log;
use crate::macros::ensure;
use crate::raft::membership_change::MembershipHistory;
use crate::raft::persist::{Acknowledgement, PendingWrites};
use crate::raft::read::{ForwardedReads, Lease, PendingReads};
use crate::raft::snapshot::IncomingSnapshot;
use crate::raft::status::Role;
use crate::raft::transfer::Transfer;
use crate::sabotage::Rule;
use crate::state::progress::Progress;
use crate::state::timer::ElectionTimer;

/// One server of a Raft cluster. See the [crate documentation](crate) for the order of calls.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) memberships: MembershipHistory,
    pub(crate) hard_state: HardState,
    pub(crate) log: Log,
    pub(crate) commit_index: LogIndex,
    /// The last position that was handed to the state machine.
    pub(crate) delivered_index: LogIndex,
    pub(crate) role: RoleState,
    pub(crate) timer: ElectionTimer,
    /// The leader that was heard last, in whatever term, and when.
    pub(crate) last_leader_contact: Option<(NodeId, Instant)>,
    /// Until then this server may be bound to a leader that it forgot when it stopped.
    pub(crate) votes_blocked_until: Instant,
    /// The latest moment that the caller told.
    pub(crate) now: Instant,
    pub(crate) durability: PendingWrites,
    /// Whether writes wait for room on the disk.
    pub(crate) disk_is_full: bool,
    /// The candidate that waits for this server's vote to become durable.
    pub(crate) pending_vote_grant: Option<NodeId>,
    /// Messages that promise nothing about a write.
    outbox: Vec<Outbound>,
    /// Committed entries that came back from the durable log.
    pub(crate) fetched_committed: Option<Entries>,
    /// The entries of the latest durable write, and the last of them. They are mostly what is
    /// committed next, and are handed out again instead of being shared once more.
    pub(crate) last_persisted_batch: Option<(LogId, Entries)>,
    /// Whether committed entries are awaited from the durable log.
    pub(crate) fetch_in_flight: bool,
    /// The latest durable snapshot of the state machine.
    pub(crate) snapshot: Option<Snapshot>,
    /// A snapshot that the leader sends.
    pub(crate) incoming: Option<IncomingSnapshot>,
    /// Its pieces that were not handed out yet.
    pub(crate) undrained_chunks: Vec<SnapshotChunk>,
    pub(crate) forwarded_reads: ForwardedReads,
    pub(crate) next_read: u64,
    pub(crate) read_outcomes: Vec<ReadOutcome>,
    events: Vec<Event>,
    pub(crate) stopped: Option<StopReason>,
}

/// What belongs to a role, and ends with it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum RoleState {
    Follower(Follower),
    PreCandidate(Votes),
    Candidate(Votes),
    Leader(Box<Leader>),
}

impl RoleState {
    /// What a leader knows of a follower.
    #[inline]
    pub(crate) fn progress_of(&mut self, follower: NodeId) -> Option<&mut Progress> {
        match self {
            Self::Leader(leader) => leader.follower_mut(follower),
            _ => None,
        }
    }

    /// The answers to a candidacy, and whether they are only promises.
    pub(crate) fn ballot(&self) -> Option<(&Votes, bool)> {
        match self {
            Self::PreCandidate(ballot) => Some((ballot, true)),
            Self::Candidate(ballot) => Some((ballot, false)),
            Self::Follower(_) | Self::Leader(_) => None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Follower {
    /// The leader of this term.
    pub(crate) leader: Option<NodeId>,
    /// What the leader is to be told about the entries it sent.
    pub(crate) ack: Acknowledgement,
}

/// The answers to a candidacy.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Votes {
    pub(crate) answers: Vec<(NodeId, bool)>,
    /// Whether the votes were asked for, which waits until the own vote is durable.
    pub(crate) requested: bool,
    /// Whether the leader asked for the election.
    pub(crate) transfer: bool,
    /// Votes of voters that had voted before, which count for nothing.
    pub(crate) repeated: usize,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Leader {
    pub(crate) followers: Vec<(NodeId, Progress)>,
    pub(crate) heartbeat_deadline: Instant,
    /// The number of the latest round of heartbeats.
    pub(crate) round: u64,
    /// The first entry of this term: reads and commitment rely on it (§5.4.2, §8).
    pub(crate) first_index: LogIndex,
    /// What is not committed, or not durable here.
    pub(crate) uncommitted_bytes: usize,
    /// Up to where the log does not count as uncommitted any more.
    pub(crate) released_through: LogIndex,
    pub(crate) reads: PendingReads,
    pub(crate) lease: Lease,
    pub(crate) transfer: Option<Transfer>,
}

/// Events are kept until the next drain, but no more than this many.
const EVENTS_MAX: usize = 4096;
/// Answers are kept until the next drain, but no more than this many; the rest is lost, as
/// messages may be.
const OUTBOX_MAX: usize = 4096;

impl Raft {
    /// A server that starts, for the first time or again, as a follower.
    ///
    /// `seed` decides its election timeouts; servers of one cluster need different ones. The same
    /// seed and the same inputs give the same effects on every platform.
    ///
    /// # Errors
    ///
    /// A configuration that cannot work, or stored state that contradicts itself.
    pub fn new(
        config: Config,
        restored: RestoredState,
        seed: u64,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let RestoredState { mut memberships, snapshot, mut hard_state, applied, mut log, .. } =
            restored;
        ensure!(!restored.is_misordered, ConfigError::SnapshotAfterEntries);
        let founders = memberships.latest().1;
        if *founders != Default::default() {
            founders.validate().map_err(ConfigError::Membership)?;
        }
        if let Some(snapshot) = &snapshot {
            let last = snapshot.last;
            let fits = log.start().index <= last.index && last.index <= applied;
            ensure!(fits, ConfigError::SnapshotDoesNotFit);
            if !log.contains(last) {
                // It was installed, and the log that it replaces was not removed any more.
                log.replace(last);
                memberships.restart(last.index, snapshot.membership.clone());
                if last.term > hard_state.term {
                    // Nor was the term in which it came stored, so no vote of that term was given.
                    hard_state = HardState { term: last.term, vote: None };
                }
            }
        }
        let has_beginning = snapshot.is_some() || log.start() == LogId::default();
        ensure!(has_beginning, ConfigError::SnapshotDoesNotFit);
        // All that is on disk has been taken: it can be handed on.
        log.cache.seal();
        ensure!(applied <= log.last().index, ConfigError::AppliedBeyondLog);
        ensure!(log.last().term <= hard_state.term, ConfigError::LogNewerThanTerm);
        let latest = memberships.latest().1;
        let is_as_named = latest.is_witness(config.id) == config.witness;
        ensure!(is_as_named || !latest.is_voter(config.id), ConfigError::WitnessMismatch);
        let silence =
            config.lease_drift_ppm.map_or(Duration::ZERO, |_| config.election_timeout_min);
        let shortest = config.election_timeout_min.saturating_add(config.election_handicap);
        let range = config.election_timeout_max - config.election_timeout_min;
        let mut raft = Self {
            timer: ElectionTimer::new(seed, now, shortest, range),
            durability: PendingWrites::new(config.id, restored.boot, restored.hard_state),
            config,
            memberships,
            hard_state,
            log,
            commit_index: applied,
            delivered_index: applied,
            role: RoleState::Follower(Follower::default()),
            last_leader_contact: None,
            votes_blocked_until: now + silence,
            now,
            disk_is_full: false,
            pending_vote_grant: None,
            outbox: Vec::new(),
            fetched_committed: None,
            last_persisted_batch: None,
            fetch_in_flight: false,
            snapshot,
            incoming: None,
            undrained_chunks: Vec::new(),
            forwarded_reads: ForwardedReads::default(),
            next_read: 0,
            read_outcomes: Vec::new(),
            events: Vec::new(),
            stopped: None,
        };
        raft.arm_timer();
        Ok(raft)
    }

    /// This server.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.config.id
    }

    /// The term that it is in.
    #[must_use]
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// What it is in this term.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.role {
            RoleState::Follower(_) => Role::Follower,
            RoleState::PreCandidate(_) => Role::PreCandidate,
            RoleState::Candidate(_) => Role::Candidate,
            RoleState::Leader(_) => Role::Leader,
        }
    }

    /// The leader of this term, as far as known. Clients are sent there.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            RoleState::Follower(follower) => follower.leader,
            RoleState::PreCandidate(_) | RoleState::Candidate(_) => None,
            RoleState::Leader(_) => Some(self.id()),
        }
    }

    /// The last position that is known to be committed.
    #[must_use]
    pub fn commit_index(&self) -> LogIndex {
        self.commit_index
    }

    /// The end of the log.
    #[must_use]
    pub fn last_log(&self) -> LogId {
        self.log.last()
    }

    /// The last position of the log that is durable here.
    #[must_use]
    pub fn durable_index(&self) -> LogIndex {
        self.log.durable()
    }

    /// The last position that was handed out to be applied.
    #[must_use]
    pub fn delivered_index(&self) -> LogIndex {
        self.delivered_index
    }

    /// The term of the entry at `index`, if the log has it, or ends or begins there.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.log.term_at(index)
    }

    /// The entries from `from` on that are in memory. The first of them may be a later one.
    pub fn entries(&self, from: LogIndex) -> impl Iterator<Item = &Entry> {
        self.log.cache.iter_from(from)
    }

    /// Why the server stopped for good, if it did. It answers nothing any more; end the process.
    #[must_use]
    pub fn stopped(&self) -> Option<StopReason> {
        self.stopped
    }

    /// When [`tick`](Self::tick) wants to be called, unless an input comes first.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match (&self.stopped, &self.role) {
            (Some(_), _) => None,
            (None, RoleState::Leader(leader)) => Some(leader.heartbeat_deadline),
            (None, _) => self.timer_deadline(),
        }
    }

    /// Time has passed. Calling early or late is harmless.
    pub fn tick(&mut self, now: Instant) {
        if self.start_input(now) {
            return;
        }
        if let RoleState::Leader(leader) = &self.role {
            if self.now >= leader.heartbeat_deadline {
                self.on_heartbeat_timer();
            }
        } else if self.timer_deadline().is_some_and(|deadline| self.now >= deadline) {
            self.on_election_timeout();
        }
    }

    /// A message of another server has arrived.
    ///
    /// The caller vouches for `from`: it must be the server that sent the message. That server need
    /// not be a member as far as this one knows: leaders and candidates of a membership that has
    /// not arrived here yet are followed and voted for (§6).
    ///
    /// `now` is taken after the message was: leases rest on it (see [`Instant`]).
    pub fn receive(&mut self, from: NodeId, message: Message, now: Instant) {
        if self.start_input(now) {
            return;
        }
        if from == self.id() {
            return self.ignore(from, IgnoreReason::FromItself);
        }
        match message {
            Message::PreVote(request) => self.on_pre_vote(from, request),
            Message::PreVoteResponse(response) => self.on_pre_vote_response(from, response),
            Message::RequestVote(request) => self.on_request_vote(from, request),
            Message::RequestVoteResponse(response) => {
                self.on_request_vote_response(from, response);
            }
            Message::AppendEntries(request) => self.on_append_entries(from, request),
            Message::AppendEntriesResponse(response) => {
                self.on_append_entries_response(from, response);
            }
            Message::Heartbeat(request) => self.on_heartbeat(from, request),
            Message::HeartbeatResponse(response) => self.on_heartbeat_response(from, response),
            Message::InstallSnapshot(request) => self.on_install_snapshot(from, *request),
            Message::InstallSnapshotResponse(response) => {
                self.on_install_snapshot_response(from, response);
            }
            Message::TimeoutNow(request) => self.on_timeout_now(from, request),
            Message::ReadIndex(request) => self.on_read_index(from, request),
            Message::ReadIndexResponse(response) => self.on_read_index_response(from, response),
        }
    }

    /// The storage failed: a write or a sync returned an error, or stored data is damaged.
    ///
    /// What was written may or may not be there, and a second sync can succeed without having
    /// written anything, so the server stops for good and answers nothing any more.
    pub fn storage_failed(&mut self, now: Instant) {
        if !self.start_input(now) && self.config.enforces(Rule::StorageFaultIsFinal) {
            self.stop(StopReason::StorageFailed);
        }
    }

    /// Moves everything that is to be done into `effects`.
    ///
    /// Any number of inputs may come before one drain: their effects merge. The buffer's vectors
    /// are appended to, so a caller that empties and reuses the buffer allocates nothing.
    ///
    /// # Panics
    ///
    /// If the buffer still holds a write, or a snapshot to install: it would be lost, and with it
    /// every promise about it.
    pub fn drain(&mut self, effects: &mut Effects) {
        assert!(effects.write.is_none(), "the write of the previous drain was not taken");
        assert!(effects.install.is_none(), "the snapshot of the previous drain was not installed");
        if self.stopped.is_none() {
            self.drain_write(effects);
            self.request_votes();
            self.release_messages();
            self.replicate(effects);
            self.forward_reads();
            self.drain_committed(effects);
            self.drain_snapshot(effects);
        }
        append_drained(&mut self.outbox, &mut effects.messages);
        append_drained(&mut self.read_outcomes, &mut effects.reads);
        append_drained(&mut self.events, &mut effects.events);
    }

    /// Begins every input: keeps time monotonic, and says whether the server has stopped.
    pub(crate) fn start_input(&mut self, now: Instant) -> bool {
        self.now = self.now.max(now);
        self.stopped.is_some()
    }

    /// Answers a message, or asks for votes.
    pub(crate) fn send_checked(&mut self, to: NodeId, message: Message) {
        if self.outbox.len() < OUTBOX_MAX {
            self.send_bounded(to, || message);
        }
    }

    /// Sends what is bounded already: by flow control, or because there is one of a kind in a
    /// drain.
    #[inline(always)]
    pub(crate) fn send_bounded(&mut self, to: NodeId, message: impl FnOnce() -> Message) {
        // Made where it stays, a message is not written twice.
        self.outbox.extend(iter::once_with(|| Outbound { to, message: message() }));
    }

    pub(crate) fn emit(&mut self, event: impl FnOnce() -> Event) {
        if self.config.record_events && self.events.len() < EVENTS_MAX {
            self.events.push(event());
        }
    }

    pub(crate) fn ignore(&mut self, from: NodeId, reason: IgnoreReason) {
        self.emit(|| Event::MessageIgnored { from, reason });
    }

    /// Stops for good instead of guessing.
    pub(crate) fn stop(&mut self, reason: StopReason) {
        self.abort_reads();
        self.outbox.clear();
        self.emit(|| Event::Stopped { reason });
        self.stopped = Some(reason);
    }

    /// Enters a later term, in which nobody has this server's vote yet (§5.1).
    pub(crate) fn adopt_term(&mut self, term: Term, from: NodeId) {
        debug_assert!(term > self.term(), "terms only grow");
        let previous = self.term();
        self.emit(|| Event::TermAdvanced { from: previous, to: term, learned_from: Some(from) });
        self.hard_state = HardState { term, vote: None };
        self.pending_vote_grant = None;
        self.abort_reads();
        self.become_follower(StepDownReason::LaterTerm { from });
    }

    /// Becomes a follower without a leader.
    pub(crate) fn become_follower(&mut self, reason: StepDownReason) {
        if !matches!(self.role, RoleState::Follower(_)) {
            let term = self.term();
            self.emit(|| Event::SteppedDown { term, reason });
            self.abort_reads();
            self.arm_timer();
        }
        self.role = RoleState::Follower(Follower::default());
    }

    #[inline(always)]
    pub(crate) fn arm_timer(&mut self) {
        self.timer.arm(self.now);
    }

    /// Hands out what is committed, as far as it is durable here, and lets go of it.
    fn drain_committed(&mut self, effects: &mut Effects) {
        let through = self.commit_index.min(self.log.durable());
        // Otherwise the state machine is about to be replaced by one that has more.
        if !self.is_installing() {
            self.push_committed(through, effects);
        }
        // What the state machine lacks of it comes back from the durable log.
        self.log.evict(through, self.config.log_cache_bytes_max);
    }

    fn push_committed(&mut self, through: LogIndex, effects: &mut Effects) {
        if self.config.witness {
            self.delivered_index = self.delivered_index.max(through);
        }
        if let Some(refetched) = self.fetched_committed.take()
            && let Some(last) = refetched.last()
        {
            self.delivered_index = last.id.index;
            effects.committed.push(refetched);
        }
        // An answer that is awaited comes first: it says where it continues, and is lost if it
        // doesn't.
        if let Some((last, entries)) = &self.last_persisted_batch
            && last.index <= through
            && !self.fetch_in_flight
        {
            let is_next = self.delivered_index.0 + entries.len() as u64 == last.index.0;
            if is_next && self.log.contains(*last) {
                self.delivered_index = last.index;
                effects
                    .committed
                    .extend(self.last_persisted_batch.take().map(|(_, entries)| entries));
            } else {
                self.last_persisted_batch = None;
            }
        }
        while self.delivered_index < through {
            let Some(piece) = self.log.cache.segment(self.delivered_index.next(), through) else {
                return self.request_committed(&mut effects.fetches);
            };
            self.delivered_index.0 += piece.len() as u64;
            effects.committed.push(piece);
        }
    }
}

/// Moves everything; into an empty buffer by exchanging it, which costs nothing.
fn append_drained<T>(from: &mut Vec<T>, into: &mut Vec<T>) {
    if from.is_empty() {
        return;
    }
    if into.is_empty() {
        core::mem::swap(from, into);
    } else {
        into.append(from);
    }
}
