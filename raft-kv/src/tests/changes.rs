//! Changes of keys, for watches.

use alloc::vec;
use alloc::vec::Vec;

use super::Log;
use crate::{ChangesRequest, Delete, Event, EventKind, KeyRange, Op, Put, ReadError, Txn};

/// Four revisions: two puts, a transaction of three changes, and a delete of two keys.
fn log() -> Log {
    let mut log = Log::new();
    log.run(Put::new("a", "1"));
    log.run(Put::new("b", "1"));
    log.run(Txn {
        success: vec![
            Op::Put(Put::new("c", "1")),
            Op::Put(Put::new("a", "2")),
            Op::Delete(Delete::new(KeyRange::key("b"))),
        ],
        ..Txn::default()
    });
    log.run(Delete::new(KeyRange::all()));
    log
}

/// The revision, kind, key and value of an event.
type Row = (i64, EventKind, Vec<u8>, Vec<u8>);

/// All events, and the next revision.
fn told(log: &Log, request: &ChangesRequest) -> (Vec<Row>, i64) {
    let found = log.kv.changes(request).unwrap();
    assert_eq!(found.revision, log.kv.revision());
    let tell = |event: &Event| {
        let kv = &event.kv;
        (kv.mod_revision, event.kind, kv.key.to_vec(), kv.value.to_vec())
    };
    let events = found.revisions.iter().flat_map(|changes| {
        assert!(!changes.events.is_empty());
        assert!({ changes.events.iter() }.all(|it| it.kv.mod_revision == changes.revision));
        &changes.events
    });
    (events.map(tell).collect(), found.next_revision)
}

fn put(revision: i64, key: &str, value: &str) -> Row {
    (revision, EventKind::Put, key.into(), value.into())
}

fn gone(revision: i64, key: &str) -> Row {
    (revision, EventKind::Delete, key.into(), Vec::new())
}

#[test]
fn watch_returns_changes_in_order() {
    let all = ChangesRequest::new(KeyRange::all(), 1);
    let everything = vec![
        put(2, "a", "1"),
        put(3, "b", "1"),
        put(4, "c", "1"),
        put(4, "a", "2"),
        gone(4, "b"),
        gone(5, "a"),
        gone(5, "c"),
    ];
    assert_eq!(told(&log(), &all), (everything.clone(), 6));
    let later = ChangesRequest::new(KeyRange::all(), 4);
    assert_eq!(told(&log(), &later), (everything[2..].to_vec(), 6));
    let only_a = ChangesRequest::new(KeyRange::key("a"), 3);
    assert_eq!(told(&log(), &only_a), (vec![put(4, "a", "2"), gone(5, "a")], 6));
}

#[test]
fn batch_ends_at_revision_boundary() {
    let log = log();
    let mut request = ChangesRequest::new(KeyRange::all(), 1);
    let mut pieces = Vec::new();
    for changes_max in [0, 1, 2, 3, 4] {
        request.changes_max = changes_max;
        pieces.push(told(&log, &request).1);
    }
    assert_eq!(pieces, [3, 3, 4, 5, 5]);
    // Changes outside of the range count, too.
    let mut request = ChangesRequest::new(KeyRange::key("nothing"), 2);
    request.changes_max = 2;
    assert_eq!(told(&log, &request), (vec![], 4));
    let mut request = ChangesRequest::new(KeyRange::all(), 2);
    request.bytes_max = 3;
    assert_eq!(told(&log, &request).1, 4);
}

#[test]
fn change_carries_previous_value() {
    let log = log();
    let request = ChangesRequest::new(KeyRange::all(), 4);
    let plain = log.kv.changes(&request).unwrap();
    let mut events = plain.revisions.iter().flat_map(|it| &it.events);
    assert!(events.all(|event| event.prev_kv.is_none()));
    let found = log.kv.changes(&request.returning_previous()).unwrap();
    let events = found.revisions.iter().flat_map(|it| &it.events);
    let before: Vec<_> = events
        .map(|event| {
            let prev = event.prev_kv.as_ref()?;
            Some((prev.value.to_vec(), prev.mod_revision))
        })
        .collect();
    let was = |value: &str, revision| Some((value.into(), revision));
    assert_eq!(before, [None, was("1", 2), was("1", 3), was("2", 4), was("1", 4)]);
}

#[test]
fn watch_from_future_revision_is_an_error() {
    let log = log();
    let from = |revision| ChangesRequest::new(KeyRange::all(), revision);
    assert_eq!(told(&log, &from(6)), (vec![], 6));
    for requested in [7, i64::MAX] {
        let future = ReadError::FutureRevision { requested, current: 5 };
        assert_eq!(log.kv.changes(&from(requested)), Err(future));
    }
    for requested in [0, -1, i64::MIN] {
        let absurd = ReadError::RevisionNotPositive { requested };
        assert_eq!(log.kv.changes(&from(requested)), Err(absurd));
    }
    let long = ChangesRequest::new(KeyRange::key(vec![b'k'; 40_000]), 1);
    assert_eq!(log.kv.changes(&long), Err(ReadError::KeyTooLong));
    assert_eq!(told(&Log::new(), &from(2)), (vec![], 2));
}
