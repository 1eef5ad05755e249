//! The server: its state, its inputs, and the drain of its effects.
//!
//! Each file below contains the methods of [`Raft`] for one rule of the protocol. A component that
//! works without [`Raft`] belongs in `state/`.

mod append_entries;
#[cfg(feature = "model")]
mod canonicalize;
mod commit;
#[cfg(feature = "sabotage")]
mod disabled_rules;
mod disk_full;
mod election;
mod log_fetch;
mod membership_change;
mod persist;
mod propose;
mod read;
mod replication;
mod restore;
mod role;
mod snapshot;
mod status;
mod transfer;

pub use membership_change::{ChangeError, ChangeStage};
pub use propose::ProposeError;
pub use read::ReadError;
pub use restore::{RestoreError, RestoredState};
pub use status::{FollowerStatus, Role, SnapshotProgress, Status, Timer};
pub use transfer::TransferError;

use crate::api::config::Config;
use crate::api::effects::Effects;
use crate::api::entry::{Entry, HardState, Snapshot};
use crate::api::event::{Event, IgnoreReason, StepDownReason, StopReason};
use crate::api::message::Message;
use crate::api::types::{Instant, LogId, LogIndex, NodeId, Term};
use crate::log::Log;
use crate::raft::commit::Delivery;
use crate::raft::role::{Follower, RoleState};
use crate::sabotage::Rule;
use crate::state::incoming_snapshot::IncomingSnapshot;
use crate::state::membership_history::MembershipHistory;
use crate::state::outbox::Outbox;
use crate::state::pending_writes::PendingWrites;
use crate::state::read_queue::ForwardedReads;
use crate::state::timer::ElectionTimer;

/// One server of a Raft cluster. The [crate documentation](crate) describes the order of calls.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Raft {
    config: Config,
    persistent: Persistent,
    volatile: Volatile,
    role: RoleState,
    /// The writes that are not durable, and the hard state before and after them.
    writes: PendingWrites,
    /// The committed entries that the state machine has not received.
    delivery: Delivery,
    /// The snapshot that the leader sends.
    incoming: IncomingSnapshot,
    /// The reads of a follower, which its leader has to confirm.
    forwarded_reads: ForwardedReads,
    /// The effects that wait for the next drain and depend on no write.
    outbox: Outbox,
}

/// The state that survives a crash once it is durable (Figure 2, §7).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Persistent {
    /// The current term, and the vote in it.
    hard_state: HardState,
    log: Log,
    /// The memberships of the log.
    memberships: MembershipHistory,
    /// The latest durable snapshot of the state machine.
    snapshot: Option<Snapshot>,
}

/// The state that a crash removes (Figure 2), except for that of the role.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Volatile {
    /// The latest time that the caller has passed.
    now: Instant,
    /// The last entry that is known to be committed.
    commit_index: LogIndex,
    timer: ElectionTimer,
    /// The leader that this server heard last, in any term, and the time.
    last_leader_contact: Option<(NodeId, Instant)>,
    /// This server grants no vote before this time. Before its restart it may have responded to a
    /// leader, whose lease counts on that response.
    votes_blocked_until: Instant,
    /// The candidate whose vote waits for its write.
    pending_vote_grant: Option<NodeId>,
    /// The disk has no space, and writes wait.
    disk_is_full: bool,
    /// The number of the next read of the caller.
    next_read: u64,
    /// The reason why the server stopped permanently.
    stopped: Option<StopReason>,
}

impl Raft {
    /// The id of this server.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.config.id
    }

    /// The current term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.persistent.hard_state.term
    }

    /// The role in the current term.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.role {
            RoleState::Follower(_) => Role::Follower,
            RoleState::PreCandidate(_) => Role::PreCandidate,
            RoleState::Candidate(_) => Role::Candidate,
            RoleState::Leader(_) => Role::Leader,
        }
    }

    /// The leader of the current term, if this server knows it. Clients are redirected there.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            RoleState::Follower(follower) => follower.leader,
            RoleState::PreCandidate(_) | RoleState::Candidate(_) => None,
            RoleState::Leader(_) => Some(self.id()),
        }
    }

    /// The last index that is known to be committed.
    #[must_use]
    pub fn commit_index(&self) -> LogIndex {
        self.volatile.commit_index
    }

    /// The last entry of the log.
    #[must_use]
    pub fn last_log(&self) -> LogId {
        self.persistent.log.last()
    }

    /// The last index of the log that is durable on this server.
    #[must_use]
    pub fn durable_index(&self) -> LogIndex {
        self.persistent.log.durable()
    }

    /// The last index in [`Effects::committed`] so far. The state machine may apply it later.
    #[must_use]
    pub fn delivered_index(&self) -> LogIndex {
        self.delivery.index()
    }

    /// The term of the entry at `index`. `None` if that entry is compacted, or after the last one.
    /// The entry [before the log](Self::log_start) has a term too.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.persistent.log.term_at(index)
    }

    /// The entries from `from` on that are in memory. Older entries are skipped if they have left
    /// memory.
    pub fn entries(&self, from: LogIndex) -> impl Iterator<Item = &Entry> {
        self.persistent.log.cache.iter_from(from)
    }

    /// The reason why the server stopped permanently; `None` while it runs. A stopped server
    /// ignores all inputs, and its process should end.
    #[must_use]
    pub fn stopped(&self) -> Option<StopReason> {
        self.volatile.stopped
    }

    /// The time at which [`tick`](Self::tick) is to be called, unless an input comes first. `None`
    /// if no timer runs.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match (&self.volatile.stopped, &self.role) {
            (Some(_), _) => None,
            (None, RoleState::Leader(leader)) => Some(leader.heartbeat_deadline),
            (None, _) => self.timer_deadline(),
        }
    }

    /// Input: time has passed. Fires the timers that are due at `now`. Calls before the
    /// [`deadline`](Self::deadline) have no effect, and late calls are safe.
    pub fn tick(&mut self, now: Instant) {
        if self.has_stopped(now) {
            return;
        }
        if let RoleState::Leader(leader) = &self.role {
            if self.volatile.now >= leader.heartbeat_deadline {
                self.on_heartbeat_timer();
            }
        } else if self.timer_deadline().is_some_and(|deadline| self.volatile.now >= deadline) {
            self.on_election_timeout();
        }
    }

    /// Input: a message of another server has arrived.
    ///
    /// `from` must be the server that sent the message; the caller authenticates it. The sender
    /// need not be a member: leaders and candidates of a later membership, which this server does
    /// not know yet, are accepted (§6).
    ///
    /// The caller must read `now` after it has received the message. Leases depend on this (see
    /// [`Instant`]).
    pub fn receive(&mut self, from: NodeId, message: Message, now: Instant) {
        if self.has_stopped(now) {
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

    /// Input: the storage failed. A write or a sync returned an error, or stored data is damaged.
    ///
    /// After a failed sync the content of the disk is unknown. A second sync can succeed without
    /// having written anything. The server therefore stops permanently.
    pub fn storage_failed(&mut self, now: Instant) {
        if !self.has_stopped(now) && self.config.enforces(Rule::StorageFaultIsFinal) {
            self.stop(StopReason::StorageFailed);
        }
    }

    /// Moves all pending effects into `effects`.
    ///
    /// The effects of several inputs before one drain are merged. The vectors of the buffer are
    /// appended to. A caller that empties and reuses the buffer causes no allocation.
    ///
    /// # Panics
    ///
    /// If the buffer still contains a write or a snapshot to install. The drain would overwrite it,
    /// and the messages that depend on it would never be sent.
    pub fn drain(&mut self, effects: &mut Effects) {
        assert!(effects.write.is_none(), "the write of the previous drain was not taken");
        assert!(effects.install.is_none(), "the snapshot of the previous drain was not installed");
        if self.volatile.stopped.is_none() {
            self.drain_write(effects);
            self.request_votes();
            self.release_messages();
            self.replicate(effects);
            self.forward_reads();
            self.drain_committed(effects);
            self.drain_snapshot(effects);
        }
        self.outbox.drain(effects);
    }

    /// Starts an input: advances the time, and returns true if the server has stopped. The time
    /// never decreases.
    fn has_stopped(&mut self, now: Instant) -> bool {
        self.volatile.now = self.volatile.now.max(now);
        self.volatile.stopped.is_some()
    }

    /// Records an event, if the configuration asks for events.
    fn emit(&mut self, event: impl FnOnce() -> Event) {
        if self.config.record_events {
            self.outbox.push_event(event);
        }
    }

    /// Records that a message has no effect.
    fn ignore(&mut self, from: NodeId, reason: IgnoreReason) {
        self.emit(|| Event::MessageIgnored { from, reason });
    }

    /// Stops the server permanently.
    fn stop(&mut self, reason: StopReason) {
        self.abort_reads();
        self.outbox.clear_messages();
        self.emit(|| Event::Stopped { reason });
        self.volatile.stopped = Some(reason);
    }

    /// Enters a later term, in which this server has not voted (§5.1).
    fn adopt_term(&mut self, term: Term, from: NodeId) {
        debug_assert!(term > self.term(), "terms only grow");
        let previous = self.term();
        self.emit(|| Event::TermAdvanced { from: previous, to: term, learned_from: Some(from) });
        self.persistent.hard_state = HardState { term, vote: None };
        self.volatile.pending_vote_grant = None;
        self.abort_reads();
        self.become_follower(StepDownReason::LaterTerm { from });
    }

    /// Becomes a follower that knows no leader.
    fn become_follower(&mut self, reason: StepDownReason) {
        if !matches!(self.role, RoleState::Follower(_)) {
            let term = self.term();
            self.emit(|| Event::SteppedDown { term, reason });
            self.abort_reads();
            self.arm_timer();
        }
        self.role = RoleState::Follower(Follower::default());
    }

    /// Restarts the election timer with a new random timeout.
    #[inline(always)]
    fn arm_timer(&mut self) {
        self.volatile.timer.arm(self.volatile.now);
    }
}
