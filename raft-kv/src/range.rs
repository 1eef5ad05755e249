//! Sets of keys, and reads over them.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::store::Order;

/// A key with its value and its place in history. The fields are those of etcd's `KeyValue`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty where only keys were asked for.
    pub value: Bytes,
    /// The revision at which the key came to be, since it was last absent.
    pub create_revision: i64,
    /// The revision of the last change.
    pub mod_revision: i64,
    /// The number of changes since the key came to be; 1 after the first put.
    pub version: i64,
    /// The lease that the key hangs on; 0 means none.
    pub lease: i64,
}

/// An upper bound of the encoded size of a pair without its key and its value.
const PAIR_OVERHEAD_BYTES: u64 = 64;

impl KeyValue {
    /// What the pair contributes to the size of an answer.
    pub(crate) fn answer_bytes(&self) -> u64 {
        self.key.len() as u64 + self.value.len() as u64 + PAIR_OVERHEAD_BYTES
    }
}

/// A set of keys in etcd's notation: `start` alone when `end` is empty, every key from `start` on
/// when `end` is the single byte 0, otherwise `start..end`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key.
    pub start: Bytes,
    /// See [`KeyRange`].
    pub end: Bytes,
}

const FROM_START: &[u8] = &[0];

/// Where a [`KeyRange`] stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End<'a> {
    /// The range is its start alone.
    Single,
    /// The range has no end.
    Open,
    /// The range stops before this key.
    Before(&'a [u8]),
}

impl KeyRange {
    /// One key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self { start: key.into(), end: Bytes::new() }
    }

    /// The keys in `start..end`. As in etcd, an `end` that is empty or the single byte 0 has the
    /// special meaning described at [`KeyRange`].
    pub fn between(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: end.into() }
    }

    /// Every key from `start` on.
    pub fn from_key(start: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: Bytes::from_static(FROM_START) }
    }

    /// Every key that begins with `prefix`; an empty prefix is every key.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        if start.is_empty() {
            return Self::all();
        }
        // The least key after all that begin with the prefix: the prefix without its trailing 0xff
        // bytes, its last byte raised by one. A prefix of 0xff alone has no such key.
        let mut end: Vec<u8> = start.to_vec();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return Self { start, end: end.into() };
            }
        }
        Self::from_key(start)
    }

    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self::from_key(Bytes::from_static(FROM_START))
    }

    /// Whether `key` is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self.stop() {
            End::Single => key == self.start,
            End::Open => key >= &self.start[..],
            End::Before(end) => key >= &self.start[..] && key < end,
        }
    }

    pub(crate) fn stop(&self) -> End<'_> {
        match &self.end[..] {
            [] => End::Single,
            FROM_START => End::Open,
            end => End::Before(end),
        }
    }
}

/// What a range read returns of each key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fields {
    /// Keys and values.
    #[default]
    KeyValues,
    /// Keys with their revisions, values left empty.
    Keys,
    /// No keys, only their number.
    Count,
}

/// How far a range read counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CountMode {
    /// Every key in the range, whatever the limit, as etcd does. Costs a scan of the whole range.
    #[default]
    WholeRange,
    /// Only what is returned. What a caller that pages through a large range wants.
    Returned,
}

/// A read of a set of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// The revision to read at; `None` is the latest.
    pub revision: Option<i64>,
    /// The greatest number of keys to return; `None` is all.
    pub limit: Option<u64>,
    /// The order of the keys returned; with a limit, which end of the range they are from.
    pub order: Order,
    /// What to return of each key.
    pub projection: Fields,
    /// What [`RangeResponse::count`] covers.
    pub counting: CountMode,
}

impl RangeRequest {
    /// Everything in `keys`, latest revision, ascending.
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

    /// The same read at an older revision.
    #[must_use]
    pub fn at_revision(mut self, revision: i64) -> Self {
        self.revision = Some(revision);
        self
    }

    /// The same read, returning at most `limit` keys.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The same read in another order.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// The same read, returning something else of each key.
    #[must_use]
    pub fn projection(mut self, projection: Fields) -> Self {
        self.projection = projection;
        self
    }

    /// The same read, counting differently.
    #[must_use]
    pub fn counting(mut self, counting: CountMode) -> Self {
        self.counting = counting;
        self
    }
}

/// The answer to a [`RangeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeResponse {
    /// The keys found, in the order asked for.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit held back further keys.
    pub more: bool,
    /// The number of keys in the range, or of those returned: see [`CountMode`].
    pub count: u64,
    /// The revision of the state machine when it answered, not the one asked for.
    pub revision: i64,
}
