//! The lease checker: leases must not expire early, and keep-alives must be valid.
//!
//! A lease must not expire before its time to live has passed. The time counts from its grant, or
//! from the arrival of the latest keep-alive that was answered. Every clock that a leader could use
//! must agree. The checker bounds the clocks by the virtual time, the fastest drift that was ever
//! set, and the total of all clock jumps. A server that had been replaced as leader when a
//! keep-alive arrived must not confirm it.

use std::collections::BTreeMap;

use raft_core::Term;
use raft_kv::Lease;

use crate::check::Checked;
use crate::check::auditor::LeaseChange;
use crate::check::invariants::Invariant;
use crate::node::clock::ClockBound;
use crate::node::leases::KeepAlive;
use crate::util::units::duration;

/// The known facts about leases and clocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseChecker {
    /// When the time to live of each lease started for the last time.
    since: BTreeMap<LeaseKey, ClockBound>,
    /// When each lease ended, and whether it had expired.
    ended: BTreeMap<LeaseKey, (ClockBound, bool)>,
    /// The total of all jumps of all clocks.
    jumped: u64,
    /// The fastest drift of any clock, in parts per million.
    drift_max: u32,
}

/// The number of a lease, and the entry that granted it.
type LeaseKey = (i64, u64);

fn key(lease: &Lease) -> LeaseKey {
    (lease.id, lease.granted_at)
}

impl LeaseChecker {
    /// Records that a clock has another speed.
    pub(crate) fn on_clock_drift(&mut self, drift: i32) {
        self.drift_max = self.drift_max.max(drift.max(0).cast_unsigned());
    }

    /// Records that a clock has jumped forward.
    pub(crate) fn on_clock_jump(&mut self, by: u64) {
        self.jumped = self.jumped.saturating_add(by);
    }

    /// The bound of all clocks at a virtual time.
    pub(crate) fn clock_bound(&self, at: u64) -> ClockBound {
        ClockBound { at, jumped: self.jumped }
    }

    /// Checks a change of a lease when the first server applies it.
    pub(crate) fn on_lease_change(&mut self, change: LeaseChange, now: u64) -> Checked {
        let now = self.clock_bound(now);
        match change {
            LeaseChange::Granted(lease) => {
                self.since.insert(key(&lease), now);
                Ok(())
            }
            LeaseChange::Ended { lease, has_expired } => {
                self.ended.insert(key(&lease), (now, has_expired));
                match self.since.remove(&key(&lease)).filter(|_| has_expired) {
                    Some(since) => self.check_lifetime(&lease, since, now),
                    None => Ok(()),
                }
            }
        }
    }

    /// Checks that a server in `term` confirms that it kept a lease alive.
    pub(crate) fn on_keep_alive(
        &mut self,
        node: u64,
        lease: &Lease,
        term: Term,
        request: KeepAlive,
    ) -> Checked {
        if request.latest_term_led > term {
            let text = format!(
                "n{node} keeps lease {} alive in term {term}, but a server led in term {} before the request arrived",
                lease.id, request.latest_term_led
            );
            return Err((Invariant::LeaseNotExpiredEarly, text));
        }
        self.extend(lease, request.arrived)
    }

    /// Restarts the time to live of a lease with the arrival of a keep-alive.
    fn extend(&mut self, lease: &Lease, arrived: ClockBound) -> Checked {
        if let Some((ended, has_expired)) = self.ended.get(&key(lease)) {
            if ended.at < arrived.at {
                let text = format!(
                    "lease {} is kept alive {} after it ended",
                    lease.id,
                    duration(arrived.at - ended.at)
                );
                return Err((Invariant::LeaseNotExpiredEarly, text));
            }
            if *has_expired {
                return self.check_lifetime(lease, arrived, *ended);
            }
            return Ok(());
        }
        if let Some(since) = self.since.get_mut(&key(lease))
            && since.at < arrived.at
        {
            *since = arrived;
        }
        Ok(())
    }

    /// Checks that the fastest possible clock measured the whole time to live.
    fn check_lifetime(&self, lease: &Lease, since: ClockBound, ended: ClockBound) -> Checked {
        let million = 1_000_000_u128;
        let passed = u128::from(ended.at.saturating_sub(since.at));
        let passed = passed * (million + u128::from(self.drift_max)) / million;
        // A clock shows whole microseconds.
        let passed = passed + u128::from(ended.jumped - since.jumped) + 1;
        if passed >= u128::from(lease.ttl.max(0).cast_unsigned()) * million {
            return Ok(());
        }
        let text = format!(
            "lease {} of {} s expired {} after its time to live started",
            lease.id,
            lease.ttl,
            duration(ended.at.saturating_sub(since.at))
        );
        Err((Invariant::LeaseNotExpiredEarly, text))
    }

    /// The number of leases that have expired, and the number of revoked leases.
    #[cfg(test)]
    pub(crate) fn ended_by_expiry(&self) -> (usize, usize) {
        let expired = self.ended.values().filter(|(_, expired)| *expired).count();
        (expired, self.ended.len() - expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The earliest valid expiry depends on the clocks.
    #[test]
    fn expiry_check_uses_fastest_clock_and_jumps() {
        let lease = Lease { id: 1, ttl: 1, granted_at: 3 };
        let ends = |prepare: fn(&mut LeaseChecker), at| {
            let mut checker = LeaseChecker::default();
            checker.on_lease_change(LeaseChange::Granted(lease), 0).unwrap();
            prepare(&mut checker);
            checker.on_lease_change(LeaseChange::Ended { lease, has_expired: true }, at)
        };
        let is_early = |ended: Checked| {
            ended.is_err_and(|(invariant, _)| invariant == Invariant::LeaseNotExpiredEarly)
        };
        assert_eq!(ends(|_| {}, 1_000_000), Ok(()));
        assert!(is_early(ends(|_| {}, 900_000)));
        assert_eq!(ends(|it| it.on_clock_drift(250_000), 800_000), Ok(()));
        assert!(is_early(ends(|it| it.on_clock_drift(-250_000), 800_000)));
        assert_eq!(ends(|it| it.on_clock_jump(400_000), 600_000), Ok(()));
        assert!(is_early(ends(|it| it.on_clock_jump(399_000), 600_000)));
    }

    #[test]
    fn keep_alive_after_end_is_detected() {
        let lease = Lease { id: 1, ttl: 1, granted_at: 3 };
        let mut checker = LeaseChecker::default();
        checker.on_lease_change(LeaseChange::Granted(lease), 0).unwrap();
        let (early, late) = (checker.clock_bound(10), checker.clock_bound(2_000_000));
        checker.extend(&lease, early).unwrap();
        let end = |has_expired| LeaseChange::Ended { lease, has_expired };
        let mut revoked = checker.clone();
        revoked.on_lease_change(end(false), 500_000).unwrap();
        assert_eq!(
            revoked.extend(&lease, early),
            Ok(()),
            "the lease existed when the request arrived"
        );
        assert!(revoked.extend(&lease, late).is_err());
        checker.on_lease_change(end(true), 1_000_010).unwrap();
        assert_eq!(checker.extend(&lease, early), Ok(()));
        let between = checker.clock_bound(500_000);
        assert!(checker.extend(&lease, between).is_err());
        assert!(checker.extend(&lease, late).is_err());
    }
}
