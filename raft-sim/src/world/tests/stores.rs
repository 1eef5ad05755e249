//! State machines whose tables contradict each other.

use raft_kv::Kv;

use crate::check::invariants::Invariant;
use crate::node::kv_store::SharedStore;
use crate::world::World;
use crate::world::config::{ClusterConfig, WorkloadConfig, WorldConfig};

/// All servers miscount the keys of a lease alike, so a comparison of servers does not find it.
#[test]
fn inconsistent_store_is_detected() {
    let config = WorldConfig {
        cluster: ClusterConfig { nodes: 1, ..ClusterConfig::default() },
        workload: WorkloadConfig { lease_clients: 1, ..WorkloadConfig::default() },
        ..WorldConfig::default()
    };
    let mut world = World::new(config).unwrap();
    let is_lease = |key: &[u8]| key.starts_with(b"P");
    let store = |world: &World| {
        let running = world.cluster.nodes[0].running();
        running.map(|running| running.kv.store().clone()).unwrap_or_default()
    };
    while !store(&world).iter().any(|(key, _)| is_lease(key)) {
        assert!(world.now() < 60_000_000, "no lease was granted");
        world.step();
    }
    assert_eq!(world.check_stores(), None);
    let held = store(&world);
    let miscounted = held.iter().map(|(key, value)| {
        let mut value = value.to_vec();
        if is_lease(key)
            && let Some(keys) = value.last_mut()
        {
            *keys += 1;
        }
        (key.clone(), value.into())
    });
    let kv = Kv::open(miscounted.collect::<SharedStore>()).unwrap();
    let fingerprint = kv.fingerprint();
    let running = world.cluster.nodes[0].running_mut().unwrap();
    assert_eq!(running.kv.fingerprint(), fingerprint);
    running.kv = kv;
    let found = world.check_stores().map(|violation| violation.invariant);
    assert_eq!(found, Some(Invariant::StateMachineSafety));
}
