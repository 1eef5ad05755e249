//! Log replication, the follower's side (§5.3).

use crate::entry::Entry;
use crate::event::{AppendRefusal, Event, IgnoreReason, StepDownReason, StopReason};
use crate::id::{LogId, LogIndex, NodeId, Term};
use crate::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, Heartbeat, HeartbeatResponse, Message,
};
use crate::raft::{Raft, RoleState};

impl Raft {
    pub(crate) fn on_heartbeat(&mut self, from: NodeId, request: &Heartbeat) {
        if request.term >= self.term() && !self.recognize_leader(from, request.term) {
            return;
        }
        let response = HeartbeatResponse {
            term: self.term(),
            round: request.round,
        };
        self.send(from, Message::HeartbeatResponse(response));
        if request.term < self.term() {
            let reason = AppendRefusal::StaleTerm {
                theirs: request.term,
                ours: self.term(),
            };
            return self.explain(|| Event::AppendRefused {
                leader: from,
                reason,
            });
        }
        // The leader names no more than this server acknowledged in this term; a server that lost
        // its disk since must not believe that it has the entries (etcd #21178).
        if request.commit_index > self.log.last().index {
            self.ignore(from, IgnoreReason::BeyondLog);
        } else if request.commit_index > self.commit_index {
            self.commit_through(request.commit_index);
        }
    }

    pub(crate) fn on_append_entries(&mut self, from: NodeId, request: AppendEntries) {
        let prev_log = request.prev_log;
        if request.term < self.term() {
            let reason = AppendRefusal::StaleTerm {
                theirs: request.term,
                ours: self.term(),
            };
            return self.refuse_entries(from, prev_log, LogId::default(), reason);
        }
        if !self.recognize_leader(from, request.term) {
            return;
        }
        if !is_piece_of_a_log(&request) {
            return self.ignore(from, IgnoreReason::MalformedEntries);
        }
        if !self.log.contains(prev_log) {
            let ours = self.log.term_at(prev_log.index);
            let bound = LogId::new(prev_log.term, prev_log.index.previous());
            let hint = self.log.last_not_after(bound);
            let reason = AppendRefusal::PreviousEntryMissing { prev_log, ours };
            return self.refuse_entries(from, prev_log, hint, reason);
        }
        let match_index = request
            .entries
            .last()
            .map_or(prev_log.index, |entry| entry.id.index);
        if !self.take_entries(from, request.entries) {
            return;
        }
        if let RoleState::Follower(follower) = &mut self.role {
            follower.ack.matched = follower.ack.matched.max(match_index);
            follower.ack.due = true;
        }
        let commit_index = request.leader_commit.min(match_index);
        if commit_index > self.commit_index {
            self.commit_through(commit_index);
        }
    }

    /// Follows the server that leads in `term`, which is not over. Returns false if that is
    /// impossible, and the server stopped.
    fn recognize_leader(&mut self, from: NodeId, term: Term) -> bool {
        if term > self.term() {
            self.adopt_term(term, from);
        }
        let known = self.leader();
        if let Some(known) = known
            && known != from
        {
            self.stop(StopReason::TwoLeaders {
                term,
                known,
                other: from,
            });
            return false;
        }
        if !matches!(self.role, RoleState::Follower(_)) {
            self.follow(StepDownReason::LeaderExists { leader: from });
        }
        if known.is_none() {
            self.explain(|| Event::LeaderRecognized { term, leader: from });
        }
        self.arm_timer();
        if let RoleState::Follower(follower) = &mut self.role {
            follower.leader = Some((from, self.now));
        }
        true
    }

    fn refuse_entries(
        &mut self,
        leader: NodeId,
        prev_log: LogId,
        hint: LogId,
        reason: AppendRefusal,
    ) {
        self.explain(|| Event::AppendRefused { leader, reason });
        let result = AppendResult::Rejected { prev_log, hint };
        let response = AppendEntriesResponse {
            term: self.term(),
            result,
        };
        self.send(leader, Message::AppendEntriesResponse(response));
    }

    /// Appends what the log does not hold yet, and removes only what conflicts with it: a late
    /// request must not remove entries that came after it (§5.3). Returns false if the server
    /// stopped.
    fn take_entries(&mut self, leader: NodeId, entries: alloc::vec::Vec<Entry>) -> bool {
        let mut fresh = entries
            .into_iter()
            .skip_while(|entry| self.log.contains(entry.id))
            .peekable();
        let Some(first) = fresh.peek().map(|entry| entry.id.index) else {
            return true;
        };
        let fresh: alloc::vec::Vec<_> = fresh.collect();
        if first <= self.log.last().index && !self.remove_conflict(leader, first) {
            return false;
        }
        for entry in fresh {
            self.log.append(entry);
        }
        let last = self.log.last();
        self.explain(|| Event::EntriesAppended {
            leader,
            first,
            last,
        });
        true
    }

    fn remove_conflict(&mut self, leader: NodeId, first: LogIndex) -> bool {
        if first <= self.commit_index {
            self.stop(StopReason::CommittedEntryConflict { index: first });
            return false;
        }
        let last = self.log.last().index;
        self.log.truncate(first);
        self.explain(|| Event::EntriesTruncated {
            leader,
            first,
            last,
        });
        true
    }
}

/// Whether the entries follow each other and their predecessor, in terms that do not fall and that
/// the sender has reached.
fn is_piece_of_a_log(request: &AppendEntries) -> bool {
    let mut previous = request.prev_log;
    for entry in &request.entries {
        let id = entry.id;
        if id.index != previous.index.next() || id.term < previous.term || id.term.0 == 0 {
            return false;
        }
        previous = id;
    }
    previous.term <= request.term && previous.index.0 < u64::MAX
}
