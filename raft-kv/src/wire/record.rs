//! The records of the store, other than key-values.

use bytes::Bytes;

use super::outcome::OutcomeMessage;

/// The latest layout and records that this crate reads and writes. It writes the earliest that will
/// do: an older program can take a store back that never saw what it does not know.
///
/// Format 2 is what commands of version 2 leave behind: leases, and outcomes that speak of them. In
/// format 3 a lease may say how many keys hang on it, which a program that doesn't know would let
/// go wrong. In format 4 a session may keep the rejection of an answer that is too large.
pub(crate) const FORMAT_VERSION: u32 = 4;
/// The first format in which leases may say how many keys hang on them.
pub(crate) const KEYS_COUNTED_SINCE: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct FormatRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
}

/// The counters of the state machine; written with every batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub(crate) struct StateRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) applied_index: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) applied_term: u64,
    #[prost(int64, tag = "3")]
    pub(crate) revision: i64,
    /// How many sessions are recorded.
    #[prost(uint64, tag = "4")]
    pub(crate) sessions: u64,
    /// The last use of the session that was forgotten last; 0 if none ever was.
    #[prost(uint64, tag = "5")]
    pub(crate) session_horizon: u64,
    /// See `fingerprint`.
    #[prost(fixed64, tag = "6")]
    pub(crate) digest: u64,
    /// How many leases there are.
    #[prost(uint64, tag = "7")]
    pub(crate) leases: u64,
    /// The last lease whose number was chosen here; 0 if none ever was.
    #[prost(int64, tag = "8")]
    pub(crate) lease_assigned: i64,
    /// What the format record says, if it is not 1.
    #[prost(uint32, tag = "9")]
    pub(crate) format: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct LeaseRecord {
    #[prost(int64, tag = "1")]
    pub(crate) ttl: i64,
    /// The index of the entry that granted it.
    #[prost(uint64, tag = "2")]
    pub(crate) granted_at: u64,
    /// How many keys hang on it; not said where format 2 left it and nobody has had to count them
    /// since.
    #[prost(uint64, optional, tag = "3")]
    pub(crate) keys: Option<u64>,
}

/// An entry of `versions`; empty for a key that was put.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct VersionRecord {
    #[prost(bool, tag = "1")]
    pub(crate) removed: bool,
}

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

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SessionUse {
    /// The client, as in the key of its session.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) client: Bytes,
}
