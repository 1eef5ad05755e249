//! Ids, terms, positions and times.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// The id of a server, unique in the cluster and never used again.
///
/// A server that lost its disk is a new server and needs a new id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u64);

/// The number of a period with at most one leader (§5.1). Term 0 is before the first election.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Term(pub u64);

/// The position of an entry in the log (§5.3). The first entry has index 1; index 0 is before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LogIndex(pub u64);

/// The term and index of an entry, which identify it. Two logs that contain the same `LogId` are
/// equal up to it (§5.3).
///
/// `LogId`s are ordered as voters compare logs: by term, and then by index (§5.4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LogId {
    /// The term of the leader that created the entry.
    pub term: Term,
    /// The position of the entry in the log.
    pub index: LogIndex,
}

/// A time of the caller's monotonic clock, in microseconds since any origin.
///
/// The caller must read the clock *after* it has received a message or request. A follower starts
/// its promise to the leader at this time, and a leader checks its lease at this time. With an
/// earlier time, a lease read may return stale data. A time before that of the previous input is
/// treated as equal to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Term {
    /// The term after this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl LogIndex {
    /// The largest index that a log may contain. Messages with a larger index are rejected, so
    /// arithmetic on valid indexes cannot overflow.
    pub(crate) const LAST: Self = Self(u64::MAX / 2);

    /// The next index.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The previous index. Index 0 is its own predecessor.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl LogId {
    /// The `LogId` of the entry at `index`, created in `term`.
    #[must_use]
    pub fn new(term: Term, index: LogIndex) -> Self {
        Self { term, index }
    }
}

impl Instant {
    /// The time from `earlier` to `self`, or zero if `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub<LogIndex> for LogIndex {
    type Output = u64;

    /// The number of entries after `other` up to `self`; 0 if `other` is greater.
    fn sub(self, other: LogIndex) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
