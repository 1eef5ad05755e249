//! Servers that were removed, and do not know it.
//!
//! Nobody sends them anything any more, so they stand for election for ever. Pre-vote and
//! check-quorum together keep them from deposing leaders; without both an operator must turn them
//! off (§6, dissertation 4.2.3).

use std::collections::BTreeSet;

use crate::node::Node;
use crate::world::World;
use crate::world::action::Action;

/// What an operator does about servers that were removed, if the others are not safe from them.
pub(super) fn turn_off(world: &World) -> Vec<Action> {
    let config = world.config();
    if config.pre_vote && config.check_quorum {
        return Vec::new();
    }
    let logs = || {
        let running = world.nodes.iter().filter_map(Node::running);
        running.map(|running| &running.raft)
    };
    let Some(committed) = logs().map(raft_core::Raft::commit_index).max() else {
        return Vec::new();
    };
    let knows = logs().find(|raft| raft.commit_index() == committed);
    let term = knows.and_then(|raft| raft.term_at(committed));
    // Whoever has all that is committed may be elected, and what it takes for the membership comes
    // into force.
    let mut members = BTreeSet::new();
    for raft in logs().filter(|raft| raft.term_at(committed) == term) {
        let mut in_force = committed;
        loop {
            members.extend(raft.membership_at(in_force).members());
            if in_force >= raft.membership_index() {
                break;
            }
            in_force = in_force.next();
        }
    }
    // Servers in reserve, which were never added, stand for nothing.
    let may_stand = |node: &u64| {
        let raft = world.raft(*node);
        raft.is_some_and(|raft| raft.membership().is_voter(raft.id()))
    };
    (1..=config.nodes)
        .filter(|node| !members.contains(&raft_core::NodeId(*node)))
        .filter(may_stand)
        .map(|node| Action::Crash { node })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::config::WorldConfig;

    #[test]
    fn removed_server_is_shut_down_without_pre_vote() {
        for careful in [false, true] {
            let config = WorldConfig {
                nodes: 4,
                pre_vote: careful,
                check_quorum: careful,
                ..WorldConfig::default()
            };
            let mut world = World::new(config).unwrap();
            world.act(&Action::FireTimer { node: 3 }).unwrap();
            world.run_until(1_000_000);
            // It never hears that it was removed.
            world.act(&Action::Isolate { node: 2 }).unwrap();
            assert_eq!(turn_off(&world), []);
            world
                .act(&Action::ChangeMembership {
                    voters: vec![1, 3, 4],
                    learners: Vec::new(),
                    joining: Vec::new(),
                })
                .unwrap();
            assert_eq!(turn_off(&world), [], "it is a member until all is committed");
            world.run_until(2_000_000);
            let expected: &[_] = match careful {
                false => &[Action::Crash { node: 2 }],
                true => &[],
            };
            assert_eq!(turn_off(&world), expected);
            expected.iter().for_each(|action| world.act(action).unwrap());
            assert_eq!(turn_off(&world), [], "it is off");
        }
    }

    /// Seed 6522: two servers in reserve were turned off, and could not replace those whose disks
    /// were ruined.
    #[test]
    fn reserve_server_is_not_shut_down() {
        let config =
            WorldConfig { nodes: 5, founders: Some(3), pre_vote: false, ..WorldConfig::default() };
        let mut world = World::new(config).unwrap();
        world.run_until(2_000_000);
        assert_eq!(turn_off(&world), []);
    }
}
