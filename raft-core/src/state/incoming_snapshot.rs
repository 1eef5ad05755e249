//! The snapshot that a server receives from its leader (§7).

use alloc::vec::Vec;

use bytes::Bytes;

use crate::api::effects::{SnapshotChunk, SnapshotInstall, SnapshotInstalled};
use crate::api::entry::Snapshot;

/// The received part of a snapshot, and the chunks that the caller has not received yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct IncomingSnapshot {
    incoming: Option<Incoming>,
    /// Received chunks for the next drain.
    undrained: Vec<SnapshotChunk>,
    /// Accepts chunks of different snapshots as one.
    #[cfg(feature = "sabotage")]
    pub(crate) mixes_snapshots: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Incoming {
    snapshot: Snapshot,
    /// The number of received bytes.
    received: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stage {
    /// Some chunks are missing.
    Receiving,
    /// All chunks are received, and the next drain returns the order to install them.
    Complete,
    /// The caller installs the snapshot.
    Installing,
}

/// The effect of a chunk on an [`IncomingSnapshot`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChunkOutcome {
    /// The chunk is the first one of its snapshot.
    Started,
    /// The chunk continues the snapshot.
    Continued,
    /// The chunk is not the next one.
    Ignored,
    /// The chunk exceeds the size of its snapshot.
    Malformed,
}

/// The largest number of chunks between two drains. A leader sends a chunk after the response to
/// the previous one, so more chunks do not come from a correct leader.
const UNDRAINED_MAX: usize = 4;

impl IncomingSnapshot {
    /// Accepts a chunk if it is the next one. Returns the number of bytes of its snapshot that are
    /// received, and the effect.
    pub(crate) fn accept(
        &mut self,
        snapshot: Snapshot,
        offset: u64,
        data: Bytes,
    ) -> (u64, ChunkOutcome) {
        let known = self.incoming.as_ref().filter(|known| self.continues(known, &snapshot));
        let is_known = known.is_some();
        if self.is_installing() {
            return (if is_known { snapshot.size } else { 0 }, ChunkOutcome::Ignored);
        }
        if !is_known && offset > 0 {
            return (0, ChunkOutcome::Ignored);
        }
        let received = known.map_or(0, |known| known.received);
        let end = offset.checked_add(data.len() as u64);
        let Some(end) = end.filter(|end| *end <= snapshot.size) else {
            return (received, ChunkOutcome::Malformed);
        };
        let is_next = offset == received && self.undrained.len() < UNDRAINED_MAX;
        if !is_next || (data.is_empty() && snapshot.size > 0) {
            return (received, ChunkOutcome::Ignored);
        }
        let stage = if end == snapshot.size { Stage::Complete } else { Stage::Receiving };
        // The caller also receives the empty chunk of an empty snapshot. Without this chunk, the
        // caller would install the chunks of an earlier, partial snapshot.
        self.undrained.push(SnapshotChunk { snapshot: snapshot.clone(), offset, data });
        self.incoming = Some(Incoming { snapshot, received: end, stage });
        (end, if is_known { ChunkOutcome::Continued } else { ChunkOutcome::Started })
    }

    /// Returns true if chunks of `snapshot` continue `known`.
    fn continues(&self, known: &Incoming, snapshot: &Snapshot) -> bool {
        #[cfg(feature = "sabotage")]
        if self.mixes_snapshots {
            return true;
        }
        known.snapshot.matches(snapshot.last, snapshot.identity)
    }

    /// Returns true if all chunks are received and the snapshot is not installed.
    pub(crate) fn is_installing(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.stage != Stage::Receiving)
    }

    /// Moves the received chunks into `chunks`. Returns the order to install them, once, after all
    /// chunks are received.
    pub(crate) fn drain(
        &mut self,
        chunks: &mut Vec<SnapshotChunk>,
        boot: u64,
    ) -> Option<SnapshotInstall> {
        chunks.append(&mut self.undrained);
        let incoming = self.incoming.as_mut().filter(|known| known.stage == Stage::Complete)?;
        incoming.stage = Stage::Installing;
        let (last, identity) = (incoming.snapshot.last, incoming.snapshot.identity);
        let token = SnapshotInstalled { boot, last, identity };
        Some(SnapshotInstall { token, snapshot: incoming.snapshot.clone() })
    }

    /// Returns true if a drain would return nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.incoming.is_none() && self.undrained.is_empty()
    }

    /// Removes and returns the snapshot that the caller has installed, if the token is current.
    pub(crate) fn finish(&mut self, token: &SnapshotInstalled) -> Option<Snapshot> {
        let installed = self.incoming.take_if(|incoming| {
            incoming.stage == Stage::Installing
                && incoming.snapshot.matches(token.last, token.identity)
        })?;
        Some(installed.snapshot)
    }

    /// Discards the received part.
    pub(crate) fn discard(&mut self) {
        self.incoming = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::membership::Membership;
    use crate::api::types::{LogId, LogIndex, Term};

    fn snapshot(identity: u64, size: u64) -> Snapshot {
        let last = LogId::new(Term(1), LogIndex(9));
        Snapshot { last, membership: Membership::default(), identity, size }
    }

    fn bytes(count: usize) -> Bytes {
        Bytes::from(alloc::vec![0; count])
    }

    #[test]
    fn chunks_are_accepted_in_order() {
        let mut incoming = IncomingSnapshot::default();
        let mut accept = |offset, count| incoming.accept(snapshot(1, 10), offset, bytes(count));
        assert_eq!(accept(4, 4), (0, ChunkOutcome::Ignored));
        assert_eq!(accept(0, 0), (0, ChunkOutcome::Ignored), "an empty chunk is a question");
        assert_eq!(accept(0, 4), (4, ChunkOutcome::Started));
        assert_eq!(accept(0, 4), (4, ChunkOutcome::Ignored));
        assert_eq!(accept(4, 7), (4, ChunkOutcome::Malformed));
        assert_eq!(accept(u64::MAX, 1), (4, ChunkOutcome::Malformed));
        assert_eq!(accept(4, 6), (10, ChunkOutcome::Continued));
        assert_eq!(accept(0, 4), (10, ChunkOutcome::Ignored), "all is received");
        let mut chunks = Vec::new();
        let install = incoming.drain(&mut chunks, 1);
        assert_eq!(install.map(|install| install.snapshot), Some(snapshot(1, 10)));
        assert_eq!(chunks.iter().map(|chunk| chunk.offset).collect::<Vec<_>>(), [0, 4]);
        assert_eq!(incoming.drain(&mut chunks, 1), None, "the order comes once");
    }

    #[test]
    fn chunks_of_another_snapshot_start_again() {
        let mut incoming = IncomingSnapshot::default();
        assert_eq!(incoming.accept(snapshot(1, 10), 0, bytes(4)).0, 4);
        assert_eq!(incoming.accept(snapshot(2, 10), 4, bytes(6)).0, 0);
        assert_eq!(incoming.accept(snapshot(2, 10), 0, bytes(3)), (3, ChunkOutcome::Started));
    }

    #[test]
    fn only_current_token_finishes_installation() {
        let mut incoming = IncomingSnapshot::default();
        incoming.accept(snapshot(1, 2), 0, bytes(2));
        let last = snapshot(1, 2).last;
        let token = |identity| SnapshotInstalled { boot: 1, last, identity };
        assert_eq!(incoming.finish(&token(1)), None, "the caller has no order yet");
        incoming.drain(&mut Vec::new(), 1);
        assert_eq!(incoming.finish(&token(2)), None);
        assert!(incoming.is_installing());
        assert_eq!(incoming.finish(&token(1)), Some(snapshot(1, 2)));
        assert!(incoming.is_empty());
    }
}
