//! The free space of the disk, and the alarm when there is little of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::statvfs;
use tracing::{info, warn};

/// The limits of the disk space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpaceLimits {
    /// The node rejects writes if less space is free, in bytes.
    pub(crate) reserve: u64,
    /// The node rejects writes if its data takes more space, in bytes.
    pub(crate) quota: Option<u64>,
}

/// The reason for which the node rejects writes that add data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SpaceAlarm {
    /// Less space is free than the reserve.
    LowSpace,
    /// The data exceeds the quota.
    QuotaExceeded,
}

/// The latest measurement of the disk space.
#[derive(Debug)]
pub(crate) struct DiskSpace {
    limits: SpaceLimits,
    free: AtomicU64,
    alarm: Mutex<Option<SpaceAlarm>>,
}

/// Stops the measurements when it is dropped.
pub(crate) struct SpaceWatch(#[allow(dead_code, reason = "held for its drop")] mpsc::Sender<()>);

/// The pause between two measurements.
const INTERVAL: Duration = Duration::from_millis(500);
const BLOCK_BYTES: u64 = 512;

impl SpaceAlarm {
    /// The name in the status.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LowSpace => "low-space",
            Self::QuotaExceeded => "quota-exceeded",
        }
    }
}

impl DiskSpace {
    pub(crate) fn new(limits: SpaceLimits) -> Self {
        Self { limits, free: AtomicU64::new(u64::MAX), alarm: Mutex::new(None) }
    }

    /// The present alarm.
    pub(crate) fn alarm(&self) -> Option<SpaceAlarm> {
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The free space in bytes.
    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Measures once. The returned function measures in intervals until the watch is dropped, and
    /// needs a thread.
    pub(crate) fn watch(self: &Arc<Self>, path: &Path) -> (SpaceWatch, impl FnOnce() + use<>) {
        let (stop, stopped) = mpsc::channel();
        let (space, path) = (Arc::clone(self), path.to_owned());
        space.measure(&path);
        let run = move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                space.measure(&path);
            }
        };
        (SpaceWatch(stop), run)
    }

    fn measure(&self, path: &Path) {
        // A failing disk is noticed by the next write.
        let Ok(status) = statvfs(path) else { return };
        let used = disk_bytes(path.to_owned()).unwrap_or(0);
        self.update(status.f_bavail.saturating_mul(status.f_frsize), used);
    }

    fn update(&self, free: u64, used: u64) {
        self.free.store(free, Ordering::Relaxed);
        let SpaceLimits { reserve, quota } = self.limits;
        let alarm = if free < reserve {
            Some(SpaceAlarm::LowSpace)
        } else if quota.is_some_and(|quota| used > quota) {
            Some(SpaceAlarm::QuotaExceeded)
        } else {
            None
        };
        let mut current = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == alarm {
            return;
        }
        *current = alarm;
        match alarm {
            Some(alarm) => warn!(
                alarm = alarm.name(),
                free, used, "writes are rejected; delete keys, or add disk space"
            ),
            None => info!(free, used, "writes are accepted again"),
        }
    }
}

/// The disk space of all files below a directory. `None` if the directory cannot be read.
pub(crate) fn disk_bytes(directory: PathBuf) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let mut directories = vec![directory];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).ok()?.flatten() {
            // Files come and go while they are counted.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                directories.push(entry.path());
            } else {
                bytes += metadata.blocks() * BLOCK_BYTES;
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarm_follows_free_space_and_quota() {
        let space = DiskSpace::new(SpaceLimits { reserve: 100, quota: Some(50) });
        assert_eq!(space.alarm(), None);
        for (free, used, alarm) in [
            (99, 0, Some(SpaceAlarm::LowSpace)),
            (100, 50, None),
            (100, 51, Some(SpaceAlarm::QuotaExceeded)),
            (99, 51, Some(SpaceAlarm::LowSpace)),
            (1000, 0, None),
        ] {
            space.update(free, used);
            assert_eq!(space.alarm(), alarm, "{free} free, {used} used");
            assert_eq!(space.free(), free);
        }
    }

    #[test]
    fn disk_bytes_are_summed_over_directories() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(directory.path().join("one"), [1; 10_000]).unwrap();
        fs::write(inner.join("two"), [2; 20_000]).unwrap();
        assert!(disk_bytes(directory.path().to_owned()).unwrap() >= 30_000);
        assert_eq!(disk_bytes(directory.path().join("missing")), None);
    }
}
