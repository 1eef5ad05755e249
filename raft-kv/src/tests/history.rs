//! Revisions, and reads at earlier revisions.

use alloc::vec::Vec;

use super::{Log, Row};
use crate::{
    CountMode, Delete, Fields, KeyRange, Kv, MemoryStore, Order, Put, RangeRequest, ReadError,
    RequestResult,
};

fn row(key: &str, value: &str, create: i64, modified: i64, version: i64) -> Row {
    (key.into(), value.into(), create, modified, version)
}

#[test]
fn first_put_has_revision_2() {
    let mut log = Log::new();
    assert_eq!(log.kv.revision(), 1);
    assert_eq!(log.run(Put::new("a", "1")).revision, 2);
    assert_eq!(log.kv.revision(), 2);
    assert_eq!(log.all(None), [row("a", "1", 2, 2, 1)]);
}

#[test]
fn a_key_keeps_its_creation_until_it_is_deleted() {
    let mut log = Log::new();
    log.run(Put::new("a", "1"));
    log.run(Put::new("b", "x"));
    log.run(Put::new("a", "2"));
    assert_eq!(log.all(None), [row("a", "2", 2, 4, 2), row("b", "x", 3, 3, 1)]);
    log.run(Delete::new(KeyRange::key("a")));
    log.run(Put::new("a", "3"));
    assert_eq!(log.all(None), [row("a", "3", 6, 6, 1), row("b", "x", 3, 3, 1)]);
}

#[test]
fn every_past_revision_can_be_read() {
    let mut log = Log::new();
    log.run(Put::new("a", "1"));
    log.run(Put::new("a", "2"));
    log.run(Delete::new(KeyRange::key("a")));
    log.run(Put::new("a", "3"));
    assert_eq!(log.all(Some(1)), []);
    assert_eq!(log.all(Some(2)), [row("a", "1", 2, 2, 1)]);
    assert_eq!(log.all(Some(3)), [row("a", "2", 2, 3, 2)]);
    assert_eq!(log.all(Some(4)), []);
    assert_eq!(log.all(Some(5)), [row("a", "3", 5, 5, 1)]);
    assert_eq!(log.kv.get(b"a", Some(3)).unwrap().unwrap().value, "2");
    assert_eq!(log.kv.get(b"a", Some(4)).unwrap(), None);
}

#[test]
fn future_and_pre_history_revisions_are_errors() {
    let mut log = Log::new();
    log.run(Put::new("a", "1"));
    let future = ReadError::FutureRevision { requested: 3, current: 2 };
    assert_eq!(log.kv.get(b"a", Some(3)), Err(future.clone()));
    let request = RangeRequest::new(KeyRange::all());
    assert_eq!(log.kv.range(&request.clone().at_revision(3)), Err(future));
    for requested in [0, -1, i64::MIN] {
        assert_eq!(
            log.kv.range(&request.clone().at_revision(requested)),
            Err(ReadError::RevisionNotPositive { requested })
        );
    }
}

#[test]
fn deleting_nothing_adds_no_revision() {
    let mut log = Log::new();
    log.run(Put::new("a", "1"));
    let response = log.run(Delete::new(KeyRange::prefix("b")));
    assert_eq!(response.revision, 2);
    assert_eq!(log.kv.revision(), 2);
}

#[test]
fn range_delete_is_one_revision_and_returns_previous_values() {
    let mut log = Log::new();
    for key in ["a", "ab", "b", "c"] {
        log.run(Put::new(key, "v"));
    }
    let delete = Delete::new(KeyRange::between("ab", "c")).returning_previous();
    let response = log.run(delete);
    assert_eq!(response.revision, 6);
    let RequestResult::Delete(result) = response.result else {
        panic!("not a delete");
    };
    assert_eq!(result.deleted, 2);
    let keys: Vec<_> = result.prev_kvs.iter().map(|kv| &kv.key[..]).collect();
    assert_eq!(keys, [&b"ab"[..], b"b"]);
    assert_eq!(log.all(None).len(), 2);
    assert_eq!(log.all(Some(5)).len(), 4);
}

#[test]
fn put_returns_previous_value_on_request() {
    let mut log = Log::new();
    let previous = |log: &mut Log, put| match log.run(put).result {
        RequestResult::Put(put) => put.prev_kv.map(|kv| kv.value),
        other => panic!("not a put: {other:?}"),
    };
    let asking = |value: &'static str| Put::new("a", value).returning_previous();
    assert_eq!(previous(&mut log, asking("1")), None);
    assert_eq!(previous(&mut log, asking("2")), Some("1".into()));
    assert_eq!(previous(&mut log, Put::new("a", "3")), None);
}

#[test]
fn ranges_mean_what_they_mean_in_etcd() {
    let mut log = Log::new();
    for key in [&b"\0"[..], b"a", b"a\0", b"a\xff", b"b", b"\xff", b"\xff\xff"] {
        log.run(Put::new(key, "v"));
    }
    let before = log.kv.revision();
    log.run(Put::new("later", "v"));
    log.run(Delete::new(KeyRange::key("later")));
    let keys = |range: KeyRange| {
        let request = RangeRequest::new(range);
        let now = log.kv.range(&request).unwrap();
        let past = log.kv.range(&request.at_revision(before)).unwrap();
        assert_eq!(now.kvs, past.kvs);
        now.kvs.into_iter().map(|kv| kv.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(KeyRange::key("a")), ["a"]);
    assert_eq!(keys(KeyRange::key("nothing")), [""; 0]);
    assert_eq!(keys(KeyRange::prefix("a")), [&b"a"[..], b"a\0", b"a\xff"]);
    assert_eq!(keys(KeyRange::prefix(&b"\xff"[..])), [&b"\xff"[..], b"\xff\xff"]);
    assert_eq!(keys(KeyRange::prefix("")).len(), 7);
    assert_eq!(keys(KeyRange::all()).len(), 7);
    assert_eq!(keys(KeyRange::from_key("b")).len(), 3);
    assert_eq!(keys(KeyRange::between("a", "b")).len(), 3);
    assert_eq!(keys(KeyRange::between("b", "a")).len(), 0);
    assert_eq!(keys(KeyRange::between("a", "a")).len(), 0);
}

#[test]
fn range_supports_limit_order_fields_and_count() {
    let mut log = Log::new();
    for key in ["a", "b", "c", "d"] {
        log.run(Put::new(key, "v"));
    }
    log.run(Delete::new(KeyRange::key("b")));
    let request = RangeRequest::new(KeyRange::all()).limit(2);
    for request in [request.clone(), request.at_revision(6)] {
        let answer = log.kv.range(&request).unwrap();
        let keys: Vec<_> = answer.kvs.iter().map(|kv| kv.key.clone()).collect();
        assert_eq!((keys, answer.more, answer.count), (["a", "c"].map(Into::into).into(), true, 3));
        let down = log.kv.range(&request.clone().order(Order::Descending)).unwrap();
        let keys: Vec<_> = down.kvs.iter().map(|kv| kv.key.clone()).collect();
        assert_eq!(keys, ["d", "c"]);
        let page = log.kv.range(&request.clone().counting(CountMode::Returned)).unwrap();
        assert_eq!((page.more, page.count), (true, 2));
        let whole = log.kv.range(&request.clone().limit(3)).unwrap();
        assert_eq!((whole.kvs.len(), whole.more, whole.count), (3, false, 3));
        let keys = log.kv.range(&request.clone().projection(Fields::Keys)).unwrap();
        assert!(keys.kvs.iter().all(|kv| kv.value.is_empty() && kv.version == 1));
        let count = log.kv.range(&request.projection(Fields::Count)).unwrap();
        assert_eq!((count.kvs.len(), count.more, count.count), (0, false, 3));
    }
}

#[test]
fn fingerprint_depends_on_state_not_batching() {
    let mut one = Log::new();
    let mut other = Log::new();
    assert_eq!(one.kv.fingerprint(), other.kv.fingerprint());
    one.run(Put::new("a", "1"));
    assert_ne!(one.kv.fingerprint(), other.kv.fingerprint());
    other.run(Put::new("a", "2"));
    assert_ne!(one.kv.fingerprint(), other.kv.fingerprint());
}

#[test]
fn fingerprint_is_fixed() {
    let mut log = Log::new();
    log.run(Put::new("a", "a value longer than eight bytes"));
    log.run(Delete::new(KeyRange::key("a")));
    // If this number changes, replicas of two releases seem to diverge.
    assert_eq!(log.kv.fingerprint(), 1_083_574_971_160_183_187);
}

/// Later releases must read existing stores, so these bytes must never change their meaning.
#[test]
fn encoding_of_store_is_fixed() {
    let mut log = Log::new();
    let session = crate::Session { client: 7, sequence: 3, since: 0 };
    log.apply(&crate::Command::new(Put::new("k\0", "v")).with_session(session));
    log.run(Delete::new(KeyRange::all()));
    log.run(Put::new("l", "w"));
    let pairs: Vec<_> = log
        .kv
        .store()
        .iter()
        .map(|(key, value)| std::format!("{}: {}", key.escape_ascii(), value.escape_ascii()))
        .collect();
    assert_eq!(
        pairs,
        [
            r"\x00f: \x08\x01",
            r"\x00s: \x08\x03\x10\x01\x18\x04 \x011\x13a\xf8\xc4\xf6\x13\xe2\x0c",
            r"\x10l: \n\x01l\x10\x04\x18\x04 \x01*\x01w",
            r" k\x00\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00: ",
            r" k\x00\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00: \x08\x01",
            r" l\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00: ",
            r"0\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00: \n\x02k\x00\x10\x02\x18\x02 \x01*\x01v",
            r"0\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00: \n\x02k\x00\x18\x03",
            r"0\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00: \n\x01l\x10\x04\x18\x04 \x01*\x01w",
            r"@\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07: \x08\x03\x10\x01\x1a\x06\x12\x04\x08\x02\x12\x00",
            r"A\x00\x00\x00\x00\x00\x00\x00\x01: \n\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07",
        ]
    );
}

#[test]
fn audit_detects_lost_or_changed_records() {
    let mut log = Log::new();
    let session = crate::Session { client: 1, sequence: 1, since: 0 };
    log.apply(&crate::Command::new(Put::new("a", "1")).with_session(session));
    log.run(Put::new("a", "2"));
    log.run(Put::new("b", "2"));
    log.run(Delete::new(KeyRange::key("b")));
    let pairs: Vec<_> =
        log.kv.store().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    for lost in 0..pairs.len() {
        let mut fewer = pairs.clone();
        let (key, _) = fewer.remove(lost);
        let store: MemoryStore = fewer.into_iter().collect();
        let found = match Kv::open(store) {
            Ok(kv) => kv.audit().is_err(),
            Err(_) => true,
        };
        assert!(found, "damage not found: {key:?}");
    }
}
