//! A snapshot on its way to one follower (§7).

use core::time::Duration;

use crate::api::entry::Snapshot;
use crate::api::types::{Instant, LogId};

/// The transfer of a snapshot to one follower, chunk by chunk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SnapshotTransfer {
    /// The snapshot with which the transfer started. A later snapshot of this server does not
    /// replace it, unless the transfer is stalled. Without this, a slow follower might never
    /// receive a complete snapshot.
    snapshot: Snapshot,
    /// The number of bytes that the follower has.
    offset: u64,
    /// The condition for the next chunk.
    wait: SnapshotWait,
    /// The transfer started, or `offset` last grew, at this time.
    advanced_at: Instant,
}

/// The condition for the next chunk of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum SnapshotWait {
    /// None: a probe is due, which is an empty chunk that requests the follower's offset.
    ///
    /// A transfer starts with a probe, and repeats it while the follower is silent. A dead follower
    /// therefore costs no disk reads and no bandwidth.
    ProbeDue,
    /// The response to the probe.
    ProbeResponse,
    /// None: the next chunk is due.
    ChunkDue,
    /// The bytes of the chunk, which the caller reads. Reading may take any time.
    ChunkRead,
    /// The response to the chunk. Chunk or response may be lost.
    ChunkResponse,
}

/// The next message of a snapshot transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TransferStep {
    /// An empty chunk, which requests the follower's offset.
    Probe,
    /// A chunk of `bytes` bytes, which the caller reads.
    Chunk { bytes: usize },
}

impl SnapshotTransfer {
    /// A transfer that starts with a probe.
    pub(super) fn new(snapshot: Snapshot, now: Instant) -> Self {
        Self { snapshot, offset: 0, wait: SnapshotWait::ProbeDue, advanced_at: now }
    }

    /// The snapshot under transfer.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The number of bytes that the follower has.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Starts the next step that is due, if any.
    pub(crate) fn start_step(&mut self, chunk_bytes_max: usize) -> Option<TransferStep> {
        match self.wait {
            SnapshotWait::ProbeDue => {
                self.wait = SnapshotWait::ProbeResponse;
                Some(TransferStep::Probe)
            }
            SnapshotWait::ChunkDue => {
                self.wait = SnapshotWait::ChunkRead;
                let left = usize::try_from(self.snapshot.size - self.offset).unwrap_or(usize::MAX);
                Some(TransferStep::Chunk { bytes: left.min(chunk_bytes_max) })
            }
            SnapshotWait::ProbeResponse | SnapshotWait::ChunkRead | SnapshotWait::ChunkResponse => {
                None
            }
        }
    }

    /// Returns true if the caller reads this chunk for the transfer.
    pub(crate) fn awaits_read(&self, last: LogId, identity: u64, offset: u64) -> bool {
        self.wait == SnapshotWait::ChunkRead
            && self.offset == offset
            && self.snapshot.matches(last, identity)
    }

    /// Records that the chunk is read and sent.
    pub(super) fn note_chunk_sent(&mut self) {
        self.wait = SnapshotWait::ChunkResponse;
    }

    /// Records that the follower has `received` bytes. Returns false if that changes nothing.
    pub(super) fn note_received(&mut self, received: u64, now: Instant) -> bool {
        if self.offset == received && self.wait != SnapshotWait::ProbeResponse {
            return false;
        }
        if received > self.offset {
            self.advanced_at = now;
        }
        self.offset = received;
        // With all bytes, the follower acknowledges the entries without another chunk.
        let is_whole = received == self.snapshot.size;
        self.wait = if is_whole { SnapshotWait::ChunkResponse } else { SnapshotWait::ChunkDue };
        true
    }

    /// Returns true if the follower responds to the message in flight.
    pub(super) fn awaits_response(&self) -> bool {
        matches!(self.wait, SnapshotWait::ProbeResponse | SnapshotWait::ChunkResponse)
    }

    /// Makes a probe due, because the message in flight may be lost.
    pub(super) fn probe(&mut self) {
        self.wait = SnapshotWait::ProbeDue;
    }

    /// Returns true if `offset` did not grow for many times `timeout`. While the follower installs
    /// the snapshot, or the caller reads a chunk, the transfer may take any time.
    ///
    /// One `timeout` is not enough. A chunk can take longer over a slow link, and a transfer that
    /// gives way to each later snapshot never ends.
    pub(super) fn is_stuck(&self, now: Instant, timeout: Duration) -> bool {
        const TIMEOUTS_PER_CHUNK: u32 = 10;
        let is_whole = self.offset == self.snapshot.size;
        let may_wait = is_whole || self.wait == SnapshotWait::ChunkRead;
        let chunk_max = timeout.saturating_mul(TIMEOUTS_PER_CHUNK);
        !may_wait && now.saturating_since(self.advanced_at) >= chunk_max
    }

    /// Moves the time of the last advance to `now`.
    #[cfg(feature = "model")]
    pub(super) fn canonicalize(&mut self, now: Instant) {
        self.advanced_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::membership::Membership;

    fn transfer() -> SnapshotTransfer {
        let (last, membership) = (LogId::default(), Membership::default());
        let snapshot = Snapshot { last, membership, identity: 7, size: 10 };
        SnapshotTransfer::new(snapshot, Instant(0))
    }

    #[test]
    fn transfer_alternates_between_reads_and_responses() {
        let mut transfer = transfer();
        assert_eq!(transfer.start_step(4), Some(TransferStep::Probe));
        assert_eq!(transfer.start_step(4), None);
        assert!(transfer.note_received(0, Instant(1)), "a response to the probe");
        for (offset, bytes) in [(0, 4), (4, 4), (8, 2)] {
            assert_eq!(transfer.start_step(4), Some(TransferStep::Chunk { bytes }));
            assert!(transfer.awaits_read(LogId::default(), 7, offset));
            assert!(!transfer.awaits_read(LogId::default(), 8, offset), "another snapshot");
            assert!(!transfer.awaits_response());
            transfer.note_chunk_sent();
            assert!(transfer.awaits_response());
            assert!(!transfer.note_received(offset, Instant(1)), "a repeated response");
            assert!(transfer.note_received(offset + bytes as u64, Instant(1)));
        }
        assert_eq!(transfer.start_step(4), None, "the follower has all");
    }

    #[test]
    fn transfer_is_stuck_after_ten_timeouts_without_bytes() {
        let timeout = Duration::from_micros(10);
        let mut transfer = transfer();
        transfer.start_step(4);
        transfer.note_received(1, Instant(5));
        let is_stuck = |transfer: &SnapshotTransfer, now| transfer.is_stuck(Instant(now), timeout);
        assert_eq!([104, 105].map(|now| is_stuck(&transfer, now)), [false, true]);
        transfer.start_step(4);
        assert!(!is_stuck(&transfer, 105), "the caller reads");
        transfer.note_chunk_sent();
        assert!(is_stuck(&transfer, 105));
        transfer.note_received(10, Instant(105));
        assert!(!is_stuck(&transfer, 1_000_000), "the follower installs");
    }
}
