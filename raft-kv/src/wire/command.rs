//! The encoding of commands in the log.

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;

use crate::command::{
    Command, Compare, Delete, Expiry, Grant, Op, Operand, Put, Relation, Request, Revoke, Session,
    Txn,
};
use crate::range::{CountMode, Fields, KeyRange, RangeRequest};
use crate::store::Order;
use crate::wire::messages::{
    CommandMessage, CompareMessage, CountingMessage, DeleteMessage, ExpiryMessage, GrantMessage,
    KeyRangeMessage, OpKind, OpMessage, OperandMessage, OrderMessage, ProjectionMessage,
    PutMessage, RangeMessage, RelationMessage, RequestMessage, RevokeMessage, SessionMessage,
    TxnMessage,
};

/// The latest version of commands. Version 2 added leases, version 3 the limit of keys per lease,
/// and version 4 the limit of the size of responses.
pub(crate) const COMMAND_VERSION: u32 = 4;
const LEASES_SINCE: u32 = 2;
/// The first version with [`LEASE_KEYS_MAX`](crate::LEASE_KEYS_MAX). Every replica must execute
/// earlier versions without that limit.
pub(crate) const KEYS_BOUND_SINCE: u32 = 3;
/// The first version with [`ANSWER_BYTES_MAX`](crate::ANSWER_BYTES_MAX). Every replica must execute
/// earlier versions without that limit.
pub(crate) const ANSWER_BOUND_SINCE: u32 = 4;

/// The reason why bytes could not be decoded as a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not an encoded command.
    #[error("invalid bytes: they are not an encoded command")]
    Undecodable,
    /// The bytes are a command of a later version of this crate.
    #[error(
        "unknown command version: {found}; this version supports up to {COMMAND_VERSION}, upgrade it"
    )]
    UnknownVersion {
        /// The version of the command.
        found: u32,
    },
}

impl Command {
    /// Encodes the command for a proposal.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.to_message().encode_to_vec().into()
    }

    /// Decodes a command. Keys and values are slices of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a command, or one of a later version.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        Self::decode_versioned(bytes).map(|(command, _)| command)
    }

    /// Decodes a command, and returns the version with which it was encoded.
    pub(crate) fn decode_versioned(bytes: Bytes) -> Result<(Self, u32), DecodeError> {
        let message = CommandMessage::decode(bytes).map_err(|_| DecodeError::Undecodable)?;
        if message.version > COMMAND_VERSION {
            return Err(DecodeError::UnknownVersion { found: message.version });
        }
        let version = message.version;
        Self::from_message(message)
            // This crate never encodes a command with a version that cannot express it.
            .filter(|command| command.expressible_since() <= version)
            .map(|command| (command, version))
            .ok_or(DecodeError::Undecodable)
    }

    /// The version with which the command is encoded: the earliest that can express it and has its
    /// limits.
    pub(crate) fn version(&self) -> u32 {
        if self.request.returns_pairs() {
            ANSWER_BOUND_SINCE
        } else if self.attaches_keys() {
            KEYS_BOUND_SINCE
        } else {
            self.expressible_since()
        }
    }

    /// The earliest version that can express the command.
    fn expressible_since(&self) -> u32 {
        let compares = |compare: &Compare| matches!(compare.operand, Operand::Lease(_));
        match &self.request {
            Request::Txn(txn) if txn.compare.iter().any(compares) => LEASES_SINCE,
            Request::Grant(_) | Request::Revoke(_) => LEASES_SINCE,
            _ if self.attaches_keys() => LEASES_SINCE,
            Request::Put(_) | Request::Delete(_) | Request::Txn(_) => 1,
        }
    }

    fn attaches_keys(&self) -> bool {
        let attaches = |op: &Op| matches!(op, Op::Put(put) if put.lease != 0);
        match &self.request {
            Request::Put(put) => put.lease != 0,
            Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(attaches),
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
        // A message without a version is decoded with version 0, which is not valid.
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
