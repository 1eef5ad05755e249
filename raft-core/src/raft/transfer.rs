//! Leadership transfer (dissertation 3.10).

use core::cmp::Reverse;

use crate::api::event::{Event, IgnoreReason, StepDownReason};
use crate::api::message::{Message, TimeoutNow};
use crate::api::types::{Instant, NodeId};
use crate::macros::{described_enum, ensure};
use crate::raft::Raft;
use crate::raft::role::RoleState;
use crate::sabotage::Rule;
use crate::state::progress::Progress;
use crate::state::transfer::Transfer;

described_enum! {
    /// The reason why a leadership transfer was not started.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum TransferError: core::error::Error {
        /// Only a leader transfers its leadership. The caller may retry at the leader.
        NotLeader {
            /// The leader, if this server knows it.
            leader: Option<NodeId>,
        } =>
            if (let Some(leader) = leader) "this server is not the leader; retry at {leader}";
            else "no leader is known; retry later";
        /// The target leads already.
        AlreadyLeader => "invalid target: it leads already; choose another server, or none";
        /// The target is not a voter, will not be one after the change in progress, or is a
        /// witness.
        CannotLead(target: NodeId) =>
            "invalid target: {target} is not a voter, or is a witness; choose another server";
        /// No other server can lead.
        NoTarget => "no other server can lead; add a voter first";
        /// Another transfer is in progress.
        Transferring {
            /// The target of that transfer.
            to: NodeId,
        } => "leadership transfer in progress: to {to}; wait until it ends";
        /// The server has stopped permanently.
        Stopped => "this server has stopped permanently; retry at another server";
    }
}

impl Raft {
    /// Input: transfers the leadership to `target`, as soon as `target` has the whole log.
    ///
    /// Without a target the leader chooses one. It prefers voters with recent contact, then those
    /// with the fewest failed transfers, and then the one with the highest match index.
    ///
    /// During the transfer the leader rejects commands. If the target does not lead within
    /// [`election_timeout_max`](crate::Config::election_timeout_max), the leader gives up the
    /// transfer and continues.
    ///
    /// # Errors
    ///
    /// [`TransferError`] if the transfer was not started.
    pub fn transfer_leadership(
        &mut self,
        target: Option<NodeId>,
        now: Instant,
    ) -> Result<(), TransferError> {
        ensure!(!self.has_stopped(now), TransferError::Stopped);
        let RoleState::Leader(leader) = &self.role else {
            return Err(TransferError::NotLeader { leader: self.leader() });
        };
        if let Some(target) = target {
            ensure!(target != self.id(), TransferError::AlreadyLeader);
            ensure!(self.membership().can_lead(target), TransferError::CannotLead(target));
        }
        if let Some(transfer) = &leader.transfer {
            return Err(TransferError::Transferring { to: transfer.target() });
        }
        let target =
            target.or_else(|| self.best_transfer_target()).ok_or(TransferError::NoTarget)?;
        let deadline = self.volatile.now + self.config.election_timeout_max;
        if let RoleState::Leader(leader) = &mut self.role {
            leader.transfer = Some(Transfer::new(target, deadline));
        }
        self.emit(|| Event::TransferStarted { to: target });
        Ok(())
    }

    /// Gives up a transfer whose deadline has passed, and lets TimeoutNow be repeated otherwise.
    /// Called once per heartbeat interval.
    pub(super) fn expire_transfer(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        transfer.on_heartbeat();
        if transfer.is_expired(self.volatile.now) {
            let to = transfer.target();
            leader.transfer = None;
            if let Some(target) = leader.follower_mut(to) {
                target.note_failed_transfer();
            }
            self.emit(|| Event::TransferTimedOut { to });
            if self.is_removed() {
                self.become_follower(StepDownReason::Removed);
            }
        }
    }

    /// The voter that can most likely take over the leadership.
    fn best_transfer_target(&self) -> Option<NodeId> {
        let (membership, timeout) = (self.membership(), self.config.election_timeout_min);
        let followers = self.role.leader()?.followers.iter();
        let fitness = |progress: &Progress| {
            let was_heard = progress.was_heard(self.volatile.now, timeout);
            (was_heard, Reverse(progress.transfers_failed()), progress.match_index())
        };
        followers
            .filter(|(id, _)| membership.can_lead(*id))
            .max_by_key(|(_, progress)| fitness(progress))
            .map(|(id, _)| *id)
    }

    /// Sends TimeoutNow to the target once it has the whole log. With less, the target could lose
    /// the election, and would only interrupt the cluster.
    ///
    /// A removed leader has continued only for this, and steps down. If it stepped down earlier, it
    /// could have appended a command that the target lacks.
    pub(super) fn send_timeout_now(&mut self) {
        let (term, last) = (self.term(), self.persistent.log.last().index);
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let target = transfer.target();
        let waits = self.config.enforces(Rule::TransferTargetHasLog);
        let has_log = |(id, progress): &(NodeId, Progress)| {
            *id == target && (progress.match_index() == last || !waits)
        };
        if !transfer.needs_timeout_now() || !leader.followers.iter().any(has_log) {
            return;
        }
        transfer.note_timeout_now();
        // From now on the target may win an election at any time in this term, even if TimeoutNow
        // is delayed. Voters grant that candidate their vote although they hear this leader.
        leader.lease.forfeit();
        self.outbox.send_checked(target, Message::TimeoutNow(TimeoutNow { term }));
        if self.is_removed() {
            self.become_follower(StepDownReason::Removed);
        }
    }

    pub(super) fn on_timeout_now(&mut self, from: NodeId, request: TimeoutNow) {
        if request.term != self.term() {
            return self.ignore(from, IgnoreReason::WrongTerm);
        }
        if let Some(reason) = self.campaign_blocker() {
            return self.ignore(from, reason);
        }
        if let RoleState::Follower(_) = self.role {
            self.emit(|| Event::TimeoutNowReceived { by: from });
            self.arm_timer();
            self.become_candidate(true);
        }
    }
}
