//! Ranges of keys, and reads of them.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::store::Order;

/// A key with its value and its revisions. The fields are those of etcd's `KeyValue`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty if only keys were requested.
    pub value: Bytes,
    /// The revision at which the key was created, after it did not exist.
    pub create_revision: i64,
    /// The revision of the last change.
    pub mod_revision: i64,
    /// The number of puts since the creation; 1 after the first put.
    pub version: i64,
    /// The lease to which the key is attached; 0 for none.
    pub lease: i64,
}

/// An upper bound of the encoded size of a pair without its key and its value.
const PAIR_OVERHEAD_BYTES: u64 = 64;

impl KeyValue {
    /// The size of the pair in a response, in bytes.
    pub(crate) fn answer_bytes(&self) -> u64 {
        self.key.len() as u64 + self.value.len() as u64 + PAIR_OVERHEAD_BYTES
    }
}

/// A range of keys in etcd's notation. An empty `end` means only `start`. An `end` of a single byte
/// 0 means all keys from `start` on. Otherwise the range is `start..end`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key.
    pub start: Bytes,
    /// The end of the range, exclusive; see [`KeyRange`] for two special values.
    pub end: Bytes,
}

const FROM_START: &[u8] = &[0];

/// The end of a [`KeyRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End<'a> {
    /// The range contains only its start.
    Single,
    /// The range has no end.
    Open,
    /// The range ends before this key.
    Before(&'a [u8]),
}

impl KeyRange {
    /// The range of one key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self { start: key.into(), end: Bytes::new() }
    }

    /// The keys in `start..end`. As in etcd, an `end` that is empty or the single byte 0 has the
    /// special meaning described at [`KeyRange`].
    pub fn between(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: end.into() }
    }

    /// All keys from `start` on.
    pub fn from_key(start: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: Bytes::from_static(FROM_START) }
    }

    /// All keys that start with `prefix`. With an empty prefix, all keys.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        if start.is_empty() {
            return Self::all();
        }
        // The smallest key after all keys with the prefix: the prefix without its trailing 0xff
        // bytes, with the last byte incremented. A prefix of 0xff bytes has no such key.
        let mut end: Vec<u8> = start.to_vec();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return Self { start, end: end.into() };
            }
        }
        Self::from_key(start)
    }

    /// All keys.
    #[must_use]
    pub fn all() -> Self {
        Self::from_key(Bytes::from_static(FROM_START))
    }

    /// Returns true if `key` is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self.stop() {
            End::Single => key == self.start,
            End::Open => key >= &self.start[..],
            End::Before(end) => key >= &self.start[..] && key < end,
        }
    }

    /// The end of the range.
    pub(crate) fn stop(&self) -> End<'_> {
        match &self.end[..] {
            [] => End::Single,
            FROM_START => End::Open,
            end => End::Before(end),
        }
    }
}

/// The fields of each key that a range read returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fields {
    /// Keys and values.
    #[default]
    KeyValues,
    /// Keys with their revisions, and empty values.
    Keys,
    /// No keys, only their number.
    Count,
}

/// The keys that a range read counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CountMode {
    /// All keys in the range, regardless of the limit, as in etcd. This scans the whole range.
    #[default]
    WholeRange,
    /// Only the returned keys, for callers that read a large range in pages.
    Returned,
}

/// A read of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeRequest {
    /// The keys to read.
    pub keys: KeyRange,
    /// The revision to read at; `None` for the latest.
    pub revision: Option<i64>,
    /// The maximum number of keys to return; `None` for all.
    pub limit: Option<u64>,
    /// The order of the returned keys. With a limit, it determines the end of the range to read.
    pub order: Order,
    /// The fields to return.
    pub projection: Fields,
    /// The keys that [`RangeResponse::count`] includes.
    pub counting: CountMode,
}

impl RangeRequest {
    /// A read of all pairs of `keys` at the latest revision, in ascending order.
    #[must_use]
    pub fn new(keys: KeyRange) -> Self {
        Self {
            keys,
            revision: None,
            limit: None,
            order: Order::Ascending,
            projection: Fields::KeyValues,
            counting: CountMode::WholeRange,
        }
    }

    /// Sets the revision to read at.
    #[must_use]
    pub fn at_revision(mut self, revision: i64) -> Self {
        self.revision = Some(revision);
        self
    }

    /// Sets the maximum number of keys to return.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets the order of the returned keys.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets the fields to return.
    #[must_use]
    pub fn projection(mut self, projection: Fields) -> Self {
        self.projection = projection;
        self
    }

    /// Sets the keys to count.
    #[must_use]
    pub fn counting(mut self, counting: CountMode) -> Self {
        self.counting = counting;
        self
    }
}

/// The response to a [`RangeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeResponse {
    /// The pairs, in the requested order.
    pub kvs: Vec<KeyValue>,
    /// The range contains more keys than the limit.
    pub more: bool,
    /// The number of keys in the range, or of returned keys; see [`CountMode`].
    pub count: u64,
    /// The latest revision of the state machine at the time of the read.
    pub revision: i64,
}
