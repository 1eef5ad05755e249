//! Moments to run to.

use raft_core::Role;
use serde::{Deserialize, Serialize};

use crate::timeline::Run;
use crate::world::World;

/// The condition at which a run stops.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Target {
    /// A server becomes leader.
    Election,
    /// One more entry is known to be committed.
    Commit,
    /// An invariant is violated.
    Violation,
    /// A message between servers arrives.
    Message {
        /// The receiver; any node if none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<u64>,
    },
    /// Something happens at a node.
    Event {
        /// Which node.
        node: u64,
    },
    /// A condition on a node becomes true.
    Condition {
        /// Which node.
        node: u64,
        /// The condition.
        condition: Condition,
    },
}

/// A condition on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    /// The node leads.
    Leader,
    /// The node is a candidate or pre-candidate.
    Candidate,
    /// The node is a follower of a leader.
    Follower,
    /// The node's process is down.
    Down,
    /// The node's term is at least this.
    Term {
        /// The term.
        least: u64,
    },
    /// The node's log reaches at least to this entry.
    Log {
        /// The index.
        least: u64,
    },
    /// The node's commit index is at least this.
    Commit {
        /// The index.
        least: u64,
    },
    /// The node's state machine has applied at least this entry.
    Applied {
        /// The index.
        least: u64,
    },
}

/// How far a search for a [`Target`] got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// The target is reached: this is its moment.
    Reached,
    /// This slice is done; call again to go on.
    Working,
    /// The bound is reached without the target.
    Bound,
    /// A violation stopped the world, or nothing will ever happen.
    Ended,
}

impl Condition {
    pub(super) fn holds(self, world: &World, node: u64) -> bool {
        let raft = world.raft(node);
        match self {
            Self::Leader => raft.is_some_and(|raft| raft.role() == Role::Leader),
            Self::Candidate => {
                raft.is_some_and(|raft| matches!(raft.role(), Role::Candidate | Role::PreCandidate))
            }
            Self::Follower => {
                raft.is_some_and(|raft| raft.role() == Role::Follower && raft.leader().is_some())
            }
            Self::Down => raft.is_none(),
            Self::Term { least } => raft.is_some_and(|raft| raft.term().0 >= least),
            Self::Log { least } => raft.is_some_and(|raft| raft.last_log().index.0 >= least),
            Self::Commit { least } => raft.is_some_and(|raft| raft.commit_index().0 >= least),
            Self::Applied { least } => {
                world.applied_index(node).is_some_and(|applied| applied >= least)
            }
        }
    }
}

/// The state of a world before a step that a target compares with.
struct Before {
    elections: u64,
    committed: u64,
    violated: bool,
    held: bool,
    steps: u64,
}

impl Before {
    fn of(world: &World, target: &Target) -> Self {
        Self {
            elections: world.elections(),
            committed: world.committed_entries(),
            violated: world.violation().is_some(),
            held: match target {
                Target::Condition { node, condition } => condition.holds(world, *node),
                _ => false,
            },
            steps: world.step_count(),
        }
    }

    fn leads_to(&self, world: &World, target: &Target) -> bool {
        match target {
            Target::Election => world.elections() > self.elections,
            Target::Commit => world.committed_entries() > self.committed,
            Target::Violation => world.violation().is_some() && !self.violated,
            Target::Message { node } => world
                .steps_since(self.steps)
                .any(|step| step.is_message() && node.is_none_or(|node| step.node == Some(node))),
            Target::Event { node } => {
                world.steps_since(self.steps).any(|step| step.node == Some(*node))
            }
            Target::Condition { node, condition } => !self.held && condition.holds(world, *node),
        }
    }
}

impl Run {
    /// Advances towards a target, at most to the moment `bound` and by about `events_max` events.
    /// A caller repeats this while it returns [`Progress::Working`], and can stop at any time.
    pub fn run_to(&mut self, target: &Target, bound: u64, events_max: u64) -> Progress {
        let end = self.world().events().saturating_add(events_max);
        loop {
            let before = Before::of(self.world(), target);
            let next = self.present.next_at(&self.script.actions);
            match next {
                None => return Progress::Ended,
                Some(next) if next > bound => {
                    self.seek(bound.max(self.world().now()));
                    return Progress::Bound;
                }
                Some(next) => {
                    self.advance(next, u64::MAX);
                }
            }
            if before.leads_to(self.world(), target) {
                return Progress::Reached;
            }
            if self.world().events() >= end {
                return Progress::Working;
            }
        }
    }
}
