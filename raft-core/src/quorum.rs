//! The arithmetic of majorities, on plain values.

use alloc::vec::Vec;

use crate::id::NodeId;

/// Who votes. A majority of the voters decides (§5.2, §5.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Membership {
    voters: Vec<NodeId>,
}

/// Where a vote stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tally {
    /// A majority agreed.
    Won,
    /// So many refused that no majority can come together.
    Lost,
    /// It depends on who has not answered.
    Open,
}

impl Membership {
    /// The membership with these voters; order and repetitions do not matter.
    #[must_use]
    pub fn new(voters: impl IntoIterator<Item = NodeId>) -> Self {
        let mut voters: Vec<_> = voters.into_iter().collect();
        voters.sort_unstable();
        voters.dedup();
        Self { voters }
    }

    /// The voters, in ascending order.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// Whether `node` votes.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.binary_search(&node).is_ok()
    }

    /// How many voters decide.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// The greatest value that a majority of the voters has reached, if each has reached
    /// `reached(voter)`: the commit index of match indexes, the confirmed round of acknowledged ones.
    pub fn reached_by_majority<T: Ord + Copy>(
        &self,
        mut reached: impl FnMut(NodeId) -> T,
    ) -> Option<T> {
        // A cluster that fits here costs no allocation.
        const INLINE: usize = 9;
        let count = self.voters.len();
        let first = self.voters.first().map(|voter| reached(*voter))?;
        let pick = |values: &mut [T]| {
            values.sort_unstable();
            values[count - self.majority()]
        };
        if count <= INLINE {
            let mut values = [first; INLINE];
            for (value, voter) in values.iter_mut().zip(&self.voters).skip(1) {
                *value = reached(*voter);
            }
            Some(pick(&mut values[..count]))
        } else {
            let mut values: Vec<T> = self
                .voters
                .iter()
                .skip(1)
                .map(|voter| reached(*voter))
                .collect();
            values.push(first);
            Some(pick(&mut values))
        }
    }

    /// Where a vote stands in which `answer(voter)` is what the voter said, if it said anything.
    pub fn tally(&self, mut answer: impl FnMut(NodeId) -> Option<bool>) -> Tally {
        let (mut granted, mut refused) = (0, 0);
        for voter in &self.voters {
            match answer(*voter) {
                Some(true) => granted += 1,
                Some(false) => refused += 1,
                None => {}
            }
        }
        if granted >= self.majority() {
            Tally::Won
        } else if refused > self.voters.len() - self.majority() {
            Tally::Lost
        } else {
            Tally::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(count: u64) -> Membership {
        Membership::new((1..=count).map(NodeId))
    }

    /// Every vector of values 0..=3 for clusters of one to five: the result is reached by a
    /// majority, and the next greater value is not.
    #[test]
    fn reached_by_majority_is_the_greatest_value_of_a_majority() {
        for count in 1..=5_u32 {
            let membership = voters(u64::from(count));
            for code in 0..4_u32.pow(count) {
                let value = |node: NodeId| (code >> (2 * (node.0 - 1))) & 3;
                let reached = membership.reached_by_majority(value).unwrap();
                let at_least = |bound: u32| {
                    membership
                        .voters()
                        .iter()
                        .filter(|n| value(**n) >= bound)
                        .count()
                };
                assert!(at_least(reached) >= membership.majority());
                assert!(at_least(reached + 1) < membership.majority());
            }
        }
    }

    #[test]
    fn large_clusters_agree_with_small_arithmetic() {
        let membership = voters(101);
        assert_eq!(membership.reached_by_majority(|n| n.0), Some(51));
        assert_eq!(voters(10).reached_by_majority(|n| n.0), Some(5));
        assert_eq!(voters(0).reached_by_majority(|n| n.0), None);
    }

    /// Every combination of yes, no and silence for clusters of one to five.
    #[test]
    fn tally_is_decided_exactly_when_silence_cannot_change_it() {
        for count in 1..=5_u32 {
            let membership = voters(u64::from(count));
            for code in 0..3_u32.pow(count) {
                let answer = |node: NodeId| match code / 3_u32.pow(node.0 as u32 - 1) % 3 {
                    0 => None,
                    1 => Some(true),
                    _ => Some(false),
                };
                let fill = |silence: bool| {
                    let yes = membership
                        .voters()
                        .iter()
                        .filter(|n| answer(**n).unwrap_or(silence));
                    yes.count() >= membership.majority()
                };
                let expected = match (fill(false), fill(true)) {
                    (true, _) => Tally::Won,
                    (_, false) => Tally::Lost,
                    (false, true) => Tally::Open,
                };
                assert_eq!(
                    membership.tally(answer),
                    expected,
                    "{count} voters, code {code}"
                );
            }
        }
    }

    #[test]
    fn an_even_cluster_needs_more_than_half() {
        assert_eq!(voters(4).majority(), 3);
        assert_eq!(
            voters(4).reached_by_majority(|n| u64::from(n.0 <= 2)),
            Some(0)
        );
    }
}
