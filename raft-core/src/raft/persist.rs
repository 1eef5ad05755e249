//! Writes that are on the way to the disk, and the promises that wait for them.

use alloc::collections::VecDeque;

use crate::api::effects::{Durable, Effects, Write};
use crate::api::entry::HardState;
use crate::api::event::Event;
use crate::api::message::{AppendEntriesResponse, AppendResult, Message, RequestVoteResponse};
use crate::api::types::{Instant, LogId, LogIndex, NodeId};
use crate::raft::{Raft, RoleState};
use crate::sabotage::Rule;

/// Which writes are on the way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PendingWrites {
    server: NodeId,
    boot: u64,
    next_sequence: u64,
    /// Writes that were handed out and are not known to be durable, oldest first. Their numbers
    /// follow each other.
    pending: VecDeque<PendingWrite>,
    /// The hard state of the latest write.
    written: HardState,
    /// The hard state that survives a crash.
    durable: HardState,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct PendingWrite {
    /// The hard state as it is on the disk afterwards.
    hard_state: HardState,
    last: Option<LogId>,
    handed_out: Instant,
    synced: bool,
}

impl PendingWrites {
    pub(crate) fn new(server: NodeId, boot: u64, hard_state: HardState) -> Self {
        Self {
            server,
            boot,
            next_sequence: 1,
            pending: VecDeque::new(),
            written: hard_state,
            durable: hard_state,
        }
    }

    pub(crate) fn boot(&self) -> u64 {
        self.boot
    }

    /// The number of the oldest write that is on the way.
    fn first_sequence(&self) -> u64 {
        self.next_sequence - self.pending.len() as u64
    }

    /// Marks a write as synced.
    fn complete(&mut self, token: &Durable, in_order: bool) {
        if (token.server, token.boot) != (self.server, self.boot) {
            return;
        }
        let position = token.sequence.checked_sub(self.first_sequence());
        let Some(position) = position.and_then(|position| usize::try_from(position).ok()) else {
            return;
        };
        if let Some(write) = self.pending.get_mut(position) {
            write.synced = true;
            if !in_order {
                let earlier = self.pending.range_mut(..position);
                earlier.for_each(|write| write.synced = true);
            }
        }
    }

    /// The entries from `first` on were removed. No write on the way says anything about them, even
    /// if the very same entries are appended again: that takes another write.
    pub(crate) fn void_from(&mut self, first: LogIndex) {
        for write in &mut self.pending {
            write.last.take_if(|last| last.index >= first);
        }
    }

    /// What is on the way begins only at this moment.
    pub(crate) fn restart_stall_clock(&mut self, now: Instant) {
        for write in &mut self.pending {
            write.handed_out = now;
        }
    }

    /// Every write was handed out just now, and the oldest is number one. By how much its number
    /// was larger.
    #[cfg(feature = "model")]
    pub(crate) fn canonicalize(&mut self, at: Instant) -> u64 {
        let earlier = self.first_sequence() - 1;
        self.next_sequence -= earlier;
        for write in &mut self.pending {
            write.handed_out = at;
        }
        earlier
    }

    /// When the oldest write that is on the way was handed out.
    fn oldest(&self) -> Option<Instant> {
        self.pending.front().map(|write| write.handed_out)
    }
}

impl Raft {
    /// A write is durable, and with it all writes before it.
    ///
    /// Tokens may come late, repeatedly or out of order: one of an earlier boot, of another server,
    /// or of entries that have been replaced since, changes nothing, and one that overtakes an
    /// earlier write takes effect together with it.
    pub fn persisted(&mut self, token: Durable, now: Instant) {
        if self.start_input(now) {
            return;
        }
        let mut through = None;
        let in_order = self.config.enforces(Rule::WritesCompleteInOrder);
        let void_if_replaced = self.config.enforces(Rule::ReplacedWriteIsVoid);
        let durability = &mut self.durability;
        durability.complete(&token, in_order);
        while let Some(write) = durability.pending.front()
            && write.synced
        {
            durability.durable = write.hard_state;
            if let Some(last) = write.last
                && self.log.persisted(last, void_if_replaced)
            {
                through = Some(last);
            }
            durability.pending.pop_front();
        }
        if let Some(through) = through {
            let last = token.entries.last().map(|entry| entry.id);
            self.last_persisted_batch =
                last.filter(|last| *last == through).map(|last| (last, token.entries));
            self.emit(|| Event::LogPersisted { through });
            if let RoleState::Leader(_) = self.role {
                self.release_uncommitted(self.commit_index.min(through.index));
                self.advance_commit(through.index);
            }
        }
        self.request_votes();
    }

    /// Whether the current term and vote survive a crash. What another server may build on must
    /// not leave before.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.durability.durable == self.hard_state
    }

    /// Whether the disk has been busy with one write for so long that nothing can be promised.
    pub(crate) fn disk_is_stalled(&self) -> bool {
        self.durability.oldest().is_some_and(|handed_out| {
            self.now.saturating_since(handed_out) >= self.config.write_stall_max
        })
    }

    pub(crate) fn drain_write(&mut self, effects: &mut Effects) {
        let durability = &mut self.durability;
        let hard_state = (durability.written != self.hard_state).then_some(self.hard_state);
        if hard_state.is_none() && !self.log.has_unwritten() {
            return;
        }
        let sequence = durability.next_sequence;
        durability.next_sequence += 1;
        durability.written = self.hard_state;
        let (server, boot) = (durability.server, durability.boot);
        self.durability.pending.push_back(PendingWrite {
            hard_state: self.hard_state,
            last: self.log.last_unwritten(),
            handed_out: self.now,
            synced: false,
        });
        let log_start = self.log.take_start();
        let entries = self.log.take_unwritten();
        let token = Durable { server, boot, sequence, entries };
        effects.write = Some(Write { token, hard_state, log_start });
    }

    /// Sends the vote and the acknowledgement that waited for a write, if it is durable.
    pub(crate) fn release_messages(&mut self) {
        if matches!(self.role, RoleState::Leader(_)) && self.pending_vote_grant.is_none() {
            return;
        }
        let is_durable = self.hard_state_is_durable();
        let term = self.term();
        if (is_durable || !self.config.enforces(Rule::VoteIsDurable))
            && let Some(candidate) = self.pending_vote_grant.take()
        {
            let response = RequestVoteResponse { term, granted: true };
            self.send_checked(candidate, Message::RequestVoteResponse(response));
        }
        let durable = self.log.durable_or_all(self.config.enforces(Rule::AcknowledgeDurable));
        let RoleState::Follower(follower) = &mut self.role else { return };
        let Some(leader) = follower.leader.filter(|_| is_durable) else { return };
        if let Some(match_index) = follower.ack.take_due(durable) {
            let result = AppendResult::Accepted { match_index };
            self.send_bounded(leader, || {
                Message::AppendEntriesResponse(AppendEntriesResponse { term, result })
            });
        }
    }
}

/// How far a follower's log agrees with its leader's. It is sent once the entries are durable;
/// several requests may share one answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Acknowledgement {
    matched: LogIndex,
    /// What would be no news for the leader.
    known: LogIndex,
    due: bool,
}

impl Acknowledgement {
    /// The log agrees up to `matched` because the leader sent what follows `built_on`, and it wants
    /// to know.
    pub(crate) fn note_match(&mut self, built_on: LogIndex, matched: LogIndex) {
        if !self.due {
            // An answer that reaches no further would make the leader send everything again.
            self.known = self.known.max(built_on);
        }
        self.matched = self.matched.max(matched);
        self.due = true;
    }

    /// What to tell the leader, if there is news for it. What is not durable yet stays due.
    fn take_due(&mut self, durable: LogIndex) -> Option<LogIndex> {
        let match_index = self.matched.min(durable);
        let news = self.due && (match_index == self.matched || match_index > self.known);
        if news {
            self.due = match_index < self.matched;
            self.known = match_index;
        }
        news.then_some(match_index)
    }
}
