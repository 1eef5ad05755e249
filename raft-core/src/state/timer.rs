//! The randomized election timer (§5.2).

use core::time::Duration;

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use crate::api::types::Instant;

/// A timer with a new random timeout each time it is armed.
///
/// Each timeout comes from a new generator, whose seed combines the server's seed and the number of
/// the timeout. The whole state is therefore two integers, which can be compared and hashed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ElectionTimer {
    /// The server's seed.
    seed: u64,
    /// The number of timeouts so far.
    draws: u64,
    /// The shortest timeout, in microseconds.
    min: u64,
    /// The width of the range of timeouts, in microseconds.
    range: u64,
    /// The timer was armed at this time.
    started: Instant,
    /// The timer fires at this time.
    deadline: Instant,
}

impl ElectionTimer {
    /// A timer with timeouts in `min..min + range`, which is not armed yet.
    pub(crate) fn new(seed: u64, now: Instant, min: Duration, range: Duration) -> Self {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self { seed, draws: 0, min: micros(min), range: micros(range), started: now, deadline: now }
    }

    /// Starts the timer at `now` with a new random timeout.
    pub(crate) fn arm(&mut self, now: Instant) {
        self.draws = self.draws.wrapping_add(1);
        let mixed = self.seed ^ self.draws.wrapping_mul(0xd605_bbb5_8c8a_bbfd);
        let random = SplitMix64::seed_from_u64(mixed).next_u64();
        // The high half of the product is uniform in `0..range`, up to an error of range / 2^64.
        let jitter = (u128::from(random) * u128::from(self.range)) >> 64;
        self.started = now;
        self.deadline = Instant(now.0.saturating_add(self.min).saturating_add(jitter as u64));
    }

    /// The time at which the timer was armed.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The time at which the timer fires.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Arms the timer at `now` with the shortest timeout, and forgets the earlier ones.
    #[cfg(feature = "model")]
    pub(crate) fn canonicalize(&mut self, now: Instant) {
        (self.seed, self.draws) = (0, 0);
        self.started = now;
        self.deadline = Instant(now.0.saturating_add(self.min));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_uniform_over_range() {
        let (min, range) = (Duration::from_millis(150), Duration::from_millis(150));
        let mut timer = ElectionTimer::new(7, Instant(0), min, range);
        let mut buckets = [0_u32; 15];
        for _ in 0..15_000 {
            timer.arm(Instant(0));
            let micros = timer.deadline.0;
            assert!((150_000..300_000).contains(&micros));
            buckets[((micros - 150_000) / 10_000) as usize] += 1;
        }
        assert!(buckets.iter().all(|count| (850..1150).contains(count)), "{buckets:?}");
    }

    #[test]
    fn servers_with_different_seeds_draw_different_timeouts() {
        let first = |seed| {
            let range = Duration::from_millis(150);
            let mut timer = ElectionTimer::new(seed, Instant(0), Duration::ZERO, range);
            timer.arm(Instant(0));
            timer.deadline
        };
        assert_ne!(first(1), first(2));
        assert_eq!(first(1), first(1));
    }
}
