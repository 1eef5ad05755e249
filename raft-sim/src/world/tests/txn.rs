//! Transactions and stale reads at servers that are isolated in turn.

use crate::check::invariants::Invariant;
use crate::linearizability::Call;
use crate::network::latency::DurationRange;
use crate::node::injected_bug::InjectedBug;
use crate::world::World;
use crate::world::action::Action;
use crate::world::config::{ClusterConfig, WorkloadConfig, WorldConfig};

/// A busy cluster with transaction clients, whose servers are isolated in turn.
fn world(seed: u64, bug: Option<InjectedBug>) -> World {
    let config = WorldConfig {
        cluster: ClusterConfig { nodes: 3, snapshot_every: 10, ..ClusterConfig::default() },
        workload: WorkloadConfig {
            clients: 2,
            key_count: 4,
            txn_clients: 3,
            think_time: DurationRange::new(1_000, 50_000),
            ..WorkloadConfig::default()
        },
        seed,
        record_events: false,
        ..WorldConfig::default()
    };
    let mut world = World::new(config).unwrap();
    bug.into_iter().for_each(|bug| world.inject(bug));
    for round in 0..10 {
        let node = round % 3 + 1;
        world.run_until(round * 1_000_000 + 900_000);
        let _ = world.act(&Action::Isolate { node });
        world.run_until((round + 1) * 1_000_000);
        let _ = world.act(&Action::Reconnect { node });
    }
    world
}

#[test]
fn txn_and_stale_read_results_are_correct() {
    let mut world = world(1, None);
    assert_eq!(world.violation(), None);
    assert_eq!(world.judge_history(500_000), None);
    let done = world.workloads.txn.workload_mut().done_mut().clone();
    let count = |is: fn(&Call) -> bool| {
        let done = done.iter();
        done.filter(|it| it.returned.is_some() && is(&it.call)).count()
    };
    let swapped = count(|call| matches!(call, Call::Cas { .. }));
    let changed = count(|call| matches!(call, Call::Put { .. } | Call::Delete));
    let read = count(|call| matches!(call, Call::Get { .. }));
    assert!(swapped > 20 && changed == swapped && read > 50, "{swapped}, {changed}, {read}");
    assert_eq!(world.observers.responses.servers_with_stale_reads(), 3);
}

#[test]
fn wrong_txn_results_are_detected() {
    for bug in [
        InjectedBug::StaleReadGoesBack,
        InjectedBug::StaleReadLacksKey,
        InjectedBug::EarlierTxnRevision,
    ] {
        let found = world(1, Some(bug)).violation().map(|violation| violation.invariant);
        assert_eq!(found, Some(Invariant::Linearizability), "{bug:?}");
    }
}

/// The operations of transactions are checked together with those of other clients.
#[test]
fn txns_are_in_the_history() {
    let mut world = world(1, None);
    let done = world.workloads.txn.workload_mut().done_mut().iter_mut();
    let mut reads = done.filter_map(|it| match &mut it.call {
        Call::Get { found } => Some(found),
        _ => None,
    });
    *reads.nth(30).unwrap() = Some("never written".into());
    drop(reads);
    assert!(world.judge_history(500_000).is_some());
}
