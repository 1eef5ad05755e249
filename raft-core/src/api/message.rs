//! The messages between servers: one variant per RPC, with the fields of Figure 2.

use alloc::boxed::Box;

use bytes::Bytes;

use crate::api::entries::Entries;
use crate::api::entry::Snapshot;
use crate::api::types::{LogId, LogIndex, Term};

/// A message between two servers.
///
/// Messages may be lost, duplicated and reordered. A transport that usually keeps their order
/// causes fewer retransmissions. It should carry [`AppendEntries`](Message::AppendEntries) in a
/// separate channel, so that votes, heartbeats and acknowledgements never wait behind entries.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// The request for a pre-vote, before a campaign (dissertation 9.6).
    PreVote(PreVote),
    /// The response to [`PreVote`](Message::PreVote).
    PreVoteResponse(PreVoteResponse),
    /// The request for a vote (§5.2).
    RequestVote(RequestVote),
    /// The response to [`RequestVote`](Message::RequestVote).
    RequestVoteResponse(RequestVoteResponse),
    /// Entries to append, or a probe without entries to find where two logs match (§5.3).
    AppendEntries(AppendEntries),
    /// The response to [`AppendEntries`](Message::AppendEntries).
    AppendEntriesResponse(AppendEntriesResponse),
    /// The heartbeat of a leader (§5.2). Unlike the empty AppendEntries of the paper, it checks no
    /// log position, so it can overtake entries and is never rejected for one.
    Heartbeat(Heartbeat),
    /// The response to [`Heartbeat`](Message::Heartbeat).
    HeartbeatResponse(HeartbeatResponse),
    /// A chunk of a snapshot, for a follower whose next entry is compacted (§7). Chunks should have
    /// a separate channel too.
    InstallSnapshot(Box<InstallSnapshot>),
    /// The response to [`InstallSnapshot`](Message::InstallSnapshot).
    InstallSnapshotResponse(InstallSnapshotResponse),
    /// The request of a leader to start a campaign at once (dissertation 3.10).
    TimeoutNow(TimeoutNow),
    /// The request of a follower for the index that its reads must include (dissertation 6.4).
    ReadIndex(ReadIndex),
    /// The response to [`ReadIndex`](Message::ReadIndex).
    ReadIndexResponse(ReadIndexResponse),
}

/// The fields of [`Message::PreVote`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PreVote {
    /// The term of the planned campaign. The receiver does not adopt it.
    pub campaign_term: Term,
    /// The last entry of the sender's log.
    pub last_log: LogId,
}

/// The fields of [`Message::PreVoteResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PreVoteResponse {
    /// The current term of the responding server.
    pub term: Term,
    /// The value of the request.
    pub campaign_term: Term,
    /// The responding server would grant its vote.
    pub granted: bool,
}

/// The fields of [`Message::RequestVote`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RequestVote {
    /// The candidate's term.
    pub term: Term,
    /// The last entry of the candidate's log.
    pub last_log: LogId,
    /// The leader has requested this campaign, so recent contact to the leader is not a reason to
    /// reject it (dissertation 4.2.3).
    pub transfer: bool,
}

/// The fields of [`Message::RequestVoteResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RequestVoteResponse {
    /// The voter's current term. A vote counts only in this term.
    pub term: Term,
    /// The voter has granted its vote.
    pub granted: bool,
}

/// The fields of [`Message::AppendEntries`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AppendEntries {
    /// The leader's term.
    pub term: Term,
    /// The entry before `entries`.
    pub prev_log: LogId,
    /// The entries, with consecutive indexes. Messages to other followers, and the leader's write,
    /// share them.
    pub entries: Entries,
    /// The leader's commit index.
    pub leader_commit: LogIndex,
}

/// The fields of [`Message::AppendEntriesResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AppendEntriesResponse {
    /// The follower's current term.
    pub term: Term,
    /// The result of the request.
    pub result: AppendResult,
}

/// The result of an [`AppendEntries`] request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AppendResult {
    /// The follower's durable log matches the leader's log up to `match_index`.
    Accepted {
        /// The last index that is known to match.
        match_index: LogIndex,
    },
    /// The follower's log does not contain the previous entry of the request.
    Rejected {
        /// The previous entry of the request, by which a stale rejection is recognized.
        prev_log: LogId,
        /// The last entry of the follower that can match the leader's log. Entries with a larger
        /// index or a later term cannot match.
        hint: LogId,
    },
}

/// The fields of [`Message::Heartbeat`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Heartbeat {
    /// The leader's term.
    pub term: Term,
    /// The number of the heartbeat round, which increases within a leadership. A read is confirmed
    /// by a round that started after the read arrived (dissertation 6.4).
    pub round: u64,
    /// The smaller of the leader's commit index and the follower's match index.
    pub commit_index: LogIndex,
}

/// The fields of [`Message::HeartbeatResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HeartbeatResponse {
    /// The follower's current term.
    pub term: Term,
    /// The round of the request.
    pub round: u64,
}

/// The fields of [`Message::InstallSnapshot`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InstallSnapshot {
    /// The leader's term.
    pub term: Term,
    /// The description of the snapshot. Every chunk contains it, so chunks of two snapshots never
    /// mix.
    pub snapshot: Snapshot,
    /// The position of `data` in the snapshot, in bytes.
    pub offset: u64,
    /// The bytes of the chunk. An empty chunk only requests the number of received bytes.
    pub data: Bytes,
}

/// The fields of [`Message::InstallSnapshotResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InstallSnapshotResponse {
    /// The follower's current term.
    pub term: Term,
    /// The last entry of the snapshot in the request.
    pub last: LogId,
    /// The identity of the snapshot in the request.
    pub identity: u64,
    /// The number of bytes that the follower has received. The next chunk starts there. When the
    /// snapshot is durable, the follower acknowledges its entries separately.
    pub received: u64,
}

/// The fields of [`Message::TimeoutNow`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TimeoutNow {
    /// The leader's term.
    pub term: Term,
}

/// The fields of [`Message::ReadIndex`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReadIndex {
    /// The sender's term.
    pub term: Term,
    /// The boot number of the sender, by which a response to a request from before a restart is
    /// recognized.
    pub boot: u64,
    /// The number of the request, which increases between two starts. The response serves all reads
    /// that arrived before the request.
    pub batch: u64,
    /// The leader may confirm the reads by its lease.
    pub lease: bool,
}

/// The fields of [`Message::ReadIndexResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReadIndexResponse {
    /// The leader's term.
    pub term: Term,
    /// The boot number of the request.
    pub boot: u64,
    /// The number of the request.
    pub batch: u64,
    /// The index that the reads must include.
    pub read_index: LogIndex,
}
