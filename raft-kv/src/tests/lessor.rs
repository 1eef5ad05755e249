//! The clock of a leader for leases.

use core::time::Duration;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::Log;
use crate::{Command, Entry, Grant, Lessor, Outcome, Put, RenewError, Revoke, Session};

const RETRY: Duration = Duration::from_millis(500);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A leader with its state machine and lessor.
struct Leader {
    log: Log,
    lessor: Lessor,
}

impl Leader {
    fn new() -> Self {
        Self::of(Log::new(), 1, s(0))
    }

    fn of(log: Log, term: u64, now: Duration) -> Self {
        let lessor = Lessor::new(&log.kv.view(), term, now, RETRY).unwrap();
        Self { log, lessor }
    }

    fn apply(&mut self, command: &Command, now: Duration) -> Outcome {
        let (index, term) = (self.log.kv.applied_index() + 1, self.lessor.term());
        let entry = Entry::command(index, term, command.encode());
        let outcome = self.log.kv.apply(entry).unwrap();
        self.lessor.observe(index, &outcome, now);
        outcome
    }

    fn grant(&mut self, id: i64, ttl: i64, now: Duration) {
        let outcome = self.apply(&Command::new(Grant { id, ttl }), now);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }

    fn expired(&mut self, now: Duration) -> Vec<i64> {
        let revocations = self.lessor.expired(now, 100);
        revocations.into_iter().map(|revoke| revoke.id).collect()
    }
}

#[test]
fn lease_expires_without_keep_alive() {
    let mut leader = Leader::new();
    assert_eq!(leader.lessor.deadline(), None);
    leader.grant(1, 10, s(100));
    leader.grant(2, 5, s(100));
    leader.apply(&Command::new(Put::new("a", "v").with_lease(1)), s(100));
    assert_eq!(leader.lessor.deadline(), Some(s(105)));
    assert_eq!(leader.lessor.remaining(1, s(103)), Some(s(7)));
    assert_eq!(leader.lessor.renew(2, s(104)).map(|lease| lease.ttl), Ok(5));
    assert_eq!(leader.expired(s(108)), [0; 0]);
    assert_eq!(leader.lessor.deadline(), Some(s(109)));
    assert_eq!(leader.expired(s(109)), [2]);
    leader.apply(&Command::new(Revoke::new(2)), s(109));
    let over = leader.lessor.expired(s(110), 100);
    let over: [Revoke; 1] = over.try_into().unwrap();
    assert_eq!(over[0].id, 1);
    // From its end on, whether `expired` has returned it or not.
    assert_eq!(leader.lessor.renew(1, s(110)), Err(RenewError::Expired { id: 1 }));
    leader.apply(&Command::new(over[0]), s(111));
    assert_eq!(leader.log.all(None), []);
    assert_eq!(leader.lessor.renew(1, s(111)), Err(RenewError::NotFound { id: 1 }));
    assert_eq!(leader.lessor.remaining(1, s(111)), None);
}

#[test]
fn unapplied_revokes_are_retried() {
    let mut leader = Leader::new();
    for id in [1, 2, 3] {
        leader.grant(id, 1, s(0));
    }
    assert_eq!(leader.lessor.expired(s(1), 2).len(), 2);
    assert_eq!(leader.expired(s(1)), [3]);
    assert_eq!(leader.expired(s(1)), [0; 0]);
    assert_eq!(leader.lessor.deadline(), Some(s(1) + RETRY));
    leader.apply(&Command::new(Revoke::new(2)), s(1));
    assert_eq!(leader.expired(s(2)), [1, 3]);
}

#[test]
fn new_leader_extends_all_leases() {
    let mut old = Leader::new();
    old.grant(1, 10, s(0));
    let mut new = Leader::of(old.log, 2, s(9));
    assert_eq!(new.lessor.remaining(1, s(9)), Some(s(10)));
    assert_eq!(new.expired(s(18)), [0; 0]);
    // The revocation of the old leader is rejected in the new term.
    let late = old.lessor.expired(s(10), 1)[0];
    let outcome = new.apply(&Command::new(late), s(18));
    assert!(matches!(outcome, Outcome::Rejected(_)));
    assert_eq!(new.lessor.renew(1, s(18)).map(|lease| lease.id), Ok(1));
    assert_eq!(new.expired(s(28)), [1]);
}

#[test]
fn duplicate_outcome_is_ignored() {
    let mut leader = Leader::new();
    let session = |sequence| Session { client: 1, sequence, since: 0 };
    let grant = Command::new(Grant { id: 7, ttl: 5 }).with_session(session(1));
    leader.apply(&grant, s(0));
    // A retry does not renew the lease.
    leader.apply(&grant, s(3));
    assert_eq!(leader.lessor.deadline(), Some(s(5)));
    let revoke = Command::new(Revoke::new(7)).with_session(session(2));
    leader.apply(&revoke, s(4));
    leader.grant(7, 5, s(4));
    // The revocation of an earlier lease with this id does not end this one.
    leader.apply(&revoke, s(4));
    assert_eq!(leader.lessor.remaining(7, s(4)), Some(s(5)));
}

#[test]
fn huge_durations_do_not_overflow() {
    let mut leader = Leader::new();
    leader.grant(1, crate::LEASE_TTL_MAX, Duration::MAX - s(1));
    assert_eq!(leader.lessor.deadline(), Some(Duration::MAX));
    assert_eq!(leader.expired(Duration::MAX), [1]);
}

#[test]
fn renewal_at_earlier_reading_does_not_revive_expired_lease() {
    let mut leader = Leader::new();
    leader.grant(1, 10, s(0));
    assert_eq!(leader.expired(s(10)), [1]);
    assert_eq!(leader.lessor.renew(1, s(9)), Err(RenewError::Expired { id: 1 }));
    assert_eq!(leader.lessor.remaining(1, s(9)), Some(s(0)));
}

#[test]
fn renewal_at_earlier_reading_does_not_shorten_lease() {
    let mut leader = Leader::new();
    leader.grant(1, 10, s(0));
    assert!(leader.lessor.renew(1, s(8)).is_ok());
    assert!(leader.lessor.renew(1, s(3)).is_ok());
    assert_eq!(leader.lessor.deadline(), Some(s(18)));
}

#[test]
fn grant_at_earlier_reading_has_all_of_its_time() {
    let mut leader = Leader::new();
    assert_eq!(leader.expired(s(50)), [0; 0]);
    leader.grant(1, 10, s(3));
    assert_eq!(leader.lessor.deadline(), Some(s(60)));
}

#[test]
fn outcome_observed_twice_does_not_revive_lease() {
    let mut leader = Leader::new();
    let granted = leader.apply(&Command::new(Grant { id: 1, ttl: 10 }), s(0));
    assert_eq!(leader.expired(s(10)), [1]);
    leader.lessor.observe(1, &granted, s(10));
    assert_eq!(leader.lessor.renew(1, s(10)), Err(RenewError::Expired { id: 1 }));
    leader.apply(&Command::new(Revoke::new(1)), s(11));
    leader.lessor.observe(1, &granted, s(11));
    assert_eq!(leader.lessor.renew(1, s(11)), Err(RenewError::NotFound { id: 1 }));
    assert_eq!(leader.lessor.deadline(), None);
}

/// A call of a lessor, with a clock reading in seconds.
#[derive(Clone, Copy, Debug)]
enum Call {
    Grant(i64, i64),
    Revoke(i64),
    Renew(i64),
    Expired(usize),
    ObserveAgain,
}

fn call() -> impl Strategy<Value = Call> {
    let id = || 1..3_i64;
    prop_oneof![
        2 => (id(), 1..5_i64).prop_map(|(id, ttl)| Call::Grant(id, ttl)),
        1 => id().prop_map(Call::Revoke),
        4 => id().prop_map(Call::Renew),
        4 => (1..3_usize).prop_map(Call::Expired),
        1 => Just(Call::ObserveAgain),
    ]
}

proptest! {
    /// Calls in any order, with readings that increase and decrease.
    #[test]
    fn expired_lease_is_never_renewed(calls in vec((call(), 0..20_u64), 0..60)) {
        let mut leader = Leader::new();
        let mut expired = Vec::new();
        // For each lease, the earliest time at which it may end.
        let mut promised = BTreeMap::new();
        let mut latest = s(0);
        let mut outcomes = Vec::new();
        for (call, at) in calls {
            let now = s(at);
            if !matches!(call, Call::ObserveAgain) || !outcomes.is_empty() {
                latest = latest.max(now);
            }
            match call {
                Call::Grant(id, ttl) => {
                    let outcome = leader.apply(&Command::new(Grant { id, ttl }), now);
                    if matches!(outcome, Outcome::Done(_)) {
                        let index = leader.log.kv.applied_index();
                        promised.insert((id, index), latest + s(ttl.cast_unsigned()));
                    }
                    outcomes.push((leader.log.kv.applied_index(), outcome));
                }
                Call::Revoke(id) => {
                    let outcome = leader.apply(&Command::new(Revoke::new(id)), now);
                    outcomes.push((leader.log.kv.applied_index(), outcome));
                }
                Call::Renew(id) => {
                    if let Ok(lease) = leader.lessor.renew(id, now) {
                        let name = (id, lease.granted_at);
                        prop_assert!(!expired.contains(&name));
                        promised.insert(name, latest + s(lease.ttl.cast_unsigned()));
                    }
                }
                Call::Expired(max) => {
                    for revoke in leader.lessor.expired(now, max) {
                        let granted_at = revoke.expiry.map(|expiry| expiry.granted_at);
                        let name = (revoke.id, granted_at.unwrap_or_default());
                        prop_assert!(promised[&name] <= latest);
                        expired.push(name);
                    }
                }
                Call::ObserveAgain => {
                    for (index, outcome) in &outcomes {
                        leader.lessor.observe(*index, outcome, now);
                    }
                }
            }
        }
    }
}
