//! Two measures of how far a follower is behind its leader.

use core::time::Duration;

use crate::api::types::{Instant, LogIndex};

/// The catch-up of a learner before its promotion (dissertation 4.2.1).
///
/// Catch-up proceeds in rounds. In one round the learner receives the entries that the log
/// contained at the start of the round. A learner has caught up when a round took less than an
/// election timeout.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum CatchUp {
    NotStarted,
    /// A round up to the index `through`.
    Round {
        through: LogIndex,
        started: Instant,
    },
    Done,
}

impl CatchUp {
    /// Advances the catch-up of a learner with `match_index`, in a log that ends at `last`.
    pub(super) fn advance(
        &mut self,
        match_index: LogIndex,
        last: LogIndex,
        now: Instant,
        timeout: Duration,
    ) {
        if let Self::Round { through, started } = *self {
            if match_index < through {
                return;
            }
            if now.saturating_since(started) < timeout {
                *self = Self::Done;
            }
        }
        if match_index >= last {
            *self = Self::Done;
        }
        if *self != Self::Done {
            *self = Self::Round { through: last, started: now };
        }
    }

    /// Moves the start of the round to `now`.
    #[cfg(feature = "model")]
    pub(super) fn canonicalize(&mut self, now: Instant) {
        if let Self::Round { started, .. } = self {
            *started = now;
        }
    }
}

/// The age of the leader's log that a voter has replicated, for the rule of witnesses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Lag {
    /// The follower has every entry that the leader had at this time.
    caught_up_at: Instant,
    /// The last index of the leader's log, sampled at the second value. When the follower reaches
    /// this index, `caught_up_at` becomes that time.
    target: (LogIndex, Instant),
}

impl Lag {
    /// A follower without lag at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { caught_up_at: now, target: (LogIndex(0), now) }
    }

    /// Samples a log that ends at `last`, if the follower has reached the previous sample.
    pub(super) fn update(&mut self, match_index: LogIndex, last: LogIndex, now: Instant) {
        let (index, sampled_at) = self.target;
        if match_index >= index {
            self.caught_up_at = sampled_at;
            self.target = (last, now);
        }
    }

    /// Returns true if the follower has what the leader had less than `timeout` ago.
    pub(super) fn is_below(&self, now: Instant, timeout: Duration) -> bool {
        now.saturating_since(self.caught_up_at) < timeout
    }

    /// Moves both times to `now`.
    #[cfg(feature = "model")]
    pub(super) fn canonicalize(&mut self, now: Instant) {
        self.caught_up_at = now;
        self.target.1 = now;
    }
}
