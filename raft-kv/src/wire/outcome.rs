//! The encoding of outcomes in sessions and between nodes.

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;

use super::KeyValue;
use crate::apply::lease::Lease;
use crate::outcome::{
    DeleteResult, GrantResult, OpResult, Outcome, PutResult, Rejection, RequestResult, Response,
    RevokeResult, TxnResult,
};
use crate::range::RangeResponse;
use crate::validate::Malformed;

/// The error of bytes that are not an encoded outcome, or one of a later version of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid bytes: they are not an encoded outcome")]
pub struct OutcomeDecodeError;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OutcomeMessage {
    #[prost(oneof = "OutcomeKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
    kind: Option<OutcomeKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum OutcomeKind {
    #[prost(message, tag = "1")]
    Noop(Empty),
    #[prost(message, tag = "2")]
    Done(ResponseMessage),
    #[prost(int64, tag = "3")]
    AlreadyDone(i64),
    #[prost(uint64, tag = "4")]
    SessionStale(u64),
    #[prost(uint64, tag = "5")]
    SessionUnknown(u64),
    #[prost(enumeration = "MalformedMessage", tag = "6")]
    Malformed(i32),
    #[prost(message, tag = "7")]
    FutureRevision(FutureRevisionMessage),
    #[prost(int64, tag = "8")]
    LeaseNotFound(i64),
    #[prost(int64, tag = "9")]
    LeaseExists(i64),
    #[prost(int64, tag = "10")]
    LeaseNotExpired(i64),
    #[prost(uint64, tag = "11")]
    TooManyLeases(u64),
    #[prost(message, tag = "12")]
    TooManyKeys(TooManyKeysMessage),
    #[prost(uint64, tag = "13")]
    AnswerTooLarge(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Empty {}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct FutureRevisionMessage {
    #[prost(int64, tag = "1")]
    requested: i64,
    #[prost(int64, tag = "2")]
    current: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct TooManyKeysMessage {
    #[prost(int64, tag = "1")]
    lease: i64,
    #[prost(uint64, tag = "2")]
    max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum MalformedMessage {
    Undecodable = 0,
    EmptyKey = 1,
    KeyTooLong = 2,
    DuplicateKey = 3,
    RevisionNotPositive = 4,
    LeaseTtlOutOfRange = 5,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseMessage {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(oneof = "ResultMessage", tags = "2, 3, 4, 5, 6")]
    result: Option<ResultMessage>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ResultMessage {
    #[prost(message, tag = "2")]
    Put(PutMessage),
    #[prost(message, tag = "3")]
    Delete(DeleteMessage),
    #[prost(message, tag = "4")]
    Txn(TxnMessage),
    #[prost(message, tag = "5")]
    Grant(LeaseMessage),
    #[prost(message, tag = "6")]
    Revoke(RevokeMessage),
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct LeaseMessage {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
    #[prost(uint64, tag = "3")]
    granted_at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct RevokeMessage {
    #[prost(message, optional, tag = "1")]
    lease: Option<LeaseMessage>,
    #[prost(uint64, tag = "2")]
    deleted: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutMessage {
    #[prost(message, optional, tag = "1")]
    prev_kv: Option<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeleteMessage {
    #[prost(uint64, tag = "1")]
    deleted: u64,
    #[prost(message, repeated, tag = "2")]
    prev_kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeMessage {
    #[prost(message, repeated, tag = "1")]
    kvs: Vec<KeyValue>,
    #[prost(bool, tag = "2")]
    more: bool,
    #[prost(uint64, tag = "3")]
    count: u64,
    #[prost(int64, tag = "4")]
    revision: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnMessage {
    #[prost(bool, tag = "1")]
    succeeded: bool,
    #[prost(message, repeated, tag = "2")]
    results: Vec<OpMessage>,
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

impl Outcome {
    /// Encodes the outcome.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        OutcomeMessage::from(self).encode_to_vec().into()
    }

    /// Decodes an outcome. Keys and values are slices of `bytes`.
    ///
    /// # Errors
    /// [`OutcomeDecodeError`] if this version cannot decode the bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, OutcomeDecodeError> {
        OutcomeMessage::decode(bytes).ok().and_then(OutcomeMessage::read).ok_or(OutcomeDecodeError)
    }
}

impl Outcome {
    pub(crate) fn encoded_len(&self) -> usize {
        OutcomeMessage::from(self).encoded_len()
    }
}

impl From<&Outcome> for OutcomeMessage {
    fn from(outcome: &Outcome) -> Self {
        let kind = match outcome {
            Outcome::Noop => OutcomeKind::Noop(Empty {}),
            Outcome::Done(response) => OutcomeKind::Done(response.into()),
            Outcome::AlreadyDone { revision } => OutcomeKind::AlreadyDone(*revision),
            Outcome::SessionStale { latest } => OutcomeKind::SessionStale(*latest),
            Outcome::SessionUnknown { since } => OutcomeKind::SessionUnknown(*since),
            Outcome::Rejected(Rejection::Malformed(malformed)) => OutcomeKind::Malformed(
                match malformed {
                    Malformed::Undecodable => MalformedMessage::Undecodable,
                    Malformed::EmptyKey => MalformedMessage::EmptyKey,
                    Malformed::KeyTooLong => MalformedMessage::KeyTooLong,
                    Malformed::DuplicateKey => MalformedMessage::DuplicateKey,
                    Malformed::RevisionNotPositive => MalformedMessage::RevisionNotPositive,
                    Malformed::LeaseTtlOutOfRange => MalformedMessage::LeaseTtlOutOfRange,
                }
                .into(),
            ),
            Outcome::Rejected(Rejection::FutureRevision { requested, current }) => {
                OutcomeKind::FutureRevision(FutureRevisionMessage {
                    requested: *requested,
                    current: *current,
                })
            }
            Outcome::Rejected(Rejection::LeaseNotFound { id }) => OutcomeKind::LeaseNotFound(*id),
            Outcome::Rejected(Rejection::LeaseExists { id }) => OutcomeKind::LeaseExists(*id),
            Outcome::Rejected(Rejection::LeaseNotExpired { id }) => {
                OutcomeKind::LeaseNotExpired(*id)
            }
            Outcome::Rejected(Rejection::TooManyLeases { max }) => OutcomeKind::TooManyLeases(*max),
            Outcome::Rejected(Rejection::TooManyKeys { lease, max }) => {
                OutcomeKind::TooManyKeys(TooManyKeysMessage { lease: *lease, max: *max })
            }
            Outcome::Rejected(Rejection::AnswerTooLarge { max }) => {
                OutcomeKind::AnswerTooLarge(*max)
            }
        };
        Self { kind: Some(kind) }
    }
}

impl OutcomeMessage {
    pub(crate) fn read(self) -> Option<Outcome> {
        Some(match self.kind? {
            OutcomeKind::Noop(Empty {}) => Outcome::Noop,
            OutcomeKind::Done(response) => Outcome::Done(response.read()?),
            OutcomeKind::AlreadyDone(revision) => Outcome::AlreadyDone { revision },
            OutcomeKind::SessionStale(latest) => Outcome::SessionStale { latest },
            OutcomeKind::SessionUnknown(since) => Outcome::SessionUnknown { since },
            OutcomeKind::Malformed(code) => Outcome::Rejected(Rejection::Malformed(
                match MalformedMessage::try_from(code).ok()? {
                    MalformedMessage::Undecodable => Malformed::Undecodable,
                    MalformedMessage::EmptyKey => Malformed::EmptyKey,
                    MalformedMessage::KeyTooLong => Malformed::KeyTooLong,
                    MalformedMessage::DuplicateKey => Malformed::DuplicateKey,
                    MalformedMessage::RevisionNotPositive => Malformed::RevisionNotPositive,
                    MalformedMessage::LeaseTtlOutOfRange => Malformed::LeaseTtlOutOfRange,
                },
            )),
            OutcomeKind::FutureRevision(message) => Outcome::Rejected(Rejection::FutureRevision {
                requested: message.requested,
                current: message.current,
            }),
            OutcomeKind::LeaseNotFound(id) => Outcome::Rejected(Rejection::LeaseNotFound { id }),
            OutcomeKind::LeaseExists(id) => Outcome::Rejected(Rejection::LeaseExists { id }),
            OutcomeKind::LeaseNotExpired(id) => {
                Outcome::Rejected(Rejection::LeaseNotExpired { id })
            }
            OutcomeKind::TooManyLeases(max) => Outcome::Rejected(Rejection::TooManyLeases { max }),
            OutcomeKind::TooManyKeys(TooManyKeysMessage { lease, max }) => {
                Outcome::Rejected(Rejection::TooManyKeys { lease, max })
            }
            OutcomeKind::AnswerTooLarge(max) => {
                Outcome::Rejected(Rejection::AnswerTooLarge { max })
            }
        })
    }
}

impl From<&Response> for ResponseMessage {
    fn from(response: &Response) -> Self {
        Self {
            revision: response.revision,
            result: Some(match &response.result {
                RequestResult::Put(put) => ResultMessage::Put(put.into()),
                RequestResult::Delete(delete) => ResultMessage::Delete(delete.into()),
                RequestResult::Txn(txn) => ResultMessage::Txn(TxnMessage {
                    succeeded: txn.succeeded,
                    results: txn.results.iter().map(Into::into).collect(),
                }),
                RequestResult::Grant(grant) => ResultMessage::Grant(grant.lease.into()),
                RequestResult::Revoke(revoke) => ResultMessage::Revoke(RevokeMessage {
                    lease: Some(revoke.lease.into()),
                    deleted: revoke.deleted,
                }),
            }),
        }
    }
}

impl ResponseMessage {
    fn read(self) -> Option<Response> {
        Some(Response {
            revision: self.revision,
            result: match self.result? {
                ResultMessage::Put(put) => RequestResult::Put(put.into()),
                ResultMessage::Delete(delete) => RequestResult::Delete(delete.into()),
                ResultMessage::Txn(txn) => RequestResult::Txn(TxnResult {
                    succeeded: txn.succeeded,
                    results: txn.results.into_iter().map(OpMessage::read).collect::<Option<_>>()?,
                }),
                ResultMessage::Grant(lease) => {
                    RequestResult::Grant(GrantResult { lease: lease.into() })
                }
                ResultMessage::Revoke(revoke) => RequestResult::Revoke(RevokeResult {
                    lease: revoke.lease?.into(),
                    deleted: revoke.deleted,
                }),
            },
        })
    }
}

impl From<&OpResult> for OpMessage {
    fn from(result: &OpResult) -> Self {
        Self {
            kind: Some(match result {
                OpResult::Put(put) => OpKind::Put(put.into()),
                OpResult::Delete(delete) => OpKind::Delete(delete.into()),
                OpResult::Range(range) => OpKind::Range(RangeMessage {
                    kvs: range.kvs.iter().cloned().map(Into::into).collect(),
                    more: range.more,
                    count: range.count,
                    revision: range.revision,
                }),
            }),
        }
    }
}

impl OpMessage {
    fn read(self) -> Option<OpResult> {
        Some(match self.kind? {
            OpKind::Put(put) => OpResult::Put(put.into()),
            OpKind::Delete(delete) => OpResult::Delete(delete.into()),
            OpKind::Range(range) => OpResult::Range(RangeResponse {
                kvs: range.kvs.into_iter().map(Into::into).collect(),
                more: range.more,
                count: range.count,
                revision: range.revision,
            }),
        })
    }
}

impl From<&PutResult> for PutMessage {
    fn from(put: &PutResult) -> Self {
        Self { prev_kv: put.prev_kv.clone().map(Into::into) }
    }
}

impl From<PutMessage> for PutResult {
    fn from(message: PutMessage) -> Self {
        Self { prev_kv: message.prev_kv.map(Into::into) }
    }
}

impl From<&DeleteResult> for DeleteMessage {
    fn from(delete: &DeleteResult) -> Self {
        Self {
            deleted: delete.deleted,
            prev_kvs: delete.prev_kvs.iter().cloned().map(Into::into).collect(),
        }
    }
}

impl From<DeleteMessage> for DeleteResult {
    fn from(message: DeleteMessage) -> Self {
        Self {
            deleted: message.deleted,
            prev_kvs: message.prev_kvs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Lease> for LeaseMessage {
    fn from(lease: Lease) -> Self {
        Self { id: lease.id, ttl: lease.ttl, granted_at: lease.granted_at }
    }
}

impl From<LeaseMessage> for Lease {
    fn from(message: LeaseMessage) -> Self {
        Self { id: message.id, ttl: message.ttl, granted_at: message.granted_at }
    }
}
