use super::*;
use raft_kv::{
    Compare, Delete, Entry, Expiry, Kv, MemoryStore, Operand, RangeRequest, Relation,
    RevisionChanges, Txn,
};

const TERM: u64 = 3;

/// A state machine and its auditor.
struct Audited {
    kv: Kv<MemoryStore>,
    auditor: Auditor,
}

impl Audited {
    fn new() -> Self {
        Self { kv: Kv::open(MemoryStore::new()).unwrap(), auditor: Auditor::new(true) }
    }

    /// Applies a command. The auditor receives the command and the changes as `spoil` alters them.
    fn apply_but(
        &mut self,
        request: impl Into<Request>,
        spoil: impl FnOnce(&mut Request, &mut Changes),
    ) -> Checked<Option<LeaseChange>> {
        let mut command = Command::new(request);
        let index = self.kv.applied_index() + 1;
        let entry = Entry::command(index, TERM, command.encode());
        let outcome = self.kv.apply(entry).unwrap();
        let mut changes = self.changes(self.auditor.revision() + 1);
        spoil(&mut command.request, &mut changes);
        let applied = FirstApplied {
            index,
            term: TERM,
            command: Some(&command),
            outcome: &outcome,
            revision: self.kv.revision(),
            is_repeated: false,
        };
        self.auditor.apply(applied, |_| Some(changes))
    }

    fn apply(&mut self, request: impl Into<Request>) -> Option<LeaseChange> {
        self.apply_but(request, |_, _| {}).unwrap()
    }

    fn changes(&self, from: i64) -> Changes {
        let request = ChangesRequest::new(KeyRange::all(), from).returning_previous();
        self.kv.changes(&request).unwrap()
    }
}

fn attached(key: &'static str) -> Put {
    Put::new(key, "v").with_lease(7)
}

/// Lease 7 with two keys, after some other changes: revisions 2 to 6.
fn audited() -> Audited {
    let mut audited = Audited::new();
    audited.apply(Put::new("a", "1"));
    let lease = Grant { id: 7, ttl: 1 };
    assert!(matches!(audited.apply(lease), Some(LeaseChange::Granted(_))));
    audited.apply(Txn {
        success: vec![Op::Put(Put::new("c", "1")), Op::Put(Put::new("a", "2"))],
        ..Txn::default()
    });
    audited.apply(attached("l1"));
    audited.apply(attached("l2"));
    audited.apply(Delete::new(KeyRange::key("a")));
    audited
}

type Spoil = fn(&mut Vec<RevisionChanges>);

#[test]
fn wrong_watch_event_is_detected() {
    let audited = audited();
    let check = |keys: &KeyRange, spoil: Spoil| {
        let mut changes = audited.changes(2);
        spoil(&mut changes.revisions);
        audited.auditor.check_watch(keys, true, 2, &changes)
    };
    let all = KeyRange::all();
    assert_eq!(check(&all, |_| {}), Ok(()));
    let spoiled: [Spoil; 10] = [
        |received| received.swap(0, 1),
        |received| drop(received.remove(2)),
        |received| drop(received.pop()),
        |received| received.insert(1, received[0].clone()),
        |received| drop(received[1].events.pop()),
        |received| received[1].events.swap(0, 1),
        |received| {
            // A revision in two batches.
            let events = received[1].events.split_off(1);
            let revision = received[1].revision;
            received.insert(2, RevisionChanges { revision, events });
        },
        |received| received[0].events[0].kv.value = "2".into(),
        |received| received[4].events[0].prev_kv = None,
        |received| received[3].events[0].kv.lease = 0,
    ];
    for (number, spoil) in spoiled.iter().enumerate() {
        let found = check(&all, *spoil).unwrap_err().0;
        assert_eq!(found, Invariant::WatchOrder, "{number}");
    }
    // The batch contains another key, or begins too early or too late.
    let (one, batch) = (KeyRange::key("c"), audited.changes(2));
    assert!(audited.auditor.check_watch(&one, true, 2, &batch).is_err());
    assert!(audited.auditor.check_watch(&all, true, 3, &batch).is_err());
    assert!(audited.auditor.check_watch(&all, true, 1, &batch).is_ok());
    let mut beyond = audited.changes(7);
    assert_eq!(audited.auditor.check_watch(&all, true, 7, &beyond), Ok(()));
    beyond.next_revision += 1;
    assert!(audited.auditor.check_watch(&all, true, 7, &beyond).is_err());
    assert!(
        audited.auditor.check_watch(&all, true, 5, &audited.changes(6)).is_err(),
        "5 is skipped"
    );
}

#[test]
fn partial_lease_deletion_is_detected() {
    let end = |spoil: fn(&mut Changes)| {
        let mut audited = audited();
        audited.apply_but(Revoke::new(7), |_, changes| spoil(changes))
    };
    assert!(matches!(end(|_| {}), Ok(Some(LeaseChange::Ended { has_expired: false, .. }))));
    let spoiled: [fn(&mut Changes); 4] = [
        |received| received.revisions.clear(),
        |received| drop(received.revisions[0].events.pop()),
        |received| received.revisions[0].events[0].kv.key = "c".into(),
        |received| {
            let mut second = received.revisions[0].clone();
            second.events.remove(0);
            received.revisions[0].events.truncate(1);
            received.revisions.push(second);
        },
    ];
    for spoil in spoiled {
        assert_eq!(end(spoil).unwrap_err().0, Invariant::LeaseKeysDeletedWithLease);
    }
}

#[test]
fn key_on_missing_lease_is_detected() {
    let mut audited = audited();
    audited.apply(Revoke::new(7));
    let late = audited.apply_but(Put::new("l3", "v"), |request, _| {
        *request = attached("l3").into();
    });
    assert_eq!(late.unwrap_err().0, Invariant::LeaseKeysDeletedWithLease);
}

/// A state machine without the limit would have applied the second transaction.
#[test]
fn lease_over_key_limit_is_detected() {
    let attach_all = |numbers: std::ops::Range<u64>| {
        let attach = |number: u64| Op::Put(Put::new(format!("l{number}"), "v").with_lease(7));
        Txn { success: numbers.map(attach).collect(), ..Txn::default() }
    };
    // Two keys are attached already, and are put again.
    let full = 1..LEASE_KEYS_MAX + 1;
    assert_eq!(audited().apply_but(attach_all(full.clone()), |_, _| {}), Ok(None));
    let more = audited().apply_but(attach_all(full), |request, _| {
        *request = attach_all(0..LEASE_KEYS_MAX + 1).into();
    });
    assert_eq!(more.unwrap_err().0, Invariant::LeaseKeysDeletedWithLease);
}

/// The auditor rejects what the state machine would refuse.
#[test]
fn wrong_lease_change_is_detected() {
    let spoil = |request: Request, spoiled: Request| {
        audited().apply_but(request, move |request, _| *request = spoiled)
    };
    let end = |expiry| Request::from(Revoke { id: 7, expiry });
    let expiry = |term, granted_at| Some(Expiry { term, granted_at });
    assert!(spoil(end(None), end(expiry(TERM, 2))).is_ok());
    for wrong in [expiry(TERM - 1, 2), expiry(TERM, 1)] {
        let found = spoil(end(None), end(wrong)).unwrap_err().0;
        assert_eq!(found, Invariant::LeaseNotExpiredEarly, "{wrong:?}");
    }
    let grant = |id| Request::from(Grant { id, ttl: 1 });
    assert!(spoil(grant(9), grant(9)).is_ok());
    let found = spoil(grant(9), grant(8)).unwrap_err().0;
    assert_eq!(found, Invariant::LeaseNotExpiredEarly);
    // A number that is chosen twice.
    let mut audited = audited();
    audited.apply(grant(0));
    let again = audited.auditor.chosen_lease_max;
    audited.apply(Revoke::new(again));
    let chosen = audited.apply_but(grant(again), |request, _| *request = grant(0));
    assert_eq!(chosen.unwrap_err().0, Invariant::LeaseNotExpiredEarly);
}

#[test]
fn wrong_txn_result_is_detected() {
    let txn = |lease| Txn {
        compare: vec![Compare::key("l1", Relation::Equal, Operand::Lease(lease))],
        success: vec![
            Op::Put(Put::new("a", "3").returning_previous()),
            Op::Delete(Delete::new(KeyRange::prefix("l")).returning_previous()),
            Op::Range(RangeRequest::new(KeyRange::all()).limit(1)),
        ],
        failure: vec![Op::Range(RangeRequest::new(KeyRange::prefix("l")))],
    };
    assert_eq!(audited().apply_but(txn(7), |_, _| {}), Ok(None));
    assert_eq!(audited().apply_but(txn(8), |_, _| {}), Ok(None));
    let spoiled = |spoil: fn(&mut Txn)| {
        let spoil = |request: &mut Request, _: &mut Changes| {
            let Request::Txn(txn) = request else { return };
            spoil(txn);
        };
        audited().apply_but(txn(7), spoil).unwrap_err().0
    };
    let safety = Invariant::StateMachineSafety;
    let other_lease = |txn: &mut Txn| txn.compare[0].operand = Operand::Lease(8);
    assert_eq!(spoiled(other_lease), safety);
    let more = |txn: &mut Txn| {
        txn.success[2] = Op::Range(RangeRequest::new(KeyRange::all()));
    };
    assert_eq!(spoiled(more), safety);
    assert_eq!(spoiled(|txn| drop(txn.success.pop())), safety);
    let fewer = |txn: &mut Txn| {
        txn.success[1] = Op::Delete(Delete::new(KeyRange::key("l1")).returning_previous());
    };
    assert_eq!(spoiled(fewer), safety);
}

#[test]
fn unexplained_revision_is_detected() {
    let mut audited = audited();
    let unexplained = audited.apply_but(Put::new("b", "v"), |request, _| {
        *request = Delete::new(KeyRange::key("nothing")).into();
    });
    assert_eq!(unexplained.unwrap_err().0, Invariant::StateMachineSafety);
}
