//! Who else is there: clients that watch, that hold leases, or that use transactions.

use crate::campaign::{CampaignRun, adversary};
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::config::WorldConfig;

/// Some worlds have clients that watch, hold leases, or use transactions. They are drawn apart from
/// all else.
pub(super) fn accompany(seed: u64, config: &mut WorldConfig) {
    let mut random = SimRng::new(seed ^ 0xacc0_3b41);
    if random.chance_per_mille(400) {
        config.watch_clients = random.within(1..=3);
    }
    let mut apart = SimRng::new(seed ^ 0x7ade_5a18);
    if apart.chance_per_mille(200) {
        config.txn_clients = apart.within(1..=2);
        config.snapshot_chunk_bytes_max = config.snapshot_chunk_bytes_max.max(1000);
    }
    if random.chance_per_mille(300) {
        config.lease_clients = random.within(1..=3);
        config.lease_ttl = random.within(1..=2);
        // They write much, and what is written must fit through the links in time when a server is
        // replaced.
        config.snapshot_chunk_bytes_max = config.snapshot_chunk_bytes_max.max(1000);
    }
}

/// How many of the longest election timeouts a leader has, beyond the time to live, to end leases
/// that nobody keeps alive.
const TIMEOUTS_TO_END: u64 = 3;
/// How many it is waited for such a leader. Each new one gives the leases all of their time again,
/// and where latencies are about as long as timeouts there may always be a new one.
const TIMEOUTS_TO_SETTLE: u64 = 40;
const SECOND: u64 = 1_000_000;

/// Whether leases end when nobody keeps them alive and one server leads for long enough. Time
/// without a leader does not count: the next one gives the leases all of their time again.
pub(super) fn leases_end(stage: &mut CampaignRun) -> bool {
    let config = stage.world.config();
    let ttl = config.lease_ttl.saturating_mul(SECOND);
    let timeout = config.election_timeout.max;
    let deadline = stage.world.now() + 2 * ttl + TIMEOUTS_TO_SETTLE * timeout;
    while stage.world.ledger.has_leases() && stage.world.now() < deadline {
        stage.turn_off_the_removed();
        let leader = adversary::leader(&stage.world);
        let is_other =
            |world: &World| !world.ledger.has_leases() || adversary::leader(world) != leader;
        let patience = match leader {
            Some(_) => ttl + TIMEOUTS_TO_END * timeout,
            None => deadline - stage.world.now(),
        };
        if !stage.wait_for(patience, is_other) {
            return leader.is_none();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::Campaign;
    use super::*;
    use crate::check::invariants::Invariant;
    use crate::check::lease::InjectedBug as Lease;
    use crate::workload::watch::InjectedBug as Watch;

    /// Leases begin, expire and are ended in campaigns.
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

    /// In this world, latencies are about as long as election timeouts: no server leads for a whole
    /// time to live.
    #[test]
    fn lease_is_not_expected_to_end_without_a_leader() {
        assert_eq!(Campaign::new(987_654_007_496).run().violation, None);
    }

    /// What servers could do wrong about leases and watchers, and what falls.
    #[test]
    fn injected_lease_and_watch_bugs_are_found() {
        let fell = |spoil: &dyn Fn(&mut World), rule| {
            (0..400).any(|seed| {
                let campaign = Campaign::new(seed);
                let config = campaign.script.config.clone();
                let may_fall = match rule {
                    Invariant::WatchOrder => config.watch_clients > 0,
                    _ => config.lease_clients > 0,
                };
                if !may_fall {
                    return false;
                }
                let mut world = World::new(config).unwrap();
                spoil(&mut world);
                let (_, report) = campaign.run_in(world);
                report.violation.is_some_and(|found| found.invariant == rule)
            })
        };
        for flaw in [Watch::Repeats, Watch::Skips] {
            let spoil = |world: &mut World| world.watchers.flaw = Some(flaw);
            assert!(fell(&spoil, Invariant::WatchOrder), "{flaw:?}");
        }
        for (flaw, rule) in [
            (Lease::KeepsDeadlines, Invariant::LeaseNotExpiredEarly),
            (Lease::RenewsUnconfirmed, Invariant::LeaseNotExpiredEarly),
            (Lease::NeverLooks, Invariant::Availability),
        ] {
            let spoil = |world: &mut World| world.promises.flaw = Some(flaw);
            assert!(fell(&spoil, rule), "{flaw:?}");
        }
    }
}
