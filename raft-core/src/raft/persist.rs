//! Writes, and the messages that wait for them (Figure 2: respond after updating stable storage).

use crate::api::effects::{Durable, Effects, Write};
use crate::api::event::Event;
use crate::api::message::{AppendEntriesResponse, AppendResult, Message, RequestVoteResponse};
use crate::api::types::Instant;
use crate::raft::Raft;
use crate::raft::role::RoleState;
use crate::sabotage::Rule;

impl Raft {
    /// Input: a write is durable, together with all writes before it.
    ///
    /// Tokens may arrive late, repeatedly or out of order. A token of an earlier boot, of another
    /// server, or of entries that were replaced in the meantime changes nothing. A token that
    /// overtakes that of an earlier write takes effect together with it.
    pub fn persisted(&mut self, token: Durable, now: Instant) {
        if self.has_stopped(now) {
            return;
        }
        self.writes.report(&token);
        #[cfg(feature = "sabotage")]
        if !self.config.enforces(Rule::WritesCompleteInOrder) {
            self.writes.report_with_earlier(&token);
        }
        let mut through = None;
        while let Some(last) = self.writes.pop_durable() {
            let Some(last) = last else { continue };
            let log = &mut self.persistent.log;
            let is_news = if self.config.enforces(Rule::ReplacedWriteIsVoid) {
                log.persisted(last)
            } else {
                log.note_durable(last.index)
            };
            if is_news {
                through = Some(last);
            }
        }
        if let Some(through) = through {
            let last = token.entries.last().map(|entry| entry.id);
            self.delivery.last_persisted =
                last.filter(|last| *last == through).map(|last| (last, token.entries));
            self.emit(|| Event::LogPersisted { through });
            if let RoleState::Leader(_) = self.role {
                self.release_uncommitted(self.volatile.commit_index.min(through.index));
                self.advance_commit(through.index);
            }
        }
        self.request_votes();
    }

    /// Returns true if the current term and vote are durable. Messages that depend on them must not
    /// be sent before.
    pub(super) fn hard_state_is_durable(&self) -> bool {
        self.writes.durable() == self.persistent.hard_state
    }

    /// Returns true if the oldest write has taken `write_stall_max` or longer.
    pub(super) fn disk_is_stalled(&self) -> bool {
        self.writes.oldest().is_some_and(|started_at| {
            self.volatile.now.saturating_since(started_at) >= self.config.write_stall_max
        })
    }

    /// Drains the changes of hard state and log since the previous write.
    pub(super) fn drain_write(&mut self, effects: &mut Effects) {
        let hard_state = self.persistent.hard_state;
        let changed = (self.writes.written() != hard_state).then_some(hard_state);
        let log = &mut self.persistent.log;
        if changed.is_none() && !log.has_unwritten() {
            return;
        }
        let last = log.last_unwritten();
        let log_start = log.take_start();
        let entries = log.take_unwritten();
        let token = self.writes.start(hard_state, last, entries, self.volatile.now);
        effects.write = Some(Write { token, hard_state: changed, log_start });
    }

    /// Sends the vote and the acknowledgement that are durable now.
    pub(super) fn release_messages(&mut self) {
        if matches!(self.role, RoleState::Leader(_)) && self.volatile.pending_vote_grant.is_none() {
            return;
        }
        let is_durable = self.hard_state_is_durable();
        let term = self.term();
        if (is_durable || !self.config.enforces(Rule::VoteIsDurable))
            && let Some(candidate) = self.volatile.pending_vote_grant.take()
        {
            let response = RequestVoteResponse { term, granted: true };
            self.outbox.send_checked(candidate, Message::RequestVoteResponse(response));
        }
        let durable = if self.config.enforces(Rule::AcknowledgeDurable) {
            self.persistent.log.durable()
        } else {
            self.persistent.log.last().index
        };
        let RoleState::Follower(follower) = &mut self.role else { return };
        let Some(leader) = follower.leader.filter(|_| is_durable) else { return };
        if let Some(match_index) = follower.ack.take_due(durable) {
            let result = AppendResult::Accepted { match_index };
            self.outbox.send_bounded(leader, || {
                Message::AppendEntriesResponse(AppendEntriesResponse { term, result })
            });
        }
    }
}
