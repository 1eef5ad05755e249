//! What servers say to each other: one variant per RPC, with the fields of Figure 2.

use alloc::boxed::Box;

use bytes::Bytes;

use crate::api::entries::Entries;
use crate::api::entry::Snapshot;
use crate::api::types::{LogId, LogIndex, Term};

/// A message between two servers.
///
/// Messages may be lost, repeated and reordered. A transport that usually keeps order spares
/// retransmissions; it should carry [`AppendEntries`](Message::AppendEntries) apart from the rest,
/// so that votes, heartbeats and acknowledgements never wait behind entries.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// Would you vote for me? Asked before a term is spent (dissertation 9.6).
    PreVote(PreVote),
    /// The answer to [`PreVote`](Message::PreVote).
    PreVoteResponse(PreVoteResponse),
    /// Vote for me (§5.2).
    RequestVote(RequestVote),
    /// The answer to [`RequestVote`](Message::RequestVote).
    RequestVoteResponse(RequestVoteResponse),
    /// Entries to append, or none to find out where two logs agree (§5.3).
    AppendEntries(AppendEntries),
    /// The answer to [`AppendEntries`](Message::AppendEntries).
    AppendEntriesResponse(AppendEntriesResponse),
    /// I still lead (§5.2). Unlike the paper's empty AppendEntries it checks no log position, so
    /// that it can overtake entries without being refused.
    Heartbeat(Heartbeat),
    /// The answer to [`Heartbeat`](Message::Heartbeat).
    HeartbeatResponse(HeartbeatResponse),
    /// A piece of a snapshot, for a follower whose next entry is in no log any more (§7). It should
    /// have a channel of its own too.
    InstallSnapshot(Box<InstallSnapshot>),
    /// The answer to [`InstallSnapshot`](Message::InstallSnapshot).
    InstallSnapshotResponse(InstallSnapshotResponse),
    /// Stand for election at once: the leader wants to hand over (dissertation 3.10).
    TimeoutNow(TimeoutNow),
    /// How far must a read see that I have? (dissertation 6.4)
    ReadIndex(ReadIndex),
    /// The answer to [`ReadIndex`](Message::ReadIndex).
    ReadIndexResponse(ReadIndexResponse),
}

/// See [`Message::PreVote`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PreVote {
    /// The term in which the sender would stand; the receiver does not adopt it.
    pub campaign_term: Term,
    /// The last entry of the sender's log.
    pub last_log: LogId,
}

/// See [`Message::PreVoteResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PreVoteResponse {
    /// The responder's current term.
    pub term: Term,
    /// Repeated from the request, so that a late answer is told from a current one.
    pub campaign_term: Term,
    /// Whether the responder would vote for the sender.
    pub granted: bool,
}

/// See [`Message::RequestVote`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RequestVote {
    /// The candidate's term.
    pub term: Term,
    /// The last entry of the candidate's log.
    pub last_log: LogId,
    /// Whether the leader asked for this election, so that hearing the leader is no reason to
    /// refuse (dissertation 4.2.3).
    pub transfer: bool,
}

/// See [`Message::RequestVoteResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RequestVoteResponse {
    /// The voter's current term. A vote counts in this term only.
    pub term: Term,
    /// Whether the candidate got the vote.
    pub granted: bool,
}

/// See [`Message::AppendEntries`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AppendEntries {
    /// The leader's term.
    pub term: Term,
    /// The entry right before `entries`.
    pub prev_log: LogId,
    /// The entries, in log order and without gaps. They are shared: with the messages to other
    /// followers, and with the write that makes them durable.
    pub entries: Entries,
    /// The leader's commit index.
    pub leader_commit: LogIndex,
}

/// See [`Message::AppendEntriesResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AppendEntriesResponse {
    /// The follower's current term.
    pub term: Term,
    /// What became of the request.
    pub result: AppendResult,
}

/// What became of an [`AppendEntries`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AppendResult {
    /// The follower's log equals the leader's up to here, and is durable up to here.
    Accepted {
        /// The last position that is known to be equal.
        match_index: LogIndex,
    },
    /// The follower does not hold the entry that the request builds on.
    Rejected {
        /// That entry, repeated from the request, so that a late refusal is recognized.
        prev_log: LogId,
        /// The follower's last entry that can still be part of the leader's log: no entry of a
        /// later position or a later term matches.
        hint: LogId,
    },
}

/// See [`Message::Heartbeat`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Heartbeat {
    /// The leader's term.
    pub term: Term,
    /// Grows with every round of heartbeats of one leader; a read is confirmed by a round that
    /// began after it arrived (dissertation 6.4).
    pub round: u64,
    /// The leader's commit index, or the receiver's match index if that is smaller.
    pub commit_index: LogIndex,
}

/// See [`Message::HeartbeatResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HeartbeatResponse {
    /// The follower's current term.
    pub term: Term,
    /// Repeated from the request.
    pub round: u64,
}

/// See [`Message::InstallSnapshot`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InstallSnapshot {
    /// The leader's term.
    pub term: Term,
    /// Which snapshot, in every piece, so that pieces of two never mix.
    pub snapshot: Snapshot,
    /// Where `data` begins.
    pub offset: u64,
    /// A piece. An empty one only asks how much has arrived.
    pub data: Bytes,
}

/// See [`Message::InstallSnapshotResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InstallSnapshotResponse {
    /// The follower's current term.
    pub term: Term,
    /// The last entry of the snapshot, repeated from the request.
    pub last: LogId,
    /// Its identity, repeated from the request.
    pub identity: u64,
    /// How many bytes of it the follower has: the next piece begins there. That it has all says
    /// nothing about disks; the follower acknowledges the entries when the snapshot is durable.
    pub received: u64,
}

/// See [`Message::TimeoutNow`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TimeoutNow {
    /// The leader's term.
    pub term: Term,
}

/// See [`Message::ReadIndex`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReadIndex {
    /// The sender's term.
    pub term: Term,
    /// Tells the answer to this question from one to an earlier life of the sender.
    pub boot: u64,
    /// Grows with every question of one life; the answer serves all reads that arrived before.
    pub batch: u64,
    /// Whether the leader's lease is enough.
    pub lease: bool,
}

/// See [`Message::ReadIndexResponse`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReadIndexResponse {
    /// The leader's term.
    pub term: Term,
    /// Repeated from the request.
    pub boot: u64,
    /// Repeated from the request.
    pub batch: u64,
    /// What the reads must see.
    pub read_index: LogIndex,
}
