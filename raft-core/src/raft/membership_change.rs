//! Changes of the membership, through joint consensus (§6), with learners that become voters when
//! they have caught up (dissertation 4.2.1).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::api::entry::Payload;
use crate::api::event::{Event, StepDownReason};
use crate::api::types::{Instant, LogId, LogIndex, NodeId};
use crate::macros::{described_enum, ensure};
use crate::raft::transfer::TransferError;
use crate::raft::{Raft, RoleState};
use crate::sabotage::Rule;
use crate::state::membership::{Membership, MembershipError};
use crate::state::progress::Progress;

/// The membership that the log begins with, and those that entries of the log brought.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct MembershipHistory(Vec<(LogIndex, Membership)>);

described_enum! {
    /// Why the membership was not changed. The change is certainly in no log.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum ChangeError: core::error::Error {
        /// Only a leader changes the membership.
        NotLeader {
            /// Where to ask instead, if known.
            leader: Option<NodeId>,
        } =>
            if (let Some(leader) = leader) "only the leader changes the membership: ask {leader}";
            else "only a leader changes the membership, and none is known: ask again later";
        /// The membership that is asked for makes no sense.
        Invalid(error: MembershipError) => "{error}";
        /// It is what is in force already.
        NoChange => "the membership is that already";
        /// A member was a witness and is to be none, or the other way round: what it lacks would be
        /// missing for ever. Remove it, and add it under a new identity.
        WitnessChanged(node: NodeId) =>
            "{node} cannot become a witness or cease to be one: remove it, and add it under a new identity";
        /// Another change is not committed yet; ask again later.
        ChangeInProgress => "another change of the membership is not committed: ask again later";
        /// The leader has not committed an entry of its own term yet; ask again later.
        NotReady => "the leader has only just been elected: ask again later";
        /// There is no room on the leader's disk.
        DiskFull => "there is no room on the leader's disk";
        /// The leader is handing over; ask the next one.
        Transferring {
            /// Who is to lead.
            to: NodeId,
        } => "leadership is being handed over to {to}";
        /// The server stopped for good.
        Stopped => "the server has stopped for good";
    }
}

described_enum! {
    /// What a change of the membership waits for.
    #[derive(Clone, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum ChangeStage {
        /// The membership is joint. It is left when a majority of the voters before the change and
        /// one of the voters after it have committed this entry.
        Joint {
            /// The entry with the joint membership.
            entry: LogIndex,
        } => "the joint membership at entry {entry} waits for both majorities, and is then left";
        /// The membership after the change is not committed.
        Commit {
            /// The entry with that membership.
            entry: LogIndex,
        } => "the membership at entry {entry} waits to be committed";
        /// Servers have not caught up with the leader's log, and have no vote.
        CatchUp {
            /// These servers.
            joining: Vec<NodeId>,
        } => "{} joining servers have not caught up, and have no vote", joining.len();
    }
}

impl MembershipHistory {
    pub(crate) fn new(first: Membership) -> Self {
        Self([(LogIndex(0), first)].into())
    }

    /// The latest membership, and the entry that brought it.
    pub(crate) fn latest(&self) -> (LogIndex, &Membership) {
        match self.0.last() {
            Some((index, membership)) => (*index, membership),
            None => unreachable!("there is always a first membership"),
        }
    }

    /// The membership at an entry.
    pub(crate) fn at(&self, index: LogIndex) -> &Membership {
        let later = self.0.partition_point(|(since, _)| *since <= index);
        &self.0[later.max(1) - 1].1
    }

    pub(crate) fn append(&mut self, index: LogIndex, membership: Membership) {
        if index > self.latest().0 {
            self.0.push((index, membership));
        }
    }

    pub(crate) fn truncate(&mut self, first: LogIndex) {
        while self.0.len() > 1 && self.latest().0 >= first {
            self.0.pop();
        }
    }

    /// Forgets what was in force before `through`.
    pub(crate) fn compact(&mut self, through: LogIndex) {
        let later = self.0.partition_point(|(since, _)| *since <= through);
        self.0.drain(..later.max(1) - 1);
    }

    /// Begins anew from a snapshot.
    pub(crate) fn restart(&mut self, index: LogIndex, membership: Membership) {
        self.0 = [(index, membership)].into();
    }
}

impl Raft {
    /// Who is in the cluster, as far as this server knows: the last membership in its log, whether
    /// it is committed or not (§6).
    #[must_use]
    pub fn membership(&self) -> &Membership {
        if self.config.enforces(Rule::MembershipOnAppend) {
            self.memberships.latest().1
        } else {
            self.memberships.at(self.commit_index)
        }
    }

    /// The membership whose majorities decide.
    #[inline(always)]
    pub(crate) fn effective_membership(&self) -> Cow<'_, Membership> {
        if self.config.enforces(Rule::JointNeedsBoth) {
            Cow::Borrowed(self.membership())
        } else {
            Cow::Owned(self.membership().without_outgoing())
        }
    }

    /// The membership at an entry that the log still has, or at the snapshot before it.
    #[must_use]
    pub fn membership_at(&self, index: LogIndex) -> &Membership {
        self.memberships.at(index)
    }

    /// Changes the membership to `target`, whatever the difference is (§6).
    ///
    /// If the voters change, the log gets a joint membership, and when that is committed `target`
    /// itself. Servers that are joining become voters by further changes, which the leader makes
    /// itself. All of that is over when [`change_in_progress`](Self::change_in_progress) is `None`.
    ///
    /// To give up a server that does not catch up, change to a membership
    /// [without](Membership::without) it. That is allowed as soon as the latest membership is
    /// committed and not joint.
    ///
    /// # Errors
    ///
    /// [`ChangeError`]; the log is as it was then.
    pub fn change_membership(
        &mut self,
        target: Membership,
        now: Instant,
    ) -> Result<LogId, ChangeError> {
        ensure!(!self.start_input(now), ChangeError::Stopped);
        let RoleState::Leader(leader) = &self.role else {
            return Err(ChangeError::NotLeader { leader: self.leader() });
        };
        ensure!(!self.disk_is_full, ChangeError::DiskFull);
        if let Some(transfer) = &leader.transfer {
            return Err(ChangeError::Transferring { to: transfer.target });
        }
        let target = target.without_outgoing();
        target.validate().map_err(ChangeError::Invalid)?;
        let (since, current) = self.memberships.latest();
        ensure!(*current != target, ChangeError::NoChange);
        let stays = target.members();
        let changed = |node: &NodeId| {
            stays.contains(node) && current.is_witness(*node) != target.is_witness(*node)
        };
        if let Some(node) = current.members().into_iter().find(changed) {
            return Err(ChangeError::WitnessChanged(node));
        }
        if self.config.enforces(Rule::OneChangeAtATime) {
            ensure!(leader.first_index <= self.commit_index, ChangeError::NotReady);
            let is_over = since <= self.commit_index && !current.is_joint();
            ensure!(is_over, ChangeError::ChangeInProgress);
        }
        Ok(self.append_joint(target))
    }

    /// The change of the membership that is in progress, as far as this server knows, and what it
    /// waits for. `None` means that the membership is committed, and that each joining server has
    /// become a voter.
    ///
    /// Only then does a majority of `target` decide: a server that is still joining has no vote,
    /// so a voter that it is to replace must not be removed before. A change that was lost with
    /// its leader is not in progress either: look at [`membership`](Self::membership), too.
    #[must_use]
    pub fn change_in_progress(&self) -> Option<ChangeStage> {
        let (entry, latest) = self.memberships.latest();
        if latest.is_joint() {
            Some(ChangeStage::Joint { entry })
        } else if entry > self.commit_index {
            Some(ChangeStage::Commit { entry })
        } else if !latest.auto_promoted().is_empty() {
            Some(ChangeStage::CatchUp { joining: latest.auto_promoted().into() })
        } else {
            None
        }
    }

    /// Returns true if this server is a voter or a learner, as far as it knows. A server that was
    /// removed does not always learn that, because it gets no more messages.
    #[must_use]
    pub fn is_member(&self) -> bool {
        let membership = self.membership();
        membership.is_voter(self.id()) || membership.learners().contains(&self.id())
    }

    /// The entry that brought the membership; zero if it was there from the beginning.
    #[must_use]
    pub fn membership_index(&self) -> LogIndex {
        self.memberships.latest().0
    }

    /// Appends the first step towards `target`.
    fn append_joint(&mut self, target: Membership) -> LogId {
        let current = self.memberships.latest().1;
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
        let joined = self.memberships.latest().1.auto_promoted();
        let joins = |id: &NodeId| membership.auto_promoted().contains(id) && !joined.contains(id);
        if let RoleState::Leader(leader) = &mut self.role {
            let followers = leader.followers.iter_mut().filter(|(id, _)| joins(id));
            followers.for_each(|(_, progress)| progress.restart_catch_up());
        }
        let id = self.append(Payload::Membership(Box::new(membership.clone())));
        self.memberships.append(id.index, membership);
        self.emit(|| Event::MembershipProposed { entry: id });
        self.membership_changed();
        id
    }

    /// The log got or lost a membership, or what is committed reached one.
    pub(crate) fn membership_changed(&mut self) {
        let membership = self.membership().clone();
        let me = self.id();
        if let RoleState::Leader(leader) = &mut self.role {
            let members = membership.members();
            leader.followers.retain(|(id, _)| members.binary_search(id).is_ok());
            for member in members {
                if member != me && leader.follower(member).is_none() {
                    let progress = Progress::new(self.log.last().index.next(), self.now);
                    leader.followers.push((member, progress));
                }
            }
            if let Some(transfer) = &leader.transfer
                && !membership.is_voter(transfer.target)
            {
                leader.transfer = None;
            }
        }
        self.emit(|| Event::MembershipChanged { membership });
    }

    /// Takes the next step of a change whose latest step is committed: out of the joint membership,
    /// or out of the lead.
    #[inline(always)]
    pub(crate) fn advance_change(&mut self) {
        if !matches!(self.role, RoleState::Leader(_)) {
            return;
        }
        let (since, latest) = self.memberships.latest();
        let is_committed = since <= self.commit_index;
        if latest.is_joint() {
            if is_committed || !self.config.enforces(Rule::JointIsCommitted) {
                let left = latest.without_outgoing();
                self.append_membership(left);
            }
        } else if self.is_removed() {
            // A transfer spares the cluster an election timeout. It waits until the target has the
            // whole log, commands included that came after the change: this leader steps down with
            // the transfer. A transfer that runs already will do. That the change is committed, the
            // followers learn with the first entry of the next leader.
            match self.transfer_leadership(None, self.now) {
                Ok(()) | Err(TransferError::Transferring { .. }) => {}
                Err(_) => self.become_follower(StepDownReason::Removed),
            }
        }
    }

    /// Returns true if a membership is committed in which this server is not a voter. A leader
    /// steps down then (dissertation 4.2.2).
    pub(crate) fn is_removed(&self) -> bool {
        let (since, latest) = self.memberships.latest();
        since <= self.commit_index && !latest.is_voter(self.id())
    }

    /// Makes voters of the learners that have caught up, if they are to become voters.
    #[inline(always)]
    pub(crate) fn promote_ready_learners(&mut self) {
        if !self.membership().auto_promoted().is_empty() {
            self.promote_joining();
        }
    }

    fn promote_joining(&mut self) {
        let (since, current) = self.memberships.latest();
        let RoleState::Leader(leader) = &self.role else { return };
        let is_open = current.is_joint()
            || since > self.commit_index
            || leader.first_index > self.commit_index;
        if is_open || self.disk_is_full || leader.transfer.is_some() {
            return;
        }
        let (now, timeout) = (self.now, self.config.election_timeout_min);
        let caught_up = |progress: &Progress| progress.has_caught_up(now, timeout);
        let ready = |id: &&NodeId| leader.follower(**id).is_some_and(caught_up);
        let ready: Vec<_> = current.auto_promoted().iter().filter(ready).copied().collect();
        if ready.is_empty() {
            return;
        }
        let target = current.with_promoted(&ready);
        for learner in &ready {
            self.emit(|| Event::LearnerCaughtUp { learner: *learner });
        }
        self.append_joint(target);
    }
}
