//! The encoding of the messages between nodes: conversions to and from `proto/peer.proto`, and the
//! frames of a stream.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendResult, Entry, Heartbeat, HeartbeatResponse,
    InstallSnapshot, InstallSnapshotResponse, LogId, LogIndex, Membership, Message, NodeId,
    Payload, PreVote, PreVoteResponse, ReadIndex, ReadIndexResponse, RequestVote,
    RequestVoteResponse, Snapshot, Term, TimeoutNow,
};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use crate::peer::proto;
use crate::peer::proto::append_entries_response::Result as Append;
use crate::peer::proto::entry::Payload as EntryPayload;
use crate::peer::proto::peer_message::Message as Body;

/// The reason for which a message of a peer cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum WireError {
    #[error("invalid message: {0}; update the older of the two nodes")]
    Malformed(#[from] prost::DecodeError),
    #[error("invalid message: missing {0}; update the older of the two nodes")]
    Missing(&'static str),
    #[error("cannot read the stream of the peer: {0}")]
    Stream(#[from] std::io::Error),
}

/// The largest message in bytes. It exceeds a batch of entries with the largest commands.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The codec of a stream: each frame is a message after its length in four bytes.
pub(crate) struct MessageCodec(LengthDelimitedCodec);

impl Default for MessageCodec {
    fn default() -> Self {
        let mut frames = LengthDelimitedCodec::builder();
        Self(frames.max_frame_length(MESSAGE_BYTES_MAX).new_codec())
    }
}

impl Decoder for MessageCodec {
    type Item = Message;
    type Error = WireError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Message>, WireError> {
        self.0.decode(buffer)?.map(|frame| decode(frame.freeze())).transpose()
    }
}

impl Encoder<&Message> for MessageCodec {
    type Error = WireError;

    fn encode(&mut self, message: &Message, buffer: &mut BytesMut) -> Result<(), WireError> {
        let message = proto::PeerMessage { message: Some(message.into()) };
        let length = message.encoded_len();
        let length_u32 = u32::try_from(length).map_err(std::io::Error::other)?;
        buffer.reserve(size_of::<u32>() + length);
        buffer.put_u32(length_u32);
        message.encode_raw(buffer);
        Ok(())
    }
}

/// Decodes a message. Commands and snapshot chunks share the memory of `bytes`.
fn decode(bytes: Bytes) -> Result<Message, WireError> {
    proto::PeerMessage::decode(bytes)?.message.ok_or(WireError::Missing("message"))?.try_into()
}

impl From<&Message> for Body {
    fn from(message: &Message) -> Self {
        match message {
            Message::PreVote(m) => Self::PreVote(proto::PreVote {
                campaign_term: m.campaign_term.0,
                last_log: Some(m.last_log.into()),
            }),
            Message::PreVoteResponse(m) => Self::PreVoteResponse(proto::PreVoteResponse {
                term: m.term.0,
                granted: m.granted,
                campaign_term: m.campaign_term.0,
            }),
            Message::RequestVote(m) => Self::RequestVote(proto::RequestVote {
                term: m.term.0,
                last_log: Some(m.last_log.into()),
                transfer: m.transfer,
            }),
            Message::RequestVoteResponse(m) => {
                Self::RequestVoteResponse(proto::RequestVoteResponse {
                    term: m.term.0,
                    granted: m.granted,
                })
            }
            Message::AppendEntries(m) => Self::AppendEntries(proto::AppendEntries {
                term: m.term.0,
                prev_log: Some(m.prev_log.into()),
                entries: m.entries.iter().map(proto::Entry::from).collect(),
                leader_commit: m.leader_commit.0,
            }),
            Message::AppendEntriesResponse(m) => {
                Self::AppendEntriesResponse(proto::AppendEntriesResponse {
                    term: m.term.0,
                    result: Some(m.result.into()),
                })
            }
            Message::Heartbeat(m) => Self::Heartbeat(proto::Heartbeat {
                term: m.term.0,
                round: m.round,
                commit_index: m.commit_index.0,
            }),
            Message::HeartbeatResponse(m) => {
                Self::HeartbeatResponse(proto::HeartbeatResponse { term: m.term.0, round: m.round })
            }
            Message::InstallSnapshot(m) => Self::InstallSnapshot(proto::InstallSnapshot {
                term: m.term.0,
                last: Some(m.snapshot.last.into()),
                membership: Some((&m.snapshot.membership).into()),
                identity: m.snapshot.identity,
                size: m.snapshot.size,
                offset: m.offset,
                data: m.data.clone(),
            }),
            Message::InstallSnapshotResponse(m) => {
                Self::InstallSnapshotResponse(proto::InstallSnapshotResponse {
                    term: m.term.0,
                    last: Some(m.last.into()),
                    identity: m.identity,
                    received: m.received,
                })
            }
            Message::TimeoutNow(m) => Self::TimeoutNow(proto::TimeoutNow { term: m.term.0 }),
            Message::ReadIndex(m) => Self::ReadIndex(proto::ReadIndex {
                term: m.term.0,
                boot: m.boot,
                batch: m.batch,
                lease: m.lease,
            }),
            Message::ReadIndexResponse(m) => Self::ReadIndexResponse(proto::ReadIndexResponse {
                term: m.term.0,
                boot: m.boot,
                batch: m.batch,
                read_index: m.read_index.0,
            }),
        }
    }
}

impl TryFrom<Body> for Message {
    type Error = WireError;

    fn try_from(body: Body) -> Result<Self, WireError> {
        Ok(match body {
            Body::PreVote(m) => Self::PreVote(PreVote {
                campaign_term: Term(m.campaign_term),
                last_log: log_id(m.last_log, "last_log")?,
            }),
            Body::PreVoteResponse(m) => Self::PreVoteResponse(PreVoteResponse {
                term: Term(m.term),
                campaign_term: Term(m.campaign_term),
                granted: m.granted,
            }),
            Body::RequestVote(m) => Self::RequestVote(RequestVote {
                term: Term(m.term),
                last_log: log_id(m.last_log, "last_log")?,
                transfer: m.transfer,
            }),
            Body::RequestVoteResponse(m) => Self::RequestVoteResponse(RequestVoteResponse {
                term: Term(m.term),
                granted: m.granted,
            }),
            Body::AppendEntries(m) => {
                let prev_log = log_id(m.prev_log, "prev_log")?;
                Self::AppendEntries(AppendEntries {
                    term: Term(m.term),
                    prev_log,
                    entries: entries(prev_log.index, m.entries).collect(),
                    leader_commit: LogIndex(m.leader_commit),
                })
            }
            Body::AppendEntriesResponse(m) => Self::AppendEntriesResponse(AppendEntriesResponse {
                term: Term(m.term),
                result: m.result.ok_or(WireError::Missing("result"))?.try_into()?,
            }),
            Body::Heartbeat(m) => Self::Heartbeat(Heartbeat {
                term: Term(m.term),
                round: m.round,
                commit_index: LogIndex(m.commit_index),
            }),
            Body::HeartbeatResponse(m) => {
                Self::HeartbeatResponse(HeartbeatResponse { term: Term(m.term), round: m.round })
            }
            Body::InstallSnapshot(m) => Self::InstallSnapshot(Box::new(InstallSnapshot {
                term: Term(m.term),
                snapshot: Snapshot {
                    last: log_id(m.last, "last")?,
                    membership: m.membership.ok_or(WireError::Missing("membership"))?.into(),
                    identity: m.identity,
                    size: m.size,
                },
                offset: m.offset,
                data: m.data,
            })),
            Body::InstallSnapshotResponse(m) => {
                Self::InstallSnapshotResponse(InstallSnapshotResponse {
                    term: Term(m.term),
                    last: log_id(m.last, "last")?,
                    identity: m.identity,
                    received: m.received,
                })
            }
            Body::TimeoutNow(m) => Self::TimeoutNow(TimeoutNow { term: Term(m.term) }),
            Body::ReadIndex(m) => Self::ReadIndex(ReadIndex {
                term: Term(m.term),
                boot: m.boot,
                batch: m.batch,
                lease: m.lease,
            }),
            Body::ReadIndexResponse(m) => Self::ReadIndexResponse(ReadIndexResponse {
                term: Term(m.term),
                boot: m.boot,
                batch: m.batch,
                read_index: LogIndex(m.read_index),
            }),
        })
    }
}

impl From<LogId> for proto::LogId {
    fn from(id: LogId) -> Self {
        Self { term: id.term.0, index: id.index.0 }
    }
}

fn log_id(id: Option<proto::LogId>, field: &'static str) -> Result<LogId, WireError> {
    let id = id.ok_or(WireError::Missing(field))?;
    Ok(LogId::new(Term(id.term), LogIndex(id.index)))
}

impl From<AppendResult> for Append {
    fn from(result: AppendResult) -> Self {
        match result {
            AppendResult::Accepted { match_index } => Self::MatchIndex(match_index.0),
            AppendResult::Rejected { prev_log, hint } => Self::Rejection(proto::AppendRejection {
                prev_log: Some(prev_log.into()),
                hint: Some(hint.into()),
            }),
        }
    }
}

impl TryFrom<Append> for AppendResult {
    type Error = WireError;

    fn try_from(result: Append) -> Result<Self, WireError> {
        Ok(match result {
            Append::MatchIndex(index) => Self::Accepted { match_index: LogIndex(index) },
            Append::Rejection(rejection) => Self::Rejected {
                prev_log: log_id(rejection.prev_log, "prev_log")?,
                hint: log_id(rejection.hint, "hint")?,
            },
        })
    }
}

impl From<&Entry> for proto::Entry {
    fn from(entry: &Entry) -> Self {
        let payload = match &entry.payload {
            Payload::Noop => None,
            Payload::Command(command) => Some(EntryPayload::Command(command.clone())),
            Payload::Membership(membership) => {
                Some(EntryPayload::Membership((&**membership).into()))
            }
            Payload::Stripped => Some(EntryPayload::Stripped(true)),
        };
        Self { term: entry.id.term.0, payload }
    }
}

/// The entries of a message whose previous entry has the index `prev`.
fn entries(prev: LogIndex, entries: Vec<proto::Entry>) -> impl Iterator<Item = Entry> {
    let mut index = prev;
    entries.into_iter().map(move |entry| {
        index = index.next();
        let payload = match entry.payload {
            None => Payload::Noop,
            Some(EntryPayload::Command(command)) => Payload::Command(command),
            Some(EntryPayload::Membership(membership)) => {
                Payload::Membership(Box::new(membership.into()))
            }
            Some(EntryPayload::Stripped(_)) => Payload::Stripped,
        };
        Entry { id: LogId::new(Term(entry.term), index), payload }
    })
}

impl From<&Membership> for proto::Membership {
    fn from(membership: &Membership) -> Self {
        let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        Self {
            voters: ids(membership.voters()),
            outgoing: ids(membership.outgoing()),
            learners: ids(membership.learners()),
            auto_promoted: ids(membership.auto_promoted()),
            witnesses: ids(membership.witnesses()),
        }
    }
}

impl From<proto::Membership> for Membership {
    fn from(membership: proto::Membership) -> Self {
        let nodes = |ids: Vec<u64>| ids.into_iter().map(NodeId);
        Membership::new(nodes(membership.voters))
            .with_outgoing(nodes(membership.outgoing))
            .with_learners(nodes(membership.learners))
            .with_auto_promoted(nodes(membership.auto_promoted))
            .with_witnesses(nodes(membership.witnesses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(Term(term), LogIndex(index))
    }

    fn messages() -> Vec<Message> {
        let nodes = |ids: [u64; 2]| ids.map(NodeId);
        let membership = Membership::new(nodes([1, 2]))
            .with_outgoing(nodes([2, 3]))
            .with_learners(nodes([4, 5]))
            .with_auto_promoted(nodes([5, 6]))
            .with_witnesses(nodes([1, 3]));
        let payloads = [
            Payload::Noop,
            Payload::Command(Bytes::from_static(b"command")),
            Payload::Command(Bytes::new()),
            Payload::Membership(Box::new(membership)),
            Payload::Stripped,
        ];
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
                data: Bytes::from_static(b"chunk"),
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

    fn encode(message: &Message) -> BytesMut {
        let mut buffer = BytesMut::new();
        MessageCodec::default().encode(message, &mut buffer).unwrap();
        buffer
    }

    #[test]
    fn messages_roundtrip() {
        for message in messages() {
            let mut frame = encode(&message);
            assert_eq!(MessageCodec::default().decode(&mut frame).unwrap(), Some(message));
            assert!(frame.is_empty());
        }
    }

    #[test]
    fn corrupted_messages_do_not_panic() {
        for message in messages() {
            let bytes = encode(&message).split_off(4).freeze();
            for length in 0..bytes.len() {
                let _ = decode(bytes.slice(..length));
            }
            for position in 0..bytes.len() {
                for bit in 0..8 {
                    let mut changed = bytes.to_vec();
                    changed[position] ^= 1 << bit;
                    let _ = decode(changed.into());
                }
            }
        }
        assert!(matches!(decode(Bytes::new()), Err(WireError::Missing("message"))));
    }

    #[test]
    fn frames_are_split_independent_of_chunking() {
        let messages = messages();
        let bytes = messages.iter().map(encode).collect::<Vec<_>>().concat();
        for size in 1..bytes.len() {
            let (mut codec, mut buffer) = (MessageCodec::default(), BytesMut::new());
            let mut found = Vec::new();
            for chunk in bytes.chunks(size) {
                buffer.extend_from_slice(chunk);
                while let Some(message) = codec.decode(&mut buffer).unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, messages);
        }
    }

    #[test]
    fn oversized_frame_length_is_rejected() {
        let mut buffer = BytesMut::from(&[0xff; 4][..]);
        let error = MessageCodec::default().decode(&mut buffer).unwrap_err();
        assert!(matches!(error, WireError::Stream(_)), "{error}");
    }
}
