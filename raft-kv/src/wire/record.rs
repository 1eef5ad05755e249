//! The records of the store, except for key-value records.

use bytes::Bytes;

use super::outcome::OutcomeMessage;

/// The latest format of the store that this version reads and writes. It writes the earliest format
/// that is sufficient, so that older versions can read stores without new features.
///
/// | format | new content |
/// | --- | --- |
/// | 2 | leases, and outcomes about leases |
/// | 3 | the number of keys in a lease, which older versions would not update |
/// | 4 | the rejection of a response that is too large, in a session |
pub(crate) const FORMAT_VERSION: u32 = 4;
/// The first format in which a lease may contain its number of keys.
pub(crate) const KEYS_COUNTED_SINCE: u32 = 3;

/// The format of the store.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct FormatRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
}

/// The counters of the state machine, which each batch writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub(crate) struct StateRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) applied_index: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) applied_term: u64,
    #[prost(int64, tag = "3")]
    pub(crate) revision: i64,
    /// The number of sessions.
    #[prost(uint64, tag = "4")]
    pub(crate) sessions: u64,
    /// The index of the last use of the latest evicted session; 0 if none was evicted.
    #[prost(uint64, tag = "5")]
    pub(crate) session_horizon: u64,
    /// The digest of the records; see `read/fingerprint.rs`.
    #[prost(fixed64, tag = "6")]
    pub(crate) digest: u64,
    /// The number of leases.
    #[prost(uint64, tag = "7")]
    pub(crate) leases: u64,
    /// The last lease id that the state machine chose; 0 if none.
    #[prost(int64, tag = "8")]
    pub(crate) lease_assigned: i64,
    /// The format of the store, if it is not 1.
    #[prost(uint32, tag = "9")]
    pub(crate) format: u32,
}

/// A lease.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct LeaseRecord {
    #[prost(int64, tag = "1")]
    pub(crate) ttl: i64,
    /// The index of the entry that granted the lease.
    #[prost(uint64, tag = "2")]
    pub(crate) granted_at: u64,
    /// The number of attached keys; `None` for a lease of format 2 whose keys were not counted
    /// since.
    #[prost(uint64, optional, tag = "3")]
    pub(crate) keys: Option<u64>,
}

/// A record of `versions`, which is empty for a put.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct VersionRecord {
    #[prost(bool, tag = "1")]
    pub(crate) removed: bool,
}

/// The latest command of a session.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
    /// The index of the last entry that used the session.
    #[prost(uint64, tag = "2")]
    pub(crate) last_used: u64,
    #[prost(message, optional, tag = "3")]
    pub(crate) outcome: Option<OutcomeMessage>,
}

/// The last use of a session.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SessionUse {
    /// The client id, as in the key of the session.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) client: Bytes,
}
