//! The lease of a leader (dissertation 6.4.1).

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::api::types::Instant;

/// The time for which no other server can lead, and the heartbeat rounds that can extend it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Lease {
    /// Heartbeat rounds that are not confirmed: number and start time, oldest first.
    rounds: VecDeque<(u64, Instant)>,
    /// The lease ends at this time.
    until: Instant,
    /// The leader has sent TimeoutNow, so another server may lead in spite of the lease.
    forfeited: bool,
}

/// The largest number of rounds in a [`Lease`].
const ROUNDS_MAX: u32 = 64;

impl Lease {
    /// The smallest distance between two recorded rounds. With this distance, the recorded rounds
    /// cover `election_timeout_min`; earlier rounds can extend no lease.
    pub(crate) fn round_distance(election_timeout_min: Duration) -> Duration {
        election_timeout_min / ROUNDS_MAX
    }

    /// Records the start of a heartbeat round, unless a round started less than `distance` before.
    ///
    /// Reads start rounds too. Without the distance, hundreds of rounds in flight would remove the
    /// oldest one before it is confirmed.
    pub(crate) fn note_round(&mut self, round: u64, now: Instant, distance: Duration) {
        let latest = self.rounds.back().map(|(_, started)| *started);
        if latest.is_some_and(|started| now.saturating_since(started) < distance) {
            return;
        }
        if self.rounds.len() == ROUNDS_MAX as usize {
            self.rounds.pop_front();
        }
        self.rounds.push_back((round, now));
    }

    /// Extends the lease to `length` after the start of the latest recorded round up to `round`,
    /// which a quorum has confirmed.
    pub(crate) fn confirm_round(&mut self, round: u64, length: Duration) {
        while let Some((_, started)) = self.rounds.pop_front_if(|(number, _)| *number <= round) {
            self.until = self.until.max(started + length);
        }
    }

    /// Returns true if the lease has not ended at `now`.
    pub(crate) fn is_running(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Ends all leases of this term, because the leader sends TimeoutNow.
    pub(crate) fn forfeit(&mut self) {
        self.forfeited = true;
    }

    /// Returns true if the leader has sent TimeoutNow in this term.
    pub(crate) fn is_forfeited(&self) -> bool {
        self.forfeited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_micros(100);

    #[test]
    fn lease_counts_from_start_of_confirmed_round() {
        let mut lease = Lease::default();
        lease.note_round(1, Instant(50), Duration::ZERO);
        lease.note_round(2, Instant(60), Duration::ZERO);
        assert!(!lease.is_running(Instant(50)));
        lease.confirm_round(1, LENGTH);
        assert_eq!([149, 150].map(|now| lease.is_running(Instant(now))), [true, false]);
        lease.confirm_round(2, LENGTH);
        assert!(lease.is_running(Instant(159)));
    }

    #[test]
    fn frequent_rounds_do_not_displace_oldest_round() {
        let timeout = Duration::from_millis(64);
        let distance = Lease::round_distance(timeout);
        let mut lease = Lease::default();
        for round in 1..=10_000 {
            lease.note_round(round, Instant(round * 6), distance);
        }
        assert_eq!(lease.rounds.front(), Some(&(1, Instant(6))));
        lease.confirm_round(10_000, timeout);
        assert!(lease.is_running(Instant(60_000 + 63_000)));
    }
}
