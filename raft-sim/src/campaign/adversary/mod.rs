//! Adversaries: faults that depend on the state of the servers, injected where an invariant could
//! be violated.
//!
//! The actions of an adversary are recorded, so a run can be repeated without the adversary.

mod contested_votes;
mod delayed_messages;
mod leader_chain;
mod stale_leader;

use std::fmt;

use raft_core::{Raft, Role};

use crate::network::latency::DurationRange;
use crate::util::rng::SimRng;
use crate::workload::kv::OperationState;
use crate::world::World;
use crate::world::action::{Action, Request};

/// A source of actions that observes the world after every event.
pub(super) trait Adversary: fmt::Debug {
    /// Returns the actions for the present moment.
    fn next_actions(&mut self, world: &World, random: &mut SimRng) -> Vec<Action>;

    /// Returns the actions that end the adversary's faults, besides those that end all faults.
    fn leave(&self, _world: &World) -> Vec<Action> {
        Vec::new()
    }
}

/// The kinds of adversaries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AdversaryKind {
    /// See [`contested_votes::ContestedVotes`].
    ContestedVotes,
    /// See [`leader_chain::LeaderChain`].
    LeaderChain,
    /// A [`leader_chain::LeaderChain`] whose leaders also change the membership.
    MembershipChain,
    /// See [`stale_leader::StaleLeader`].
    StaleLeader,
    /// See [`delayed_messages::DelayedMessages`].
    DelayedMessages,
}

impl AdversaryKind {
    /// Returns a new adversary of this kind.
    pub(super) fn create(self) -> Box<dyn Adversary> {
        match self {
            Self::ContestedVotes => Box::new(contested_votes::ContestedVotes::default()),
            Self::LeaderChain => Box::new(leader_chain::LeaderChain::new(false)),
            Self::MembershipChain => Box::new(leader_chain::LeaderChain::new(true)),
            Self::StaleLeader => Box::new(stale_leader::StaleLeader::default()),
            Self::DelayedMessages => Box::new(delayed_messages::DelayedMessages::default()),
        }
    }

    /// Returns true if the adversary fires timers early. No lease is safe then.
    pub(super) fn fires_timers(self) -> bool {
        self != Self::StaleLeader
    }
}

/// The approximate time of a round trip and a write.
fn round_trip(world: &World) -> u64 {
    let config = world.config();
    (2 * config.network.latency.max + config.disk.sync_latency.max).max(1_000)
}

/// The nodes whose processes run and are not paused.
fn running(world: &World) -> Vec<u64> {
    (1..=world.config().cluster.nodes).filter(|node| running_raft(world, *node).is_some()).collect()
}

/// The server of a node whose process runs and is not paused.
fn running_raft(world: &World, node: u64) -> Option<&Raft> {
    let running = world.node(node)?.running()?;
    running.paused.is_none().then_some(&running.raft)
}

/// The leader of the latest term, and that term.
pub(crate) fn leader(world: &World) -> Option<(u64, u64)> {
    let servers = (1..=world.config().cluster.nodes).filter_map(|node| world.raft(node));
    let leaders = servers.filter(|raft| raft.role() == Role::Leader);
    leaders.map(|raft| (raft.id().0, raft.term().0)).max_by_key(|(_, term)| *term)
}

/// The current term of a node's server; 0 if the process is down.
fn term_of(world: &World, node: u64) -> u64 {
    world.raft(node).map_or(0, |raft| raft.term().0)
}

/// Returns true if a write of `value` was acknowledged before this moment. A read that starts at
/// the moment of the acknowledgement may precede the write.
fn is_written(world: &World, value: &str) -> bool {
    world.askings().rev().any(|operation| {
        let is_it = matches!(&operation.request, Request::Put { value: put, .. } if put == value);
        let is_done = matches!(operation.state, OperationState::Done { .. });
        is_it && is_done && operation.returned < Some(world.now())
    })
}

/// A crash of a node and its immediate restart.
fn restart_briefly(node: u64) -> [Action; 2] {
    [Action::Crash { node }, Action::Restart { node }]
}

/// The action that changes the latency of all links, and neither loss nor duplication.
fn set_latency(world: &World, latency: DurationRange) -> Action {
    Action::SetNetwork {
        latency,
        loss_per_mille: world.config().network.loss_per_mille,
        duplicate_per_mille: world.config().network.duplicate_per_mille,
    }
}
