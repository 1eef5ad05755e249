//! The readiness of a node, which load balancers check.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Measurements of the consensus loop and of the disk thread. Readers take no lock.
#[derive(Debug)]
pub(crate) struct Health {
    /// The origin of all times below.
    epoch: Instant,
    /// The largest index that this node knows to be committed in the cluster.
    committed: AtomicU64,
    /// The state machine is expected to reach this index soon after `checkpoint_set`.
    checkpoint: AtomicU64,
    /// The time at which the checkpoint was set: milliseconds since `epoch`, plus 1.
    checkpoint_set: AtomicU64,
    /// The start of the write in progress: milliseconds since `epoch`, plus 1. 0 without a write.
    disk_busy: AtomicU64,
}

/// The reason for which a node should get no requests.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// The node knows no leader.
    #[error("no leader: the cluster has no quorum or is electing; use another node")]
    NoLeader,
    /// The state machine lacks committed entries.
    #[error("this node is behind by {entries} entries; use another node until it has caught up")]
    Behind {
        /// The number of committed entries that the state machine lacks.
        entries: u64,
    },
    /// The disk has not completed a write.
    #[error("the disk of this node stalls: a write has taken {seconds} s; check the disk")]
    DiskStalled {
        /// The duration of the write so far.
        seconds: u64,
    },
    /// The node is stopping.
    #[error("this node is stopping; use another node")]
    Stopping,
}

/// A node that lacks more committed entries than this is not ready.
const LAG_ENTRIES_MAX: u64 = 1_000;
/// A node that lacks an entry for longer than this is not ready.
const LAG_TIME_MAX: Duration = Duration::from_secs(2);
/// A node whose disk takes longer for a write is not ready.
const WRITE_TIME_MAX: Duration = Duration::from_secs(3);

impl Health {
    pub(crate) fn new(epoch: Instant) -> Self {
        let zero = AtomicU64::default;
        Self {
            epoch,
            committed: zero(),
            checkpoint: zero(),
            checkpoint_set: zero(),
            disk_busy: zero(),
        }
    }

    /// Records that the cluster has committed the entries up to an index.
    pub(crate) fn commit_is_known(&self, index: u64) {
        self.committed.fetch_max(index, Ordering::Relaxed);
    }

    /// Records the applied index. Only the consensus loop calls this.
    pub(crate) fn applied(&self, index: u64, now: Instant) {
        if index >= self.checkpoint.load(Ordering::Relaxed) {
            let committed = self.committed.load(Ordering::Relaxed);
            self.checkpoint_set.store(self.stamp(now), Ordering::Relaxed);
            self.checkpoint.store(committed, Ordering::Relaxed);
        }
    }

    pub(crate) fn write_begins(&self, now: Instant) {
        self.disk_busy.store(self.stamp(now), Ordering::Relaxed);
    }

    pub(crate) fn write_ends(&self) {
        self.disk_busy.store(0, Ordering::Relaxed);
    }

    /// Checks the state machine and the disk.
    pub(crate) fn check(&self, applied: u64, now: Instant) -> Result<(), NotReady> {
        if let Some(busy) = self.since(&self.disk_busy, now)
            && busy > WRITE_TIME_MAX
        {
            return Err(NotReady::DiskStalled { seconds: busy.as_secs() });
        }
        let entries = self.committed.load(Ordering::Relaxed).saturating_sub(applied);
        let is_late = applied < self.checkpoint.load(Ordering::Relaxed)
            && self.since(&self.checkpoint_set, now).is_some_and(|ago| ago > LAG_TIME_MAX);
        if entries > LAG_ENTRIES_MAX || is_late {
            return Err(NotReady::Behind { entries });
        }
        Ok(())
    }

    fn stamp(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX - 1) + 1
    }

    fn since(&self, stamp: &AtomicU64, now: Instant) -> Option<Duration> {
        let then = stamp.load(Ordering::Relaxed).checked_sub(1)?;
        let then = self.epoch + Duration::from_millis(then);
        Some(now.saturating_duration_since(then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn node_that_lags_far_or_for_long_is_not_ready() {
        let start = Instant::now();
        let health = Health::new(start);
        health.commit_is_known(1_154);
        assert_eq!(health.check(0, start), Err(NotReady::Behind { entries: 1_154 }));
        health.applied(1_000, start);
        assert_eq!(health.check(1_000, start + seconds(2)), Ok(()));
        // The consensus loop runs, the state machine does not.
        for second in 1..4 {
            health.applied(1_000, start + seconds(second));
        }
        let behind = NotReady::Behind { entries: 154 };
        assert_eq!(health.check(1_000, start + seconds(3)), Err(behind.clone()));
        assert!(behind.to_string().starts_with("this node is behind by 154 entries"));
        assert_eq!(health.check(1_154, start + seconds(3)), Ok(()));
    }

    #[test]
    fn node_under_constant_load_is_ready() {
        let start = Instant::now();
        let health = Health::new(start);
        for step in 1..100 {
            health.commit_is_known(step * 500);
            health.applied((step - 1) * 500, start + seconds(step));
            assert_eq!(health.check((step - 1) * 500, start + seconds(step)), Ok(()));
        }
    }

    #[test]
    fn node_with_stalled_disk_is_not_ready() {
        let start = Instant::now();
        let health = Health::new(start);
        health.write_begins(start + seconds(1));
        assert_eq!(health.check(0, start + seconds(2)), Ok(()));
        let stalled = Err(NotReady::DiskStalled { seconds: 5 });
        assert_eq!(health.check(0, start + seconds(6)), stalled);
        health.write_ends();
        assert_eq!(health.check(0, start + seconds(9)), Ok(()));
    }
}
