//! Workloads besides the ordinary clients: watch, lease and transaction clients.

use crate::util::rng::SimRng;
use crate::world::config::WorldConfig;

/// Adds watch, lease and transaction clients to some configurations. Their numbers come from
/// separate random generators, so that other values of the seed do not change.
pub(super) fn add(seed: u64, config: &mut WorldConfig) {
    let mut random = SimRng::new(seed ^ 0xacc0_3b41);
    if random.chance_per_mille(400) {
        config.workload.watch_clients = random.within(1..=3);
    }
    let mut for_txns = SimRng::new(seed ^ 0x7ade_5a18);
    if for_txns.chance_per_mille(200) {
        config.workload.txn_clients = for_txns.within(1..=2);
        config.cluster.snapshot_chunk_bytes_max = config.cluster.snapshot_chunk_bytes_max.max(1000);
    }
    if random.chance_per_mille(300) {
        config.workload.lease_clients = random.within(1..=3);
        config.workload.lease_ttl = random.within(1..=2);
        // Lease clients write much. A server that replaces another one must receive their data in
        // time.
        config.cluster.snapshot_chunk_bytes_max = config.cluster.snapshot_chunk_bytes_max.max(1000);
    }
}

#[cfg(test)]
mod tests {
    use crate::campaign::Campaign;
    use crate::check::invariants::Invariant;
    use crate::node::injected_bug::InjectedBug;
    use crate::world::World;

    #[test]
    fn leases_are_granted_and_expire() {
        let (mut expired, mut revoked, mut worlds) = (0, 0, 0);
        for seed in 0..60 {
            let (world, report) = Campaign::new(seed).run_to_the_end();
            assert_eq!(report.violation, None, "seed {seed}");
            worlds += usize::from(world.config().workload.lease_clients > 0);
            let ended = world.leases_ended();
            expired += ended.0;
            revoked += ended.1;
        }
        assert!(worlds > 10 && expired > 20 && revoked > 10, "{worlds}, {expired}, {revoked}");
    }

    /// In this run, latencies are about as long as election timeouts: no server leads for a whole
    /// time to live.
    #[test]
    fn lease_is_not_expected_to_end_without_a_leader() {
        assert_eq!(Campaign::new(987_654_007_496).run().violation, None);
    }

    #[test]
    fn injected_lease_and_watch_bugs_are_found() {
        let is_found = |bug, invariant| {
            (0..400).any(|seed| {
                let campaign = Campaign::new(seed);
                let config = campaign.script.config.clone();
                let has_clients = if invariant == Invariant::WatchOrder {
                    config.workload.watch_clients > 0
                } else {
                    config.workload.lease_clients > 0
                };
                if !has_clients {
                    return false;
                }
                let mut world = World::new(config).unwrap();
                world.inject(bug);
                let (_, report) = campaign.run_in(world);
                report.violation.is_some_and(|found| found.invariant == invariant)
            })
        };
        for (bug, invariant) in [
            (InjectedBug::RepeatsRevision, Invariant::WatchOrder),
            (InjectedBug::SkipsRevision, Invariant::WatchOrder),
            (InjectedBug::KeepsLeaseDeadlines, Invariant::LeaseNotExpiredEarly),
            (InjectedBug::RenewsUnconfirmed, Invariant::LeaseNotExpiredEarly),
            (InjectedBug::NeverExpiresLeases, Invariant::Availability),
        ] {
            assert!(is_found(bug, invariant), "{bug:?}");
        }
    }
}
