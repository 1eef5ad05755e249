//! The models that are checked.

use std::collections::BTreeSet;

use crate::bounds::{Bounds, Disk};

impl Bounds {
    /// The small models, which take seconds.
    #[must_use]
    pub fn short() -> Vec<Self> {
        vec![
            Self { last_term: 2, ..Self::new("elections") },
            Self { commands: 1, crashes: 1, disk: Disk::InOrder, ..Self::new("durability") },
            Self { last_term: 3, logs: [&[1], &[2], &[]], ..Self::new("conflicts") },
            Self { commands: 1, late_drains: true, ..Self::new("late drains") },
            Self {
                pre_vote: true,
                check_quorum: true,
                timeouts: 1,
                heartbeats: 1,
                ..Self::new("pre-vote")
            },
            Self { changes: 1, targets: voters(&[&[1], &[1, 2], &[2, 3]]), ..Self::new("changes") },
        ]
    }

    /// The large models, which take minutes.
    #[must_use]
    pub fn long() -> Vec<Self> {
        vec![
            Self { last_term: 2, crashes: 1, ..Self::new("elections and a crash") },
            Self { last_term: 2, commands: 1, ..Self::new("elections and a command") },
            Self { last_term: 2, disk: Disk::InOrder, ..Self::new("elections with slow disks") },
            Self {
                commands: 1,
                crashes: 1,
                heartbeats: 1,
                disk: Disk::AnyOrder,
                ..Self::new("durability")
            },
            Self { last_term: 4, logs: [&[1], &[2], &[]], ..Self::new("Figure 8") },
            Self { commands: 1, crashes: 1, late_drains: true, ..Self::new("late drains") },
            Self {
                pre_vote: true,
                check_quorum: true,
                timeouts: 2,
                heartbeats: 1,
                ..Self::new("pre-vote")
            },
            Self {
                last_term: 2,
                timeouts: 2,
                transfers: 1,
                check_quorum: true,
                ..Self::new("transfer")
            },
            Self {
                last_term: 2,
                founders: BTreeSet::from([1, 2]),
                changes: 1,
                targets: voters(&[&[1], &[2, 3], &[1, 2, 3]]),
                ..Self::new("a change from two servers")
            },
            Self {
                last_term: 2,
                timeouts: 2,
                changes: 1,
                targets: voters(&[&[1], &[1, 2], &[2, 3]]),
                ..Self::new("a change from three servers")
            },
            Self {
                changes: 2,
                targets: voters(&[&[1, 2], &[2, 3], &[1, 2, 3]]),
                ..Self::new("two changes")
            },
        ]
    }
}

fn voters(sets: &[&[u64]]) -> Vec<BTreeSet<u64>> {
    sets.iter().map(|set| set.iter().copied().collect()).collect()
}
