//! Clusters with other time scales.
//!
//! The core has no ticks and knows no absolute time. A cluster whose latencies, disks and timeouts
//! are all a thousand times longer must therefore work as well. Such clusters use large numbers,
//! and their simulated time contains few events.

use crate::campaign::Campaign;
use crate::network::latency::DurationRange;
use crate::util::rng::SimRng;
use crate::world::action::Action;

impl Campaign {
    /// The largest factor with which every generated cluster works: all times stay far below the
    /// limit of 64 bits.
    pub const STRETCH_MAX: u64 = 1_000_000;

    /// Returns this campaign with all durations multiplied by `factor`: messages, writes, timeouts,
    /// clients, and the time between faults. Fixed durations of the simulator, such as the retry
    /// delay of a client without a leader, do not change.
    #[must_use]
    pub fn stretched(mut self, factor: u64) -> Self {
        let scale = |time: &mut u64| *time = time.saturating_mul(factor);
        let scale_range = |range: &mut DurationRange| {
            scale(&mut range.min);
            scale(&mut range.max);
        };
        let config = &mut self.script.config;
        for range in [
            &mut config.cluster.election_timeout,
            &mut config.network.latency,
            &mut config.disk.sync_latency,
            &mut config.workload.think_time,
        ] {
            scale_range(range);
        }
        for duration in [
            &mut config.cluster.heartbeat_interval,
            &mut config.cluster.write_stall_max,
            &mut config.workload.request_timeout,
            &mut config.workload.lease_ttl,
            &mut self.healed_at,
        ] {
            scale(duration);
        }
        if factor > 1 {
            // A link with limited bandwidth loses messages that wait for a fixed time. That time
            // would be very short here.
            config.network.bandwidth = 0;
        }
        for timed in &mut self.script.actions {
            scale(&mut timed.at);
            match &mut timed.action {
                Action::SetSyncLatency { sync_latency: latency, .. }
                | Action::SetNetwork { latency, .. }
                | Action::SetLatency { latency, .. } => scale_range(latency),
                _ => {}
            }
        }
        self
    }

    /// The time scale of a seed: 1 for every second seed, and otherwise a number up to `most` whose
    /// logarithm is approximately uniform.
    #[must_use]
    pub fn stretch_of(seed: u64, most: u64) -> u64 {
        let mut random = SimRng::new(seed ^ 0x57e7_c4ed);
        if most <= 1 || random.chance_per_mille(500) {
            return 1;
        }
        let octave = 1 << random.below(u64::from(most.ilog2()) + 1);
        (octave + random.below(octave)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn seeds_cover_all_time_scales() {
        let factors: Vec<_> = (0..2_000).map(|seed| Campaign::stretch_of(seed, 10_000)).collect();
        let share = |from: u64, to: u64| {
            let within = factors.iter().filter(|factor| (from..to).contains(factor));
            within.count() as f64 / factors.len() as f64
        };
        assert!(share(1, 2) > 0.45);
        for (from, to) in [(2, 16), (16, 128), (128, 1024), (1024, 10_001)] {
            assert!((0.08..0.2).contains(&share(from, to)), "{from} to {to}");
        }
        assert!(factors.iter().all(|factor| (1..=10_000).contains(factor)));
        assert_eq!(Campaign::stretch_of(1, 1), 1);
    }

    #[test]
    fn invariants_hold_with_hour_long_latency() {
        for seed in 0..12 {
            let report = Campaign::new(seed).stretched(10_000).run();
            assert_eq!(report.violation, None, "seed {seed}");
            assert!(report.simulated > 80_000_000_000 && report.answered > 0);
        }
    }

    #[test]
    fn every_cluster_supports_max_time_scale() {
        for seed in 0..200 {
            let stretched = Campaign::new(seed).stretched(Campaign::STRETCH_MAX);
            assert!(World::new(stretched.script.config).is_ok(), "seed {seed}");
        }
        let report = Campaign::new(3).stretched(Campaign::STRETCH_MAX).run();
        assert_eq!(report.violation, None);
    }

    #[test]
    fn scale_one_is_identity() {
        let (plain, same) = (Campaign::new(7), Campaign::new(7).stretched(1));
        assert_eq!(plain.script(), same.script());
    }
}
