//! The messages of encoded commands.

use alloc::vec::Vec;

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CommandMessage {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) session: Option<SessionMessage>,
    #[prost(oneof = "RequestMessage", tags = "3, 4, 5, 6, 7")]
    pub(super) request: Option<RequestMessage>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum RequestMessage {
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
pub(super) struct SessionMessage {
    #[prost(fixed64, tag = "1")]
    pub(super) client_high: u64,
    #[prost(fixed64, tag = "2")]
    pub(super) client_low: u64,
    #[prost(uint64, tag = "3")]
    pub(super) sequence: u64,
    #[prost(uint64, tag = "4")]
    pub(super) since: u64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct KeyRangeMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) start: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) end: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PutMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
    #[prost(bool, tag = "3")]
    pub(super) prev_kv: bool,
    /// Since version 2.
    #[prost(int64, tag = "4")]
    pub(super) lease: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct GrantMessage {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
    #[prost(int64, tag = "2")]
    pub(super) ttl: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct RevokeMessage {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
    #[prost(message, optional, tag = "2")]
    pub(super) expiry: Option<ExpiryMessage>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct ExpiryMessage {
    #[prost(uint64, tag = "1")]
    pub(super) term: u64,
    #[prost(uint64, tag = "2")]
    pub(super) granted_at: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DeleteMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) keys: Option<KeyRangeMessage>,
    #[prost(bool, tag = "2")]
    pub(super) prev_kv: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RangeMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) keys: Option<KeyRangeMessage>,
    #[prost(int64, optional, tag = "2")]
    pub(super) revision: Option<i64>,
    #[prost(uint64, optional, tag = "3")]
    pub(super) limit: Option<u64>,
    #[prost(enumeration = "OrderMessage", tag = "4")]
    pub(super) order: i32,
    #[prost(enumeration = "ProjectionMessage", tag = "5")]
    pub(super) projection: i32,
    #[prost(enumeration = "CountingMessage", tag = "6")]
    pub(super) counting: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TxnMessage {
    #[prost(message, repeated, tag = "1")]
    pub(super) compare: Vec<CompareMessage>,
    #[prost(message, repeated, tag = "2")]
    pub(super) success: Vec<OpMessage>,
    #[prost(message, repeated, tag = "3")]
    pub(super) failure: Vec<OpMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OpMessage {
    #[prost(oneof = "OpKind", tags = "1, 2, 3")]
    pub(super) kind: Option<OpKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum OpKind {
    #[prost(message, tag = "1")]
    Put(PutMessage),
    #[prost(message, tag = "2")]
    Delete(DeleteMessage),
    #[prost(message, tag = "3")]
    Range(RangeMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CompareMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) keys: Option<KeyRangeMessage>,
    #[prost(enumeration = "RelationMessage", tag = "2")]
    pub(super) relation: i32,
    #[prost(oneof = "OperandMessage", tags = "3, 4, 5, 6, 7")]
    pub(super) operand: Option<OperandMessage>,
}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub(super) enum OperandMessage {
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
pub(super) enum OrderMessage {
    Ascending = 0,
    Descending = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ProjectionMessage {
    KeyValues = 0,
    Keys = 1,
    Count = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum CountingMessage {
    WholeRange = 0,
    Returned = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum RelationMessage {
    Equal = 0,
    NotEqual = 1,
    Greater = 2,
    Less = 3,
}
