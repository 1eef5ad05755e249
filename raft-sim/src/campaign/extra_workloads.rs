//! Workloads besides the ordinary clients: watch, lease and transaction clients.

use crate::util::rng::SimRng;
use crate::world::config::WorldConfig;

/// Adds watch, lease and transaction clients to some configurations. Their numbers come from
/// separate random generators, so that other values of the seed do not change.
pub(super) fn add(seed: u64, config: &mut WorldConfig) {
    let mut random = SimRng::new(seed ^ 0xacc0_3b41);
    if random.chance_per_mille(400) {
        config.watch_clients = random.within(1..=3);
    }
    let mut for_txns = SimRng::new(seed ^ 0x7ade_5a18);
    if for_txns.chance_per_mille(200) {
        config.txn_clients = for_txns.within(1..=2);
        config.snapshot_chunk_bytes_max = config.snapshot_chunk_bytes_max.max(1000);
    }
    if random.chance_per_mille(300) {
        config.lease_clients = random.within(1..=3);
        config.lease_ttl = random.within(1..=2);
        // Lease clients write much. A server that replaces another one must receive their data in
        // time.
        config.snapshot_chunk_bytes_max = config.snapshot_chunk_bytes_max.max(1000);
    }
}

#[cfg(test)]
mod tests {
    use crate::campaign::Campaign;
    use crate::check::invariants::Invariant;
    use crate::check::lease::InjectedBug as LeaseBug;
    use crate::workload::watch::InjectedBug as WatchBug;
    use crate::world::World;

    #[test]
    fn leases_are_granted_and_expire() {
        let (mut expired, mut revoked, mut worlds) = (0, 0, 0);
        for seed in 0..60 {
            let (world, report) = Campaign::new(seed).run_to_the_end();
            assert_eq!(report.violation, None, "seed {seed}");
            worlds += usize::from(world.config().lease_clients > 0);
            let ended = world.promises.ended_by_expiry();
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
        let is_found = |inject: &dyn Fn(&mut World), invariant| {
            (0..400).any(|seed| {
                let campaign = Campaign::new(seed);
                let config = campaign.script.config.clone();
                let has_clients = if invariant == Invariant::WatchOrder {
                    config.watch_clients > 0
                } else {
                    config.lease_clients > 0
                };
                if !has_clients {
                    return false;
                }
                let mut world = World::new(config).unwrap();
                inject(&mut world);
                let (_, report) = campaign.run_in(world);
                report.violation.is_some_and(|found| found.invariant == invariant)
            })
        };
        for bug in [WatchBug::Repeats, WatchBug::Skips] {
            let inject = |world: &mut World| world.watchers.flaw = Some(bug);
            assert!(is_found(&inject, Invariant::WatchOrder), "{bug:?}");
        }
        for (bug, invariant) in [
            (LeaseBug::KeepsDeadlines, Invariant::LeaseNotExpiredEarly),
            (LeaseBug::RenewsUnconfirmed, Invariant::LeaseNotExpiredEarly),
            (LeaseBug::NeverLooks, Invariant::Availability),
        ] {
            let inject = |world: &mut World| world.promises.flaw = Some(bug);
            assert!(is_found(&inject, invariant), "{bug:?}");
        }
    }
}
