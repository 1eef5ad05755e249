//! Membership changes through joint consensus (§6), with learners that become voters after they
//! have caught up (dissertation 4.2.1).

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::api::config::Config;
use crate::api::entry::Payload;
use crate::api::event::{Event, StepDownReason};
use crate::api::membership::{Membership, MembershipError};
use crate::api::types::{Instant, LogId, LogIndex, NodeId};
use crate::macros::{described_enum, ensure};
use crate::raft::role::RoleState;
use crate::raft::transfer::TransferError;
use crate::raft::{Persistent, Raft};
use crate::sabotage::Rule;
use crate::state::progress::Progress;

described_enum! {
    /// The reason why a membership change was rejected. The change is in no log.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum ChangeError: core::error::Error {
        /// Only a leader changes the membership. The caller may retry at the leader.
        NotLeader {
            /// The leader, if this server knows it.
            leader: Option<NodeId>,
        } =>
            if (let Some(leader) = leader) "this server is not the leader; retry at {leader}";
            else "no leader is known; retry later";
        /// The requested membership is invalid.
        Invalid(error: MembershipError) => "{error}";
        /// The requested membership is already in effect.
        NoChange => "no change: the membership is in effect already";
        /// A member is to become a witness, or to cease to be one. It would lack its payloads
        /// permanently, or store payloads that it must not have.
        WitnessChanged(node: NodeId) =>
            "not allowed: {node} cannot become a witness or cease to be one; remove it and add it under a new id";
        /// Another change is not complete. The caller may retry later.
        ChangeInProgress => "conflict: another membership change is in progress; retry later";
        /// The leader has not committed an entry of its own term. The caller may retry later.
        NotReady => "the leader was elected just now; retry later";
        /// The disk of the leader is full. The caller may retry later.
        DiskFull => "the disk of the leader is full; retry later";
        /// A leadership transfer is in progress. The caller may retry at the target.
        Transferring {
            /// The target of the transfer.
            to: NodeId,
        } => "leadership transfer in progress: to {to}; retry there";
        /// The server has stopped permanently.
        Stopped => "this server has stopped permanently; retry at another server";
    }
}

described_enum! {
    /// The condition for the next step of a membership change.
    #[derive(Clone, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum ChangeStage {
        /// The joint membership is not committed. That needs a majority of the voters before the
        /// change, and a majority of the voters after it.
        Joint {
            /// The index of the entry with the joint membership.
            entry: LogIndex,
        } => "the joint membership at entry {entry} is not committed by both majorities";
        /// The membership after the change is not committed.
        Commit {
            /// The index of the entry with that membership.
            entry: LogIndex,
        } => "the membership at entry {entry} is not committed";
        /// Joining servers have not caught up with the leader's log, and have no vote.
        CatchUp {
            /// The joining servers.
            joining: Vec<NodeId>,
        } => "{} joining servers have not caught up, and have no vote", joining.len();
    }
}

impl Persistent {
    /// The membership in effect: the latest one in the log, committed or not (§6).
    #[inline(always)]
    pub(super) fn membership(&self, config: &Config, commit_index: LogIndex) -> &Membership {
        if config.enforces(Rule::MembershipOnAppend) {
            self.memberships.latest().1
        } else {
            self.memberships.at(commit_index)
        }
    }
}

impl Raft {
    /// The membership in effect on this server: the latest one in its log, committed or not (§6).
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.persistent.membership(&self.config, self.volatile.commit_index)
    }

    /// The membership in effect at an entry of the log, or at the last compacted entry.
    #[must_use]
    pub fn membership_at(&self, index: LogIndex) -> &Membership {
        self.persistent.memberships.at(index)
    }

    /// The index of the entry with the latest membership; 0 for the membership of the first start.
    #[must_use]
    pub fn membership_index(&self) -> LogIndex {
        self.persistent.memberships.latest().0
    }

    /// Returns true if this server is a voter or a learner in the membership that it knows. A
    /// removed server receives no more messages, so it may not know of its removal.
    #[must_use]
    pub fn is_member(&self) -> bool {
        let membership = self.membership();
        membership.is_voter(self.id()) || membership.learners().contains(&self.id())
    }

    /// Input: changes the membership to `target`, by any number of servers at once (§6). Returns
    /// the position of the first entry of the change.
    ///
    /// If the voters change, the leader appends a joint membership, and then `target` when the
    /// joint membership is committed. Joining servers become voters by later changes, which the
    /// leader makes itself. The change is complete when
    /// [`change_in_progress`](Self::change_in_progress) returns `None`.
    ///
    /// To cancel the addition of a server that does not catch up, change to a membership
    /// [without](Membership::without) it. This is allowed as soon as the latest membership is
    /// committed and not joint.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if the change was rejected. The log is unchanged.
    pub fn change_membership(
        &mut self,
        target: Membership,
        now: Instant,
    ) -> Result<LogId, ChangeError> {
        ensure!(!self.has_stopped(now), ChangeError::Stopped);
        let commit_index = self.volatile.commit_index;
        let RoleState::Leader(leader) = &self.role else {
            return Err(ChangeError::NotLeader { leader: self.leader() });
        };
        ensure!(!self.volatile.disk_is_full, ChangeError::DiskFull);
        if let Some(transfer) = &leader.transfer {
            return Err(ChangeError::Transferring { to: transfer.target() });
        }
        let target = target.without_outgoing();
        target.validate().map_err(ChangeError::Invalid)?;
        let (since, current) = self.persistent.memberships.latest();
        ensure!(*current != target, ChangeError::NoChange);
        let remaining = target.members();
        let changed = |node: &NodeId| {
            remaining.contains(node) && current.is_witness(*node) != target.is_witness(*node)
        };
        if let Some(node) = current.members().into_iter().find(changed) {
            return Err(ChangeError::WitnessChanged(node));
        }
        if self.config.enforces(Rule::OneChangeAtATime) {
            ensure!(leader.first_index <= commit_index, ChangeError::NotReady);
            let is_complete = since <= commit_index && !current.is_joint();
            ensure!(is_complete, ChangeError::ChangeInProgress);
        }
        Ok(self.append_change(target))
    }

    /// The condition for the next step of the membership change in progress. `None` if the latest
    /// membership that this server knows is committed, and no joining servers are left.
    ///
    /// A joining server has no vote, so a voter that it is to replace must not be removed before
    /// this returns `None`. A change that was lost with its leader is not in progress either: the
    /// caller must also compare [`membership`](Self::membership) with its target.
    #[must_use]
    pub fn change_in_progress(&self) -> Option<ChangeStage> {
        let (entry, latest) = self.persistent.memberships.latest();
        if latest.is_joint() {
            Some(ChangeStage::Joint { entry })
        } else if entry > self.volatile.commit_index {
            Some(ChangeStage::Commit { entry })
        } else if !latest.auto_promoted().is_empty() {
            Some(ChangeStage::CatchUp { joining: latest.auto_promoted().into() })
        } else {
            None
        }
    }

    /// Appends the first step towards `target`: a joint membership if the voters change, and
    /// otherwise `target` itself.
    fn append_change(&mut self, target: Membership) -> LogId {
        let current = self.persistent.memberships.latest().1;
        let is_joint =
            self.config.enforces(Rule::ChangeIsJoint) && current.voters() != target.voters();
        let next = if is_joint { current.joint_with(&target) } else { target };
        let id = self.append_membership(next);
        if !self.config.enforces(Rule::JointIsCommitted) {
            self.advance_change();
        }
        id
    }

    fn append_membership(&mut self, membership: Membership) -> LogId {
        let joined = self.persistent.memberships.latest().1.auto_promoted();
        let joins = |id: &NodeId| membership.auto_promoted().contains(id) && !joined.contains(id);
        if let RoleState::Leader(leader) = &mut self.role {
            let followers = leader.followers.iter_mut().filter(|(id, _)| joins(id));
            followers.for_each(|(_, progress)| progress.restart_catch_up());
        }
        let id = self.append(Payload::Membership(Box::new(membership.clone())));
        self.persistent.memberships.append(id.index, membership);
        self.emit(|| Event::MembershipProposed { entry: id });
        self.on_membership_changed();
        id
    }

    /// Adapts the followers of a leader after another membership took effect.
    pub(super) fn on_membership_changed(&mut self) {
        let membership = self.membership().clone();
        let me = self.id();
        if let RoleState::Leader(leader) = &mut self.role {
            let members = membership.members();
            leader.followers.retain(|(id, _)| members.binary_search(id).is_ok());
            for member in members {
                if member != me && leader.follower(member).is_none() {
                    let next_index = self.persistent.log.last().index.next();
                    let progress = Progress::new(next_index, self.volatile.now);
                    leader.followers.push((member, progress));
                }
            }
            if let Some(transfer) = &leader.transfer
                && !membership.is_voter(transfer.target())
            {
                leader.transfer = None;
            }
        }
        self.emit(|| Event::MembershipChanged { membership });
    }

    /// Takes the next step of a change whose latest entry is committed: the leader leaves the joint
    /// membership, or steps down if it was removed.
    #[inline(always)]
    pub(super) fn advance_change(&mut self) {
        if !matches!(self.role, RoleState::Leader(_)) {
            return;
        }
        let (since, latest) = self.persistent.memberships.latest();
        let is_committed = since <= self.volatile.commit_index;
        if latest.is_joint() {
            if is_committed || !self.config.enforces(Rule::JointIsCommitted) {
                let next = latest.without_outgoing();
                self.append_membership(next);
            }
        } else if self.is_removed() {
            self.leave_after_removal();
        }
    }

    /// Transfers the leadership of a removed leader, or steps down if that is impossible.
    ///
    /// The transfer saves the cluster an election timeout. It waits until the target has the whole
    /// log, including commands after the change. The followers learn that the change is committed
    /// with the first entry of the next leader.
    fn leave_after_removal(&mut self) {
        match self.transfer_leadership(None, self.volatile.now) {
            Ok(()) | Err(TransferError::Transferring { .. }) => {}
            Err(_) => self.become_follower(StepDownReason::Removed),
        }
    }

    /// Returns true if a membership is committed in which this server is not a voter. A leader
    /// then steps down (dissertation 4.2.2).
    pub(super) fn is_removed(&self) -> bool {
        let (since, latest) = self.persistent.memberships.latest();
        since <= self.volatile.commit_index && !latest.is_voter(self.id())
    }

    /// Promotes the joining learners that have caught up.
    #[inline(always)]
    pub(super) fn promote_ready_learners(&mut self) {
        if !self.membership().auto_promoted().is_empty() {
            self.promote_joining();
        }
    }

    fn promote_joining(&mut self) {
        let commit_index = self.volatile.commit_index;
        let (since, current) = self.persistent.memberships.latest();
        let RoleState::Leader(leader) = &self.role else { return };
        let in_progress =
            current.is_joint() || since > commit_index || leader.first_index > commit_index;
        if in_progress || self.volatile.disk_is_full || leader.transfer.is_some() {
            return;
        }
        let (now, timeout) = (self.volatile.now, self.config.election_timeout_min);
        let caught_up = |progress: &Progress| progress.has_caught_up(now, timeout);
        let is_ready = |id: &&NodeId| leader.follower(**id).is_some_and(caught_up);
        let ready: Vec<_> = current.auto_promoted().iter().filter(is_ready).copied().collect();
        if ready.is_empty() {
            return;
        }
        let target = current.with_promoted(&ready);
        for learner in &ready {
            self.emit(|| Event::LearnerCaughtUp { learner: *learner });
        }
        self.append_change(target);
    }
}
