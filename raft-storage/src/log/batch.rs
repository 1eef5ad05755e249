//! Batches: what one sync makes durable.

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use raft_core::{Entry, HardState, LogId, LogIndex, Membership, NodeId, Payload, Term};

/// The contents of one or more writes. Entries that a later write replaced are not included.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Batch {
    /// The position in the sequence of all batches of the log.
    pub(crate) number: u64,
    pub(crate) hard_state: Option<HardState>,
    /// The start of the log, if it changed. This change comes before the entries.
    pub(crate) log_start: Option<LogStart>,
    /// Entries without gaps. They replace the log from the first of them on.
    pub(crate) entries: Vec<Entry>,
}

/// A new start of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogStart {
    /// The last entry that is not in the log any more.
    pub(crate) id: LogId,
    /// Whether the log did not contain this entry, so that its other entries are discarded, too.
    pub(crate) discards: bool,
}

/// Bytes in front of the body: the number and the length of the body.
pub(crate) const HEAD_BYTES: usize = 12;

const HAS_HARD_STATE: u8 = 1;
const HAS_VOTE: u8 = 2;
const HAS_LOG_START: u8 = 4;
const DISCARDS_LOG: u8 = 8;

const NOOP: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;
const STRIPPED: u8 = 3;

/// A membership as it is stored.
#[derive(Clone, PartialEq, Eq, Message)]
struct MembershipRecord {
    #[prost(uint64, repeated, tag = "1")]
    voters: Vec<u64>,
    #[prost(uint64, repeated, tag = "2")]
    outgoing: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    learners: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    auto_promoted: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    witnesses: Vec<u64>,
}

impl Batch {
    /// Adds the hard state and the entries of a write.
    pub(crate) fn add(&mut self, hard_state: Option<HardState>, entries: &[Entry]) {
        self.hard_state = hard_state.or(self.hard_state);
        if let (Some(own), Some(new)) = (self.entries.first(), entries.first()) {
            let kept = new.id.index.0.saturating_sub(own.id.index.0);
            self.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        }
        self.entries.extend_from_slice(entries);
    }

    /// Encodes head and body.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let payloads: usize = self.entries.iter().map(|entry| 32 + entry.bytes()).sum();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 64 + payloads);
        bytes.put_u64_le(self.number);
        bytes.put_u32_le(0);
        let vote = self.hard_state.and_then(|state| state.vote);
        bytes.put_u8(
            if self.hard_state.is_some() { HAS_HARD_STATE } else { 0 }
                | if vote.is_some() { HAS_VOTE } else { 0 }
                | if self.log_start.is_some() { HAS_LOG_START } else { 0 }
                | if self.log_start.is_some_and(|start| start.discards) { DISCARDS_LOG } else { 0 },
        );
        if let Some(state) = self.hard_state {
            bytes.put_u64_le(state.term.0);
        }
        if let Some(vote) = vote {
            bytes.put_u64_le(vote.0);
        }
        if let Some(start) = self.log_start {
            put_id(&mut bytes, start.id);
        }
        bytes.put_u32_le(u32::try_from(self.entries.len()).expect("a batch has few entries"));
        if let Some(first) = self.entries.first() {
            bytes.put_u64_le(first.id.index.0);
        }
        for entry in &self.entries {
            bytes.put_u64_le(entry.id.term.0);
            put_payload(&mut bytes, &entry.payload);
        }
        let body = bytes.len() - HEAD_BYTES;
        let body = u32::try_from(body).expect("a write has less than 4 GiB");
        bytes[8..HEAD_BYTES].copy_from_slice(&body.to_le_bytes());
        bytes
    }

    /// Reads number and length of the body from the start of a batch.
    pub(crate) fn decode_head(mut bytes: &[u8]) -> Option<(u64, usize)> {
        let number = bytes.try_get_u64_le().ok()?;
        Some((number, bytes.try_get_u32_le().ok()? as usize))
    }

    /// Decodes a body.
    pub(crate) fn decode(number: u64, mut body: Bytes) -> Option<Self> {
        let flags = body.try_get_u8().ok()?;
        let mut batch = Self { number, ..Self::default() };
        if flags & HAS_HARD_STATE != 0 {
            let term = Term(body.try_get_u64_le().ok()?);
            batch.hard_state = Some(HardState { term, vote: None });
        }
        if flags & HAS_VOTE != 0 {
            let vote = NodeId(body.try_get_u64_le().ok()?);
            batch.hard_state.as_mut()?.vote = Some(vote);
        }
        if flags & HAS_LOG_START != 0 {
            let discards = flags & DISCARDS_LOG != 0;
            batch.log_start = Some(LogStart { id: get_id(&mut body)?, discards });
        }
        let count = body.try_get_u32_le().ok()?;
        if count > 0 {
            let mut index = body.try_get_u64_le().ok()?;
            for _ in 0..count {
                let id = LogId::new(Term(body.try_get_u64_le().ok()?), LogIndex(index));
                let payload = get_payload(&mut body)?;
                batch.entries.push(Entry { id, payload });
                index = index.checked_add(1)?;
            }
        }
        body.is_empty().then_some(batch)
    }
}

pub(crate) fn put_id(bytes: &mut Vec<u8>, id: LogId) {
    bytes.put_u64_le(id.term.0);
    bytes.put_u64_le(id.index.0);
}

pub(crate) fn get_id(bytes: &mut impl Buf) -> Option<LogId> {
    let term = Term(bytes.try_get_u64_le().ok()?);
    Some(LogId::new(term, LogIndex(bytes.try_get_u64_le().ok()?)))
}

fn put_payload(bytes: &mut Vec<u8>, payload: &Payload) {
    let (kind, encoded) = match payload {
        Payload::Noop => (NOOP, Bytes::new()),
        Payload::Command(command) => (COMMAND, command.clone()),
        Payload::Membership(membership) => {
            (MEMBERSHIP, MembershipRecord::from(&**membership).encode_to_vec().into())
        }
        Payload::Stripped => (STRIPPED, Bytes::new()),
    };
    bytes.put_u8(kind);
    bytes.put_u32_le(u32::try_from(encoded.len()).expect("a payload has less than 4 GiB"));
    bytes.put_slice(&encoded);
}

fn get_payload(bytes: &mut Bytes) -> Option<Payload> {
    let kind = bytes.try_get_u8().ok()?;
    let length = bytes.try_get_u32_le().ok()? as usize;
    if length > bytes.len() {
        return None;
    }
    let encoded = bytes.split_to(length);
    match kind {
        NOOP => Some(Payload::Noop),
        COMMAND => Some(Payload::Command(encoded)),
        MEMBERSHIP => {
            let record = MembershipRecord::decode(encoded).ok()?;
            Some(Payload::Membership(Box::new(record.into())))
        }
        STRIPPED => Some(Payload::Stripped),
        _ => None,
    }
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        Self {
            voters: numbers(membership.voters()),
            outgoing: numbers(membership.outgoing()),
            learners: numbers(membership.learners()),
            auto_promoted: numbers(membership.auto_promoted()),
            witnesses: numbers(membership.witnesses()),
        }
    }
}

impl From<MembershipRecord> for Membership {
    fn from(record: MembershipRecord) -> Self {
        let nodes = |numbers: Vec<u64>| numbers.into_iter().map(NodeId);
        Membership::new(nodes(record.voters))
            .with_outgoing(nodes(record.outgoing))
            .with_learners(nodes(record.learners))
            .with_auto_promoted(nodes(record.auto_promoted))
            .with_witnesses(nodes(record.witnesses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64, payload: Payload) -> Entry {
        Entry { id: LogId::new(Term(term), LogIndex(index)), payload }
    }

    #[test]
    fn batches_roundtrip() {
        let nodes = |numbers: [u64; 2]| numbers.map(NodeId);
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
        let entries: Vec<_> = (7..).zip(payloads).map(|(index, p)| entry(3, index, p)).collect();
        let states = [None, Some((1, None)), Some((2, Some(7)))].map(|state| {
            state.map(|(term, vote): (u64, Option<u64>)| HardState {
                term: Term(term),
                vote: vote.map(NodeId),
            })
        });
        for hard_state in states {
            let start = |discards| LogStart { id: LogId::new(Term(2), LogIndex(6)), discards };
            for log_start in [None, Some(start(false)), Some(start(true))] {
                for entries in [entries.clone(), Vec::new()] {
                    let batch = Batch { number: 5, hard_state, log_start, entries };
                    let bytes = Bytes::from(batch.encode());
                    let (number, length) = Batch::decode_head(&bytes).unwrap();
                    let body = bytes.slice(HEAD_BYTES..);
                    assert_eq!((number, length), (5, body.len()));
                    assert_eq!(Batch::decode(5, body.clone()), Some(batch));
                    assert_eq!(Batch::decode(5, body.slice(..body.len() - 1)), None);
                }
            }
        }
    }

    #[test]
    fn replaced_entries_are_not_in_batch() {
        let mut batch = Batch::default();
        let add = |batch: &mut Batch, term, indexes: std::ops::Range<u64>| {
            let entries: Vec<_> = indexes.map(|index| entry(term, index, Payload::Noop)).collect();
            batch.add(None, &entries);
        };
        add(&mut batch, 1, 5..9);
        add(&mut batch, 2, 7..8);
        let ids: Vec<_> = batch.entries.iter().map(|e| (e.id.term.0, e.id.index.0)).collect();
        assert_eq!(ids, [(1, 5), (1, 6), (2, 7)]);
        add(&mut batch, 3, 4..5);
        let ids: Vec<_> = batch.entries.iter().map(|e| (e.id.term.0, e.id.index.0)).collect();
        assert_eq!(ids, [(3, 4)]);
    }
}
