//! Chance, the same on every platform.

use std::ops::RangeInclusive;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::network::LatencyDistribution;

/// A generator whose values depend on its seed alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SimRng(Xoshiro256PlusPlus);

/// A range of durations, in microseconds, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DurationRange {
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
}

impl SimRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; zero if `bound` is.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let width = range.end().saturating_sub(*range.start()).saturating_add(1);
        range.start() + self.below(width)
    }

    pub(crate) fn sample(&mut self, span: DurationRange) -> u64 {
        self.within(span.min..=span.max)
    }

    /// A latency from a range that is spread in some shape.
    pub(crate) fn delay(&mut self, span: DurationRange, shape: LatencyDistribution) -> u64 {
        let width = span.max.saturating_sub(span.min);
        match shape {
            LatencyDistribution::Uniform => self.sample(span),
            LatencyDistribution::Exponential => span.min + self.exponential(width / 2),
            LatencyDistribution::LongTailed => {
                // The reciprocal of an even number between 0 and 1, cut off at 200.
                let share = self.below(1000).max(5);
                span.min + width * 250 / share / 2
            }
        }
    }

    /// Exponential with this mean. In whole numbers, because logarithms of floating point are not
    /// the same everywhere: the logarithm to base two is the count of leading zeros and, between
    /// these, a straight line, which is nowhere off by more than a tenth.
    fn exponential(&mut self, mean: u64) -> u64 {
        let random = self.next() | 1;
        let zeros = u64::from(random.leading_zeros());
        // The bits after the first one, as a share of 2^16.
        let share = (random << (zeros + 1).min(63)) >> 48;
        let logarithm = (zeros << 16) + (0x1_0000 - share);
        // A number between a power of two and the next is even there, so that the mean is 1.5.
        ((u128::from(mean) * u128::from(logarithm) * 2 / 3) >> 16) as u64
    }

    /// True in `per_mille` of 1000 cases.
    pub(crate) fn chance_per_mille(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < u64::from(per_mille)
    }

    /// One of `items`, of which there is at least one.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}

impl DurationRange {
    /// The range from `min` to `max` microseconds.
    #[must_use]
    pub const fn new(min: u64, max: u64) -> Self {
        Self { min, max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(shape: LatencyDistribution) -> Vec<u64> {
        let mut random = SimRng::new(5);
        let span = DurationRange::new(1_000, 3_000);
        let mut delays: Vec<_> = (0..20_000).map(|_| random.delay(span, shape)).collect();
        delays.sort_unstable();
        delays
    }

    fn mean(delays: &[u64]) -> u64 {
        delays.iter().sum::<u64>() / delays.len() as u64
    }

    #[test]
    fn latency_distributions_match_config() {
        let uniform = delays(LatencyDistribution::Uniform);
        assert!((1_000..1_010).contains(&uniform[0]) && (2_990..=3_000).contains(&uniform[19_999]));
        assert!((1_980..2_020).contains(&mean(&uniform)));
        let exponential = delays(LatencyDistribution::Exponential);
        assert!((1_950..2_050).contains(&mean(&exponential)), "{}", mean(&exponential));
        // 37 % lie above the mean, and 5 % above three times the mean.
        assert!(
            (0.34..0.41)
                .contains(&(1.0 - exponential.partition_point(|d| *d < 2_000) as f64 / 2e4))
        );
        assert!(
            (0.03..0.07)
                .contains(&(1.0 - exponential.partition_point(|d| *d < 4_000) as f64 / 2e4))
        );
        let long = delays(LatencyDistribution::LongTailed);
        assert!(
            long[10_000] < 1_600 && long[19_900] > 15_000 && long[19_999] <= 51_000,
            "{} {} {}",
            long[10_000],
            long[19_900],
            long[19_999]
        );
    }
}
