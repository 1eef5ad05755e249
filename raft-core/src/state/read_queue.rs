//! Linearizable reads that wait for their confirmation (dissertation 6.4).

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::api::read::{ReadId, ReadMode};
use crate::api::types::{Instant, LogIndex, NodeId};

/// The reads of a leader that a quorum has not confirmed.
///
/// A heartbeat round confirms a read if the round started after the read arrived. Round numbers
/// only grow, so a response to an earlier round cannot confirm the read (etcd #20418).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct PendingReads {
    /// In the order of arrival, so their rounds never decrease.
    reads: VecDeque<PendingRead>,
}

/// A read that waits for a heartbeat round.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PendingRead {
    /// The receiver of the outcome.
    pub(crate) origin: ReadOrigin,
    /// The index that the state machine must have applied.
    pub(crate) read_index: LogIndex,
    /// The first heartbeat round that confirms the read.
    pub(crate) round: u64,
}

/// The receiver of the outcome of a read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum ReadOrigin {
    /// The caller of this server.
    Local(ReadId),
    /// A follower, which receives a ReadIndexResponse.
    Remote { node: NodeId, boot: u64, batch: u64 },
}

impl PendingReads {
    pub(crate) fn len(&self) -> usize {
        self.reads.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }

    /// Adds a read. Its round is not smaller than that of any earlier read.
    pub(crate) fn push(&mut self, read: PendingRead) {
        debug_assert!(self.reads.back().is_none_or(|last| last.round <= read.round));
        self.reads.push_back(read);
    }

    /// Returns true if a read needs a round after `round`.
    pub(crate) fn need_round_after(&self, round: u64) -> bool {
        self.reads.back().is_some_and(|read| read.round > round)
    }

    /// Removes and returns the oldest read that `round` confirms.
    pub(crate) fn pop_confirmed(&mut self, round: u64) -> Option<PendingRead> {
        self.reads.pop_front_if(|read| read.round <= round)
    }

    /// Removes all reads, and returns those of the caller.
    pub(crate) fn drain_local(&mut self) -> impl Iterator<Item = ReadId> {
        self.reads.drain(..).filter_map(|read| match read.origin {
            ReadOrigin::Local(id) => Some(id),
            ReadOrigin::Remote { .. } => None,
        })
    }
}

/// The reads of a follower, which requests their index from its leader with ReadIndex.
///
/// All reads that arrive before a request share it: they are one batch.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct ForwardedReads {
    /// The reads in the order of arrival, with the number of their batch.
    reads: VecDeque<(ReadId, u64)>,
    /// The number of the latest batch that was requested. The first batch is 1.
    last_batch_sent: u64,
    /// A read that was added since the queue was empty accepts no lease.
    needs_quorum: bool,
    /// The time of the latest request.
    requested_at: Instant,
    /// The latest request may be lost, and is repeated with the next drain.
    resend: bool,
}

impl ForwardedReads {
    pub(crate) fn len(&self) -> usize {
        self.reads.len()
    }

    /// Adds a read to the next batch.
    pub(crate) fn push(&mut self, id: ReadId, mode: ReadMode) {
        self.needs_quorum &= !self.reads.is_empty();
        self.needs_quorum |= mode == ReadMode::Quorum;
        self.reads.push_back((id, self.last_batch_sent + 1));
    }

    /// Starts the request that is due at `now`, if any. Returns its batch and mode.
    pub(crate) fn start_request(&mut self, now: Instant) -> Option<(u64, ReadMode)> {
        let (_, latest) = self.reads.back()?;
        let is_new = *latest > self.last_batch_sent;
        if !is_new && !self.resend {
            return None;
        }
        self.last_batch_sent = *latest;
        self.resend = false;
        self.requested_at = now;
        // The response serves all waiting reads, so one read without lease decides for all.
        let by_lease = is_new && !self.needs_quorum;
        Some((*latest, if by_lease { ReadMode::Lease } else { ReadMode::Quorum }))
    }

    /// Schedules a repetition if a request has no response `interval` after it was sent. Called
    /// when the leader is heard at `now`.
    pub(crate) fn on_leader_contact(&mut self, now: Instant, interval: Duration) {
        let is_requested = |(_, batch): &(ReadId, u64)| *batch <= self.last_batch_sent;
        self.resend = now.saturating_since(self.requested_at) >= interval
            && self.reads.front().is_some_and(is_requested);
    }

    /// Returns true if `batch` was requested since this server started.
    pub(crate) fn was_requested(&self, batch: u64) -> bool {
        batch <= self.last_batch_sent
    }

    /// Removes and returns the oldest read of a batch up to `batch`.
    pub(crate) fn pop_through(&mut self, batch: u64) -> Option<ReadId> {
        self.reads.pop_front_if(|(_, of)| *of <= batch).map(|(id, _)| id)
    }

    /// Removes and returns all reads.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = ReadId> {
        self.reads.drain(..).map(|(id, _)| id)
    }

    /// Replaces the time of the latest request.
    #[cfg(feature = "model")]
    pub(crate) fn canonicalize(&mut self, now: Instant) {
        self.requested_at = now;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const INTERVAL: Duration = Duration::from_micros(100);

    #[test]
    fn round_confirms_reads_that_arrived_before_it() {
        let mut reads = PendingReads::default();
        for (id, round) in [(0, 3), (1, 3), (2, 4)] {
            let origin = ReadOrigin::Local(ReadId(id));
            reads.push(PendingRead { origin, read_index: LogIndex(1), round });
        }
        assert_eq!([3, 4].map(|round| reads.need_round_after(round)), [true, false]);
        assert_eq!(reads.pop_confirmed(2), None);
        let confirmed = core::iter::from_fn(|| reads.pop_confirmed(3));
        assert_eq!(confirmed.count(), 2);
        assert_eq!(reads.drain_local().collect::<Vec<_>>(), [ReadId(2)]);
    }

    #[test]
    fn one_request_serves_all_reads_before_it() {
        let mut reads = ForwardedReads::default();
        assert_eq!(reads.start_request(Instant(0)), None);
        reads.push(ReadId(0), ReadMode::Lease);
        assert_eq!(reads.start_request(Instant(0)), Some((1, ReadMode::Lease)));
        assert_eq!(reads.start_request(Instant(0)), None, "it is in flight");
        reads.push(ReadId(1), ReadMode::Quorum);
        reads.push(ReadId(2), ReadMode::Lease);
        assert_eq!(reads.start_request(Instant(1)), Some((2, ReadMode::Quorum)));
        assert_eq!([2, 3].map(|batch| reads.was_requested(batch)), [true, false]);
        assert_eq!(reads.pop_through(1), Some(ReadId(0)));
        assert_eq!(reads.pop_through(1), None);
        assert_eq!(
            [reads.pop_through(2), reads.pop_through(2)],
            [Some(ReadId(1)), Some(ReadId(2))]
        );
        reads.push(ReadId(3), ReadMode::Lease);
        assert_eq!(reads.start_request(Instant(1)), Some((3, ReadMode::Lease)), "no earlier reads");
    }

    #[test]
    fn unanswered_request_is_repeated_without_lease() {
        let mut reads = ForwardedReads::default();
        reads.push(ReadId(0), ReadMode::Lease);
        reads.start_request(Instant(0));
        reads.on_leader_contact(Instant(99), INTERVAL);
        assert_eq!(reads.start_request(Instant(99)), None);
        reads.on_leader_contact(Instant(100), INTERVAL);
        assert_eq!(reads.start_request(Instant(100)), Some((1, ReadMode::Quorum)));
        reads.pop_through(1);
        reads.on_leader_contact(Instant(300), INTERVAL);
        assert_eq!(reads.start_request(Instant(300)), None);
    }
}
