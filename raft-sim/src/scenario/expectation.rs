//! What has to come about in time when a cluster is mended.

use serde::{Deserialize, Serialize};

use crate::campaign::is_complete;
use crate::scenario::PROBE_KEY;
use crate::workload::kv::OperationState;
use crate::world::World;

/// Something that must have come about, or availability is violated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// The latest request that was made by hand is answered.
    Answer,
    /// Servers whose disks are ruined are no members any more, and others are in their place.
    Replacement,
    /// There is no lease left.
    Leases,
    /// All who watch have been told of all that was written.
    Watchers,
}

impl Expectation {
    /// In the order in which a campaign awaits them.
    const ALL: [Self; 4] = [Self::Answer, Self::Replacement, Self::Leases, Self::Watchers];

    /// What is missing first.
    pub(super) fn first_unmet(world: &World) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.is_missing(world))
    }

    pub(super) fn is_missing(self, world: &World) -> bool {
        match self {
            Self::Answer => {
                let clients = world.config().clients;
                let mut by_hand = world.askings().filter(|asking| asking.client > clients);
                let latest = by_hand.rfind(|asking| asking.request.key() != PROBE_KEY);
                latest.is_some_and(|asking| !matches!(asking.state, OperationState::Done { .. }))
            }
            Self::Replacement => {
                world.nodes.iter().any(|node| node.disk.is_unrecoverable()) && !is_complete(world)
            }
            Self::Leases => world.ledger.has_leases(),
            Self::Watchers => !world.watchers_have_seen(world.ledger.revision()),
        }
    }

    /// What is said if it is missing.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Answer => "the latest request is not answered in time",
            Self::Replacement => "servers with ruined disks are not replaced in time",
            Self::Leases => "a lease that nobody keeps alive is still there",
            Self::Watchers => "a watcher is not told all in time",
        }
    }
}
