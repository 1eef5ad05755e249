//! Removed servers that do not know that they were removed.
//!
//! Other servers send them nothing, so they campaign forever. Pre-vote together with check-quorum
//! protects leaders from them. Without both, an operator must shut them down (§6, dissertation
//! 4.2.3).

use std::collections::BTreeSet;

use raft_core::{NodeId, Raft};

use crate::world::World;
use crate::world::action::Action;

/// The actions of an operator who shuts down removed servers that would disrupt the others.
pub(super) fn actions(world: &World) -> Vec<Action> {
    let config = world.config();
    if config.cluster.pre_vote && config.cluster.check_quorum {
        return Vec::new();
    }
    let Some(members) = possible_members(world) else {
        return Vec::new();
    };
    // Servers in reserve, which were never members, do not campaign.
    let may_campaign = |node: &u64| {
        let raft = world.raft(*node);
        raft.is_some_and(|raft| raft.membership().is_voter(raft.id()))
    };
    (1..=config.cluster.nodes)
        .filter(|node| !members.contains(&NodeId(*node)))
        .filter(may_campaign)
        .map(|node| Action::Crash { node })
        .collect()
}

/// The members of every membership that is in effect now or that a possible leader has in its log.
/// A server can become leader only if it has all committed entries.
fn possible_members(world: &World) -> Option<BTreeSet<NodeId>> {
    let logs = || (1..=world.config().cluster.nodes).filter_map(|node| world.raft(node));
    let committed = logs().map(Raft::commit_index).max()?;
    let complete = logs().find(|raft| raft.commit_index() == committed);
    let term = complete.and_then(|raft| raft.term_at(committed));
    let mut members = BTreeSet::new();
    for raft in logs().filter(|raft| raft.term_at(committed) == term) {
        let mut index = committed;
        loop {
            members.extend(raft.membership_at(index).members());
            if index >= raft.membership_index() {
                break;
            }
            index = index.next();
        }
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::config::{ClusterConfig, WorldConfig};

    #[test]
    fn removed_server_is_shut_down_without_pre_vote() {
        for is_protected in [false, true] {
            let config = WorldConfig {
                cluster: ClusterConfig {
                    nodes: 4,
                    pre_vote: is_protected,
                    check_quorum: is_protected,
                    ..ClusterConfig::default()
                },
                ..WorldConfig::default()
            };
            let mut world = World::new(config).unwrap();
            world.act(&Action::FireTimer { node: 3 }).unwrap();
            world.run_until(1_000_000);
            // Server 2 never receives the entry that removes it.
            world.act(&Action::Isolate { node: 2 }).unwrap();
            assert_eq!(actions(&world), []);
            world
                .act(&Action::ChangeMembership {
                    voters: vec![1, 3, 4],
                    learners: Vec::new(),
                    joining: Vec::new(),
                })
                .unwrap();
            assert_eq!(actions(&world), [], "server 2 is a member until the change is committed");
            world.run_until(2_000_000);
            let expected: &[_] = if is_protected { &[] } else { &[Action::Crash { node: 2 }] };
            assert_eq!(actions(&world), expected);
            expected.iter().for_each(|action| world.act(action).unwrap());
            assert_eq!(actions(&world), [], "server 2 is down");
        }
    }

    /// Seed 6522: two servers in reserve were shut down, and could not replace servers with ruined
    /// disks.
    #[test]
    fn reserve_server_is_not_shut_down() {
        let config = WorldConfig {
            cluster: ClusterConfig {
                nodes: 5,
                founders: Some(3),
                pre_vote: false,
                ..ClusterConfig::default()
            },
            ..WorldConfig::default()
        };
        let mut world = World::new(config).unwrap();
        world.run_until(2_000_000);
        assert_eq!(actions(&world), []);
    }
}
