//! Leadership transfer (dissertation 3.10).

use core::cmp::Reverse;

use crate::event::{Event, IgnoreReason};
use crate::id::{Instant, NodeId};
use crate::message::{Message, TimeoutNow};
use crate::progress::Progress;
use crate::raft::{Raft, RoleState};
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
    /// Hands leadership over to `target`, as soon as it has the whole log.
    ///
    /// Until then, and for no longer than `election_timeout_max`, the leader takes no commands. If
    /// the target has not taken over by then, the leader goes on as before.
    ///
    /// # Errors
    ///
    /// [`TransferError`]; nothing has changed then.
    pub fn transfer_leadership(
        &mut self,
        target: NodeId,
        now: Instant,
    ) -> Result<(), TransferError> {
        ensure!(!self.begin(now), TransferError::Stopped);
        let hint = self.leader();
        let can_lead = self.membership().can_lead(target);
        let (me, deadline) = (self.id(), self.now + self.config.election_timeout_max);
        let RoleState::Leader(leader) = &mut self.role else {
            return Err(TransferError::NotLeader { leader: hint });
        };
        ensure!(target != me, TransferError::LeadsAlready);
        ensure!(can_lead, TransferError::CannotLead(target));
        if let Some(transfer) = &leader.transfer {
            return Err(TransferError::Transferring { to: transfer.target });
        }
        leader.transfer = Some(Transfer { target, deadline, told: false });
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
            }
        }
    }

    /// Who can best take over, as far as a leader can tell: one that was heard of late, that let no
    /// more transfers come to nothing than the others, and that has most of the log.
    pub(crate) fn heir(&self) -> Option<NodeId> {
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
    /// and would only disturb.
    pub(crate) fn hand_over(&mut self) {
        let (term, last) = (self.term(), self.log.last().index);
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let target = transfer.target;
        let has_all =
            |(id, progress): &(NodeId, Progress)| *id == target && progress.match_index == last;
        if transfer.told || !leader.followers.iter().any(has_all) {
            return;
        }
        transfer.told = true;
        // From here on the target may win at any moment of this term, however late the message
        // arrives, and followers help it although they hear this leader.
        leader.lease.forfeit();
        self.send(target, Message::TimeoutNow(TimeoutNow { term }));
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
