//! What nodes say to each other, as bytes: protobuf, so that both sides of a version can grow.

use bytes::{Bytes, BytesMut};
use prost::{Message as _, Oneof};
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendResult, Entry, Heartbeat, HeartbeatResponse,
    InstallSnapshot, InstallSnapshotResponse, LogId, LogIndex, Message, PreVote, PreVoteResponse,
    ReadIndex, ReadIndexResponse, RequestVote, RequestVoteResponse, Snapshot, Term, TimeoutNow,
};

use crate::storage::codec::{Members, Parts};

/// A message that no version of this program sends, or a later one does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the message is malformed: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("the message is of a kind that this version does not know")]
    Unknown,
    #[error("the message has {0} bytes, more than the limit")]
    TooLong(usize),
}

/// Upper bound of one message. The largest is a batch of entries of the largest commands.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
    body: Option<Body>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Body {
    #[prost(message, tag = "1")]
    PreVote(AskVote),
    #[prost(message, tag = "2")]
    PreVoteResponse(AnswerVote),
    #[prost(message, tag = "3")]
    RequestVote(AskVote),
    #[prost(message, tag = "4")]
    RequestVoteResponse(AnswerVote),
    #[prost(message, tag = "5")]
    AppendEntries(Append),
    #[prost(message, tag = "6")]
    AppendEntriesResponse(AnswerAppend),
    #[prost(message, tag = "7")]
    Heartbeat(Beat),
    #[prost(message, tag = "8")]
    HeartbeatResponse(Beat),
    #[prost(message, tag = "9")]
    InstallSnapshot(Piece),
    #[prost(message, tag = "10")]
    InstallSnapshotResponse(AnswerPiece),
    #[prost(uint64, tag = "11")]
    TimeoutNow(u64),
    #[prost(message, tag = "12")]
    ReadIndex(AskIndex),
    #[prost(message, tag = "13")]
    ReadIndexResponse(AnswerIndex),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Position {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AskVote {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(message, required, tag = "2")]
    last_log: Position,
    #[prost(bool, tag = "3")]
    transfer: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerVote {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(bool, tag = "2")]
    granted: bool,
    #[prost(uint64, tag = "3")]
    campaign_term: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Append {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(message, required, tag = "2")]
    prev_log: Position,
    /// The entries follow each other from `prev_log` on, so they carry no index.
    #[prost(message, repeated, tag = "3")]
    entries: Vec<LogEntry>,
    #[prost(uint64, tag = "4")]
    leader_commit: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LogEntry {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(bytes = "bytes", optional, tag = "2")]
    command: Option<Bytes>,
    #[prost(message, optional, tag = "3")]
    members: Option<Members>,
    #[prost(bool, tag = "4")]
    withheld: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerAppend {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, optional, tag = "2")]
    match_index: Option<u64>,
    #[prost(message, optional, tag = "3")]
    refused: Option<Position>,
    #[prost(message, optional, tag = "4")]
    hint: Option<Position>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Beat {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    round: u64,
    #[prost(uint64, tag = "3")]
    commit_index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Piece {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(message, required, tag = "2")]
    last: Position,
    #[prost(message, required, tag = "3")]
    members: Members,
    #[prost(uint64, tag = "4")]
    identity: u64,
    #[prost(uint64, tag = "5")]
    size: u64,
    #[prost(uint64, tag = "6")]
    offset: u64,
    #[prost(bytes = "bytes", tag = "7")]
    data: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerPiece {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(message, required, tag = "2")]
    last: Position,
    #[prost(uint64, tag = "3")]
    identity: u64,
    #[prost(uint64, tag = "4")]
    received: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AskIndex {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    boot: u64,
    #[prost(uint64, tag = "3")]
    batch: u64,
    #[prost(bool, tag = "4")]
    lease: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerIndex {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    boot: u64,
    #[prost(uint64, tag = "3")]
    batch: u64,
    #[prost(uint64, tag = "4")]
    read_index: u64,
}

/// Appends a message to a buffer, with its length before it.
pub(crate) fn put(message: &Message, buffer: &mut BytesMut) {
    let envelope = Envelope { body: Some(to_body(message)) };
    envelope.encode_length_delimited(buffer).unwrap_or_else(|error| {
        unreachable!("a growing buffer has room: {error}");
    });
}

/// Reads a message from its bytes.
pub(crate) fn take(bytes: Bytes) -> Result<Message, WireError> {
    match Envelope::decode(bytes)?.body {
        Some(body) => from_body(body),
        None => Err(WireError::Unknown),
    }
}

fn to_body(message: &Message) -> Body {
    match message {
        Message::PreVote(m) => Body::PreVote(AskVote {
            term: m.campaign_term.0,
            last_log: m.last_log.into(),
            transfer: false,
        }),
        Message::PreVoteResponse(m) => Body::PreVoteResponse(AnswerVote {
            term: m.term.0,
            granted: m.granted,
            campaign_term: m.campaign_term.0,
        }),
        Message::RequestVote(m) => Body::RequestVote(AskVote {
            term: m.term.0,
            last_log: m.last_log.into(),
            transfer: m.transfer,
        }),
        Message::RequestVoteResponse(m) => Body::RequestVoteResponse(AnswerVote {
            term: m.term.0,
            granted: m.granted,
            campaign_term: 0,
        }),
        Message::AppendEntries(m) => Body::AppendEntries(Append {
            term: m.term.0,
            prev_log: m.prev_log.into(),
            entries: m.entries.iter().map(LogEntry::from).collect(),
            leader_commit: m.leader_commit.0,
        }),
        Message::AppendEntriesResponse(m) => {
            let (match_index, refused, hint) = match m.result {
                AppendResult::Accepted { match_index } => (Some(match_index.0), None, None),
                AppendResult::Rejected { prev_log, hint } => {
                    (None, Some(prev_log.into()), Some(hint.into()))
                }
            };
            Body::AppendEntriesResponse(AnswerAppend { term: m.term.0, match_index, refused, hint })
        }
        Message::Heartbeat(m) => {
            Body::Heartbeat(Beat { term: m.term.0, round: m.round, commit_index: m.commit_index.0 })
        }
        Message::HeartbeatResponse(m) => {
            Body::HeartbeatResponse(Beat { term: m.term.0, round: m.round, commit_index: 0 })
        }
        Message::InstallSnapshot(m) => Body::InstallSnapshot(Piece {
            term: m.term.0,
            last: m.snapshot.last.into(),
            members: (&m.snapshot.membership).into(),
            identity: m.snapshot.identity,
            size: m.snapshot.size,
            offset: m.offset,
            data: m.data.clone(),
        }),
        Message::InstallSnapshotResponse(m) => Body::InstallSnapshotResponse(AnswerPiece {
            term: m.term.0,
            last: m.last.into(),
            identity: m.identity,
            received: m.received,
        }),
        Message::TimeoutNow(m) => Body::TimeoutNow(m.term.0),
        Message::ReadIndex(m) => Body::ReadIndex(AskIndex {
            term: m.term.0,
            boot: m.boot,
            batch: m.batch,
            lease: m.lease,
        }),
        Message::ReadIndexResponse(m) => Body::ReadIndexResponse(AnswerIndex {
            term: m.term.0,
            boot: m.boot,
            batch: m.batch,
            read_index: m.read_index.0,
        }),
    }
}

fn from_body(body: Body) -> Result<Message, WireError> {
    Ok(match body {
        Body::PreVote(m) => {
            Message::PreVote(PreVote { campaign_term: Term(m.term), last_log: m.last_log.into() })
        }
        Body::PreVoteResponse(m) => Message::PreVoteResponse(PreVoteResponse {
            term: Term(m.term),
            campaign_term: Term(m.campaign_term),
            granted: m.granted,
        }),
        Body::RequestVote(m) => Message::RequestVote(RequestVote {
            term: Term(m.term),
            last_log: m.last_log.into(),
            transfer: m.transfer,
        }),
        Body::RequestVoteResponse(m) => Message::RequestVoteResponse(RequestVoteResponse {
            term: Term(m.term),
            granted: m.granted,
        }),
        Body::AppendEntries(m) => Message::AppendEntries(AppendEntries {
            term: Term(m.term),
            prev_log: m.prev_log.into(),
            entries: entries(m.prev_log, m.entries).into(),
            leader_commit: LogIndex(m.leader_commit),
        }),
        Body::AppendEntriesResponse(m) => {
            let result = match (m.match_index, m.refused, m.hint) {
                (Some(index), None, None) => {
                    AppendResult::Accepted { match_index: LogIndex(index) }
                }
                (None, Some(prev_log), Some(hint)) => {
                    AppendResult::Rejected { prev_log: prev_log.into(), hint: hint.into() }
                }
                _ => return Err(WireError::Unknown),
            };
            Message::AppendEntriesResponse(AppendEntriesResponse { term: Term(m.term), result })
        }
        Body::Heartbeat(m) => Message::Heartbeat(Heartbeat {
            term: Term(m.term),
            round: m.round,
            commit_index: LogIndex(m.commit_index),
        }),
        Body::HeartbeatResponse(m) => {
            Message::HeartbeatResponse(HeartbeatResponse { term: Term(m.term), round: m.round })
        }
        Body::InstallSnapshot(m) => Message::InstallSnapshot(Box::new(InstallSnapshot {
            term: Term(m.term),
            snapshot: Snapshot {
                last: m.last.into(),
                membership: m.members.into(),
                identity: m.identity,
                size: m.size,
            },
            offset: m.offset,
            data: m.data,
        })),
        Body::InstallSnapshotResponse(m) => {
            Message::InstallSnapshotResponse(InstallSnapshotResponse {
                term: Term(m.term),
                last: m.last.into(),
                identity: m.identity,
                received: m.received,
            })
        }
        Body::TimeoutNow(term) => Message::TimeoutNow(TimeoutNow { term: Term(term) }),
        Body::ReadIndex(m) => Message::ReadIndex(ReadIndex {
            term: Term(m.term),
            boot: m.boot,
            batch: m.batch,
            lease: m.lease,
        }),
        Body::ReadIndexResponse(m) => Message::ReadIndexResponse(ReadIndexResponse {
            term: Term(m.term),
            boot: m.boot,
            batch: m.batch,
            read_index: LogIndex(m.read_index),
        }),
    })
}

fn entries(prev_log: Position, entries: Vec<LogEntry>) -> Vec<Entry> {
    let mut index = LogIndex(prev_log.index);
    let place = |entry: LogEntry| {
        index = index.next();
        let parts =
            Parts { command: entry.command, members: entry.members, withheld: entry.withheld };
        Entry { id: LogId::new(Term(entry.term), index), payload: parts.into() }
    };
    entries.into_iter().map(place).collect()
}

impl From<LogId> for Position {
    fn from(id: LogId) -> Self {
        Self { term: id.term.0, index: id.index.0 }
    }
}

impl From<Position> for LogId {
    fn from(position: Position) -> Self {
        LogId::new(Term(position.term), LogIndex(position.index))
    }
}

impl From<&Entry> for LogEntry {
    fn from(entry: &Entry) -> Self {
        let parts = Parts::from(&entry.payload);
        Self {
            term: entry.id.term.0,
            command: parts.command,
            members: parts.members,
            withheld: parts.withheld,
        }
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Membership, NodeId};

    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(Term(term), LogIndex(index))
    }

    fn messages() -> Vec<Message> {
        let payloads = crate::storage::codec::examples();
        let entries =
            (6..).zip(payloads).map(|(index, payload)| Entry { id: id(3, index), payload });
        vec![
            Message::PreVote(PreVote { campaign_term: Term(3), last_log: id(2, 5) }),
            Message::PreVoteResponse(PreVoteResponse {
                term: Term(2),
                campaign_term: Term(3),
                granted: true,
            }),
            Message::RequestVote(RequestVote {
                term: Term(3),
                last_log: LogId::default(),
                transfer: true,
            }),
            Message::RequestVoteResponse(RequestVoteResponse { term: Term(3), granted: false }),
            Message::AppendEntries(AppendEntries {
                term: Term(3),
                prev_log: id(2, 5),
                entries: entries.collect(),
                leader_commit: LogIndex(4),
            }),
            Message::AppendEntriesResponse(AppendEntriesResponse {
                term: Term(3),
                result: AppendResult::Accepted { match_index: LogIndex(0) },
            }),
            Message::AppendEntriesResponse(AppendEntriesResponse {
                term: Term(3),
                result: AppendResult::Rejected { prev_log: id(2, 5), hint: LogId::default() },
            }),
            Message::Heartbeat(Heartbeat { term: Term(3), round: 9, commit_index: LogIndex(4) }),
            Message::HeartbeatResponse(HeartbeatResponse { term: Term(3), round: 9 }),
            Message::InstallSnapshot(Box::new(InstallSnapshot {
                term: Term(3),
                snapshot: Snapshot {
                    last: id(2, 5),
                    membership: Membership::new([NodeId(1)]).with_learners([NodeId(2)]),
                    identity: 7,
                    size: 99,
                },
                offset: 12,
                data: Bytes::from_static(b"piece"),
            })),
            Message::InstallSnapshotResponse(InstallSnapshotResponse {
                term: Term(3),
                last: id(2, 5),
                identity: 7,
                received: 17,
            }),
            Message::TimeoutNow(TimeoutNow { term: Term(3) }),
            Message::ReadIndex(ReadIndex { term: Term(3), boot: 8, batch: 9, lease: true }),
            Message::ReadIndexResponse(ReadIndexResponse {
                term: Term(3),
                boot: 8,
                batch: 9,
                read_index: LogIndex(4),
            }),
        ]
    }

    fn bytes_of(message: &Message) -> Bytes {
        let mut buffer = BytesMut::new();
        put(message, &mut buffer);
        let mut bytes = buffer.freeze();
        let length = prost::decode_length_delimiter(&mut bytes).unwrap();
        assert_eq!(length, bytes.len());
        bytes
    }

    #[test]
    fn messages_roundtrip() {
        for message in messages() {
            assert_eq!(take(bytes_of(&message)).unwrap(), message);
        }
    }

    #[test]
    fn corrupted_messages_do_not_panic() {
        for message in messages() {
            let bytes = bytes_of(&message);
            for length in 0..bytes.len() {
                let _ = take(bytes.slice(..length));
            }
            for position in 0..bytes.len() {
                for bit in 0..8 {
                    let mut changed = bytes.to_vec();
                    changed[position] ^= 1 << bit;
                    let _ = take(changed.into());
                }
            }
        }
        assert!(matches!(take(Bytes::new()), Err(WireError::Unknown)));
    }
}
