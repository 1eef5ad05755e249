//! Watchers at servers that crash and restart.

use crate::check::invariants::Invariant;
use crate::network::latency::DurationRange;
use crate::node::injected_bug::InjectedBug;
use crate::world::World;
use crate::world::action::Action;
use crate::world::config::{ClusterConfig, WorkloadConfig, WorldConfig};

/// A busy cluster with watchers, whose servers crash and restart.
fn world(seed: u64, bug: Option<InjectedBug>) -> World {
    let config = WorldConfig {
        cluster: ClusterConfig { nodes: 3, snapshot_every: 10, ..ClusterConfig::default() },
        workload: WorkloadConfig {
            clients: 3,
            think_time: DurationRange::new(1_000, 50_000),
            watch_clients: 4,
            ..WorkloadConfig::default()
        },
        seed,
        record_events: false,
        ..WorldConfig::default()
    };
    let mut world = World::new(config).unwrap();
    bug.into_iter().for_each(|bug| world.inject(bug));
    for round in 0..20 {
        let node = round % 3 + 1;
        world.run_until(round * 1_000_000 + 900_000);
        let _ = world.act(&Action::Crash { node });
        world.run_until((round + 1) * 1_000_000);
        let _ = world.act(&Action::Restart { node });
    }
    world
}

#[test]
fn watchers_see_changes_once_across_servers() {
    let mut world = world(1, None);
    assert_eq!(world.violation(), None);
    let revision = world.observers.auditor.revision();
    assert!(revision > 100, "{revision}");
    world.act(&Action::StopClients).unwrap();
    world.run_until(world.now() + 3_000_000);
    assert!(world.watchers_have_seen(world.observers.auditor.revision()));
    assert!(!world.watchers_have_seen(world.observers.auditor.revision() + 1));
    assert!(world.workloads.watch.connections_min() > Some(5));
}

#[test]
fn repeated_or_skipped_revision_is_detected() {
    for bug in [InjectedBug::RepeatsRevision, InjectedBug::SkipsRevision] {
        let found = world(1, Some(bug)).violation().map(|violation| violation.invariant);
        assert_eq!(found, Some(Invariant::WatchOrder), "{bug:?}");
    }
}

#[test]
fn watchers_do_not_change_trace() {
    let hash = |watchers| {
        let config = WorldConfig {
            workload: WorkloadConfig {
                watch_clients: watchers,
                clients: 2,
                ..WorkloadConfig::default()
            },
            ..WorldConfig::default()
        };
        let mut world = World::new(config).unwrap();
        world.run_until(3_000_000);
        world.trace_hash()
    };
    assert_eq!(hash(0), hash(5));
}
