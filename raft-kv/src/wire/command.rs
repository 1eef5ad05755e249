//! Commands as they stand in the log.

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;

use crate::command::{
    Command, Compare, Delete, Expiry, Grant, Op, Operand, Put, Relation, Request, Revoke, Session,
    Txn,
};
use crate::range::{CountMode, Fields, KeyRange, RangeRequest};
use crate::store::Order;

/// The command language of this version of the crate. Version 2 added leases; since version 3 only
/// so many keys hang on one; since version 4 an answer is only so large.
pub(crate) const COMMAND_VERSION: u32 = 4;
const LEASES_SINCE: u32 = 2;
/// Puts that hang keys on a lease are bound by [`LEASE_KEYS_MAX`](crate::LEASE_KEYS_MAX) from this
/// version on. What an earlier one put into the log was carried out without that bound, and must be
/// by every replica.
pub(crate) const KEYS_BOUND_SINCE: u32 = 3;
/// Answers are bound by [`ANSWER_BYTES_MAX`](crate::ANSWER_BYTES_MAX) from this version on. Every
/// replica must carry out commands of earlier versions without that bound.
pub(crate) const ANSWER_BOUND_SINCE: u32 = 4;

/// Why bytes are not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are not an encoded command.
    #[error("the bytes are not an encoded command")]
    Undecodable,
    /// They are a command of a later version of this crate.
    #[error("a command of version {found}; this program knows up to {COMMAND_VERSION}")]
    UnknownVersion {
        /// The command's version.
        found: u32,
    },
}

#[derive(Clone, PartialEq, prost::Message)]
struct CommandMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, optional, tag = "2")]
    session: Option<SessionMessage>,
    #[prost(oneof = "RequestMessage", tags = "3, 4, 5, 6, 7")]
    request: Option<RequestMessage>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum RequestMessage {
    #[prost(message, tag = "3")]
    Put(PutMessage),
    #[prost(message, tag = "4")]
    Delete(DeleteMessage),
    #[prost(message, tag = "5")]
    Txn(TxnMessage),
    #[prost(message, tag = "6")]
    Grant(GrantMessage),
    #[prost(message, tag = "7")]
    Revoke(RevokeMessage),
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct SessionMessage {
    #[prost(fixed64, tag = "1")]
    client_high: u64,
    #[prost(fixed64, tag = "2")]
    client_low: u64,
    #[prost(uint64, tag = "3")]
    sequence: u64,
    #[prost(uint64, tag = "4")]
    since: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct KeyRangeMessage {
    #[prost(bytes = "bytes", tag = "1")]
    start: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    end: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct PutMessage {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
    #[prost(bool, tag = "3")]
    prev_kv: bool,
    /// Since version 2.
    #[prost(int64, tag = "4")]
    lease: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct GrantMessage {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct RevokeMessage {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(message, optional, tag = "2")]
    expiry: Option<ExpiryMessage>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct ExpiryMessage {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    granted_at: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeleteMessage {
    #[prost(message, optional, tag = "1")]
    keys: Option<KeyRangeMessage>,
    #[prost(bool, tag = "2")]
    prev_kv: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeMessage {
    #[prost(message, optional, tag = "1")]
    keys: Option<KeyRangeMessage>,
    #[prost(int64, optional, tag = "2")]
    revision: Option<i64>,
    #[prost(uint64, optional, tag = "3")]
    limit: Option<u64>,
    #[prost(enumeration = "OrderMessage", tag = "4")]
    order: i32,
    #[prost(enumeration = "ProjectionMessage", tag = "5")]
    projection: i32,
    #[prost(enumeration = "CountingMessage", tag = "6")]
    counting: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnMessage {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<CompareMessage>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<OpMessage>,
    #[prost(message, repeated, tag = "3")]
    failure: Vec<OpMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpMessage {
    #[prost(oneof = "OpKind", tags = "1, 2, 3")]
    kind: Option<OpKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum OpKind {
    #[prost(message, tag = "1")]
    Put(PutMessage),
    #[prost(message, tag = "2")]
    Delete(DeleteMessage),
    #[prost(message, tag = "3")]
    Range(RangeMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
struct CompareMessage {
    #[prost(message, optional, tag = "1")]
    keys: Option<KeyRangeMessage>,
    #[prost(enumeration = "RelationMessage", tag = "2")]
    relation: i32,
    #[prost(oneof = "OperandMessage", tags = "3, 4, 5, 6, 7")]
    operand: Option<OperandMessage>,
}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
enum OperandMessage {
    #[prost(int64, tag = "3")]
    Version(i64),
    #[prost(int64, tag = "4")]
    CreateRevision(i64),
    #[prost(int64, tag = "5")]
    ModRevision(i64),
    #[prost(bytes = "bytes", tag = "6")]
    Value(Bytes),
    /// Since version 2.
    #[prost(int64, tag = "7")]
    Lease(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum OrderMessage {
    Ascending = 0,
    Descending = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum ProjectionMessage {
    KeyValues = 0,
    Keys = 1,
    Count = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum CountingMessage {
    WholeRange = 0,
    Returned = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum RelationMessage {
    Equal = 0,
    NotEqual = 1,
    Greater = 2,
    Less = 3,
}

impl Command {
    /// The bytes to propose.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.to_message().encode_to_vec().into()
    }

    /// Reads a command back. Keys and values are slices of `bytes`, not copies.
    ///
    /// # Errors
    /// The bytes are no command, or one from a later version.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        Self::decode_versioned(bytes).map(|(command, _)| command)
    }

    /// A command, and the version that it was proposed in.
    pub(crate) fn decode_versioned(bytes: Bytes) -> Result<(Self, u32), DecodeError> {
        let message = CommandMessage::decode(bytes).map_err(|_| DecodeError::Undecodable)?;
        if message.version > COMMAND_VERSION {
            return Err(DecodeError::UnknownVersion { found: message.version });
        }
        let version = message.version;
        Self::from_message(message)
            // What a replica that knows nothing later would read otherwise is nothing that this
            // crate wrote.
            .filter(|command| command.expressible_since() <= version)
            .map(|command| (command, version))
            .ok_or(DecodeError::Undecodable)
    }

    /// The version that the command is written with: the earliest that says all of it and bounds
    /// it.
    pub(crate) fn version(&self) -> u32 {
        if self.request.returns_pairs() {
            ANSWER_BOUND_SINCE
        } else if self.hangs_keys() {
            KEYS_BOUND_SINCE
        } else {
            self.expressible_since()
        }
    }

    /// The earliest version that says all of it.
    fn expressible_since(&self) -> u32 {
        let compares = |compare: &Compare| matches!(compare.operand, Operand::Lease(_));
        match &self.request {
            Request::Txn(txn) if txn.compare.iter().any(compares) => LEASES_SINCE,
            Request::Grant(_) | Request::Revoke(_) => LEASES_SINCE,
            _ if self.hangs_keys() => LEASES_SINCE,
            Request::Put(_) | Request::Delete(_) | Request::Txn(_) => 1,
        }
    }

    fn hangs_keys(&self) -> bool {
        let hangs = |op: &Op| matches!(op, Op::Put(put) if put.lease != 0);
        match &self.request {
            Request::Put(put) => put.lease != 0,
            Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(hangs),
            Request::Delete(_) | Request::Grant(_) | Request::Revoke(_) => false,
        }
    }

    pub(crate) fn encoded_len(&self) -> usize {
        self.to_message().encoded_len()
    }

    fn to_message(&self) -> CommandMessage {
        CommandMessage {
            version: self.version(),
            session: self.session.map(|session| SessionMessage {
                client_high: (session.client >> 64) as u64,
                client_low: session.client as u64,
                sequence: session.sequence,
                since: session.since,
            }),
            request: Some(match &self.request {
                Request::Put(put) => RequestMessage::Put(put.into()),
                Request::Delete(delete) => RequestMessage::Delete(delete.into()),
                Request::Txn(txn) => RequestMessage::Txn(TxnMessage {
                    compare: txn.compare.iter().map(Into::into).collect(),
                    success: txn.success.iter().map(Into::into).collect(),
                    failure: txn.failure.iter().map(Into::into).collect(),
                }),
                Request::Grant(grant) => {
                    RequestMessage::Grant(GrantMessage { id: grant.id, ttl: grant.ttl })
                }
                Request::Revoke(revoke) => RequestMessage::Revoke(RevokeMessage {
                    id: revoke.id,
                    expiry: revoke.expiry.map(|expiry| ExpiryMessage {
                        term: expiry.term,
                        granted_at: expiry.granted_at,
                    }),
                }),
            }),
        }
    }

    fn from_message(message: CommandMessage) -> Option<Self> {
        // Version 0 is what a message without a version reads as: not ours.
        if message.version == 0 {
            return None;
        }
        Some(Self {
            session: message.session.map(|session| Session {
                client: u128::from(session.client_high) << 64 | u128::from(session.client_low),
                sequence: session.sequence,
                since: session.since,
            }),
            request: match message.request? {
                RequestMessage::Put(put) => Request::Put(put.into()),
                RequestMessage::Delete(delete) => Request::Delete(delete.read()?),
                RequestMessage::Txn(txn) => Request::Txn(Txn {
                    compare: read_all(txn.compare, CompareMessage::read)?,
                    success: read_all(txn.success, OpMessage::read)?,
                    failure: read_all(txn.failure, OpMessage::read)?,
                }),
                RequestMessage::Grant(grant) => {
                    Request::Grant(Grant { id: grant.id, ttl: grant.ttl })
                }
                RequestMessage::Revoke(revoke) => Request::Revoke(Revoke {
                    id: revoke.id,
                    expiry: revoke
                        .expiry
                        .map(|expiry| Expiry { term: expiry.term, granted_at: expiry.granted_at }),
                }),
            },
        })
    }
}

fn read_all<M, T>(messages: Vec<M>, read: fn(M) -> Option<T>) -> Option<Vec<T>> {
    messages.into_iter().map(read).collect()
}

impl From<&KeyRange> for KeyRangeMessage {
    fn from(keys: &KeyRange) -> Self {
        Self { start: keys.start.clone(), end: keys.end.clone() }
    }
}

impl From<KeyRangeMessage> for KeyRange {
    fn from(message: KeyRangeMessage) -> Self {
        Self { start: message.start, end: message.end }
    }
}

impl From<&Put> for PutMessage {
    fn from(put: &Put) -> Self {
        Self {
            key: put.key.clone(),
            value: put.value.clone(),
            prev_kv: put.prev_kv,
            lease: put.lease,
        }
    }
}

impl From<PutMessage> for Put {
    fn from(message: PutMessage) -> Self {
        Self {
            key: message.key,
            value: message.value,
            prev_kv: message.prev_kv,
            lease: message.lease,
        }
    }
}

impl From<&Delete> for DeleteMessage {
    fn from(delete: &Delete) -> Self {
        Self { keys: Some((&delete.keys).into()), prev_kv: delete.prev_kv }
    }
}

impl DeleteMessage {
    fn read(self) -> Option<Delete> {
        Some(Delete { keys: self.keys?.into(), prev_kv: self.prev_kv })
    }
}

impl From<&Op> for OpMessage {
    fn from(op: &Op) -> Self {
        Self {
            kind: Some(match op {
                Op::Put(put) => OpKind::Put(put.into()),
                Op::Delete(delete) => OpKind::Delete(delete.into()),
                Op::Range(range) => OpKind::Range(range.into()),
            }),
        }
    }
}

impl OpMessage {
    fn read(self) -> Option<Op> {
        Some(match self.kind? {
            OpKind::Put(put) => Op::Put(put.into()),
            OpKind::Delete(delete) => Op::Delete(delete.read()?),
            OpKind::Range(range) => Op::Range(range.read()?),
        })
    }
}

impl From<&RangeRequest> for RangeMessage {
    fn from(range: &RangeRequest) -> Self {
        let order = match range.order {
            Order::Ascending => OrderMessage::Ascending,
            Order::Descending => OrderMessage::Descending,
        };
        let projection = match range.projection {
            Fields::KeyValues => ProjectionMessage::KeyValues,
            Fields::Keys => ProjectionMessage::Keys,
            Fields::Count => ProjectionMessage::Count,
        };
        let counting = match range.counting {
            CountMode::WholeRange => CountingMessage::WholeRange,
            CountMode::Returned => CountingMessage::Returned,
        };
        Self {
            keys: Some((&range.keys).into()),
            revision: range.revision,
            limit: range.limit,
            order: order.into(),
            projection: projection.into(),
            counting: counting.into(),
        }
    }
}

impl RangeMessage {
    fn read(self) -> Option<RangeRequest> {
        Some(RangeRequest {
            keys: self.keys?.into(),
            revision: self.revision,
            limit: self.limit,
            order: match OrderMessage::try_from(self.order).ok()? {
                OrderMessage::Ascending => Order::Ascending,
                OrderMessage::Descending => Order::Descending,
            },
            projection: match ProjectionMessage::try_from(self.projection).ok()? {
                ProjectionMessage::KeyValues => Fields::KeyValues,
                ProjectionMessage::Keys => Fields::Keys,
                ProjectionMessage::Count => Fields::Count,
            },
            counting: match CountingMessage::try_from(self.counting).ok()? {
                CountingMessage::WholeRange => CountMode::WholeRange,
                CountingMessage::Returned => CountMode::Returned,
            },
        })
    }
}

impl From<&Compare> for CompareMessage {
    fn from(compare: &Compare) -> Self {
        let relation = match compare.relation {
            Relation::Equal => RelationMessage::Equal,
            Relation::NotEqual => RelationMessage::NotEqual,
            Relation::Greater => RelationMessage::Greater,
            Relation::Less => RelationMessage::Less,
        };
        Self {
            keys: Some((&compare.keys).into()),
            relation: relation.into(),
            operand: Some(match &compare.operand {
                Operand::Version(version) => OperandMessage::Version(*version),
                Operand::CreateRevision(revision) => OperandMessage::CreateRevision(*revision),
                Operand::ModRevision(revision) => OperandMessage::ModRevision(*revision),
                Operand::Value(value) => OperandMessage::Value(value.clone()),
                Operand::Lease(id) => OperandMessage::Lease(*id),
            }),
        }
    }
}

impl CompareMessage {
    fn read(self) -> Option<Compare> {
        Some(Compare {
            keys: self.keys?.into(),
            relation: match RelationMessage::try_from(self.relation).ok()? {
                RelationMessage::Equal => Relation::Equal,
                RelationMessage::NotEqual => Relation::NotEqual,
                RelationMessage::Greater => Relation::Greater,
                RelationMessage::Less => Relation::Less,
            },
            operand: match self.operand? {
                OperandMessage::Version(version) => Operand::Version(version),
                OperandMessage::CreateRevision(revision) => Operand::CreateRevision(revision),
                OperandMessage::ModRevision(revision) => Operand::ModRevision(revision),
                OperandMessage::Value(value) => Operand::Value(value),
                OperandMessage::Lease(id) => Operand::Lease(id),
            },
        })
    }
}
