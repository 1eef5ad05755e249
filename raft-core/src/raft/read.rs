//! Linearizable reads that write nothing to the log: confirmed by a quorum (ReadIndex, dissertation
//! 6.4) or by a lease (6.4.1), at the leader and at its followers.

use crate::api::event::{Event, IgnoreReason, ReadConfirmation};
use crate::api::message::{Message, ReadIndex, ReadIndexResponse};
use crate::api::read::{ReadId, ReadMode, ReadOutcome};
use crate::api::types::{Instant, LogIndex, NodeId};
use crate::macros::{described_enum, ensure};
use crate::raft::Raft;
use crate::raft::role::{Follower, RoleState};
use crate::sabotage::Rule;
use crate::state::lease::Lease;
use crate::state::progress::Progress;
use crate::state::read_queue::{PendingRead, ReadOrigin};

described_enum! {
    /// The reason why a read was rejected.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum ReadError: core::error::Error {
        /// This server knows no leader that could confirm the read. The client may retry later.
        NoLeader => "no leader is known; retry later";
        /// This server knows no leader, and is not a member of the membership that it knows. It was
        /// removed, or has not joined yet. The client may retry at a member.
        NotAMember => "this server is not a member of the cluster; retry at a member";
        /// A witness has no state to read. The client may retry at another server.
        Witness => "this server is a witness and stores no data; retry at another server";
        /// Too many reads wait ([`Config::reads_max`](crate::Config::reads_max)). The client may
        /// retry later.
        Overloaded => "overloaded: too many pending reads; retry later";
        /// The server has stopped permanently.
        Stopped => "this server has stopped permanently; retry at another server";
    }
}

impl Raft {
    /// Input: requests the index that a linearizable read must include. The result is a
    /// [`ReadOutcome`] in a later drain.
    ///
    /// A follower requests the index from its leader. Reads that arrive between two drains share a
    /// heartbeat round, or a request to the leader. A leader that has not committed an entry of its
    /// own term does not know the commit index, so its reads wait for that entry (etcd #7331).
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the read was rejected. It then has no outcome.
    pub fn read(&mut self, mode: ReadMode, now: Instant) -> Result<ReadId, ReadError> {
        ensure!(!self.has_stopped(now), ReadError::Stopped);
        ensure!(!self.config.witness, ReadError::Witness);
        if self.leader().is_none() {
            ensure!(self.is_member(), ReadError::NotAMember);
            return Err(ReadError::NoLeader);
        }
        let id = ReadId(self.volatile.next_read);
        if let RoleState::Leader(_) = self.role {
            self.enqueue_read(ReadOrigin::Local(id), mode)?;
        } else {
            let has_space = self.forwarded_reads.len() < self.config.reads_max;
            ensure!(has_space, ReadError::Overloaded);
            self.forwarded_reads.push(id, mode);
        }
        self.volatile.next_read += 1;
        Ok(id)
    }

    /// Completes a read of a leader by its lease, or makes the read wait for a quorum.
    fn enqueue_read(&mut self, origin: ReadOrigin, mode: ReadMode) -> Result<(), ReadError> {
        let (now, commit_index) = (self.volatile.now, self.volatile.commit_index);
        let RoleState::Leader(leader) = &mut self.role else { return Err(ReadError::NoLeader) };
        let own_term_first = self.config.enforces(Rule::ReadAfterOwnTerm);
        let first = if own_term_first { leader.first_index } else { LogIndex(0) };
        let read_index = commit_index.max(first);
        let is_forfeited =
            leader.lease.is_forfeited() && self.config.enforces(Rule::LeaseEndsWithTransfer);
        let has_lease = mode == ReadMode::Lease && leader.lease.is_running(now) && !is_forfeited;
        let is_confirmed = has_lease || !self.config.enforces(Rule::ReadIsConfirmed);
        if is_confirmed && read_index == commit_index {
            let reason = if has_lease { ReadConfirmation::Lease } else { ReadConfirmation::Quorum };
            self.complete_read(origin, read_index, reason);
            return Ok(());
        }
        ensure!(leader.reads.len() < self.config.reads_max, ReadError::Overloaded);
        let round = leader.round + u64::from(self.config.enforces(Rule::ReadRoundIsLater));
        leader.reads.push(PendingRead { origin, read_index, round });
        Ok(())
    }

    fn complete_read(
        &mut self,
        origin: ReadOrigin,
        read_index: LogIndex,
        reason: ReadConfirmation,
    ) {
        match origin {
            ReadOrigin::Local(id) => {
                self.outbox.push_read(ReadOutcome::Ready { id, read_index });
                self.emit(|| Event::ReadConfirmed { id, read_index, reason });
            }
            ReadOrigin::Remote { node, boot, batch } => {
                let response = ReadIndexResponse { term: self.term(), boot, batch, read_index };
                self.outbox.send_checked(node, Message::ReadIndexResponse(response));
            }
        }
    }

    /// Starts a heartbeat round for the reads that no earlier round can confirm.
    pub(super) fn start_read_round(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        if !leader.reads.need_round_after(leader.round) {
            return;
        }
        let distance = Lease::round_distance(self.config.election_timeout_min);
        leader.start_round(self.volatile.now, distance);
        let round = leader.round;
        self.emit(|| Event::ReadRoundStarted { round });
        self.confirm_reads();
    }

    /// Completes the reads whose round a quorum has confirmed, and extends the lease.
    pub(super) fn confirm_reads(&mut self) {
        let lease_length = self.config.lease_length();
        let own_term_first = self.config.enforces(Rule::ReadAfterOwnTerm);
        let RoleState::Leader(leader) = &self.role else { return };
        if leader.reads.is_empty() && lease_length.is_none() {
            return;
        }
        let acked = |voter| leader.follower(voter).map_or(leader.round, Progress::acked_round);
        let confirmed = self.quorum_value(acked).unwrap_or(0);
        let RoleState::Leader(leader) = &mut self.role else { return };
        if let Some(length) = lease_length {
            leader.lease.confirm_round(confirmed, length);
        }
        if self.volatile.commit_index < leader.first_index && own_term_first {
            return;
        }
        while let RoleState::Leader(leader) = &mut self.role
            && let Some(read) = leader.reads.pop_confirmed(confirmed)
        {
            self.complete_read(read.origin, read.read_index, ReadConfirmation::Quorum);
        }
    }

    /// Sends the leader the request for the reads of this follower, if one is due.
    pub(super) fn forward_reads(&mut self) {
        let Some((batch, mode)) = self.forwarded_reads.start_request(self.volatile.now) else {
            return;
        };
        let RoleState::Follower(Follower { leader: Some(leader), .. }) = self.role else { return };
        let (term, boot, lease) = (self.term(), self.writes.boot(), mode == ReadMode::Lease);
        let request = ReadIndex { term, boot, batch, lease };
        self.outbox.send_checked(leader, Message::ReadIndex(request));
    }

    pub(super) fn on_read_index(&mut self, from: NodeId, request: ReadIndex) {
        if request.term > self.term() {
            return self.adopt_term(request.term, from);
        }
        let origin = ReadOrigin::Remote { node: from, boot: request.boot, batch: request.batch };
        let mode = if request.lease { ReadMode::Lease } else { ReadMode::Quorum };
        // A follower without response repeats its request.
        match self.enqueue_read(origin, mode) {
            Ok(()) => {}
            Err(ReadError::Overloaded) => self.ignore(from, IgnoreReason::Overloaded),
            Err(_) => self.ignore(from, IgnoreReason::NotLeader),
        }
    }

    pub(super) fn on_read_index_response(&mut self, from: NodeId, response: ReadIndexResponse) {
        // A response to a request from before a restart is too old for the current reads.
        let is_current = response.boot == self.writes.boot()
            && self.forwarded_reads.was_requested(response.batch);
        if !is_current {
            return self.ignore(from, IgnoreReason::StaleResponse);
        }
        while let Some(id) = self.forwarded_reads.pop_through(response.batch) {
            let reason = ReadConfirmation::Leader { leader: from };
            self.complete_read(ReadOrigin::Local(id), response.read_index, reason);
        }
    }

    /// Aborts all reads of the caller, because a leadership ends: that of this server or that of
    /// its leader.
    pub(super) fn abort_reads(&mut self) {
        for id in self.forwarded_reads.drain() {
            self.outbox.push_read(ReadOutcome::Aborted { id });
        }
        if let RoleState::Leader(leader) = &mut self.role {
            for id in leader.reads.drain_local() {
                self.outbox.push_read(ReadOutcome::Aborted { id });
            }
        }
    }
}
