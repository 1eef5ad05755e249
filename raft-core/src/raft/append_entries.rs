//! Log replication on a follower (§5.3).

use crate::api::entries::Entries;
use crate::api::entry::{Entry, Payload};
use crate::api::event::{AppendRefusal, Event, IgnoreReason, StepDownReason, StopReason};
use crate::api::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, Heartbeat, HeartbeatResponse, Message,
};
use crate::api::types::{LogId, LogIndex, NodeId, Term};
use crate::raft::Raft;
use crate::raft::role::RoleState;
use crate::sabotage::Rule;

impl Raft {
    pub(super) fn on_heartbeat(&mut self, from: NodeId, request: Heartbeat) {
        if request.term >= self.term() && !self.recognize_leader(from, request.term) {
            return;
        }
        // A response to an earlier term contains only the term. The sender may lead again in this
        // term, and its rounds start again at 1.
        let is_stale = request.term < self.term() && self.config.enforces(Rule::EarlierRoundIsVoid);
        let round = if is_stale { 0 } else { request.round };
        let response = HeartbeatResponse { term: self.term(), round };
        self.outbox.send_checked(from, Message::HeartbeatResponse(response));
        if request.term < self.term() {
            let reason = AppendRefusal::StaleTerm { theirs: request.term, ours: self.term() };
            return self.emit(|| Event::AppendRefused { leader: from, reason });
        }
        let last = self.persistent.log.last().index;
        if request.commit_index > last && self.config.enforces(Rule::HeartbeatWithinMatch) {
            // The commit index of a heartbeat never exceeds the index that this server has
            // acknowledged in this term, when it was durable. The disk has lost that entry, and
            // perhaps a vote (etcd #21178).
            let acknowledged = request.commit_index;
            return self.stop(StopReason::LogLost { acknowledged, last });
        }
        if request.commit_index.min(last) > self.volatile.commit_index {
            self.commit_through(request.commit_index.min(last));
        }
        self.forwarded_reads.on_leader_contact(self.volatile.now, self.config.heartbeat_interval);
    }

    pub(super) fn on_append_entries(&mut self, from: NodeId, request: AppendEntries) {
        let prev_log = request.prev_log;
        if request.term < self.term() && self.config.enforces(Rule::StaleLeaderIsRefused) {
            let reason = AppendRefusal::StaleTerm { theirs: request.term, ours: self.term() };
            // A response to an earlier term contains nothing about the log.
            return self.reject_append(from, LogId::default(), LogId::default(), reason);
        }
        if request.term >= self.term() && !self.recognize_leader(from, request.term) {
            return;
        }
        if !is_well_formed(&request, self.config.witness) {
            return self.ignore(from, IgnoreReason::MalformedEntries);
        }
        if !self.matches_prev_log(prev_log) {
            let log = &self.persistent.log;
            let ours = log.term_at(prev_log.index);
            let bound = LogId::new(prev_log.term, prev_log.index.previous());
            // Compacted entries are committed, so both logs match there.
            let hint = log.find_conflict_by_term(bound).unwrap_or(log.start());
            let reason = AppendRefusal::PreviousEntryMissing { prev_log, ours };
            return self.reject_append(from, prev_log, hint, reason);
        }
        let match_index = request.entries.last().map_or(prev_log.index, |entry| entry.id.index);
        if !self.append_from_leader(from, prev_log, request.entries) {
            return;
        }
        if let RoleState::Follower(follower) = &mut self.role {
            follower.ack.note_match(prev_log.index, match_index);
        }
        let matched = if self.config.enforces(Rule::CommitWhatMatches) {
            match_index
        } else {
            self.persistent.log.last().index
        };
        let commit_index = request.leader_commit.min(matched);
        if commit_index > self.volatile.commit_index {
            self.commit_through(commit_index);
        }
    }

    /// Returns true if the log matches the leader's log at `prev_log`. Logs always match where this
    /// one is compacted, because compacted entries are committed.
    fn matches_prev_log(&self, prev_log: LogId) -> bool {
        let log = &self.persistent.log;
        prev_log.index < log.start().index
            || log.contains(prev_log)
            || (!self.config.enforces(Rule::PreviousEntryMatches)
                && prev_log.index <= log.last().index)
    }

    /// Follows the leader `from` of `term`, which is not earlier than the current term.
    ///
    /// Returns false if another server leads in that term. This server has then stopped.
    #[inline(always)]
    pub(super) fn recognize_leader(&mut self, from: NodeId, term: Term) -> bool {
        if term > self.term() {
            self.adopt_term(term, from);
        }
        let known = self.leader();
        if let Some(known) = known
            && known != from
        {
            self.stop(StopReason::TwoLeaders { term, known, other: from });
            return false;
        }
        if !matches!(self.role, RoleState::Follower(_)) {
            self.become_follower(StepDownReason::LeaderExists { leader: from });
        }
        if known.is_none() {
            self.emit(|| Event::LeaderRecognized { term, leader: from });
        }
        self.arm_timer();
        if let RoleState::Follower(follower) = &mut self.role {
            follower.leader = Some(from);
        }
        self.volatile.last_leader_contact = Some((from, self.volatile.now));
        true
    }

    fn reject_append(
        &mut self,
        leader: NodeId,
        prev_log: LogId,
        hint: LogId,
        reason: AppendRefusal,
    ) {
        self.emit(|| Event::AppendRefused { leader, reason });
        let result = AppendResult::Rejected { prev_log, hint };
        let response = AppendEntriesResponse { term: self.term(), result };
        self.outbox.send_checked(leader, Message::AppendEntriesResponse(response));
    }

    /// Appends the entries that the log does not contain. Returns false if the server has stopped.
    ///
    /// Only conflicting entries are removed. Without this, a delayed request would remove entries
    /// of a later request (§5.3).
    fn append_from_leader(&mut self, leader: NodeId, prev_log: LogId, entries: Entries) -> bool {
        let start = self.persistent.log.start();
        let differs = |entry: &Entry| entry.id.index == start.index && entry.id != start;
        if prev_log.index < start.index && entries.iter().any(differs) {
            let index = start.index;
            self.stop(StopReason::CommittedEntryConflict { index });
            return false;
        }
        #[cfg(feature = "sabotage")]
        self.remove_without_conflict(leader, prev_log.index);
        let log = &self.persistent.log;
        let last = log.last().index;
        let is_known = |entry: &&Entry| {
            entry.id.index <= start.index
                || log.contains(entry.id)
                || (!self.config.enforces(Rule::ConflictIsRemoved) && entry.id.index <= last)
        };
        let known =
            if prev_log.index < last { entries.iter().take_while(is_known).count() } else { 0 };
        let Some(first) = entries.get(known).map(|entry| entry.id.index) else { return true };
        if first <= last && !self.remove_conflict(leader, first) {
            return false;
        }
        let mut membership_changed = false;
        for entry in &entries[known..] {
            if let Payload::Membership(membership) = &entry.payload {
                self.persistent.memberships.append(entry.id.index, (**membership).clone());
                membership_changed = true;
            }
        }
        self.persistent.log.append_batch(entries, known);
        let last = self.persistent.log.last();
        self.emit(|| Event::EntriesAppended { leader, first, last });
        if membership_changed {
            self.on_membership_changed();
        }
        true
    }

    /// Removes the entries from `first` on. Returns false if one of them is committed; the server
    /// has then stopped.
    pub(super) fn remove_conflict(&mut self, leader: NodeId, first: LogIndex) -> bool {
        if first <= self.volatile.commit_index {
            self.stop(StopReason::CommittedEntryConflict { index: first });
            return false;
        }
        let last = self.persistent.log.last().index;
        self.persistent.log.truncate(first);
        if self.config.enforces(Rule::ReplacedWriteIsVoid) {
            self.writes.void_from(first);
        }
        self.emit(|| Event::EntriesTruncated { leader, first, last });
        if self.membership_index() >= first
            && self.config.enforces(Rule::MembershipRevertsOnTruncation)
        {
            self.persistent.memberships.truncate(first);
            self.on_membership_changed();
        }
        true
    }
}

/// Returns true if the entries can be part of the sender's log.
///
/// Their indexes are consecutive, their terms never decrease and do not exceed the sender's term,
/// and their memberships are valid. Only a witness receives entries without payload.
fn is_well_formed(request: &AppendEntries, for_witness: bool) -> bool {
    let mut previous = request.prev_log;
    for entry in &*request.entries {
        let id = entry.id;
        if id.index != previous.index.next() || id.term < previous.term || id.term.0 == 0 {
            return false;
        }
        let is_valid = match &entry.payload {
            Payload::Noop | Payload::Command(_) => true,
            Payload::Membership(membership) => membership.validate().is_ok(),
            Payload::Stripped => for_witness,
        };
        if !is_valid {
            return false;
        }
        previous = id;
    }
    previous.term <= request.term && previous.index <= LogIndex::LAST
}
