//! What the core asks of its caller.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::api::entries::Entries;
use crate::api::entry::{HardState, Snapshot};
use crate::api::event::Event;
use crate::api::message::Message;
use crate::api::types::{LogId, LogIndex, NodeId};

/// A buffer that [`Raft::drain`](crate::Raft::drain) fills and the caller empties.
///
/// The fields are independent of each other, with one exception. Messages may leave before, after
/// and while the write happens, because a message that promises something about a write is not in
/// here before that write is durable. What is answered is answered by an input, and its effects
/// come with the next drain.
///
/// The exception is [`install`](Self::install). It comes after the entries of
/// [`committed`](Self::committed) of all earlier drains, and after
/// [`snapshot_chunks`](Self::snapshot_chunks) of all drains, this one included.
///
/// A driver should take it apart by name, without `..`, as that of the
/// [guide](crate::guide::driver) does: then an effect that it has forgotten is an error of the
/// compiler. For that, and unlike other structs here, this one is not `#[non_exhaustive]`: a new
/// effect is a breaking change, because somebody has to carry it out.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Effects {
    /// What must reach the disk. Owed: that it is stored after all earlier writes, and its token
    /// once it is synced ([`Raft::persisted`](crate::Raft::persisted)). Take it before the next
    /// drain, which panics otherwise. If it gets lost, what it promises is held back for ever.
    pub write: Option<Write>,
    /// Messages to send. Owed: an honest try. Losing one is allowed, as on any network; it costs a
    /// heartbeat interval or two. Those to one server should usually keep their order.
    pub messages: Vec<Outbound>,
    /// Committed and locally durable entries, in log order, each handed out once per boot. Owed:
    /// that the state machine applies all [commands](crate::Payload::Command) in them, one piece
    /// after the other, and skips the rest. They may be applied later, and a crash may forget that
    /// they were: then they come again.
    pub committed: Vec<Entries>,
    /// Entries wanted back from the durable log. Owed: at least the first of them
    /// ([`Raft::fetched`](crate::Raft::fetched)).
    pub fetches: Vec<Fetch>,
    /// Pieces wanted of this server's own snapshots. Owed: the bytes
    /// ([`Raft::provide_snapshot_chunk`](crate::Raft::provide_snapshot_chunk)), unless the snapshot
    /// is not [needed](crate::Raft::needs_snapshot) any more.
    pub snapshot_chunk_requests: Vec<SnapshotChunkRequest>,
    /// Pieces of a snapshot that comes from the leader. Owed: that they are kept together, in
    /// order, apart from the state machine, until [`install`](Self::install). A piece at offset 0
    /// begins again, also an empty one, and a restart forgets them.
    pub snapshot_chunks: Vec<SnapshotChunk>,
    /// All pieces have arrived; the last of them can be in this very drain. Owed, after the
    /// committed entries of earlier drains and after the pieces: the snapshot in the place of the
    /// state machine, durably, and the token
    /// ([`Raft::snapshot_installed`](crate::Raft::snapshot_installed)), or that it is
    /// [damaged](crate::Raft::snapshot_damaged). Until then nothing more is handed out to be
    /// applied. Take it before the next drain, which panics otherwise.
    pub install: Option<SnapshotInstall>,
    /// What became of reads. Owed: an answer to whoever asked, once the index is applied.
    pub reads: Vec<ReadOutcome>,
    /// Decisions, in the order in which they were taken, if
    /// [`Config::record_events`](crate::Config::record_events) is set. Nothing is owed; empty it.
    pub events: Vec<Event>,
}

/// A message and where it goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Outbound {
    /// The receiver.
    pub to: NodeId,
    /// What it is told.
    pub message: Message,
}

/// Something that must be made durable, as a whole and after all earlier writes.
///
/// Write [`hard_state`](Self::hard_state) and [`entries`](Self::entries), sync, and only then turn
/// the write into [`Durable`] with [`synced`](Self::synced) and hand that to
/// [`Raft::persisted`](crate::Raft::persisted). Nothing that promises this write to others leaves
/// the core before. A write that is dropped holds back its promises for ever.
///
/// The write has to be given up to get the token, so a caller that still has something to write
/// cannot report it as written:
///
/// ```compile_fail,E0382
/// fn too_early(write: raft_core::Write, raft: &mut raft_core::Raft, now: raft_core::Instant) {
///     raft.persisted(write.synced(), now);
///     println!("{} entries to write", write.entries().len());
/// }
/// ```
///
/// Nor can a token be made from nothing, from a write that is only borrowed, or twice:
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
/// A token that is not handed back is a warning:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn forgotten(write: raft_core::Write) {
///     write.synced();
/// }
/// ```
#[must_use = "a write that is not made durable holds back votes and acknowledgements for ever"]
#[derive(PartialEq, Eq, Hash)]
pub struct Write {
    pub(crate) token: Durable,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) log_start: Option<LogId>,
}

/// Says that a [`Write`] is durable. Only [`Write::synced`] makes one. What was written stays in
/// memory with it.
#[derive(Clone, PartialEq, Eq, Hash)]
#[must_use = "hand it to Raft::persisted"]
pub struct Durable {
    pub(crate) server: NodeId,
    pub(crate) boot: u64,
    pub(crate) sequence: u64,
    /// What was written comes back: the state machine is mostly what it goes to next.
    pub(crate) entries: Entries,
}

/// Asks for a piece of a snapshot of this server, for a follower. It is asked for once, however
/// long it takes. A caller that keeps the snapshots that are
/// [needed](crate::Raft::needs_snapshot) can always answer; when the snapshot is not needed any
/// more, no answer is needed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SnapshotChunkRequest {
    /// Who gets it.
    pub to: NodeId,
    /// Which snapshot: one that was named to
    /// [`Raft::report_snapshot`](crate::Raft::report_snapshot) or was installed.
    pub snapshot: Snapshot,
    /// Where the piece begins.
    pub offset: u64,
    /// Its size, which is more than zero and reaches no further than the snapshot.
    pub bytes: usize,
}

/// A piece of a snapshot that comes from the leader. Only that of an empty snapshot is empty.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SnapshotChunk {
    /// Which snapshot.
    pub snapshot: Snapshot,
    /// Where the piece begins. It follows the one before.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
}

/// A snapshot of the leader has arrived whole.
///
/// First apply the committed entries that came with earlier drains, and store the pieces that came
/// with this drain and earlier ones. Then check the snapshot, make it and its [`Snapshot`] durable,
/// put it in the place of the state machine, and only then turn this into [`SnapshotInstalled`]
/// with [`done`](Self::installed) and hand that to
/// [`Raft::snapshot_installed`](crate::Raft::snapshot_installed). If the snapshot turns out to be
/// damaged, call [`Raft::snapshot_damaged`](crate::Raft::snapshot_damaged): it is sent again.
#[must_use = "until a snapshot is installed, nothing is committed"]
#[derive(PartialEq, Eq, Hash, Debug)]
pub struct SnapshotInstall {
    pub(crate) token: SnapshotInstalled,
    pub(crate) snapshot: Snapshot,
}

/// Says that a snapshot is durable, and the state machine is what it says. Only
/// [`SnapshotInstall::installed`] makes one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "hand it to Raft::snapshot_installed"]
pub struct SnapshotInstalled {
    pub(crate) boot: u64,
    pub(crate) last: LogId,
    pub(crate) identity: u64,
}

/// Asks for entries that left the core's memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fetch {
    /// What they are for. Give it back with the entries.
    pub purpose: FetchPurpose,
    /// The first entry that is wanted.
    pub from: LogIndex,
    /// The last entry that is wanted; fewer are welcome, none is not.
    pub through: LogIndex,
    /// Stop before the entries exceed this many bytes, but send at least one.
    pub bytes_max: usize,
}

/// What fetched entries are for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FetchPurpose {
    /// A follower that is far behind.
    Follower(NodeId),
    /// The state machine, which is behind the log after a restart.
    StateMachine,
}

/// Names a read that was asked of [`Raft::read`](crate::Raft::read); never reused within a boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReadId(pub u64);

/// What became of a read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReadOutcome {
    /// The state machine may answer as soon as it has applied this index (dissertation 6.4).
    Ready {
        /// Which read.
        id: ReadId,
        /// The commit index that the read must see.
        read_index: LogIndex,
    },
    /// The server lost its leadership, or its leader, before the read was confirmed. Ask again, at
    /// the new leader.
    Aborted {
        /// Which read.
        id: ReadId,
    },
}

impl Write {
    /// The term and vote to store, if they changed.
    #[must_use]
    pub fn hard_state(&self) -> Option<HardState> {
        self.hard_state
    }

    /// Where the log begins, if that changed. A durable snapshot includes everything up to this
    /// entry: remove what the log has up to here; and if the log does not hold this very entry,
    /// remove the rest too. Only then come [`entries`](Self::entries).
    #[must_use]
    pub fn log_start(&self) -> Option<LogId> {
        self.log_start
    }

    /// The entries to store, without gaps. They replace whatever the log holds from the position
    /// of the first of them on; nothing of the old log may stay behind the last of them.
    #[must_use]
    pub fn entries(&self) -> &Entries {
        &self.token.entries
    }

    /// The last entry to store.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.token.entries.last().map(|entry| entry.id)
    }

    /// Says that everything in this write, and in all writes before it, survives a loss of power.
    pub fn synced(self) -> Durable {
        self.token
    }
}

impl SnapshotInstall {
    /// Which snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Says that the snapshot survives a loss of power, and that the state machine is what it says.
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
    /// Whether there is nothing to do.
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
