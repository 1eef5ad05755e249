//! Log replication, the follower's side (§5.3).

use crate::entries::Entries;
use crate::entry::{Entry, Payload};
use crate::event::{AppendRefusal, Event, IgnoreReason, StepDownReason, StopReason};
use crate::id::{LogId, LogIndex, NodeId, Term};
use crate::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, Heartbeat, HeartbeatResponse, Message,
};
use crate::raft::{Raft, RoleState};
use crate::sabotage::Rule;

impl Raft {
    pub(crate) fn on_heartbeat(&mut self, from: NodeId, request: Heartbeat) {
        if request.term >= self.term() && !self.recognize_leader(from, request.term) {
            return;
        }
        // To a leadership that is over the answer says the term, and nothing else: the same server may
        // lead again in this one, whose rounds are others.
        let is_over = request.term < self.term() && self.config.keeps(Rule::EarlierRoundIsVoid);
        let response =
            HeartbeatResponse { term: self.term(), round: if is_over { 0 } else { request.round } };
        self.send(from, Message::HeartbeatResponse(response));
        if request.term < self.term() {
            let reason = AppendRefusal::StaleTerm { theirs: request.term, ours: self.term() };
            return self.explain(|| Event::AppendRefused { leader: from, reason });
        }
        let last = self.log.last().index;
        if request.commit_index > last && self.config.keeps(Rule::HeartbeatWithinMatch) {
            // The leader names no more than this server acknowledged to it in this term, when it
            // was durable. So the disk has lost it, and perhaps votes with it (etcd #21178).
            let acknowledged = request.commit_index;
            return self.stop(StopReason::LogLost { acknowledged, last });
        }
        if request.commit_index.min(last) > self.commit_index {
            self.commit_through(request.commit_index.min(last));
        }
        self.ask_again();
    }

    pub(crate) fn on_append_entries(&mut self, from: NodeId, request: AppendEntries) {
        let prev_log = request.prev_log;
        if request.term < self.term() && self.config.keeps(Rule::StaleLeaderIsRefused) {
            let reason = AppendRefusal::StaleTerm { theirs: request.term, ours: self.term() };
            // Nor does this say anything about the log.
            return self.refuse_entries(from, LogId::default(), LogId::default(), reason);
        }
        if request.term >= self.term() && !self.recognize_leader(from, request.term) {
            return;
        }
        if !is_piece_of_a_log(&request, self.config.witness) {
            return self.ignore(from, IgnoreReason::MalformedEntries);
        }
        if !self.holds(prev_log) {
            let ours = self.log.term_at(prev_log.index);
            let bound = LogId::new(prev_log.term, prev_log.index.previous());
            // What has been compacted away is committed, so there both logs agree.
            let hint = self.log.last_not_after(bound).unwrap_or(self.log.start());
            let reason = AppendRefusal::PreviousEntryMissing { prev_log, ours };
            return self.refuse_entries(from, prev_log, hint, reason);
        }
        let match_index = request.entries.last().map_or(prev_log.index, |entry| entry.id.index);
        if !self.take_entries(from, prev_log, request.entries) {
            return;
        }
        if let RoleState::Follower(follower) = &mut self.role {
            follower.ack.reached(prev_log.index, match_index);
        }
        let agreed = if self.config.keeps(Rule::CommitWhatMatches) {
            match_index
        } else {
            self.log.last().index
        };
        let commit_index = request.leader_commit.min(agreed);
        if commit_index > self.commit_index {
            self.commit_through(commit_index);
        }
    }

    /// Whether the log agrees with the leader's at an entry. It does wherever it has been compacted,
    /// because that is committed.
    fn holds(&self, prev_log: LogId) -> bool {
        prev_log.index < self.log.start().index
            || self.log.contains(prev_log)
            || (!self.config.keeps(Rule::PreviousEntryMatches)
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
            self.follow(StepDownReason::LeaderExists { leader: from });
        }
        if known.is_none() {
            self.explain(|| Event::LeaderRecognized { term, leader: from });
        }
        self.arm_timer();
        if let RoleState::Follower(follower) = &mut self.role {
            follower.leader = Some(from);
        }
        self.heard = Some((from, self.now));
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
        let response = AppendEntriesResponse { term: self.term(), result };
        self.send(leader, Message::AppendEntriesResponse(response));
    }

    /// Appends what the log does not hold yet, and removes only what conflicts with it: a late
    /// request must not remove entries that came after it (§5.3). Returns false if the server
    /// stopped.
    fn take_entries(&mut self, leader: NodeId, prev_log: LogId, entries: Entries) -> bool {
        let start = self.log.start();
        let differs = |entry: &Entry| entry.id.index == start.index && entry.id != start;
        if prev_log.index < start.index && entries.iter().any(differs) {
            let index = start.index;
            self.stop(StopReason::CommittedEntryConflict { index });
            return false;
        }
        if !self.config.keeps(Rule::OnlyConflictIsRemoved) {
            let first = prev_log.index.max(self.commit_index).next();
            if first <= self.log.last().index {
                self.remove_conflict(leader, first);
            }
        }
        let is_old = |entry: &&Entry| {
            entry.id.index <= start.index
                || self.log.contains(entry.id)
                || (!self.config.keeps(Rule::ConflictIsRemoved)
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
        self.explain(|| Event::EntriesAppended { leader, first, last });
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
        if self.config.keeps(Rule::ReplacedWriteIsVoid) {
            self.durability.removed(first);
        }
        self.explain(|| Event::EntriesTruncated { leader, first, last });
        if self.membership_index() >= first
            && self.config.keeps(Rule::MembershipRevertsOnTruncation)
        {
            self.memberships.truncate(first);
            self.membership_changed();
        }
        true
    }
}

/// Whether the entries follow each other and their predecessor, in terms that do not fall and that
/// the sender has reached, and their memberships make sense. Only a witness gets them without payloads.
fn is_piece_of_a_log(request: &AppendEntries, for_witness: bool) -> bool {
    let mut previous = request.prev_log;
    for entry in &*request.entries {
        let id = entry.id;
        if id.index != previous.index.next() || id.term < previous.term || id.term.0 == 0 {
            return false;
        }
        let makes_sense = match &entry.payload {
            Payload::Noop | Payload::Command(_) => true,
            Payload::Membership(membership) => membership.validate().is_ok(),
            Payload::Withheld => for_witness,
        };
        if !makes_sense {
            return false;
        }
        previous = id;
    }
    previous.term <= request.term && previous.index <= LogIndex::LAST
}
