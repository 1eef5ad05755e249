//! Conditions that a healed cluster must meet in time.

use serde::{Deserialize, Serialize};

use crate::campaign::disk_faults::all_ruined_are_replaced;
use crate::scenario::PROBE_KEY;
use crate::workload::kv::OperationState;
use crate::world::World;

/// A condition. Availability is violated if the condition does not hold in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// The latest request of the schedule is answered.
    Answer,
    /// Servers with ruined disks are replaced by others.
    Replacement,
    /// No lease is left.
    Leases,
    /// All watch clients have received all changes.
    #[serde(alias = "watchers")]
    WatchClients,
}

impl Expectation {
    /// All conditions, in the order in which a campaign checks them.
    const ALL: [Self; 4] = [Self::Answer, Self::Replacement, Self::Leases, Self::WatchClients];

    /// The first condition that does not hold.
    pub(super) fn first_unmet(world: &World) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.is_unmet(world))
    }

    pub(super) fn is_unmet(self, world: &World) -> bool {
        match self {
            Self::Answer => {
                let clients = world.config().workload.clients;
                let mut scheduled = world.askings().filter(|it| it.client > clients);
                let latest = scheduled.rfind(|it| it.request.key() != PROBE_KEY);
                latest.is_some_and(|it| !matches!(it.state, OperationState::Done { .. }))
            }
            Self::Replacement => {
                let mut nodes =
                    (1..=world.config().cluster.nodes).filter_map(|node| world.node(node));
                nodes.any(|node| node.disk.is_unrecoverable()) && !all_ruined_are_replaced(world)
            }
            Self::Leases => world.auditor().has_leases(),
            Self::WatchClients => !world.watchers_have_seen(world.auditor().revision()),
        }
    }

    /// The text of a violation.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Answer => "the latest request was not answered in time",
            Self::Replacement => "servers with ruined disks were not replaced in time",
            Self::Leases => "a lease without keep-alives has not ended in time",
            Self::WatchClients => "a watch client has not received all changes in time",
        }
    }
}
