//! Who is in the cluster, and the arithmetic of majorities, on plain values.

use alloc::vec::Vec;
use core::fmt;

use crate::api::types::NodeId;
use crate::macros::{described_enum, ensure};

/// The members of a cluster and what each of them is for.
///
/// Outside of a change a majority of the voters decides (§5.2, §5.3). While a change is under way
/// the membership is *joint*: then a majority of the new voters and a majority of the old ones
/// decide together, and any set of changes is possible at once (§6).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Membership {
    voters: Vec<NodeId>,
    /// The voters before the change, while the membership is joint.
    outgoing: Vec<NodeId>,
    learners: Vec<NodeId>,
    /// Those of the learners that become voters when they have caught up.
    joining: Vec<NodeId>,
    /// Those of the voters that keep no payloads.
    witnesses: Vec<NodeId>,
}

described_enum! {
    /// Why a membership makes no sense.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum MembershipError: core::error::Error {
        /// Nobody could decide anything.
        NoVoters => "a cluster needs at least one voter";
        /// A majority might consist of witnesses alone, and then nobody has what it committed.
        TooManyWitnesses => "a majority of the voters could consist of witnesses alone";
        /// A witness has a vote, and this one has none.
        WitnessWithoutVote(node: NodeId) => "{node} is to be a witness and no voter";
        /// A server is a voter or a learner, not both.
        VoterAndLearner(node: NodeId) => "{node} is to be a voter and a learner";
    }
}

/// Where a vote stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VoteResult {
    /// A majority agreed.
    Won,
    /// So many refused that no majority can come together.
    Lost,
    /// It depends on who has not answered.
    Open,
}

impl Membership {
    /// The membership with these voters; order and repetitions do not matter, here and below.
    #[must_use]
    pub fn new(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: sorted(voters), ..Self::default() }
    }

    /// Adds servers that receive the log and have no vote (dissertation 4.2.1).
    #[must_use]
    pub fn with_learners(mut self, learners: impl IntoIterator<Item = NodeId>) -> Self {
        self.learners = sorted(self.learners.into_iter().chain(learners));
        self
    }

    /// Adds learners that the leader makes voters as soon as they have caught up
    /// (dissertation 4.2.1).
    #[must_use]
    pub fn with_auto_promoted(mut self, joining: impl IntoIterator<Item = NodeId>) -> Self {
        self.joining = sorted(self.joining.into_iter().chain(joining));
        let joining = self.joining.clone();
        self.with_learners(joining)
    }

    /// Says which of the voters are witnesses: they vote and keep the terms of the log, but no
    /// payloads, and never lead (dissertation 11.7.2).
    #[must_use]
    pub fn with_witnesses(mut self, witnesses: impl IntoIterator<Item = NodeId>) -> Self {
        self.witnesses = sorted(self.witnesses.into_iter().chain(witnesses));
        self
    }

    /// The membership while `outgoing` decides too.
    #[must_use]
    pub fn with_outgoing(mut self, outgoing: impl IntoIterator<Item = NodeId>) -> Self {
        self.outgoing = sorted(outgoing);
        self
    }

    /// The membership without these servers, whatever each of them is: the target of a change that
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

    /// The voters, in ascending order. While the membership is joint, the new ones.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// The voters before the change that is under way, in ascending order; none if there is no
    /// change.
    #[must_use]
    pub fn outgoing(&self) -> &[NodeId] {
        &self.outgoing
    }

    /// The servers that receive the log and have no vote, in ascending order. A learner that is
    /// among the outgoing voters loses its vote at the end of the change.
    #[must_use]
    pub fn learners(&self) -> &[NodeId] {
        &self.learners
    }

    /// Those of the learners that become voters when they have caught up.
    #[must_use]
    pub fn auto_promoted(&self) -> &[NodeId] {
        &self.joining
    }

    /// Those of the voters that keep no payloads.
    #[must_use]
    pub fn witnesses(&self) -> &[NodeId] {
        &self.witnesses
    }

    /// Whether `node` has a vote, in the new or in the old part.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        has(&self.voters, node) || has(&self.outgoing, node)
    }

    /// Whether `node` keeps no payloads.
    #[must_use]
    pub fn is_witness(&self, node: NodeId) -> bool {
        has(&self.witnesses, node)
    }

    /// Whether `node` is a voter that can lead, and will be one after the change that is under way.
    pub(crate) fn can_lead(&self, node: NodeId) -> bool {
        has(&self.voters, node) && !self.is_witness(node)
    }

    /// Whether a change is under way (§6).
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Everybody who receives the log, in ascending order.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        let all = [&self.voters, &self.outgoing, &self.learners];
        sorted(all.into_iter().flatten().copied())
    }

    /// What the members count against limits on bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.members().len() * size_of::<NodeId>()
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
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

    /// The membership in which both this one and `target` decide.
    #[must_use]
    pub(crate) fn joint_with(&self, target: &Self) -> Self {
        let joint = target.clone().with_outgoing(self.voters.iter().copied());
        // A witness that leaves is one until it has left.
        joint.with_witnesses(self.witnesses.iter().copied())
    }

    /// The membership after the change that is under way.
    #[must_use]
    pub(crate) fn without_outgoing(&self) -> Self {
        let mut left = self.clone();
        left.outgoing.clear();
        left.witnesses.retain(|witness| has(&left.voters, *witness));
        left
    }

    /// The membership in which these learners are voters.
    #[must_use]
    pub(crate) fn with_promoted(&self, ready: &[NodeId]) -> Self {
        let mut promoted = self.clone();
        promoted.learners.retain(|node| !ready.contains(node));
        promoted.joining.retain(|node| !ready.contains(node));
        promoted.voters = sorted(promoted.voters.iter().chain(ready).copied());
        promoted
    }

    /// Whether the voters that keep payloads are one short of a majority, and this witness is the
    /// one that completes it.
    pub(crate) fn is_decisive_witness(&self, witness: NodeId) -> bool {
        [&self.voters, &self.outgoing].into_iter().any(|half| {
            let is_witness = |voter: &&NodeId| self.is_witness(**voter);
            let others = half.iter().filter(|voter| !is_witness(voter)).count();
            others < majority(half.len()) && half.iter().find(is_witness) == Some(&witness)
        })
    }

    /// How many voters decide; while the membership is joint, how many of the new ones.
    #[must_use]
    pub fn majority(&self) -> usize {
        majority(self.voters.len())
    }

    /// The greatest value that a majority has reached, if each voter has reached `reached(voter)`:
    /// the commit index of match indexes, the confirmed round of acknowledged ones.
    pub fn quorum_value<T: Ord + Copy>(&self, mut reached: impl FnMut(NodeId) -> T) -> Option<T> {
        let incoming = reached_by_majority_of(&self.voters, &mut reached)?;
        if self.outgoing.is_empty() {
            return Some(incoming);
        }
        let outgoing = reached_by_majority_of(&self.outgoing, &mut reached)?;
        Some(incoming.min(outgoing))
    }

    /// Where a vote stands in which `answer(voter)` is what the voter said, if it said anything.
    pub fn vote_result(&self, mut answer: impl FnMut(NodeId) -> Option<bool>) -> VoteResult {
        let incoming = tally_of(&self.voters, &mut answer);
        if self.outgoing.is_empty() {
            return incoming;
        }
        match (incoming, tally_of(&self.outgoing, &mut answer)) {
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

fn has(nodes: &[NodeId], node: NodeId) -> bool {
    nodes.binary_search(&node).is_ok()
}

/// More than half, of an even number too.
fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

#[inline(always)]
fn reached_by_majority_of<T: Ord + Copy>(
    voters: &[NodeId],
    reached: &mut impl FnMut(NodeId) -> T,
) -> Option<T> {
    // A cluster that fits here costs no allocation.
    const INLINE: usize = 9;
    let (first, others) = voters.split_first()?;
    let first = reached(*first);
    let majority = majority(voters.len());
    if voters.len() <= INLINE {
        // The greatest ones, in descending order.
        let mut greatest = [first; INLINE / 2 + 1];
        for (known, voter) in (1..).zip(others) {
            let mut value = reached(*voter);
            for place in greatest.iter_mut().take(known.min(majority)) {
                (*place, value) = (value.max(*place), value.min(*place));
            }
            if let Some(place) = greatest.get_mut(known) {
                *place = value;
            }
        }
        Some(greatest[majority - 1])
    } else {
        let mut values: Vec<T> = others.iter().map(|voter| reached(*voter)).collect();
        values.push(first);
        Some(*values.select_nth_unstable(voters.len() - majority).1)
    }
}

fn tally_of(voters: &[NodeId], answer: &mut impl FnMut(NodeId) -> Option<bool>) -> VoteResult {
    let (mut granted, mut refused) = (0, 0);
    for voter in voters {
        match answer(*voter) {
            Some(true) => granted += 1,
            Some(false) => refused += 1,
            None => {}
        }
    }
    if granted >= majority(voters.len()) {
        VoteResult::Won
    } else if refused + majority(voters.len()) > voters.len() {
        VoteResult::Lost
    } else {
        VoteResult::Open
    }
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

    fn voters(count: u64) -> Membership {
        Membership::new((1..=count).map(NodeId))
    }

    /// Every vector of values 0..=3 for clusters of one to five: the result is reached by a
    /// majority, and the next greater value is not.
    #[test]
    fn quorum_value_is_largest_value_of_a_quorum() {
        for count in 1..=5_u32 {
            let membership = voters(u64::from(count));
            for code in 0..4_u32.pow(count) {
                let value = |node: NodeId| (code >> (2 * (node.0 - 1))) & 3;
                let reached = membership.quorum_value(value).unwrap();
                let at_least =
                    |bound: u32| membership.voters().iter().filter(|n| value(**n) >= bound).count();
                assert!(at_least(reached) >= membership.majority());
                assert!(at_least(reached + 1) < membership.majority());
            }
        }
    }

    #[test]
    fn quorum_of_large_clusters_matches_reference() {
        let membership = voters(101);
        assert_eq!(membership.quorum_value(|n| n.0), Some(51));
        assert_eq!(voters(10).quorum_value(|n| n.0), Some(5));
        assert_eq!(voters(0).quorum_value(|n| n.0), None);
    }

    /// Every combination of yes, no and silence for clusters of one to five.
    #[test]
    fn vote_is_decided_only_when_missing_votes_cannot_change_it() {
        for count in 1..=5_u32 {
            let membership = voters(u64::from(count));
            for code in 0..3_u32.pow(count) {
                let answer = |node: NodeId| match code / 3_u32.pow(node.0 as u32 - 1) % 3 {
                    0 => None,
                    1 => Some(true),
                    _ => Some(false),
                };
                let fill = |silence: bool| {
                    let yes = membership.voters().iter().filter(|n| answer(**n).unwrap_or(silence));
                    yes.count() >= membership.majority()
                };
                let expected = match (fill(false), fill(true)) {
                    (true, _) => VoteResult::Won,
                    (_, false) => VoteResult::Lost,
                    (false, true) => VoteResult::Open,
                };
                assert_eq!(membership.vote_result(answer), expected, "{count} voters, code {code}");
            }
        }
    }

    #[test]
    fn even_cluster_quorum_exceeds_half() {
        assert_eq!(voters(4).majority(), 3);
        assert_eq!(voters(4).quorum_value(|n| u64::from(n.0 <= 2)), Some(0));
    }

    /// Every pair of voter sets among four servers and every set of yes-sayers: a joint membership
    /// decides exactly when both halves would.
    #[test]
    fn joint_quorum_needs_both_memberships() {
        let set = |bits: u32| (0..4).filter(move |bit| bits >> bit & 1 == 1).map(NodeId);
        for (old, new) in (1..16).flat_map(|old| (1..16).map(move |new| (old, new))) {
            let joint = Membership::new(set(new)).with_outgoing(set(old));
            for said_yes in 0..16_u32 {
                let yes = |node: NodeId| said_yes >> node.0 & 1 == 1;
                let half = |bits| {
                    Membership::new(set(bits)).vote_result(|node| Some(yes(node)))
                        == VoteResult::Won
                };
                let both = half(old) && half(new);
                assert_eq!(joint.vote_result(|node| Some(yes(node))) == VoteResult::Won, both);
                assert_eq!(joint.quorum_value(yes), Some(both));
            }
        }
    }

    /// Any two deciding sets of neighbouring memberships meet (§6): old with joint, joint with new.
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

    /// With nobody there, nobody can win. A vote is lost exactly when silence could not change
    /// that.
    #[test]
    fn empty_membership_has_no_quorum() {
        let nobody = Membership::default();
        assert_eq!(nobody.vote_result(|_| None), VoteResult::Lost);
        assert_eq!(nobody.quorum_value(|_| 1), None);
    }

    #[test]
    fn witnesses_alone_are_no_quorum() {
        for voters in 1..=7_u64 {
            for witnesses in 0..=voters {
                let membership = Membership::new((1..=voters).map(NodeId))
                    .with_witnesses((1..=witnesses).map(NodeId));
                let alone = membership.vote_result(|node| Some(membership.is_witness(node)));
                assert_eq!(membership.validate().is_ok(), alone != VoteResult::Won);
            }
        }
    }

    /// E12: removing a server took eight lines, and the short way dropped the learners.
    #[test]
    fn removal_of_one_server_keeps_the_others() {
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
        let words = "voters n1, n2 (witness), n3 (witness); learners n4; joining n5, n6";
        assert_eq!(before.to_string(), words);
        let joint = before.joint_with(&after).without(nodes(&[3]));
        assert!(joint.is_voter(NodeId(3)) && joint.is_witness(NodeId(3)), "until it has left");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
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
