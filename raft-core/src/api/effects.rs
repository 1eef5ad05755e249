//! The effects of a server, which its caller executes.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::api::entries::Entries;
use crate::api::entry::{HardState, Snapshot};
use crate::api::event::Event;
use crate::api::message::Message;
use crate::api::read::ReadOutcome;
use crate::api::types::{LogId, LogIndex, NodeId};

/// A buffer that [`Raft::drain`](crate::Raft::drain) fills and the caller empties.
///
/// The fields are independent of each other, with one exception. Messages may be sent before,
/// during and after the write: a message that depends on a write is not in the buffer before that
/// write is durable. The exception is [`install`](Self::install). It comes after the
/// [`committed`](Self::committed) entries of all earlier drains, and after the
/// [`snapshot_chunks`](Self::snapshot_chunks) of all drains including this one.
///
/// A driver should destructure the buffer by name, without `..`, as in the
/// [guide](crate::guide::driver). The compiler then reports an effect that the driver forgets. For
/// this reason the struct is not `#[non_exhaustive]`: a new effect is a breaking change.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Effects {
    /// The changes to make durable, after all earlier writes.
    ///
    /// The caller passes the token of the write to [`Raft::persisted`](crate::Raft::persisted)
    /// after the sync. It must take the write before the next drain, which panics otherwise. The
    /// messages that depend on a lost write are never sent.
    pub write: Option<Write>,
    /// Messages to send. A lost message costs one or two heartbeat intervals. Messages to one
    /// server should usually keep their order.
    pub messages: Vec<Outbound>,
    /// Entries that are committed and durable on this server, in the order of the log. Each entry
    /// is delivered once per start.
    ///
    /// The state machine applies the [commands](crate::Payload::Command), in order, and ignores the
    /// other payloads. It may apply them later. Entries that it has not made durable before a crash
    /// are delivered again.
    pub committed: Vec<Entries>,
    /// Requests for entries of the durable log. The caller passes at least the first entry of each
    /// request to [`Raft::fetched`](crate::Raft::fetched).
    pub fetches: Vec<Fetch>,
    /// Requests for chunks of this server's snapshots. The caller passes the bytes to
    /// [`Raft::provide_snapshot_chunk`](crate::Raft::provide_snapshot_chunk), unless the snapshot
    /// is no longer [needed](crate::Raft::needs_snapshot).
    pub snapshot_chunk_requests: Vec<SnapshotChunkRequest>,
    /// Received chunks of a snapshot of the leader.
    ///
    /// The caller stores them in order, outside of the state machine, until
    /// [`install`](Self::install). A chunk at offset 0 starts a new snapshot, even if the chunk is
    /// empty. After a restart the chunks are void.
    pub snapshot_chunks: Vec<SnapshotChunk>,
    /// The order to install a snapshot, all of whose chunks have arrived, perhaps in this drain.
    ///
    /// The caller first applies the committed entries of earlier drains, and stores the chunks.
    /// Then it durably replaces the state machine by the snapshot, and passes the token to
    /// [`Raft::snapshot_installed`](crate::Raft::snapshot_installed). If the snapshot is damaged,
    /// it calls [`Raft::snapshot_damaged`](crate::Raft::snapshot_damaged). No entries are delivered
    /// before. The caller must take the order before the next drain, which panics otherwise.
    pub install: Option<SnapshotInstall>,
    /// The outcomes of reads. The caller executes a read when its index is applied.
    pub reads: Vec<ReadOutcome>,
    /// The decisions of the server, in their order, if
    /// [`Config::record_events`](crate::Config::record_events) is true. The caller empties the
    /// vector.
    pub events: Vec<Event>,
}

/// A message and its receiver.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Outbound {
    /// The receiver.
    pub to: NodeId,
    /// The message.
    pub message: Message,
}

/// Changes that the caller must make durable, as a whole and after all earlier writes.
///
/// The caller writes [`hard_state`](Self::hard_state), [`log_start`](Self::log_start) and
/// [`entries`](Self::entries), and syncs them. Then it exchanges the write for a [`Durable`] token
/// with [`synced`](Self::synced), and passes the token to
/// [`Raft::persisted`](crate::Raft::persisted). The core releases the messages that depend on the
/// write when it receives the token. If a write is dropped, these messages are never sent.
///
/// The exchange consumes the write. A caller that still has something to write cannot report it as
/// durable:
///
/// ```compile_fail,E0382
/// fn too_early(write: raft_core::Write, raft: &mut raft_core::Raft, now: raft_core::Instant) {
///     raft.persisted(write.synced(), now);
///     println!("{} entries to write", write.entries().len());
/// }
/// ```
///
/// A token cannot be made without a write, from a borrowed write, or twice:
///
/// ```compile_fail,E0451
/// let (server, boot, sequence, entries) = (raft_core::NodeId(1), 1, 1, [].into());
/// let token = raft_core::Durable { server, boot, sequence, entries };
/// ```
///
/// ```compile_fail,E0507
/// fn borrowed(write: &raft_core::Write) -> raft_core::Durable {
///     write.synced()
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn twice(write: &raft_core::Write) -> raft_core::Write {
///     Clone::clone(write)
/// }
/// ```
///
/// The compiler warns about an unused token:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn forgotten(write: raft_core::Write) {
///     write.synced();
/// }
/// ```
#[must_use = "without a durable write, votes and acknowledgements are never sent"]
#[derive(PartialEq, Eq, Hash)]
pub struct Write {
    /// The token, with the entries to write.
    pub(crate) token: Durable,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) log_start: Option<LogId>,
}

/// The proof that a [`Write`] is durable. Only [`Write::synced`] creates it.
///
/// A token keeps the written entries in memory until it is dropped.
#[derive(Clone, PartialEq, Eq, Hash)]
#[must_use = "pass it to Raft::persisted"]
pub struct Durable {
    /// The server of the write.
    pub(crate) server: NodeId,
    /// The start of the server in which the write was drained.
    pub(crate) boot: u64,
    /// The number of the write within that start.
    pub(crate) sequence: u64,
    /// The written entries. They are usually the next ones for the state machine.
    pub(crate) entries: Entries,
}

/// A request for a chunk of this server's snapshot, for a follower.
///
/// Each chunk is requested once, and reading it may take any time. A caller that keeps the
/// [needed](crate::Raft::needs_snapshot) snapshots can always provide it. A request for a snapshot
/// that is no longer needed may be ignored.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SnapshotChunkRequest {
    /// The follower that receives the chunk.
    pub to: NodeId,
    /// The snapshot, which was [reported](crate::Raft::report_snapshot) or installed.
    pub snapshot: Snapshot,
    /// The position of the chunk in the snapshot, in bytes.
    pub offset: u64,
    /// The size of the chunk in bytes. It is greater than 0, and ends within the snapshot.
    pub bytes: usize,
}

/// A chunk of a snapshot of the leader. Only the chunk of an empty snapshot is empty.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SnapshotChunk {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The position of the chunk in the snapshot, in bytes. It follows the previous chunk.
    pub offset: u64,
    /// The bytes of the chunk.
    pub data: Bytes,
}

/// The order to install a snapshot of the leader, all of whose chunks have arrived.
///
/// The caller executes these steps:
///
/// 1. Apply the committed entries of earlier drains.
/// 2. Store the chunks of this drain.
/// 3. Verify the snapshot. If it is damaged, call
///    [`Raft::snapshot_damaged`](crate::Raft::snapshot_damaged). The leader sends it again.
/// 4. Make the snapshot and its [`Snapshot`] durable, and replace the state machine by it.
/// 5. Exchange this order for a token with [`installed`](Self::installed), and pass the token to
///    [`Raft::snapshot_installed`](crate::Raft::snapshot_installed).
#[must_use = "no entries are delivered until the snapshot is installed"]
#[derive(PartialEq, Eq, Hash, Debug)]
pub struct SnapshotInstall {
    pub(crate) token: SnapshotInstalled,
    pub(crate) snapshot: Snapshot,
}

/// The proof that a snapshot is durable and installed. Only [`SnapshotInstall::installed`] creates
/// it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "pass it to Raft::snapshot_installed"]
pub struct SnapshotInstalled {
    pub(crate) boot: u64,
    pub(crate) last: LogId,
    pub(crate) identity: u64,
}

/// A request for entries that have left memory, from the durable log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fetch {
    /// The receiver of the entries.
    pub purpose: FetchPurpose,
    /// The index of the first requested entry.
    pub from: LogIndex,
    /// The index of the last requested entry. The caller may provide fewer entries, but at least
    /// one.
    pub through: LogIndex,
    /// The limit for the size of the entries, in bytes. The caller provides at least one entry.
    pub bytes_max: usize,
}

/// The receiver of fetched entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FetchPurpose {
    /// A follower that lags.
    Follower(NodeId),
    /// The state machine, which lags after a restart.
    StateMachine,
}

impl Write {
    /// The term and vote to write, if they changed.
    #[must_use]
    pub fn hard_state(&self) -> Option<HardState> {
        self.hard_state
    }

    /// The last entry before the log, if that changed. A durable snapshot includes it.
    ///
    /// The caller removes the log up to this entry. If the log does not contain the entry, the
    /// caller removes the whole log. [`entries`](Self::entries) are written after that.
    #[must_use]
    pub fn log_start(&self) -> Option<LogId> {
        self.log_start
    }

    /// The entries to write, with consecutive indexes. They replace all entries of the log from the
    /// first of their indexes on, including those after the last of their indexes.
    #[must_use]
    pub fn entries(&self) -> &Entries {
        &self.token.entries
    }

    /// The last entry to write, if there is one.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.token.entries.last().map(|entry| entry.id)
    }

    /// Declares that this write, and all writes before it, survive a power failure.
    pub fn synced(self) -> Durable {
        self.token
    }
}

impl SnapshotInstall {
    /// The snapshot to install.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Declares that the snapshot survives a power failure and is the state of the state machine.
    pub fn installed(self) -> SnapshotInstalled {
        self.token
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write")
            .field("sequence", &self.token.sequence)
            .field("hard_state", &self.hard_state)
            .field("log_start", &self.log_start)
            .field("entries", &self.token.entries.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, boot, sequence, .. } = self;
        write!(f, "write {sequence} of boot {boot} of {server}")
    }
}

impl Effects {
    /// Returns true if the buffer contains no effect.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.write.is_none()
            && self.messages.is_empty()
            && self.committed.is_empty()
            && self.fetches.is_empty()
            && self.snapshot_chunk_requests.is_empty()
            && self.snapshot_chunks.is_empty()
            && self.install.is_none()
            && self.reads.is_empty()
            && self.events.is_empty()
    }
}
