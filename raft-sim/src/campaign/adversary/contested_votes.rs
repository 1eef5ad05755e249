//! Contested elections in which votes are not durable yet.

use raft_core::Role;

use crate::campaign::adversary::{
    Adversary, leader, restart_briefly, round_trip, running, running_raft,
};
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::action::Action;

/// Lets two servers campaign at the same time, and restarts every voter whose vote is not on its
/// disk yet. If such a vote counted, the voter would vote twice. The same holds for the vote of a
/// candidate for itself.
#[derive(Debug, Default)]
pub(super) struct ContestedVotes {
    /// The time of the next contested election.
    next_at: u64,
    /// Voters are restarted until this time.
    until: u64,
    candidates: [u64; 2],
}

impl Adversary for ContestedVotes {
    fn next_actions(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let now = world.now();
        if now >= self.next_at {
            let pace = round_trip(world);
            self.until = now + 2 * pace;
            self.next_at = now + random.within(3 * pace..=12 * pace);
            return self.contest_election(world, random);
        }
        if now > self.until {
            return Vec::new();
        }
        let nodes = 1..=world.config().cluster.nodes;
        let unreliable = nodes.filter(|node| self.is_vote_volatile(world, *node));
        unreliable.flat_map(restart_briefly).collect()
    }
}

impl ContestedVotes {
    /// Restarts the leader, so that no server leads, and lets two others campaign.
    fn contest_election(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let leader = leader(world).map(|(node, _)| node);
        let mut others: Vec<_> =
            running(world).into_iter().filter(|node| Some(*node) != leader).collect();
        if others.len() < 2 {
            return Vec::new();
        }
        let first = others.swap_remove(random.below(others.len() as u64) as usize);
        self.candidates = [first, random.pick(&others)];
        let restart = leader.map(restart_briefly).into_iter().flatten();
        let campaign = self.candidates.map(|node| Action::FireTimer { node });
        restart.chain(campaign).collect()
    }

    /// Returns true if a running server has voted for one of the candidates, or is a candidate that
    /// has won, and its disk does not have that vote.
    fn is_vote_volatile(&self, world: &World, node: u64) -> bool {
        let Some(raft) = running_raft(world, node) else {
            return false;
        };
        let durable = world.node(node).map(|node| node.disk.hard_state.term);
        if durable.is_none_or(|durable| raft.term() <= durable) {
            return false;
        }
        if self.candidates.contains(&node) {
            return raft.role() == Role::Leader;
        }
        raft.status().vote.is_some_and(|vote| self.candidates.contains(&vote.0))
    }
}
