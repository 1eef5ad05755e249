//! Histograms of the durations of the work of a node.

use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;

/// Upper bounds of the buckets of all durations, in seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A histogram of durations in seconds.
pub(crate) fn durations() -> Histogram {
    Histogram::new(BUCKETS)
}

/// The histograms of one node. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Timings {
    /// The durations of writes of the log, each with its sync.
    pub(crate) log_write: Histogram,
    /// The durations of applying a batch of committed entries.
    pub(crate) apply: Histogram,
}

impl Default for Timings {
    fn default() -> Self {
        Self { log_write: durations(), apply: durations() }
    }
}

/// Runs `work` and records its duration.
pub(crate) fn timed<T>(histogram: &Histogram, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    observe(histogram, start.elapsed());
    result
}

/// Records a duration.
pub(crate) fn observe(histogram: &Histogram, duration: Duration) {
    histogram.observe(duration.as_secs_f64());
}
