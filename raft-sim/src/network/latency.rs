//! Durations that messages and disks take: ranges, and their distributions.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::util::rng::SimRng;
use crate::util::units::duration;

/// A range of durations in microseconds, including both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DurationRange {
    /// The shortest duration.
    pub min: u64,
    /// The longest duration.
    pub max: u64,
}

impl DurationRange {
    /// The range from `min` to `max` microseconds.
    #[must_use]
    pub const fn new(min: u64, max: u64) -> Self {
        Self { min, max }
    }

    /// Draws a duration from the range, uniformly.
    pub(crate) fn sample(self, random: &mut SimRng) -> u64 {
        random.within(self.min..=self.max)
    }
}

/// The range as text, such as `5 ms to 15 ms`.
impl fmt::Display for DurationRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            f.write_str(&duration(self.min))
        } else {
            write!(f, "{} to {}", duration(self.min), duration(self.max))
        }
    }
}

/// The distribution of latencies over their range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatencyDistribution {
    /// All latencies of the range are equally likely.
    #[default]
    Uniform,
    /// Exponential above the minimum; the mean is the middle of the range. Most messages are fast,
    /// and some exceed the maximum of the range several times.
    Exponential,
    /// The latencies of a network with bursts: one message in a hundred takes about twenty times as
    /// long as most messages.
    LongTailed,
}

impl LatencyDistribution {
    /// Draws a latency.
    pub(crate) fn sample(self, range: DurationRange, random: &mut SimRng) -> u64 {
        let width = range.max.saturating_sub(range.min);
        match self {
            Self::Uniform => range.sample(random),
            Self::Exponential => range.min + exponential(width / 2, random),
            Self::LongTailed => {
                // The reciprocal of a uniform number between 0 and 1, at most 200.
                let share = random.below(1000).max(5);
                range.min + width * 250 / share / 2
            }
        }
    }

    /// The factor on the maximum of the range that only one message in a thousand exceeds.
    pub(crate) fn tail_factor(self) -> u64 {
        match self {
            Self::Uniform => 1,
            Self::Exponential => 4,
            Self::LongTailed => 25,
        }
    }
}

/// Draws from the exponential distribution with this mean.
///
/// The arithmetic uses integers, because logarithms of floating-point numbers differ between
/// platforms. The logarithm to base two is the number of leading zeros, with linear interpolation
/// between powers of two. The error is at most a tenth.
fn exponential(mean: u64, random: &mut SimRng) -> u64 {
    let drawn = random.next() | 1;
    let zeros = u64::from(drawn.leading_zeros());
    // The bits after the first one, as a share of 2^16.
    let share = (drawn << (zeros + 1).min(63)) >> 48;
    let logarithm = (zeros << 16) + (0x1_0000 - share);
    // Within each power of two the interpolation is uniform, so the mean of the logarithm is 1.5.
    ((u128::from(mean) * u128::from(logarithm) * 2 / 3) >> 16) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(distribution: LatencyDistribution) -> Vec<u64> {
        let mut random = SimRng::new(5);
        let range = DurationRange::new(1_000, 3_000);
        let mut latencies: Vec<_> =
            (0..20_000).map(|_| distribution.sample(range, &mut random)).collect();
        latencies.sort_unstable();
        latencies
    }

    fn mean(latencies: &[u64]) -> u64 {
        latencies.iter().sum::<u64>() / latencies.len() as u64
    }

    #[test]
    fn ranges_have_units() {
        assert_eq!(DurationRange::new(5_000, 15_000).to_string(), "5 ms to 15 ms");
        assert_eq!(DurationRange::new(2_000_000, 2_000_000).to_string(), "2 s");
    }

    #[test]
    fn latency_distributions_match_config() {
        let uniform = latencies(LatencyDistribution::Uniform);
        assert!((1_000..1_010).contains(&uniform[0]) && (2_990..=3_000).contains(&uniform[19_999]));
        assert!((1_980..2_020).contains(&mean(&uniform)));
        let exponential = latencies(LatencyDistribution::Exponential);
        assert!((1_950..2_050).contains(&mean(&exponential)), "{}", mean(&exponential));
        // 37 % lie above the mean, and 5 % above three times the mean.
        let share_above =
            |limit: u64| 1.0 - exponential.partition_point(|drawn| *drawn < limit) as f64 / 2e4;
        assert!((0.34..0.41).contains(&share_above(2_000)));
        assert!((0.03..0.07).contains(&share_above(4_000)));
        let long = latencies(LatencyDistribution::LongTailed);
        assert!(
            long[10_000] < 1_600 && long[19_900] > 15_000 && long[19_999] <= 51_000,
            "{} {} {}",
            long[10_000],
            long[19_900],
            long[19_999]
        );
    }
}
