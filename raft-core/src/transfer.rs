//! Leadership transfer (dissertation 3.10).

use core::cmp::Reverse;

use crate::event::{Event, IgnoreReason, StepDownReason};
use crate::id::{Instant, NodeId};
use crate::message::{Message, TimeoutNow};
use crate::progress::Progress;
use crate::raft::{Raft, RoleState};
use crate::sabotage::Rule;
use crate::words::{ensure, in_words};

/// A transfer that is under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Transfer {
    pub(crate) target: NodeId,
    pub(crate) deadline: Instant,
    /// Whether the target was told to stand since the last heartbeat.
    pub(crate) told: bool,
}

in_words! {
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
        LeadsAlready => "that server leads already";
        /// The target is no voter, or will be none after the change that is under way, or is a witness.
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
    /// Transfers leadership to `target`, as soon as `target` has the whole log. Without a target the
    /// leader chooses one: a voter that it heard recently, with which no more transfers failed than
    /// with the others, and that has most of the log.
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
        ensure!(!self.begin(now), TransferError::Stopped);
        let RoleState::Leader(leader) = &self.role else {
            return Err(TransferError::NotLeader { leader: self.leader() });
        };
        if let Some(target) = target {
            ensure!(target != self.id(), TransferError::LeadsAlready);
            ensure!(self.membership().can_lead(target), TransferError::CannotLead(target));
        }
        if let Some(transfer) = &leader.transfer {
            return Err(TransferError::Transferring { to: transfer.target });
        }
        let target = target.or_else(|| self.heir()).ok_or(TransferError::NoTarget)?;
        let deadline = self.now + self.config.election_timeout_max;
        if let RoleState::Leader(leader) = &mut self.role {
            leader.transfer = Some(Transfer { target, deadline, told: false });
        }
        self.explain(|| Event::TransferBegun { to: target });
        Ok(())
    }

    /// A heartbeat interval has passed: the transfer is given up, or tried again.
    pub(crate) fn check_transfer(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        if let Some(transfer) = &mut leader.transfer {
            transfer.told = false;
            let to = transfer.target;
            if self.now >= transfer.deadline {
                leader.transfer = None;
                if let Some(heir) = leader.follower_mut(to) {
                    heir.transfers_failed = heir.transfers_failed.saturating_add(1);
                }
                self.explain(|| Event::TransferAbandoned { to });
                if self.is_removed() {
                    self.follow(StepDownReason::Removed);
                }
            }
        }
    }

    /// The best target of a transfer, as far as a leader can tell: a voter that was heard recently,
    /// with which no more transfers failed than with the others, and that has most of the log.
    fn heir(&self) -> Option<NodeId> {
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
    pub(crate) fn hand_over(&mut self) {
        let (term, last) = (self.term(), self.log.last().index);
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let target = transfer.target;
        let waits = self.config.keeps(Rule::TransferTargetHasLog);
        let has_all = |(id, progress): &(NodeId, Progress)| {
            *id == target && (progress.match_index == last || !waits)
        };
        if transfer.told || !leader.followers.iter().any(has_all) {
            return;
        }
        transfer.told = true;
        // From here on the target may win at any moment of this term, however late the message
        // arrives, and followers help it although they hear this leader.
        leader.lease.forfeit();
        self.send(target, Message::TimeoutNow(TimeoutNow { term }));
        if self.is_removed() {
            self.follow(StepDownReason::Removed);
        }
    }

    pub(crate) fn on_timeout_now(&mut self, from: NodeId, request: TimeoutNow) {
        if request.term != self.term() {
            return self.ignore(from, IgnoreReason::OtherTerm);
        }
        if let Some(reason) = self.cannot_stand() {
            return self.ignore(from, reason);
        }
        if let RoleState::Follower(_) = self.role {
            self.explain(|| Event::ToldToStand { by: from });
            self.arm_timer();
            self.campaign(true);
        }
    }
}
