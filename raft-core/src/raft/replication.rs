//! Log replication on a leader (§5.3), pipelined and batched (dissertation 10.2).

use crate::api::config::Config;
use crate::api::effects::{Effects, Fetch, FetchPurpose};
use crate::api::entries::Entries;
use crate::api::entry::{Entry, Snapshot};
use crate::api::event::{Event, IgnoreReason, StepDownReason};
use crate::api::membership::Membership;
use crate::api::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, Heartbeat, HeartbeatResponse, Message,
};
use crate::api::types::{Instant, LogId, LogIndex, NodeId, Term};
use crate::log::Log;
use crate::log::cache::Segment;
use crate::raft::Raft;
use crate::raft::role::{Leader, RoleState};
use crate::sabotage::Rule;
use crate::state::lease::Lease;
use crate::state::outbox::Outbox;
use crate::state::progress::{Mode, Progress};

/// The parts of a leader that are needed to send to one follower, borrowed beside the progress of
/// the followers.
pub(super) struct Sender<'a> {
    pub(super) config: &'a Config,
    pub(super) log: &'a Log,
    snapshot: Option<&'a Snapshot>,
    membership: &'a Membership,
    pub(super) term: Term,
    commit_index: LogIndex,
    now: Instant,
    pub(super) outbox: &'a mut Outbox,
}

/// The latest batch that was copied from the log, and the last index that it was allowed to have.
type CopiedBatch = Option<(LogIndex, Segment)>;

impl Raft {
    /// Starts a heartbeat round if this server may still lead. Called once per heartbeat interval.
    pub(super) fn on_heartbeat_timer(&mut self) {
        if self.config.check_quorum && self.quorum_is_lost() {
            return self.become_follower(StepDownReason::QuorumLost);
        }
        if self.disk_is_stalled() && !self.volatile.disk_is_full {
            return self.become_follower(StepDownReason::DiskStalled);
        }
        self.expire_transfer();
        self.transfer_if_disk_full();
        self.promote_ready_learners();
        let now = self.volatile.now;
        if let RoleState::Leader(leader) = &mut self.role {
            leader.heartbeat_deadline = now + self.config.heartbeat_interval;
            leader.start_round(now, Lease::round_distance(self.config.election_timeout_min));
            for (_, progress) in &mut leader.followers {
                progress.on_heartbeat_timer();
            }
        }
    }

    /// Returns true if no quorum was heard within the maximum election timeout (dissertation 6.2).
    fn quorum_is_lost(&self) -> bool {
        let RoleState::Leader(leader) = &self.role else { return false };
        let now = self.volatile.now;
        let heard = |voter| leader.follower(voter).map_or(now, Progress::last_contact);
        let heard = self.quorum_value(heard).unwrap_or(now);
        now.saturating_since(heard) >= self.config.election_timeout_max
    }

    /// Sends each follower the messages that are due.
    #[inline(always)]
    pub(super) fn replicate(&mut self, effects: &mut Effects) {
        if let RoleState::Leader(_) = self.role {
            self.replicate_log(effects);
        }
    }

    #[inline(never)]
    fn replicate_log(&mut self, effects: &mut Effects) {
        self.start_read_round();
        self.send_timeout_now();
        self.update_follower_lag();
        let witness_limit = self.witness_replication_limit();
        let Some((leader, mut sender)) = self.leader_and_sender() else { return };
        let (last, round) = (sender.log.last().index, leader.round);
        let mut batch = None;
        for (follower, progress) in &mut leader.followers {
            if progress.is_idle(last) {
                continue;
            }
            let follower = *follower;
            if progress.take_heartbeat() {
                sender.send_heartbeat(follower, progress, round);
            }
            sender.choose_snapshot_or_log(follower, progress);
            if progress.take_probe() {
                sender.send_append(follower, progress, None);
            }
            sender.send_entries(follower, progress, witness_limit, &mut batch, effects);
            sender.send_snapshot(follower, progress, &mut effects.snapshot_chunk_requests);
        }
    }

    /// The leader's state and a [`Sender`], if this server leads.
    #[inline(always)]
    pub(super) fn leader_and_sender(&mut self) -> Option<(&mut Leader, Sender<'_>)> {
        let RoleState::Leader(leader) = &mut self.role else { return None };
        let (persistent, commit_index) = (&self.persistent, self.volatile.commit_index);
        let sender = Sender {
            config: &self.config,
            log: &persistent.log,
            snapshot: persistent.snapshot.as_ref(),
            membership: persistent.membership(&self.config, commit_index),
            term: persistent.hard_state.term,
            commit_index,
            now: self.volatile.now,
            outbox: &mut self.outbox,
        };
        Some((leader, sender))
    }

    /// Samples the lag of all followers. Only the rule of witnesses uses it.
    fn update_follower_lag(&mut self) {
        let (last, now) = (self.persistent.log.last().index, self.volatile.now);
        if !self.membership().witnesses().is_empty()
            && let RoleState::Leader(leader) = &mut self.role
        {
            for (_, progress) in &mut leader.followers {
                progress.update_lag(last, now);
            }
        }
    }

    /// The last index that witnesses may receive.
    ///
    /// A witness stores no payloads, so it cannot replicate an entry. But it rejects candidates
    /// that lack the entry. It therefore receives only entries that are committed as soon as the
    /// witnesses have them. It also replaces only voters that do not keep up. The others commit
    /// without it, so that committed entries are on as many disks as possible.
    fn witness_replication_limit(&self) -> LogIndex {
        const ALL: LogIndex = LogIndex(u64::MAX);
        let (membership, durable) = (self.membership(), self.persistent.log.durable());
        let RoleState::Leader(leader) = &self.role else { return LogIndex(0) };
        if membership.witnesses().is_empty() {
            return durable;
        }
        let with_witnesses = self.quorum_value(|voter| match leader.follower(voter) {
            _ if membership.is_witness(voter) => ALL,
            Some(progress) => progress.match_index(),
            None => durable,
        });
        let (now, timeout) = (self.volatile.now, self.config.election_timeout_min);
        let with_all_others = self.quorum_value(|voter| match leader.follower(voter) {
            _ if membership.is_decisive_witness(voter) => ALL,
            _ if membership.is_witness(voter) => LogIndex(0),
            Some(progress) if !progress.is_up_to_date(now, timeout) => ALL,
            Some(progress) => progress.match_index(),
            None => durable,
        });
        with_witnesses.min(with_all_others).unwrap_or_default()
    }

    pub(super) fn on_append_entries_response(
        &mut self,
        from: NodeId,
        response: AppendEntriesResponse,
    ) {
        if !self.check_response_term(from, response.term) {
            return;
        }
        let log = &self.persistent.log;
        let (now, last) = (self.volatile.now, log.last().index);
        let timeout = self.config.election_timeout_min;
        let Some(progress) = self.role.progress_of(from) else { return };
        progress.note_contact(now);
        match response.result {
            AppendResult::Accepted { match_index } if match_index > last => {
                self.ignore(from, IgnoreReason::BeyondLog);
            }
            AppendResult::Accepted { match_index } => {
                let is_news = progress.accept(match_index);
                progress.advance_catch_up(last, now, timeout);
                if is_news {
                    self.emit(|| Event::MatchAdvanced { follower: from, match_index });
                    self.advance_commit(match_index);
                }
                self.promote_ready_learners();
            }
            AppendResult::Rejected { prev_log, hint } => {
                if !progress.is_current_rejection(prev_log.index) || !log.contains(prev_log) {
                    return self.ignore(from, IgnoreReason::StaleResponse);
                }
                // If the matching entry is compacted, the follower receives a snapshot.
                let matching = log.find_conflict_by_term(hint).unwrap_or_default().index;
                progress.backtrack(matching.next().min(prev_log.index));
                if prev_log.index <= progress.match_index() {
                    progress.pause_until_heartbeat();
                }
                let next_index = progress.next_index();
                self.emit(|| Event::Backtracked { follower: from, next_index });
            }
        }
    }

    pub(super) fn on_heartbeat_response(&mut self, from: NodeId, response: HeartbeatResponse) {
        if !self.check_response_term(from, response.term) {
            return;
        }
        let RoleState::Leader(leader) = &mut self.role else { return };
        let latest_round = leader.round;
        let Some(progress) = leader.follower_mut(from) else { return };
        if response.round > latest_round {
            return self.ignore(from, IgnoreReason::StaleResponse);
        }
        progress.note_contact(self.volatile.now);
        progress.ack_round(response.round);
        self.confirm_reads();
    }

    /// Returns true if a response is meant for this leader in the current term. Adopts a later
    /// term.
    #[inline(always)]
    pub(super) fn check_response_term(&mut self, from: NodeId, term: Term) -> bool {
        if term > self.term() {
            self.adopt_term(term, from);
            return false;
        }
        let is_own_term =
            term == self.term() || !self.config.enforces(Rule::AcknowledgementCountsInItsTerm);
        let is_current = is_own_term && matches!(self.role, RoleState::Leader(_));
        if !is_current {
            self.ignore(from, IgnoreReason::StaleResponse);
        }
        is_current
    }

    /// Input: messages to `peer` are being lost. This report is optional.
    ///
    /// A leader then sends no entries ahead until `peer` responds. It sends a probe with each
    /// heartbeat. Repeated reports have no effect.
    pub fn report_unreachable(&mut self, peer: NodeId, now: Instant) {
        if self.has_stopped(now) {
            return;
        }
        if let Some(progress) = self.role.progress_of(peer) {
            progress.on_unreachable();
        }
    }
}

impl Sender<'_> {
    fn send_heartbeat(&mut self, follower: NodeId, progress: &Progress, round: u64) {
        let commit_index = if self.config.enforces(Rule::HeartbeatWithinMatch) {
            self.commit_index.min(progress.match_index())
        } else {
            self.commit_index
        };
        let heartbeat = Heartbeat { term: self.term, round, commit_index };
        self.outbox.send_checked(follower, Message::Heartbeat(heartbeat));
    }

    /// Starts a snapshot transfer if the next entry is compacted, and ends it if it is not.
    fn choose_snapshot_or_log(&mut self, follower: NodeId, progress: &mut Progress) {
        let is_compacted = progress.next_index() <= self.log.start().index;
        let is_sent_snapshot = progress.snapshot_transfer().is_some();
        if is_sent_snapshot && !is_compacted {
            // The follower received the entries from another source.
            progress.end_snapshot();
        } else if is_compacted
            && !is_sent_snapshot
            && let Some(snapshot) = self.snapshot
        {
            let (to, last) = (follower, snapshot.last);
            progress.start_snapshot(snapshot.sent_to(self.membership.is_witness(to)), self.now);
            if self.config.record_events {
                self.outbox.push_event(|| Event::SnapshotSent { to, last });
            }
        }
    }

    fn send_entries(
        &mut self,
        follower: NodeId,
        progress: &mut Progress,
        witness_limit: LogIndex,
        batch: &mut CopiedBatch,
        effects: &mut Effects,
    ) {
        let config = self.config;
        let is_witness = self.membership.is_witness(follower);
        let through = if is_witness { witness_limit } else { self.log.last().index };
        while progress.may_send(config.in_flight_messages_max, config.in_flight_bytes_max) {
            let next = progress.next_index();
            if next > through {
                if *progress.mode() != Mode::Pipeline {
                    self.send_append(follower, progress, None);
                }
                return;
            }
            if next < self.log.cache_start() {
                progress.start_fetch();
                return effects.fetches.push(Fetch {
                    purpose: FetchPurpose::Follower(follower),
                    from: next,
                    through: through.min(self.log.cache_start().previous()),
                    bytes_max: config.append_bytes_max,
                });
            }
            let segment = self.next_segment(next, through, batch);
            self.send_append(follower, progress, segment);
        }
    }

    /// The entries from `next` to `through` for one message.
    ///
    /// Most followers lack only the newest segment, which is shared. Otherwise the entries are
    /// copied into `batch`, which the next follower can usually share.
    fn next_segment(
        &self,
        next: LogIndex,
        through: LogIndex,
        batch: &mut CopiedBatch,
    ) -> Option<Segment> {
        let bytes_max = self.config.append_bytes_max;
        let newest = self.log.cache.newest().filter(|segment| {
            let is_small = segment.bytes <= bytes_max || segment.entries.len() == 1;
            segment.first == next && segment.last() <= through && is_small
        });
        let copied =
            batch.as_ref().filter(|(until, segment)| (*until, segment.first) == (through, next));
        if let Some(segment) = newest.or(copied.map(|(_, segment)| segment)) {
            return Some(segment.clone());
        }
        let segment = Segment::new(self.log.batch(next, through, bytes_max));
        *batch = segment.clone().map(|segment| (through, segment));
        segment
    }

    /// Sends an AppendEntries with the entries of `segment`, or without entries.
    pub(super) fn send_append(
        &mut self,
        follower: NodeId,
        progress: &mut Progress,
        segment: Option<Segment>,
    ) {
        let prev_index = progress.next_index().previous();
        let Some(prev_term) = self.log.term_at(prev_index) else {
            debug_assert!(false, "a leader sends entries of its own log");
            return;
        };
        let (last, bytes) =
            segment.as_ref().map_or((prev_index, 0), |segment| (segment.last(), segment.bytes));
        if segment.is_some() || matches!(progress.mode(), Mode::Probe { .. }) {
            progress.note_sent(last, bytes);
        }
        let mut entries = segment.map_or_else(Entries::default, |segment| segment.entries);
        if self.membership.is_witness(follower) {
            entries = entries.iter().map(Entry::strip_payload).collect();
        }
        let (term, leader_commit) = (self.term, self.commit_index);
        let prev_log = LogId::new(prev_term, prev_index);
        self.outbox.send_bounded(follower, || {
            Message::AppendEntries(AppendEntries { term, prev_log, entries, leader_commit })
        });
    }
}
