//! The arithmetic of quorums on lists of voters (§5.2, §5.3).

use alloc::vec::Vec;

use crate::api::membership::VoteResult;
use crate::api::types::NodeId;

/// The number of voters in the smallest majority.
pub(super) fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The largest value that a majority of the voters has reached, if each voter has the value
/// `per_voter(voter)`. `None` without voters.
#[inline(always)]
pub(super) fn majority_value<T: Ord + Copy>(
    voters: &[NodeId],
    per_voter: &mut impl FnMut(NodeId) -> T,
) -> Option<T> {
    /// Clusters of up to this many voters need no allocation.
    const INLINE: usize = 9;
    let (first, others) = voters.split_first()?;
    let first = per_voter(*first);
    let majority = majority(voters.len());
    if voters.len() <= INLINE {
        // The largest values so far, in descending order.
        let mut largest = [first; INLINE / 2 + 1];
        for (known, voter) in (1..).zip(others) {
            let mut value = per_voter(*voter);
            for place in largest.iter_mut().take(known.min(majority)) {
                (*place, value) = (value.max(*place), value.min(*place));
            }
            if let Some(place) = largest.get_mut(known) {
                *place = value;
            }
        }
        Some(largest[majority - 1])
    } else {
        let mut values: Vec<T> = others.iter().map(|voter| per_voter(*voter)).collect();
        values.push(first);
        Some(*values.select_nth_unstable(voters.len() - majority).1)
    }
}

/// The result of a vote in which `vote(voter)` is the response of a voter.
pub(super) fn majority_vote(
    voters: &[NodeId],
    vote: &mut impl FnMut(NodeId) -> Option<bool>,
) -> VoteResult {
    let (mut granted, mut rejected) = (0, 0);
    for voter in voters {
        match vote(*voter) {
            Some(true) => granted += 1,
            Some(false) => rejected += 1,
            None => {}
        }
    }
    if granted >= majority(voters.len()) {
        VoteResult::Won
    } else if rejected + majority(voters.len()) > voters.len() {
        VoteResult::Lost
    } else {
        VoteResult::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(count: u64) -> Vec<NodeId> {
        (1..=count).map(NodeId).collect()
    }

    /// All vectors of values 0..=3 for one to five voters: a majority has reached the result, and
    /// no majority has reached the next larger value.
    #[test]
    fn majority_value_is_largest_value_of_majority() {
        for count in 1..=5_u32 {
            let voters = voters(u64::from(count));
            for code in 0..4_u32.pow(count) {
                let value = |node: NodeId| (code >> (2 * (node.0 - 1))) & 3;
                let result = majority_value(&voters, &mut { value }).unwrap();
                let at_least = |bound: u32| voters.iter().filter(|n| value(**n) >= bound).count();
                assert!(at_least(result) >= majority(voters.len()));
                assert!(at_least(result + 1) < majority(voters.len()));
            }
        }
    }

    #[test]
    fn majority_value_of_large_clusters_matches_reference() {
        let of = |count| majority_value(&voters(count), &mut |node: NodeId| node.0);
        assert_eq!([of(101), of(10), of(0)], [Some(51), Some(5), None]);
    }

    /// All combinations of granted, rejected and missing votes for one to five voters.
    #[test]
    fn vote_is_decided_only_when_missing_votes_cannot_change_it() {
        for count in 1..=5_u32 {
            let voters = voters(u64::from(count));
            for code in 0..3_u32.pow(count) {
                let vote = |node: NodeId| match code / 3_u32.pow(node.0 as u32 - 1) % 3 {
                    0 => None,
                    1 => Some(true),
                    _ => Some(false),
                };
                let wins_with = |missing: bool| {
                    let granted = voters.iter().filter(|n| vote(**n).unwrap_or(missing));
                    granted.count() >= majority(voters.len())
                };
                let expected = match (wins_with(false), wins_with(true)) {
                    (true, _) => VoteResult::Won,
                    (_, false) => VoteResult::Lost,
                    (false, true) => VoteResult::Open,
                };
                let result = majority_vote(&voters, &mut { vote });
                assert_eq!(result, expected, "{count} voters, code {code}");
            }
        }
    }

    #[test]
    fn even_cluster_quorum_exceeds_half() {
        assert_eq!(majority(4), 3);
        let first_two = &mut |node: NodeId| u64::from(node.0 <= 2);
        assert_eq!(majority_value(&voters(4), first_two), Some(0));
    }

    #[test]
    fn no_voters_cannot_win() {
        assert_eq!(majority_vote(&[], &mut |_| None), VoteResult::Lost);
        assert_eq!(majority_value(&[], &mut |_| 1), None);
    }
}
