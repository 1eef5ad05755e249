//! The members of a cluster, and its quorums.

use alloc::vec::Vec;
use core::fmt;

use crate::api::quorum::{majority, majority_value, majority_vote};
use crate::api::types::NodeId;
use crate::macros::{described_enum, ensure};

/// The members of a cluster and their roles.
///
/// A decision needs a majority of the voters (§5.2, §5.3). During a change of voters the membership
/// is *joint*: a decision needs a majority of the new voters and a majority of the old voters. Any
/// number of servers may change at once (§6).
///
/// All lists of servers are sorted and contain no duplicates.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Membership {
    voters: Vec<NodeId>,
    /// The voters before the change, while the membership is joint.
    outgoing: Vec<NodeId>,
    /// The servers that receive the log and have no vote.
    learners: Vec<NodeId>,
    /// The learners that become voters after they have caught up.
    joining: Vec<NodeId>,
    /// The voters that store no payloads.
    witnesses: Vec<NodeId>,
}

described_enum! {
    /// The reason why a membership is invalid.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum MembershipError: core::error::Error {
        /// There is no voter, so the cluster could decide nothing.
        NoVoters => "invalid membership: no voter; add at least one";
        /// A majority could consist of witnesses alone. No server would then store the payloads
        /// that this majority has committed.
        TooManyWitnesses =>
            "invalid membership: a majority could consist of witnesses alone; add other voters or remove witnesses";
        /// A witness is not a voter.
        WitnessWithoutVote(node: NodeId) =>
            "invalid membership: witness {node} is not a voter; add it to the voters";
        /// A server is both a voter and a learner.
        VoterAndLearner(node: NodeId) =>
            "invalid membership: {node} is a voter and a learner; choose one of the two";
    }
}

/// The result of a vote so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VoteResult {
    /// A quorum has granted its votes.
    Won,
    /// So many voters rejected that a quorum is impossible.
    Lost,
    /// The missing votes decide.
    Open,
}

impl Membership {
    /// A membership with these voters.
    #[must_use]
    pub fn new(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: sorted(voters), ..Self::default() }
    }

    /// Adds learners: servers that receive the log and have no vote (dissertation 4.2.1).
    #[must_use]
    pub fn with_learners(mut self, learners: impl IntoIterator<Item = NodeId>) -> Self {
        self.learners = sorted(self.learners.into_iter().chain(learners));
        self
    }

    /// Adds learners that the leader makes voters after they have caught up (dissertation 4.2.1).
    #[must_use]
    pub fn with_auto_promoted(mut self, joining: impl IntoIterator<Item = NodeId>) -> Self {
        self.joining = sorted(self.joining.into_iter().chain(joining));
        let joining = self.joining.clone();
        self.with_learners(joining)
    }

    /// Makes these voters witnesses: they vote and store the terms of the log, but no payloads, and
    /// they never lead (dissertation 11.7.2).
    #[must_use]
    pub fn with_witnesses(mut self, witnesses: impl IntoIterator<Item = NodeId>) -> Self {
        self.witnesses = sorted(self.witnesses.into_iter().chain(witnesses));
        self
    }

    /// Makes the membership joint with the voters `outgoing` of the previous membership.
    #[must_use]
    pub fn with_outgoing(mut self, outgoing: impl IntoIterator<Item = NodeId>) -> Self {
        self.outgoing = sorted(outgoing);
        self
    }

    /// Removes these servers from voters, learners and witnesses: the target of a change that
    /// removes them. Outgoing voters stay.
    #[must_use]
    pub fn without(mut self, nodes: impl IntoIterator<Item = NodeId>) -> Self {
        for node in nodes {
            for list in [&mut self.voters, &mut self.learners, &mut self.joining] {
                list.retain(|known| *known != node);
            }
            if !has(&self.outgoing, node) {
                self.witnesses.retain(|known| *known != node);
            }
        }
        self
    }

    /// The voters in ascending order; in a joint membership, the new voters.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// The voters before the change in progress, in ascending order. Empty unless the membership is
    /// joint.
    #[must_use]
    pub fn outgoing(&self) -> &[NodeId] {
        &self.outgoing
    }

    /// The servers that receive the log and have no vote, in ascending order. A learner among the
    /// outgoing voters has a vote until the change is complete.
    #[must_use]
    pub fn learners(&self) -> &[NodeId] {
        &self.learners
    }

    /// The learners that become voters after they have caught up, in ascending order.
    #[must_use]
    pub fn auto_promoted(&self) -> &[NodeId] {
        &self.joining
    }

    /// The voters that store no payloads, in ascending order.
    #[must_use]
    pub fn witnesses(&self) -> &[NodeId] {
        &self.witnesses
    }

    /// Returns true if `node` is a voter or an outgoing voter.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        has(&self.voters, node) || has(&self.outgoing, node)
    }

    /// Returns true if `node` stores no payloads.
    #[must_use]
    pub fn is_witness(&self, node: NodeId) -> bool {
        has(&self.witnesses, node)
    }

    /// Returns true if `node` is a voter after the change in progress, and not a witness.
    pub(crate) fn can_lead(&self, node: NodeId) -> bool {
        has(&self.voters, node) && !self.is_witness(node)
    }

    /// Returns true during a change of voters (§6).
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The servers that receive the log, in ascending order.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        let all = [&self.voters, &self.outgoing, &self.learners];
        sorted(all.into_iter().flatten().copied())
    }

    /// The size of the members for limits in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.members().len() * size_of::<NodeId>()
    }

    /// Checks that the roles fit together.
    ///
    /// # Errors
    ///
    /// [`MembershipError`] with the first contradiction.
    pub fn validate(&self) -> Result<(), MembershipError> {
        ensure!(!self.voters.is_empty(), MembershipError::NoVoters);
        if let Some(both) = self.learners.iter().find(|node| has(&self.voters, **node)) {
            return Err(MembershipError::VoterAndLearner(*both));
        }
        if let Some(witness) = self.witnesses.iter().find(|node| !self.is_voter(**node)) {
            return Err(MembershipError::WitnessWithoutVote(*witness));
        }
        let halves = [&self.voters, &self.outgoing];
        let too_many = |voters: &Vec<NodeId>| {
            let witnesses = voters.iter().filter(|voter| self.is_witness(**voter));
            witnesses.count() >= majority(voters.len())
        };
        ensure!(!halves.into_iter().any(too_many), MembershipError::TooManyWitnesses);
        Ok(())
    }

    /// The joint membership of a change from this membership to `target`.
    #[must_use]
    pub(crate) fn joint_with(&self, target: &Self) -> Self {
        let joint = target.clone().with_outgoing(self.voters.iter().copied());
        // An outgoing witness stores no payloads until the change is complete.
        joint.with_witnesses(self.witnesses.iter().copied())
    }

    /// The membership after the change in progress.
    #[must_use]
    pub(crate) fn without_outgoing(&self) -> Self {
        let mut next = self.clone();
        next.outgoing.clear();
        next.witnesses.retain(|witness| has(&next.voters, *witness));
        next
    }

    /// The membership in which the learners `ready` are voters.
    #[must_use]
    pub(crate) fn with_promoted(&self, ready: &[NodeId]) -> Self {
        let mut promoted = self.clone();
        promoted.learners.retain(|node| !ready.contains(node));
        promoted.joining.retain(|node| !ready.contains(node));
        promoted.voters = sorted(promoted.voters.iter().chain(ready).copied());
        promoted
    }

    /// Returns true if each quorum needs a witness, and `witness` is the first one. This is the
    /// case if the other voters are fewer than a majority.
    pub(crate) fn is_decisive_witness(&self, witness: NodeId) -> bool {
        [&self.voters, &self.outgoing].into_iter().any(|half| {
            let is_witness = |voter: &&NodeId| self.is_witness(**voter);
            let others = half.iter().filter(|voter| !is_witness(voter)).count();
            others < majority(half.len()) && half.iter().find(is_witness) == Some(&witness)
        })
    }

    /// The number of voters in the smallest majority; in a joint membership, of the new voters.
    #[must_use]
    pub fn majority(&self) -> usize {
        majority(self.voters.len())
    }

    /// The largest value that a quorum has reached, if each voter has the value `per_voter(voter)`.
    /// With match indexes as values, this is the commit index. `None` without voters.
    pub fn quorum_value<T: Ord + Copy>(&self, mut per_voter: impl FnMut(NodeId) -> T) -> Option<T> {
        let incoming = majority_value(&self.voters, &mut per_voter)?;
        if self.outgoing.is_empty() {
            return Some(incoming);
        }
        let outgoing = majority_value(&self.outgoing, &mut per_voter)?;
        Some(incoming.min(outgoing))
    }

    /// The result of a vote in which `vote(voter)` is the response of a voter; true is a granted
    /// vote, and `None` a missing response.
    pub fn vote_result(&self, mut vote: impl FnMut(NodeId) -> Option<bool>) -> VoteResult {
        let incoming = majority_vote(&self.voters, &mut vote);
        if self.outgoing.is_empty() {
            return incoming;
        }
        match (incoming, majority_vote(&self.outgoing, &mut vote)) {
            (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
            (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
            _ => VoteResult::Open,
        }
    }
}

fn sorted(nodes: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
    let mut nodes: Vec<_> = nodes.into_iter().collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Returns true if the sorted list contains `node`.
fn has(nodes: &[NodeId], node: NodeId) -> bool {
    nodes.binary_search(&node).is_ok()
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, nodes: &[NodeId]| {
            for (position, node) in nodes.iter().enumerate() {
                let separator = if position > 0 { ", " } else { "" };
                let witness = if self.is_witness(*node) { " (witness)" } else { "" };
                write!(f, "{separator}{node}{witness}")?;
            }
            Ok(())
        };
        f.write_str("voters ")?;
        list(f, &self.voters)?;
        if self.is_joint() {
            f.write_str(", together with the voters so far ")?;
            list(f, &self.outgoing)?;
        }
        let (joining, learners): (Vec<_>, Vec<_>) =
            self.learners.iter().partition(|node| has(&self.joining, **node));
        for (name, nodes) in [("; learners ", learners), ("; joining ", joining)] {
            if !nodes.is_empty() {
                f.write_str(name)?;
                list(f, &nodes)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// All pairs of voter sets among four servers, and all sets of granted votes: a joint
    /// membership decides exactly when both halves decide.
    #[test]
    fn joint_quorum_needs_both_memberships() {
        let set = |bits: u32| (0..4).filter(move |bit| bits >> bit & 1 == 1).map(NodeId);
        for (old, new) in (1..16).flat_map(|old| (1..16).map(move |new| (old, new))) {
            let joint = Membership::new(set(new)).with_outgoing(set(old));
            for granted in 0..16_u32 {
                let grants = |node: NodeId| granted >> node.0 & 1 == 1;
                let half = |bits| {
                    Membership::new(set(bits)).vote_result(|node| Some(grants(node)))
                        == VoteResult::Won
                };
                let both = half(old) && half(new);
                assert_eq!(joint.vote_result(|node| Some(grants(node))) == VoteResult::Won, both);
                assert_eq!(joint.quorum_value(grants), Some(both));
            }
        }
    }

    /// Any two quorums of consecutive memberships have a server in common (§6): old and joint,
    /// joint and new.
    #[test]
    fn quorums_of_consecutive_memberships_intersect() {
        let set = |bits: u32| (0..4).filter(move |bit| bits >> bit & 1 == 1).map(NodeId);
        for (old, new) in (1..16).flat_map(|old| (1..16).map(move |new| (old, new))) {
            let before = Membership::new(set(old));
            let joint = before.joint_with(&Membership::new(set(new)));
            for (one, other) in [(&before, &joint), (&joint, &joint.without_outgoing())] {
                for island in 0..16_u32 {
                    let inside = |node: NodeId| Some(island >> node.0 & 1 == 1);
                    let outside = |node: NodeId| Some(island >> node.0 & 1 == 0);
                    let (one, other) = (one.vote_result(inside), other.vote_result(outside));
                    assert!(one != VoteResult::Won || other != VoteResult::Won);
                }
            }
        }
    }

    #[test]
    fn witnesses_alone_are_not_a_quorum() {
        for voters in 1..=7_u64 {
            for witnesses in 0..=voters {
                let membership = Membership::new((1..=voters).map(NodeId))
                    .with_witnesses((1..=witnesses).map(NodeId));
                let alone = membership.vote_result(|node| Some(membership.is_witness(node)));
                assert_eq!(membership.validate().is_ok(), alone != VoteResult::Won);
            }
        }
    }

    /// E12: a removal by hand took eight lines, and the short way dropped the learners.
    #[test]
    fn removal_of_one_server_keeps_others() {
        let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let before = Membership::new(nodes(&[1, 2, 3]))
            .with_learners(nodes(&[4]))
            .with_auto_promoted(nodes(&[5, 6]))
            .with_witnesses(nodes(&[2, 3]));
        let after = Membership::new(nodes(&[1, 2]))
            .with_learners(nodes(&[4]))
            .with_auto_promoted(nodes(&[6]))
            .with_witnesses(nodes(&[2]));
        assert_eq!(before.clone().without(nodes(&[3, 5, 9])), after);
        let text = "voters n1, n2 (witness), n3 (witness); learners n4; joining n5, n6";
        assert_eq!(before.to_string(), text);
        let joint = before.joint_with(&after).without(nodes(&[3]));
        assert!(
            joint.is_voter(NodeId(3)) && joint.is_witness(NodeId(3)),
            "until the change is complete"
        );
    }

    #[test]
    fn contradicting_roles_are_rejected() {
        let [a, b] = [NodeId(1), NodeId(2)];
        let cases = [
            (Membership::default(), MembershipError::NoVoters),
            (Membership::new([a]).with_learners([a]), MembershipError::VoterAndLearner(a)),
            (Membership::new([a]).with_witnesses([b]), MembershipError::WitnessWithoutVote(b)),
        ];
        for (membership, error) in cases {
            assert_eq!(membership.validate(), Err(error), "{membership}");
        }
    }
}
