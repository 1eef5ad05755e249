//! Transactions.

use alloc::vec;

use super::{Log, txn_of};
use crate::{
    Command, Compare, Delete, KeyRange, Malformed, Op, OpResult, Operand, Outcome, Put,
    RangeRequest, Rejection, Relation, Txn,
};

fn holds(log: &mut Log, compare: Compare) -> bool {
    let txn = Txn { compare: vec![compare], ..Txn::default() };
    txn_of(log.run(txn)).succeeded
}

#[test]
fn comparisons_compare() {
    let mut log = Log::new();
    log.run(Put::new("other", "x"));
    log.run(Put::new("a", "m"));
    log.run(Put::new("a", "m"));
    // Key a has creation revision 3, last revision 4 and version 2.
    let create_revision: fn(i64) -> Operand = Operand::CreateRevision;
    for (operand, stored) in
        [(create_revision, 3), (Operand::ModRevision, 4), (Operand::Version, 2)]
    {
        for (relation, below, equal, above) in [
            (Relation::Equal, false, true, false),
            (Relation::NotEqual, true, false, true),
            (Relation::Greater, true, false, false),
            (Relation::Less, false, false, true),
        ] {
            for (number, expected) in [(stored - 1, below), (stored, equal), (stored + 1, above)] {
                let compare = Compare::key("a", relation, operand(number));
                assert_eq!(holds(&mut log, compare.clone()), expected, "{compare:?}");
            }
        }
    }
    for (relation, value, expected) in [
        (Relation::Equal, "m", true),
        (Relation::Equal, "n", false),
        (Relation::NotEqual, "n", true),
        (Relation::Greater, "l", true),
        (Relation::Greater, "m", false),
        (Relation::Less, "ma", true),
        (Relation::Less, "m", false),
    ] {
        let compare = Compare::key("a", relation, Operand::Value(value.into()));
        assert_eq!(holds(&mut log, compare.clone()), expected, "{compare:?}");
    }
}

#[test]
fn absent_key_compares_as_zeros() {
    let mut log = Log::new();
    let absent = |relation, operand| Compare::key("a", relation, operand);
    assert!(holds(&mut log, absent(Relation::Equal, Operand::Version(0))));
    assert!(holds(&mut log, absent(Relation::Equal, Operand::CreateRevision(0))));
    assert!(holds(&mut log, absent(Relation::Less, Operand::ModRevision(1))));
    for relation in [Relation::Equal, Relation::NotEqual, Relation::Less] {
        assert!(!holds(&mut log, absent(relation, Operand::Value("".into()))));
    }
}

#[test]
fn range_compare_must_hold_for_all_keys() {
    let mut log = Log::new();
    log.run(Put::new("a1", "x"));
    log.run(Put::new("a2", "x"));
    let compare = |relation, operand| Compare { keys: KeyRange::prefix("a"), relation, operand };
    assert!(holds(&mut log, compare(Relation::Equal, Operand::Value("x".into()))));
    assert!(!holds(&mut log, compare(Relation::Equal, Operand::ModRevision(2))));
    assert!(!holds(&mut log, compare(Relation::Equal, Operand::ModRevision(3))));
    assert!(holds(&mut log, compare(Relation::Less, Operand::ModRevision(4))));
}

#[test]
fn txn_is_one_revision_and_ops_see_earlier_ops() {
    let mut log = Log::new();
    log.run(Put::new("gone", "1"));
    let everything = || Op::Range(RangeRequest::new(KeyRange::all()));
    let response = log.run(Txn {
        compare: vec![],
        success: vec![
            everything(),
            Op::Put(Put::new("a", "1")),
            Op::Put(Put::new("b", "2")),
            Op::Delete(Delete::new(KeyRange::key("gone"))),
            everything(),
            Op::Range(RangeRequest::new(KeyRange::all()).at_revision(2)),
        ],
        failure: vec![],
    });
    assert_eq!(response.revision, 3);
    let txn = txn_of(response);
    let [OpResult::Range(before), .., OpResult::Range(after), OpResult::Range(past)] =
        &txn.results[..]
    else {
        panic!("not the operations asked for: {txn:?}");
    };
    assert_eq!((before.kvs.len(), before.revision), (1, 2));
    assert_eq!((after.kvs.len(), after.revision), (2, 3));
    assert!(after.kvs.iter().all(|kv| kv.mod_revision == 3));
    assert_eq!(past.kvs, before.kvs);
}

#[test]
fn txn_without_changes_adds_no_revision() {
    let mut log = Log::new();
    log.run(Put::new("a", "1"));
    let response = log.run(Txn {
        success: vec![
            Op::Range(RangeRequest::new(KeyRange::all())),
            Op::Delete(Delete::new(KeyRange::key("nothing"))),
        ],
        ..Txn::default()
    });
    assert_eq!(response.revision, 2);
}

#[test]
fn compare_and_set_sets_once() {
    let mut log = Log::new();
    let create = || Txn::put_if_unchanged(Put::new("a", "1"), 0);
    assert!(txn_of(log.run(create())).succeeded);
    let second = txn_of(log.run(create()));
    assert!(!second.succeeded);
    let [OpResult::Range(now)] = &second.results[..] else {
        panic!("the key is not returned: {second:?}");
    };
    assert_eq!(now.kvs[0].mod_revision, 2);
    let update = Txn::put_if_unchanged(Put::new("a", "2"), 2);
    assert!(txn_of(log.run(update.clone())).succeeded);
    assert!(!txn_of(log.run(update)).succeeded);
}

#[test]
fn key_changed_twice_in_txn_is_rejected() {
    let mut log = Log::new();
    log.run(Put::new("a", "1"));
    let put = || Op::Put(Put::new("a", "2"));
    let delete = |keys| Op::Delete(Delete::new(keys));
    for ops in [
        vec![put(), put()],
        vec![put(), delete(KeyRange::key("a"))],
        vec![delete(KeyRange::all()), put()],
        vec![delete(KeyRange::between("Z", "b")), put()],
    ] {
        let failing = Txn { failure: ops.clone(), ..Txn::default() };
        let succeeding = Txn { success: ops, ..Txn::default() };
        for txn in [succeeding, failing] {
            let refused = Outcome::Rejected(Rejection::Malformed(Malformed::DuplicateKey));
            assert_eq!(log.apply(&Command::new(txn)), refused);
        }
    }
    assert_eq!(log.kv.revision(), 2);
    // Deletes may overlap, and the two sides are independent.
    log.run(Txn {
        compare: vec![],
        success: vec![delete(KeyRange::all()), delete(KeyRange::key("a"))],
        failure: vec![put()],
    });
    assert_eq!(log.kv.revision(), 3);
}

#[test]
fn future_read_rejects_txn() {
    let mut log = Log::new();
    let txn = Txn {
        success: vec![
            Op::Put(Put::new("a", "1")),
            Op::Range(RangeRequest::new(KeyRange::all()).at_revision(2)),
        ],
        ..Txn::default()
    };
    let refused = Outcome::Rejected(Rejection::FutureRevision { requested: 2, current: 1 });
    assert_eq!(log.apply(&Command::new(txn)), refused);
    assert_eq!((log.kv.revision(), log.kv.applied_index()), (1, 1));
}
