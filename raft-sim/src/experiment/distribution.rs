//! Distributions of measured durations.

/// Measured durations, in microseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distribution {
    sorted: Vec<u64>,
}

impl Distribution {
    /// Creates the distribution of durations. Returns none for an empty sample.
    #[must_use]
    pub fn new(mut micros: Vec<u64>) -> Option<Self> {
        micros.sort_unstable();
        (!micros.is_empty()).then_some(Self { sorted: micros })
    }

    /// The number of durations.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The quantile for the share `p` (0 to 1), in milliseconds. Values between two measurements
    /// are interpolated.
    #[must_use]
    pub fn quantile(&self, p: f64) -> f64 {
        let position = p.clamp(0.0, 1.0) * (self.sorted.len() - 1) as f64;
        let below = self.sorted[position.floor() as usize] as f64;
        let above = self.sorted[position.ceil() as usize] as f64;
        (below + (above - below) * position.fract()) / 1000.0
    }

    /// The mean, in milliseconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let sum: u128 = self.sorted.iter().map(|micros| u128::from(*micros)).sum();
        sum as f64 / self.sorted.len() as f64 / 1000.0
    }

    /// The share of the durations up to `millis`.
    #[must_use]
    pub fn share_until(&self, millis: f64) -> f64 {
        let below = |micros: &u64| *micros as f64 <= millis * 1000.0;
        self.sorted.partition_point(below) as f64 / self.sorted.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let times = Distribution::new(vec![3_000, 1_000, 2_000, 5_000, 4_000]).unwrap();
        assert_eq!(times.count(), 5);
        let quantiles = [0.0, 0.25, 0.5, 0.625, 1.0].map(|p| times.quantile(p));
        assert_eq!(quantiles, [1.0, 2.0, 3.0, 3.5, 5.0]);
        assert_eq!(times.mean(), 3.0);
        assert_eq!([0.9, 1.0, 2.5].map(|ms| times.share_until(ms)), [0.0, 0.2, 0.4]);
    }

    #[test]
    fn empty_sample_has_no_distribution() {
        assert_eq!(Distribution::new(Vec::new()), None);
    }
}
