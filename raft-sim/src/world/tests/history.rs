//! Long histories, of which early operations are only in a summary.

use crate::check::history::{OPERATIONS_BETWEEN, OPERATIONS_MAX};
use crate::linearizability::{HistoryOperation, Limits, Verdict};
use crate::network::latency::DurationRange;
use crate::workload::kv::{Operation, OperationState};
use crate::world::World;
use crate::world::action::{Action, Request};
use crate::world::config::{ClusterConfig, NetworkConfig, WorkloadConfig, WorldConfig};

/// Five clients for 375 s with an event log, as on the page.
#[test]
fn long_run_is_checked_with_its_first_requests() {
    let config = WorldConfig {
        workload: WorkloadConfig { clients: 5, ..WorkloadConfig::default() },
        seed: 7,
        ..WorldConfig::default()
    };
    let mut world = World::new(config).unwrap();
    world.run_until(375_000_000);
    assert_eq!(world.violation(), None);
    assert!(world.asking(1).is_none(), "the first requests are only in the summary");
    assert!(world.history().len() <= OPERATIONS_MAX + OPERATIONS_BETWEEN);
    let page = Limits { steps_max: 200_000, bytes_max: 16 << 20 };
    assert_eq!(world.judge_within(page), Verdict::Linearizable);
    // This value was overwritten before the kept operations.
    let early = Some("v1".to_owned());
    let read = |asking: &&Operation| matches!(asking.request, Request::Get { .. });
    let last = world.askings().rfind(read).map(|asking| asking.id).unwrap();
    let now = world.now();
    let asking = world.workloads.kv.workload_mut().operation_mut(last).unwrap();
    asking.state = OperationState::Done { found: early, succeeded: true };
    asking.returned = Some(now);
    assert!(matches!(world.judge_within(page), Verdict::Violation(_)));
}

/// Servers are isolated in turn, so that clients give up. Transactions run at the same time.
#[test]
fn long_run_with_faults_is_checked_with_its_first_requests() {
    let config = WorldConfig {
        cluster: ClusterConfig { nodes: 3, ..ClusterConfig::default() },
        workload: WorkloadConfig {
            clients: 3,
            txn_clients: 2,
            key_count: 3,
            think_time: DurationRange::new(1_000, 30_000),
            request_timeout: 60_000,
            ..WorkloadConfig::default()
        },
        network: NetworkConfig { loss_per_mille: 50, ..NetworkConfig::default() },
        seed: 11,
        ..WorldConfig::default()
    };
    let mut world = World::new(config).unwrap();
    while world.askings().next().is_none_or(|first| first.id < 8_000) {
        assert_eq!(world.violation(), None);
        assert!(world.now() < 3_600_000_000, "the first requests are still kept");
        let node = world.now() / 1_000_000 % 3 + 1;
        world.act(&Action::Isolate { node }).unwrap();
        world.run_until(world.now() + 700_000);
        world.act(&Action::Reconnect { node }).unwrap();
        world.run_until(world.now() + 300_000);
    }
    let lost = |operation: &HistoryOperation| operation.returned.is_none();
    assert!(world.history().iter().any(lost));
    assert_eq!(world.judge_history(500_000), None);
}
