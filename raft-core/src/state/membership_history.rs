//! The memberships of a log.

use alloc::vec::Vec;

use crate::api::membership::Membership;
use crate::api::types::LogIndex;

/// The membership at the start of the log, and those of later entries. Each has the index of its
/// entry; a membership from before the first entry has index 0.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct MembershipHistory {
    first: (LogIndex, Membership),
    /// The memberships after the first, in ascending order of their entries.
    later: Vec<(LogIndex, Membership)>,
}

impl MembershipHistory {
    /// The history of an empty log.
    pub(crate) fn new(first: Membership) -> Self {
        Self::from_snapshot(LogIndex(0), first)
    }

    /// The history of a log that starts with a snapshot up to `index`.
    pub(crate) fn from_snapshot(index: LogIndex, membership: Membership) -> Self {
        Self { first: (index, membership), later: Vec::new() }
    }

    /// The latest membership, and the index of its entry.
    #[inline]
    pub(crate) fn latest(&self) -> (LogIndex, &Membership) {
        let (index, membership) = self.later.last().unwrap_or(&self.first);
        (*index, membership)
    }

    /// The membership that the log up to `index` results in. Before the first one it is the first.
    pub(crate) fn at(&self, index: LogIndex) -> &Membership {
        match self.count_through(index) {
            0 => &self.first.1,
            count => &self.later[count - 1].1,
        }
    }

    /// Adds the membership of an entry. An entry that is not after the latest one is known.
    pub(crate) fn append(&mut self, index: LogIndex, membership: Membership) {
        if index > self.latest().0 {
            self.later.push((index, membership));
        }
    }

    /// Removes the memberships of the entries from `from` on; the first one stays.
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        self.later.truncate(self.count_through(from.previous()));
    }

    /// Removes the memberships before the one in effect at `through`.
    pub(crate) fn compact(&mut self, through: LogIndex) {
        let count = self.count_through(through);
        if let Some(first) = self.later.drain(..count).next_back() {
            self.first = first;
        }
    }

    /// The number of later memberships up to `index`.
    fn count_through(&self, index: LogIndex) -> usize {
        self.later.partition_point(|(since, _)| *since <= index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::NodeId;

    fn of(voter: u64) -> Membership {
        Membership::new([NodeId(voter)])
    }

    fn history() -> MembershipHistory {
        let mut history = MembershipHistory::new(of(1));
        history.append(LogIndex(4), of(2));
        history.append(LogIndex(8), of(3));
        history
    }

    fn at_each_index(history: &MembershipHistory) -> Vec<u64> {
        (0..10).map(|index| history.at(LogIndex(index)).voters()[0].0).collect()
    }

    #[test]
    fn membership_is_in_effect_from_its_entry() {
        assert_eq!(at_each_index(&history()), [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
        assert_eq!(history().latest(), (LogIndex(8), &of(3)));
    }

    #[test]
    fn truncation_reverts_memberships_except_first() {
        let after = |from| {
            let mut history = history();
            history.truncate(LogIndex(from));
            history.latest().0.0
        };
        assert_eq!([9, 8, 5, 4, 1, 0].map(after), [8, 4, 4, 0, 0, 0]);
    }

    #[test]
    fn compaction_keeps_membership_in_effect() {
        for (through, first) in [(3, 1), (4, 2), (7, 2), (8, 3), (9, 3)] {
            let mut history = history();
            history.compact(LogIndex(through));
            assert_eq!(history.first.1, of(first), "through {through}");
            assert_eq!(history.latest(), (LogIndex(8), &of(3)));
        }
    }
}
