//! The small values that everything else is made of.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// Names a server of the cluster, for the whole life of that server.
///
/// A server that lost its disk is a new server and needs a new `NodeId`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u64);

/// A period with at most one leader (§5.1). Zero is the term before the first election.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Term(pub u64);

/// The position of an entry in the log, from 1 (§5.3). Zero is the position before the first entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LogIndex(pub u64);

/// Identifies an entry: two logs that hold the same `LogId` agree on everything up to it (§5.3).
///
/// The order of two `LogId`s is the rule by which voters compare logs: the later term wins, and
/// within one term the longer log wins (§5.4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LogId {
    /// The term in which a leader created the entry.
    pub term: Term,
    /// Where the entry stands in the log.
    pub index: LogIndex,
}

/// A moment of the caller's monotonic clock, in microseconds since an origin of the caller's
/// choice.
///
/// The moment that comes with an input must not be from before that input arrived: take the time
/// *after* you have taken the message or the request. What a server promises for a time (to stay
/// with the leader that it hears) begins at that moment, and a lease of a leader is asked for at
/// it; if it is too early, a read by lease may be answered with what is out of date. A moment that
/// is before that of the last input is taken for the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Term {
    /// The term after this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl LogIndex {
    /// No log gets as far as this. Whoever sends what lies beyond is mistaken, and positions after
    /// it can be reckoned with.
    pub(crate) const LAST: Self = Self(u64::MAX / 2);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; the position before the first entry is its own predecessor.
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

    /// How many positions lie between the two; zero if `other` is the later one.
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
