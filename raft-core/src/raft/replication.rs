//! Log replication, the leader's side (§5.3, §5.4.2), pipelined and batched (dissertation 10.2).

use alloc::vec::Vec;
use core::time::Duration;

use crate::api::effects::{Effects, Fetch, FetchPurpose};
use crate::api::entries::Entries;
use crate::api::entry::Entry;
use crate::api::event::{Event, IgnoreReason, StepDownReason};
use crate::api::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, Heartbeat, HeartbeatResponse, Message,
};
use crate::api::types::{Instant, LogId, LogIndex, NodeId};
use crate::log::cache::Segment;
use crate::raft::{Leader, Raft, RoleState};
use crate::sabotage::Rule;
use crate::state::progress::{Mode, Progress};

impl Raft {
    /// A heartbeat interval has passed: the leader checks that it can still lead, and makes itself
    /// heard.
    pub(crate) fn on_heartbeat_timer(&mut self) {
        if self.config.check_quorum && self.quorum_is_lost() {
            return self.become_follower(StepDownReason::QuorumLost);
        }
        if self.disk_is_stalled() && !self.disk_is_full {
            return self.become_follower(StepDownReason::DiskStalled);
        }
        self.expire_transfer();
        self.transfer_if_disk_full();
        self.promote_ready_learners();
        if let RoleState::Leader(leader) = &mut self.role {
            leader.heartbeat_deadline = self.now + self.config.heartbeat_interval;
            leader.begin_round(self.now, self.config.lease_rounds_apart());
            for (_, progress) in &mut leader.followers {
                progress.on_heartbeat();
            }
        }
    }

    fn quorum_is_lost(&self) -> bool {
        let RoleState::Leader(leader) = &self.role else { return false };
        let heard =
            |voter| leader.follower(voter).map_or(self.now, |progress| progress.last_contact);
        let heard = self.quorum_value(heard).unwrap_or(self.now);
        self.now.saturating_since(heard) >= self.config.election_timeout_max
    }

    /// The greatest value that a majority has reached.
    pub(crate) fn quorum_value<T: Ord + Copy>(
        &self,
        reached: impl FnMut(NodeId) -> T,
    ) -> Option<T> {
        self.effective_membership().quorum_value(reached)
    }

    /// Sends every follower what it is due.
    #[inline(always)]
    pub(crate) fn replicate(&mut self, effects: &mut Effects) {
        if let RoleState::Leader(_) = self.role {
            self.replicate_log(effects);
        }
    }

    #[inline(never)]
    fn replicate_log(&mut self, effects: &mut Effects) {
        self.start_read_round();
        self.send_timeout_now();
        let (term, commit_index) = (self.term(), self.commit_index);
        let last = self.log.last().index;
        let log_start = self.log.start().index;
        self.update_follower_lag();
        let for_witnesses = self.witness_replication_limit();
        let RoleState::Leader(leader) = &mut self.role else { return };
        // The role is lent out of the server while messages are sent from it.
        let mut followers = core::mem::take(&mut leader.followers);
        let round = leader.round;
        let mut batch = None;
        for (follower, progress) in &mut followers {
            if progress.has_all(last) {
                continue;
            }
            if core::mem::take(&mut progress.heartbeat_due) {
                let commit_index = if self.config.enforces(Rule::HeartbeatWithinMatch) {
                    commit_index.min(progress.match_index)
                } else {
                    commit_index
                };
                self.send_checked(
                    *follower,
                    Message::Heartbeat(Heartbeat { term, round, commit_index }),
                );
            }
            let is_sent_snapshot = progress.sending().is_some();
            let lacks_entries = progress.next_index <= log_start;
            if is_sent_snapshot && !lacks_entries {
                // It got what it lacked, from wherever.
                progress.mode = Mode::Pipeline;
            } else if lacks_entries
                && !is_sent_snapshot
                && let Some(snapshot) = &self.snapshot
            {
                let (to, last) = (*follower, snapshot.last);
                let sent = snapshot.sent_to(self.membership().is_witness(to));
                progress.send_snapshot(sent, self.now);
                self.emit(|| Event::SnapshotSent { to, last });
            }
            if core::mem::take(&mut progress.probe_due) {
                self.send_append(*follower, progress, None);
            }
            self.send_entries(*follower, progress, for_witnesses, &mut batch, &mut effects.fetches);
            self.send_snapshot(*follower, progress, &mut effects.snapshot_chunk_requests);
        }
        if let RoleState::Leader(leader) = &mut self.role {
            leader.followers = followers;
        }
    }

    fn update_follower_lag(&mut self) {
        let (last, now) = (self.log.last().index, self.now);
        if !self.membership().witnesses().is_empty()
            && let RoleState::Leader(leader) = &mut self.role
        {
            for (_, progress) in &mut leader.followers {
                progress.update_lag(last, now);
            }
        }
    }

    /// Up to where witnesses may have the log. A witness cannot hand an entry on, and denies its
    /// vote to all who lack it; so it must not have one that a majority can do without. And it only
    /// stands in for those who cannot keep up: the others commit without it, so that what is
    /// committed is on as many disks as they are.
    fn witness_replication_limit(&self) -> LogIndex {
        const ALL: LogIndex = LogIndex(u64::MAX);
        let (membership, durable) = (self.membership(), self.log.durable());
        let RoleState::Leader(leader) = &self.role else { return LogIndex(0) };
        if membership.witnesses().is_empty() {
            return durable;
        }
        let with_witnesses = self.quorum_value(|voter| match leader.follower(voter) {
            _ if membership.is_witness(voter) => ALL,
            Some(progress) => progress.match_index,
            None => durable,
        });
        let timeout = self.config.election_timeout_min;
        let with_all_others = self.quorum_value(|voter| match leader.follower(voter) {
            _ if membership.is_decisive_witness(voter) => ALL,
            _ if membership.is_witness(voter) => LogIndex(0),
            Some(progress) if !progress.is_up_to_date(self.now, timeout) => ALL,
            Some(progress) => progress.match_index,
            None => durable,
        });
        with_witnesses.min(with_all_others).unwrap_or_default()
    }

    fn send_entries(
        &mut self,
        follower: NodeId,
        progress: &mut Progress,
        for_witnesses: LogIndex,
        batch: &mut Option<(LogIndex, Segment)>,
        fetches: &mut Vec<Fetch>,
    ) {
        let (messages_max, bytes_max) =
            (self.config.in_flight_messages_max, self.config.in_flight_bytes_max);
        let through = if self.membership().is_witness(follower) {
            for_witnesses
        } else {
            self.log.last().index
        };
        while progress.may_send(messages_max, bytes_max) {
            let pipeline = progress.mode == Mode::Pipeline;
            if progress.next_index > through {
                if !pipeline {
                    self.send_append(follower, progress, None);
                }
                return;
            }
            if progress.next_index < self.log.cache_start() {
                progress.mode = Mode::Fetching { pipeline };
                return fetches.push(Fetch {
                    purpose: FetchPurpose::Follower(follower),
                    from: progress.next_index,
                    through: through.min(self.log.cache_start().previous()),
                    bytes_max: self.config.append_bytes_max,
                });
            }
            let (next, bytes_max) = (progress.next_index, self.config.append_bytes_max);
            // Most followers lack what came last, and others the same as the one before them.
            let newest = self.log.cache.newest().filter(|piece| {
                let is_small = piece.bytes <= bytes_max || piece.entries.len() == 1;
                piece.first == next && piece.last() <= through && is_small
            });
            let built =
                batch.as_ref().filter(|(until, piece)| (*until, piece.first) == (through, next));
            let due = match newest.or(built.map(|(_, piece)| piece)) {
                Some(piece) => Some(piece.clone()),
                None => {
                    let piece = Segment::new(self.log.batch(next, through, bytes_max));
                    *batch = piece.clone().map(|piece| (through, piece));
                    piece
                }
            };
            self.send_append(follower, progress, due);
        }
    }

    pub(crate) fn send_append(
        &mut self,
        follower: NodeId,
        progress: &mut Progress,
        batch: Option<Segment>,
    ) {
        let prev_index = progress.next_index.previous();
        let Some(prev_term) = self.log.term_at(prev_index) else {
            debug_assert!(false, "a leader sends entries of its own log");
            return;
        };
        let (last, bytes) =
            batch.as_ref().map_or((prev_index, 0), |piece| (piece.last(), piece.bytes));
        if batch.is_some() || matches!(progress.mode, Mode::Probe { .. }) {
            progress.sent(last, bytes);
        }
        let mut entries = batch.map_or_else(Entries::default, |piece| piece.entries);
        if self.membership().is_witness(follower) {
            entries = entries.iter().map(Entry::strip_payload).collect();
        }
        let (term, leader_commit) = (self.term(), self.commit_index);
        let prev_log = LogId::new(prev_term, prev_index);
        self.send_bounded(follower, || {
            Message::AppendEntries(AppendEntries { term, prev_log, entries, leader_commit })
        });
    }

    pub(crate) fn on_append_entries_response(
        &mut self,
        from: NodeId,
        response: AppendEntriesResponse,
    ) {
        if !self.check_response_term(from, response.term) {
            return;
        }
        let (now, last) = (self.now, self.log.last().index);
        let timeout = self.config.election_timeout_min;
        let Some(progress) = self.role.progress_of(from) else { return };
        progress.last_contact = now;
        match response.result {
            AppendResult::Accepted { match_index } if match_index > last => {
                self.ignore(from, IgnoreReason::BeyondLog);
            }
            AppendResult::Accepted { match_index } => {
                let news = progress.accepted(match_index);
                progress.catch_up(last, now, timeout);
                if news {
                    self.emit(|| Event::MatchAdvanced { follower: from, match_index });
                    self.advance_commit(match_index);
                }
                self.promote_ready_learners();
            }
            AppendResult::Rejected { prev_log, hint } => {
                if !progress.is_current_rejection(prev_log.index) || !self.log.contains(prev_log) {
                    return self.ignore(from, IgnoreReason::StaleResponse);
                }
                // Where nothing is left of the log, a snapshot must do.
                let agreed = self.log.find_conflict_by_term(hint).unwrap_or_default().index;
                progress.backtrack(agreed.next().min(prev_log.index));
                if prev_log.index <= progress.match_index {
                    progress.pause_until_heartbeat();
                }
                let next_index = progress.next_index;
                self.emit(|| Event::Backtracked { follower: from, next_index });
            }
        }
    }

    pub(crate) fn on_heartbeat_response(&mut self, from: NodeId, response: HeartbeatResponse) {
        if !self.check_response_term(from, response.term) {
            return;
        }
        let RoleState::Leader(leader) = &mut self.role else { return };
        let current_round = leader.round;
        let Some(progress) = leader.follower_mut(from) else { return };
        if response.round > current_round {
            return self.ignore(from, IgnoreReason::StaleResponse);
        }
        progress.last_contact = self.now;
        progress.acked_round = progress.acked_round.max(response.round);
        self.confirm_reads();
    }

    /// Whether an answer is meant for this leader in this term.
    #[inline(always)]
    pub(crate) fn check_response_term(&mut self, from: NodeId, term: crate::Term) -> bool {
        if term > self.term() {
            self.adopt_term(term, from);
            return false;
        }
        let is_own_term =
            term == self.term() || !self.config.enforces(Rule::AcknowledgementCountsInItsTerm);
        let current = is_own_term && matches!(self.role, RoleState::Leader(_));
        if !current {
            self.ignore(from, IgnoreReason::StaleResponse);
        }
        current
    }

    /// A server has the log up to `matched`, on disk. Commits what a majority has, if it ends with
    /// an entry of the leader's own term: an older entry on a majority can still be replaced
    /// (§5.4.2, Figure 8).
    pub(crate) fn advance_commit(&mut self, matched: LogIndex) {
        let RoleState::Leader(leader) = &self.role else { return };
        if matched <= self.commit_index {
            return;
        }
        let durable = self.log.durable_or_all(self.config.enforces(Rule::LeaderCountsDurable));
        // Mostly the leader's own disk is the first, and there is nothing to be counted yet.
        let needs_others =
            self.membership().majority() > 1 && self.config.enforces(Rule::MajorityCommits);
        let has_more = |(_, progress): &(_, Progress)| progress.match_index > self.commit_index;
        if needs_others && !leader.followers.iter().any(has_more) {
            return;
        }
        let Some(reached) = self.match_index_by_logs(leader, durable) else { return };
        let is_own = reached >= leader.first_index || !self.config.enforces(Rule::CommitOwnTerm);
        if is_own && reached > self.commit_index {
            self.commit_through(reached);
            self.confirm_reads();
        }
    }

    /// How much of the log a majority has, if the leader has it up to `durable`.
    #[inline(always)]
    fn match_index_by_logs(&self, leader: &Leader, durable: LogIndex) -> Option<LogIndex> {
        let matched =
            |voter| leader.follower(voter).map_or(durable, |progress| progress.match_index);
        let is_voter = || self.membership().is_voter(self.id());
        if !self.config.enforces(Rule::RemovedLeaderDoesNotCount) && !is_voter() {
            // It takes the place of whoever is last.
            let voters = self.membership().voters();
            let last = voters.iter().copied().min_by_key(|voter| matched(*voter));
            self.quorum_value(|voter| if Some(voter) == last { durable } else { matched(voter) })
        } else if !self.config.enforces(Rule::MajorityCommits) {
            Some(durable)
        } else {
            self.quorum_value(matched)
        }
    }

    /// Moves the commit index forward.
    #[inline(always)]
    pub(crate) fn commit_through(&mut self, to: LogIndex) {
        let from = self.commit_index;
        debug_assert!(from < to && to <= self.log.last().index, "commit stays within the log");
        self.commit_index = to;
        self.release_uncommitted(to.min(self.log.durable()));
        let learned_from = self.leader().filter(|leader| *leader != self.id());
        self.emit(|| Event::CommitAdvanced { from, to, learned_from });
        if self.membership_index() > from && !self.config.enforces(Rule::MembershipOnAppend) {
            self.membership_changed();
        }
        self.advance_change();
    }

    /// What a leader has up to `through` is committed, and durable here.
    #[inline(always)]
    pub(crate) fn release_uncommitted(&mut self, through: LogIndex) {
        if let RoleState::Leader(leader) = &mut self.role
            && through > leader.released_through
        {
            let settled = self.log.cache.bytes_between(leader.released_through, through);
            leader.uncommitted_bytes = leader.uncommitted_bytes.saturating_sub(settled);
            leader.released_through = through;
        }
    }

    /// Messages to `peer` are being lost: nothing more is sent ahead until `peer` answers, and a
    /// leader asks with the next heartbeat what `peer` has. Reporting this is optional and spares
    /// traffic; reporting it again causes none.
    pub fn report_unreachable(&mut self, peer: NodeId, now: Instant) {
        if self.start_input(now) {
            return;
        }
        if let Some(progress) = self.role.progress_of(peer) {
            progress.on_unreachable();
        }
    }
}

impl Leader {
    /// Begins a round of heartbeats.
    pub(crate) fn begin_round(&mut self, now: Instant, lease_rounds_apart: Duration) {
        self.round += 1;
        self.lease.round_began(self.round, now, lease_rounds_apart);
        for (_, progress) in &mut self.followers {
            progress.heartbeat_due = true;
        }
    }

    pub(crate) fn follower(&self, id: NodeId) -> Option<&Progress> {
        self.followers.iter().find(|(known, _)| *known == id).map(|(_, progress)| progress)
    }

    pub(crate) fn follower_mut(&mut self, id: NodeId) -> Option<&mut Progress> {
        self.followers.iter_mut().find(|(known, _)| *known == id).map(|(_, progress)| progress)
    }
}
