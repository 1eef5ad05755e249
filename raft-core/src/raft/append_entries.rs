//! Log replication, the follower's side (§5.3).

use crate::api::entries::Entries;
use crate::api::entry::{Entry, Payload};
use crate::api::event::{AppendRefusal, Event, IgnoreReason, StepDownReason, StopReason};
use crate::api::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, Heartbeat, HeartbeatResponse, Message,
};
use crate::api::types::{LogId, LogIndex, NodeId, Term};
use crate::raft::{Raft, RoleState};
use crate::sabotage::Rule;

impl Raft {
    pub(crate) fn on_heartbeat(&mut self, from: NodeId, request: Heartbeat) {
        if request.term >= self.term() && !self.recognize_leader(from, request.term) {
            return;
        }
        // To a leadership that is over the answer says the term, and nothing else: the same server
        // may lead again in this one, whose rounds are others.
        let is_over = request.term < self.term() && self.config.enforces(Rule::EarlierRoundIsVoid);
        let response =
            HeartbeatResponse { term: self.term(), round: if is_over { 0 } else { request.round } };
        self.send_checked(from, Message::HeartbeatResponse(response));
        if request.term < self.term() {
            let reason = AppendRefusal::StaleTerm { theirs: request.term, ours: self.term() };
            return self.emit(|| Event::AppendRefused { leader: from, reason });
        }
        let last = self.log.last().index;
        if request.commit_index > last && self.config.enforces(Rule::HeartbeatWithinMatch) {
            // The leader names no more than this server acknowledged to it in this term, when it
            // was durable. So the disk has lost it, and perhaps votes with it (etcd #21178).
            let acknowledged = request.commit_index;
            return self.stop(StopReason::LogLost { acknowledged, last });
        }
        if request.commit_index.min(last) > self.commit_index {
            self.commit_through(request.commit_index.min(last));
        }
        self.retry_forwarded_reads();
    }

    pub(crate) fn on_append_entries(&mut self, from: NodeId, request: AppendEntries) {
        let prev_log = request.prev_log;
        if request.term < self.term() && self.config.enforces(Rule::StaleLeaderIsRefused) {
            let reason = AppendRefusal::StaleTerm { theirs: request.term, ours: self.term() };
            // Nor does this say anything about the log.
            return self.reject_append(from, LogId::default(), LogId::default(), reason);
        }
        if request.term >= self.term() && !self.recognize_leader(from, request.term) {
            return;
        }
        if !is_well_formed(&request, self.config.witness) {
            return self.ignore(from, IgnoreReason::MalformedEntries);
        }
        if !self.matches_prev_log(prev_log) {
            let ours = self.log.term_at(prev_log.index);
            let bound = LogId::new(prev_log.term, prev_log.index.previous());
            // What has been compacted away is committed, so there both logs agree.
            let hint = self.log.find_conflict_by_term(bound).unwrap_or(self.log.start());
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
        let agreed = if self.config.enforces(Rule::CommitWhatMatches) {
            match_index
        } else {
            self.log.last().index
        };
        let commit_index = request.leader_commit.min(agreed);
        if commit_index > self.commit_index {
            self.commit_through(commit_index);
        }
    }

    /// Whether the log agrees with the leader's at an entry. It does wherever it has been
    /// compacted, because that is committed.
    fn matches_prev_log(&self, prev_log: LogId) -> bool {
        prev_log.index < self.log.start().index
            || self.log.contains(prev_log)
            || (!self.config.enforces(Rule::PreviousEntryMatches)
                && prev_log.index <= self.log.last().index)
    }

    /// Follows the server that leads in `term`, which is not over. Returns false if that is
    /// impossible, and the server stopped.
    #[inline(always)]
    pub(crate) fn recognize_leader(&mut self, from: NodeId, term: Term) -> bool {
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
        self.last_leader_contact = Some((from, self.now));
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
        self.send_checked(leader, Message::AppendEntriesResponse(response));
    }

    /// Appends what the log does not hold yet, and removes only what conflicts with it: a late
    /// request must not remove entries that came after it (§5.3). Returns false if the server
    /// stopped.
    fn append_from_leader(&mut self, leader: NodeId, prev_log: LogId, entries: Entries) -> bool {
        let start = self.log.start();
        let differs = |entry: &Entry| entry.id.index == start.index && entry.id != start;
        if prev_log.index < start.index && entries.iter().any(differs) {
            let index = start.index;
            self.stop(StopReason::CommittedEntryConflict { index });
            return false;
        }
        if !self.config.enforces(Rule::OnlyConflictIsRemoved) {
            let first = prev_log.index.max(self.commit_index).next();
            if first <= self.log.last().index {
                self.remove_conflict(leader, first);
            }
        }
        let is_old = |entry: &&Entry| {
            entry.id.index <= start.index
                || self.log.contains(entry.id)
                || (!self.config.enforces(Rule::ConflictIsRemoved)
                    && entry.id.index <= self.log.last().index)
        };
        let old = if prev_log.index < self.log.last().index {
            entries.iter().take_while(is_old).count()
        } else {
            0
        };
        let Some(first) = entries.get(old).map(|entry| entry.id.index) else { return true };
        if first <= self.log.last().index && !self.remove_conflict(leader, first) {
            return false;
        }
        let mut changed = false;
        for entry in &entries[old..] {
            if let Payload::Membership(membership) = &entry.payload {
                self.memberships.append(entry.id.index, (**membership).clone());
                changed = true;
            }
        }
        self.log.append_batch(entries, old);
        let last = self.log.last();
        self.emit(|| Event::EntriesAppended { leader, first, last });
        if changed {
            self.membership_changed();
        }
        true
    }

    fn remove_conflict(&mut self, leader: NodeId, first: LogIndex) -> bool {
        if first <= self.commit_index {
            self.stop(StopReason::CommittedEntryConflict { index: first });
            return false;
        }
        let last = self.log.last().index;
        self.log.truncate(first);
        if self.config.enforces(Rule::ReplacedWriteIsVoid) {
            self.durability.void_from(first);
        }
        self.emit(|| Event::EntriesTruncated { leader, first, last });
        if self.membership_index() >= first
            && self.config.enforces(Rule::MembershipRevertsOnTruncation)
        {
            self.memberships.truncate(first);
            self.membership_changed();
        }
        true
    }
}

/// Whether the entries follow each other and their predecessor, in terms that do not fall and that
/// the sender has reached, and their memberships make sense. Only a witness gets them without
/// payloads.
fn is_well_formed(request: &AppendEntries, for_witness: bool) -> bool {
    let mut previous = request.prev_log;
    for entry in &*request.entries {
        let id = entry.id;
        if id.index != previous.index.next() || id.term < previous.term || id.term.0 == 0 {
            return false;
        }
        let makes_sense = match &entry.payload {
            Payload::Noop | Payload::Command(_) => true,
            Payload::Membership(membership) => membership.validate().is_ok(),
            Payload::Stripped => for_witness,
        };
        if !makes_sense {
            return false;
        }
        previous = id;
    }
    previous.term <= request.term && previous.index <= LogIndex::LAST
}
