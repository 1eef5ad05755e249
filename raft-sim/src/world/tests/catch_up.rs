//! Followers that need a snapshot.

use raft_core::Message;

use crate::check::invariants::Invariant;
use crate::node::Node;
use crate::world::World;
use crate::world::action::Action;
use crate::world::config::{ClusterConfig, WorkloadConfig, WorldConfig};

const SECOND: u64 = 1_000_000;

/// A run in which node 5 is down for some seconds and then needs a snapshot, while clients
/// write and the leader takes snapshots.
fn restarted(config: WorldConfig, crash_at: u64, restart_at: u64, end: u64) -> World {
    let mut world = World::new(config).unwrap();
    world.run_until(crash_at * SECOND);
    world.act(&Action::Crash { node: 5 }).unwrap();
    world.run_until(restart_at * SECOND);
    world.act(&Action::Restart { node: 5 }).unwrap();
    world.run_until(end * SECOND);
    world
}

/// F3: the leader takes the next snapshot before the follower has the previous one.
#[test]
fn follower_that_needs_a_snapshot_catches_up_while_clients_write() {
    let config = WorldConfig {
        workload: WorkloadConfig { clients: 5, ..WorkloadConfig::default() },
        cluster: ClusterConfig { snapshot_every: 100, ..ClusterConfig::default() },
        seed: 7,
        ..WorldConfig::default()
    };
    let world = restarted(config, 120, 135, 245);
    assert_eq!(world.violation(), None);
    let last = |node| world.raft(node).map(|raft| raft.commit_index().0);
    assert!(last(5) > Some(4_000), "{:?}", last(5));
}

/// Snapshots that are taken more often than they can be transferred.
fn frequent_snapshots(seed: u64, change: fn(&mut WorldConfig)) -> WorldConfig {
    let mut config = WorldConfig {
        workload: WorkloadConfig { clients: 5, ..WorkloadConfig::default() },
        cluster: ClusterConfig {
            snapshot_every: 20,
            snapshot_chunk_bytes_max: 200,
            ..ClusterConfig::default()
        },
        seed,
        record_events: false,
        ..WorldConfig::default()
    };
    change(&mut config);
    config
}

/// Networks in which a follower must catch up.
const NETWORKS: [fn(&mut WorldConfig); 4] = [
    |_| {},
    |config| config.network.loss_per_mille = 20,
    |config| config.network.bandwidth = 100_000,
    |config| (config.network.bandwidth, config.network.loss_per_mille) = (1_000_000, 20),
];

#[test]
fn frequent_snapshots_are_not_starvation() {
    for seed in 1..=2 {
        for network in NETWORKS {
            let world = restarted(frequent_snapshots(seed, network), 10, 15, 60);
            assert_eq!(world.violation(), None, "{:?}", world.config());
        }
    }
}

/// E4: the leader starts the transfer of each new snapshot from its beginning.
#[cfg(feature = "sabotage")]
#[test]
fn starvation_by_newer_snapshots_is_found() {
    use crate::world::config::NetworkConfig;

    let rules = raft_core::DisabledRules::default();
    let disabled_rules = rules.and(raft_core::Rule::RunningTransferFinishes);
    let violated = |config: WorldConfig, crash_at, restart_at, end| {
        let mut config = config;
        config.cluster.disabled_rules = disabled_rules;
        let world = restarted(config, crash_at, restart_at, end);
        world.violation().map(|violation| violation.invariant)
    };
    for seed in 1..=3 {
        for network in NETWORKS {
            let config = frequent_snapshots(seed, network);
            let found = violated(config.clone(), 10, 15, 60);
            assert_eq!(found, Some(Invariant::Progress), "{config:?}");
        }
    }
    let lossy = WorldConfig {
        workload: WorkloadConfig { clients: 5, ..WorkloadConfig::default() },
        cluster: ClusterConfig { snapshot_every: 100, ..ClusterConfig::default() },
        network: NetworkConfig { loss_per_mille: 20, ..NetworkConfig::default() },
        seed: 4,
        ..WorldConfig::default()
    };
    assert_eq!(violated(lossy, 120, 135, 245), Some(Invariant::Progress));
}

/// The violated invariant of a run in which node 3 needs a snapshot, no chunk arrives, and an
/// action is repeated every second.
fn without_snapshot(action: impl Fn(u64) -> Vec<Action>) -> Option<Invariant> {
    let config = WorldConfig {
        cluster: ClusterConfig { nodes: 3, snapshot_every: 10, ..ClusterConfig::default() },
        workload: WorkloadConfig { clients: 2, ..WorkloadConfig::default() },
        ..WorldConfig::default()
    };
    let mut world = World::new(config).unwrap();
    world.act(&Action::FireTimer { node: 1 }).unwrap();
    world.run_until(SECOND);
    world.act(&Action::Crash { node: 3 }).unwrap();
    world.run_until(4 * SECOND);
    world.act(&Action::Restart { node: 3 }).unwrap();
    let mut next = 0;
    while world.now() < 60 * SECOND && world.step() {
        let messages = world.messages();
        let chunks =
            messages.filter(|flight| matches!(flight.message, Message::InstallSnapshot(_)));
        let chunks: Vec<_> = chunks.map(|flight| flight.id).collect();
        for chunk in chunks {
            world.cluster.network.drop_message(chunk, world.cluster.now);
        }
        if world.now() >= next {
            next = world.now() + SECOND;
            for action in action(world.now()) {
                world.act(&action).unwrap();
            }
        }
    }
    world.violation().map(|violation| violation.invariant)
}

#[test]
fn follower_that_does_not_catch_up_is_found() {
    assert_eq!(without_snapshot(|_| Vec::new()), Some(Invariant::Progress));
    let elsewhere = |_| vec![Action::Pause { node: 2 }, Action::Resume { node: 2 }];
    assert_eq!(without_snapshot(elsewhere), Some(Invariant::Progress));
}

#[test]
fn disturbed_follower_has_no_guarantee() {
    let paused = |_| vec![Action::Pause { node: 3 }, Action::Resume { node: 3 }];
    assert_eq!(without_snapshot(paused), None);
    let cut_off = |now: u64| {
        let (from, to) = (3, 1);
        let is_even = (now / SECOND).is_multiple_of(2);
        vec![if is_even { Action::CutLink { from, to } } else { Action::HealLink { from, to } }]
    };
    assert_eq!(without_snapshot(cut_off), None);
}

/// F3: a leader took snapshots faster than it could send them. It started to send each of them, and
/// the follower never received a complete one.
#[test]
fn follower_catches_up_while_the_leader_takes_snapshots() {
    let config = WorldConfig {
        workload: WorkloadConfig { clients: 5, ..WorkloadConfig::default() },
        cluster: ClusterConfig { snapshot_every: 100, ..ClusterConfig::default() },
        seed: 7,
        record_events: false,
        ..WorldConfig::default()
    };
    let mut world = World::new(config).unwrap();
    world.run_until(120_000_000);
    world.act(&Action::Crash { node: 5 }).unwrap();
    world.run_until(135_000_000);
    world.act(&Action::Restart { node: 5 }).unwrap();
    let applied = |world: &World, id| {
        let running = world.cluster.node(id).and_then(Node::running);
        running.map_or(0, |running| running.raft.delivered_index().0)
    };
    let leader = applied(&world, 1);
    world.run_until(180_000_000);
    let behind = applied(&world, 1) - applied(&world, 5);
    let taken = applied(&world, 1) - leader;
    assert!(taken > 500, "many snapshots were taken: {taken} entries");
    assert!(behind < 100, "node 5 is {behind} entries behind");
}
