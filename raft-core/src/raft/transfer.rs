//! Leadership transfer (dissertation 3.10).

use core::cmp::Reverse;

use crate::api::event::{Event, IgnoreReason, StepDownReason};
use crate::api::message::{Message, TimeoutNow};
use crate::api::types::{Instant, NodeId};
use crate::macros::{described_enum, ensure};
use crate::raft::{Raft, RoleState};
use crate::sabotage::Rule;
use crate::state::progress::Progress;

/// A transfer that is under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Transfer {
    pub(crate) target: NodeId,
    pub(crate) deadline: Instant,
    /// Whether the target was told to stand since the last heartbeat.
    pub(crate) timeout_now_sent: bool,
}

described_enum! {
    /// Why leadership was not transferred.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum TransferError: core::error::Error {
        /// Only a leader hands over.
        NotLeader {
            /// Where to ask instead, if known.
            leader: Option<NodeId>,
        } =>
            if (let Some(leader) = leader) "only the leader can hand over: ask {leader}";
            else "only a leader can hand over, and none is known: ask again later";
        /// The target leads already.
        AlreadyLeader => "that server leads already";
        /// The target is no voter, or will be none after the change that is under way, or is a
        /// witness.
        CannotLead(target: NodeId) => "{target} cannot lead: it is no voter, or a witness";
        /// No other voter can lead.
        NoTarget => "no other server can lead: add a voter first";
        /// Another transfer is under way.
        Transferring {
            /// Who is to lead.
            to: NodeId,
        } => "leadership is being handed over to {to}";
        /// The server stopped for good.
        Stopped => "the server has stopped for good";
    }
}

impl Raft {
    /// Transfers leadership to `target`, as soon as `target` has the whole log. Without a target
    /// the leader chooses one: a voter that it heard recently, with which no more transfers failed
    /// than with the others, and that has most of the log.
    ///
    /// Until then, and for no longer than `election_timeout_max`, the leader takes no commands. If
    /// the target does not lead by then, the leader goes on as before.
    ///
    /// # Errors
    ///
    /// [`TransferError`]; nothing has changed then.
    pub fn transfer_leadership(
        &mut self,
        target: Option<NodeId>,
        now: Instant,
    ) -> Result<(), TransferError> {
        ensure!(!self.start_input(now), TransferError::Stopped);
        let RoleState::Leader(leader) = &self.role else {
            return Err(TransferError::NotLeader { leader: self.leader() });
        };
        if let Some(target) = target {
            ensure!(target != self.id(), TransferError::AlreadyLeader);
            ensure!(self.membership().can_lead(target), TransferError::CannotLead(target));
        }
        if let Some(transfer) = &leader.transfer {
            return Err(TransferError::Transferring { to: transfer.target });
        }
        let target =
            target.or_else(|| self.best_transfer_target()).ok_or(TransferError::NoTarget)?;
        let deadline = self.now + self.config.election_timeout_max;
        if let RoleState::Leader(leader) = &mut self.role {
            leader.transfer = Some(Transfer { target, deadline, timeout_now_sent: false });
        }
        self.emit(|| Event::TransferStarted { to: target });
        Ok(())
    }

    /// A heartbeat interval has passed: the transfer is given up, or tried again.
    pub(crate) fn expire_transfer(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        if let Some(transfer) = &mut leader.transfer {
            transfer.timeout_now_sent = false;
            let to = transfer.target;
            if self.now >= transfer.deadline {
                leader.transfer = None;
                if let Some(heir) = leader.follower_mut(to) {
                    heir.transfers_failed = heir.transfers_failed.saturating_add(1);
                }
                self.emit(|| Event::TransferTimedOut { to });
                if self.is_removed() {
                    self.become_follower(StepDownReason::Removed);
                }
            }
        }
    }

    /// The best target of a transfer, as far as a leader can tell: a voter that was heard recently,
    /// with which no more transfers failed than with the others, and that has most of the log.
    fn best_transfer_target(&self) -> Option<NodeId> {
        let RoleState::Leader(leader) = &self.role else { return None };
        let (membership, timeout) = (self.membership(), self.config.election_timeout_min);
        let heirs = leader.followers.iter().filter(|(id, _)| membership.can_lead(*id));
        let fitness = |progress: &Progress| {
            let is_heard = progress.was_heard(self.now, timeout);
            let failed = Reverse(progress.transfers_failed);
            (is_heard, failed, progress.match_index)
        };
        heirs.max_by_key(|(_, progress)| fitness(progress)).map(|(id, _)| *id)
    }

    /// Tells the target to stand for election, if it has the whole log: with less it could not win,
    /// and would only disturb. A leader that is not a voter any more has stayed for this alone, and
    /// steps down: before, a command could follow that the target lacks.
    pub(crate) fn send_timeout_now(&mut self) {
        let (term, last) = (self.term(), self.log.last().index);
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let target = transfer.target;
        let waits = self.config.enforces(Rule::TransferTargetHasLog);
        let has_all = |(id, progress): &(NodeId, Progress)| {
            *id == target && (progress.match_index == last || !waits)
        };
        if transfer.timeout_now_sent || !leader.followers.iter().any(has_all) {
            return;
        }
        transfer.timeout_now_sent = true;
        // From here on the target may win at any moment of this term, however late the message
        // arrives, and followers help it although they hear this leader.
        leader.lease.forfeit();
        self.send_checked(target, Message::TimeoutNow(TimeoutNow { term }));
        if self.is_removed() {
            self.become_follower(StepDownReason::Removed);
        }
    }

    pub(crate) fn on_timeout_now(&mut self, from: NodeId, request: TimeoutNow) {
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
