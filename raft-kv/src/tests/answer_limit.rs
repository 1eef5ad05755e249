//! The limit of the size of a response.

use alloc::vec::Vec;

use super::Log;
use crate::apply::Capacity;
use crate::{
    Command, Delete, Entry, KeyRange, Kv, MemoryStore, Op, Outcome, Put, RangeRequest, Rejection,
    Request, RequestResult, Session, Txn,
};

/// The size of two pairs with 36 bytes of key and value each.
const MAX: u64 = 200;
const VALUE: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";

/// Keys a, b and c.
fn three_keys() -> Log {
    let capacity = Capacity { sessions: 9, leases: 9, lease_keys: 9, answer_bytes: MAX };
    let mut log = Log { kv: Kv::open_with(MemoryStore::new(), capacity).unwrap() };
    for key in ["a", "b", "c"] {
        log.run(Put::new(key, VALUE));
    }
    log
}

fn read(keys: KeyRange) -> Op {
    Op::Range(RangeRequest::new(keys))
}

fn txn(ops: impl IntoIterator<Item = Op>) -> Txn {
    Txn { success: ops.into_iter().collect(), ..Txn::default() }
}

fn assert_too_large(log: &mut Log, request: impl Into<Request>) {
    let (before, all) = (log.kv.fingerprint(), log.all(None));
    let outcome = log.apply(&Command::new(request));
    assert_eq!(outcome, Outcome::Rejected(Rejection::AnswerTooLarge { max: MAX }));
    assert_eq!((log.kv.fingerprint(), log.all(None)), (before, all));
}

#[test]
fn response_over_limit_is_rejected_without_changes() {
    let mut log = three_keys();
    let put = || Op::Put(Put::new("d", VALUE));
    let delete = || Op::Delete(Delete::new(KeyRange::key("a")));
    let single = |key: &'static str| read(KeyRange::key(key));
    assert_too_large(&mut log, txn([put(), delete(), single("b"), single("c"), single("d")]));
    assert_too_large(&mut log, txn([put(), read(KeyRange::all())]));
    assert_too_large(&mut log, txn([single("a"), put(), read(KeyRange::between("b", "d"))]));
    assert_too_large(&mut log, Delete::new(KeyRange::all()).returning_previous());
    let replaced = ["a", "b", "c"].map(|key| Op::Put(Put::new(key, "").returning_previous()));
    assert_too_large(&mut log, txn(replaced));
}

#[test]
fn answer_at_limit_is_returned() {
    let mut log = three_keys();
    // The size of a read depends on the earlier operations.
    let ops = [
        Op::Put(Put::new("a", "short")),
        Op::Delete(Delete::new(KeyRange::key("b"))),
        read(KeyRange::all()),
    ];
    let RequestResult::Txn(done) = log.run(txn(ops)).result else {
        panic!("not a transaction");
    };
    assert!(done.succeeded && done.results.len() == 3);
    log.run(Delete::new(KeyRange::all()).returning_previous());
    assert_eq!(log.all(None), []);
}

#[test]
fn refused_answer_does_not_undo_earlier_entries_of_batch() {
    let mut log = three_keys();
    let commands: [Request; 3] = [
        Put::new("a", "1").into(),
        txn([Op::Put(Put::new("a", VALUE)), read(KeyRange::all())]).into(),
        Put::new("d", "2").into(),
    ];
    let entries = (4..).zip(commands);
    let entries =
        entries.map(|(index, request)| Entry::command(index, 1, Command::new(request).encode()));
    let outcomes = log.kv.apply_batch(entries).unwrap();
    let is_done: Vec<_> = outcomes.iter().map(|it| matches!(it, Outcome::Done(_))).collect();
    assert_eq!(is_done, [true, false, true]);
    assert_eq!(&log.kv.get(b"a", None).unwrap().unwrap().value[..], b"1");
    log.kv.audit().unwrap();
}

#[test]
fn retry_of_refused_request_is_refused_although_answer_fits_now() {
    let mut log = three_keys();
    let session = Session { client: 1, sequence: 1, since: 0 };
    let command = Command::new(txn([read(KeyRange::all())])).with_session(session);
    let refused = log.apply(&command);
    assert_eq!(refused, Outcome::Rejected(Rejection::AnswerTooLarge { max: MAX }));
    log.run(Delete::new(KeyRange::key("a")));
    log.run(Delete::new(KeyRange::key("b")));
    assert_eq!(log.apply(&command), refused);
}

/// Replicas without the limit executed such commands, so every replica must execute them.
#[test]
fn response_of_version_3_has_no_limit() {
    for version in [1, 3] {
        let mut log = three_keys();
        let mut bytes = Command::new(txn([read(KeyRange::all())])).encode().to_vec();
        assert_eq!(bytes[1], 4);
        bytes[1] = version;
        let outcome = log.kv.apply(Entry::command(4, 1, bytes)).unwrap();
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
}
