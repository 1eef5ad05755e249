//! Leases, and the keys attached to them.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Log;
use crate::apply::Capacity;
use crate::{
    Command, Compare, Delete, Entry, EventKind, Expiry, Grant, KeyRange, Kv, LEASE_TTL_MAX, Lease,
    Limits, Malformed, MemoryStore, Op, OpenError, Operand, Outcome, Put, Rejection, Relation,
    Request, RequestResult, Revoke, Session, Txn, ValidateError,
};

fn grant(log: &mut Log, id: i64) -> Lease {
    match log.run(Grant { id, ttl: 10 }).result {
        RequestResult::Grant(granted) => granted.lease,
        other => panic!("not a grant: {other:?}"),
    }
}

fn refused(log: &mut Log, request: impl Into<Request>) -> Rejection {
    let before = log.kv.fingerprint();
    let outcome = log.apply(&Command::new(request));
    assert_eq!(log.kv.fingerprint(), before, "what is refused changes nothing");
    match outcome {
        Outcome::Rejected(rejection) => rejection,
        other => panic!("not refused: {other:?}"),
    }
}

fn keys(log: &Log, id: i64) -> Vec<Bytes> {
    log.kv.view().lease_keys(id, 100).unwrap()
}

fn attach(key: &'static str, lease: i64) -> Put {
    Put::new(key, "v").with_lease(lease)
}

#[test]
fn lease_end_deletes_its_keys_in_one_revision() {
    let mut log = Log::new();
    let lease = grant(&mut log, 7);
    assert_eq!((lease.id, lease.ttl, lease.granted_at), (7, 10, 1));
    assert_eq!(log.kv.revision(), 1, "a grant changes no key");
    for key in ["b", "a", "c"] {
        log.run(attach(key, 7));
    }
    log.run(Put::new("other", "v"));
    assert_eq!(keys(&log, 7), ["a", "b", "c"]);
    assert_eq!(log.kv.get(b"a", None).unwrap().unwrap().lease, 7);
    let response = log.run(Revoke::new(7));
    assert_eq!((response.revision, log.kv.revision()), (6, 6));
    let RequestResult::Revoke(revoked) = response.result else {
        panic!("not a revocation: {response:?}");
    };
    assert_eq!((revoked.lease, revoked.deleted), (lease, 3));
    assert_eq!(log.all(None).len(), 1);
    let request = crate::ChangesRequest::new(KeyRange::all(), 6);
    let found = log.kv.changes(&request).unwrap();
    let events: Vec<_> = { found.revisions[0].events.iter() }
        .map(|event| (event.kind, event.kv.key.clone()))
        .collect();
    let gone = |key: &'static str| (EventKind::Delete, Bytes::from(key));
    assert_eq!(events, [gone("a"), gone("b"), gone("c")]);
    assert_eq!(keys(&log, 7), [""; 0]);
    assert_eq!(refused(&mut log, Revoke::new(7)), Rejection::LeaseNotFound { id: 7 });
}

#[test]
fn empty_lease_ends_without_revision() {
    let mut log = Log::new();
    grant(&mut log, 7);
    assert_eq!(log.run(Revoke::new(7)).revision, 1);
    assert_eq!(log.kv.view().leases().unwrap(), []);
}

#[test]
fn key_is_attached_to_last_lease_only() {
    let mut log = Log::new();
    grant(&mut log, 1);
    grant(&mut log, 2);
    log.run(attach("moved", 1));
    log.run(attach("moved", 2));
    log.run(attach("freed", 1));
    log.run(Put::new("freed", "v"));
    log.run(attach("deleted", 1));
    log.run(Delete::new(KeyRange::key("deleted")));
    log.run(attach("again", 1));
    log.run(attach("again", 1));
    assert_eq!((keys(&log, 1), keys(&log, 2)), (vec!["again".into()], vec!["moved".into()]));
    log.run(Revoke::new(1));
    let left: Vec<_> = log.all(None).into_iter().map(|row| row.0).collect();
    assert_eq!(left, [&b"freed"[..], b"moved"]);
}

#[test]
fn put_with_missing_lease_is_rejected() {
    let mut log = Log::new();
    grant(&mut log, 1);
    let missing = Rejection::LeaseNotFound { id: 2 };
    assert_eq!(refused(&mut log, attach("a", 2)), missing);
    let txn = |success, failure| Txn {
        compare: vec![Compare::key("a", Relation::Equal, Operand::Version(0))],
        success,
        failure,
    };
    let ops = |lease| vec![Op::Put(Put::new("a", "1")), Op::Put(attach("b", lease))];
    assert_eq!(refused(&mut log, txn(ops(2), vec![])), missing);
    // The side that is not executed does not matter.
    assert_eq!(log.run(txn(ops(1), ops(2))).revision, 2);
    assert_eq!(refused(&mut log, txn(vec![], ops(2))), missing);
    assert_eq!(keys(&log, 1), ["b"]);
}

#[test]
fn lease_of_key_can_be_compared() {
    let mut log = Log::new();
    grant(&mut log, 5);
    log.run(attach("a", 5));
    for (key, lease, holds) in [("a", 5, true), ("a", 4, false), ("b", 0, true)] {
        let txn = Txn {
            compare: vec![Compare::key(key, Relation::Equal, Operand::Lease(lease))],
            ..Txn::default()
        };
        assert_eq!(super::txn_of(log.run(txn)).succeeded, holds);
    }
}

#[test]
fn lease_id_is_unique() {
    let mut log = Log::new();
    grant(&mut log, -3);
    let twice = Grant { id: -3, ttl: 1 };
    assert_eq!(refused(&mut log, twice), Rejection::LeaseExists { id: -3 });
    log.run(Revoke::new(-3));
    assert_eq!(grant(&mut log, -3).granted_at, 4);
}

/// The holder of an earlier lease must not renew a later lease with the same id.
#[test]
fn allocated_lease_id_is_never_reused() {
    let mut log = Log::new();
    grant(&mut log, 2);
    assert_eq!(grant(&mut log, 0).id, 3, "2 is taken");
    assert_eq!(grant(&mut log, 0).id, 4, "as the number of its entry is again");
    log.run(Revoke::new(4));
    assert_eq!(grant(&mut log, 0).id, 5);
    grant(&mut log, 7);
    grant(&mut log, 8);
    let chosen = grant(&mut log, 0);
    assert_eq!((chosen.id, chosen.granted_at), (9, 8));
    log.run(Revoke::new(9));
    assert_eq!(grant(&mut log, 0).id, 10);
}

#[test]
fn lease_ttl_is_bounded() {
    for (ttl, is_valid) in [
        (i64::MIN, false),
        (0, false),
        (1, true),
        (LEASE_TTL_MAX, true),
        (LEASE_TTL_MAX + 1, false),
    ] {
        let command = Command::new(Grant { id: 1, ttl });
        let malformed = Malformed::LeaseTtlOutOfRange;
        let checked = command.validate(&Limits::default());
        assert_eq!(checked.is_ok(), is_valid);
        if !is_valid {
            assert_eq!(checked, Err(ValidateError::Malformed(malformed)));
            let outcome = Log::new().apply(&command);
            assert_eq!(outcome, Outcome::Rejected(Rejection::Malformed(malformed)));
        }
    }
}

#[test]
fn lease_count_is_bounded() {
    let capacity = Capacity { sessions: 1, leases: 2, lease_keys: 1, answer_bytes: 1 << 20 };
    let mut log = Log { kv: Kv::open_with(MemoryStore::new(), capacity).unwrap() };
    grant(&mut log, 0);
    grant(&mut log, 8);
    let more = Grant { id: 0, ttl: 1 };
    assert_eq!(refused(&mut log, more), Rejection::TooManyLeases { max: 2 });
    log.run(Revoke::new(8));
    grant(&mut log, 0);
}

/// A leader may be replaced after it found an expired lease. Or the lease has ended, and a later
/// one has the same id.
#[test]
fn expiry_is_valid_only_in_its_term_for_its_lease() {
    let mut log = Log::new();
    let old = grant(&mut log, 7);
    log.run(Revoke::new(7));
    let lease = grant(&mut log, 7);
    log.run(attach("a", 7));
    let expired = |term, lease: Lease| Revoke {
        id: 7,
        expiry: Some(Expiry { term, granted_at: lease.granted_at }),
    };
    let alive = Rejection::LeaseNotExpired { id: 7 };
    for term in [0, 2] {
        assert_eq!(refused(&mut log, expired(term, lease)), alive);
    }
    assert_eq!(refused(&mut log, expired(1, old)), alive);
    log.run(expired(1, lease));
    assert_eq!(log.all(None), []);
}

#[test]
fn retried_grant_is_idempotent() {
    let mut log = Log::new();
    let session = Session { client: 1, sequence: 1, since: 0 };
    let command = Command::new(Grant { id: 0, ttl: 10 }).with_session(session);
    let first = log.apply(&command);
    assert_eq!(log.apply(&command), first);
    assert_eq!(log.kv.view().leases().unwrap().len(), 1);
    log.run(Revoke::new(1));
    assert_eq!(log.apply(&command), first, "it was granted once, and is gone");
    assert_eq!(log.kv.view().leases().unwrap(), []);
}

#[test]
fn fingerprint_covers_leases() {
    let mut logs: Vec<Log> = (0..4).map(|_| Log::new()).collect();
    grant(&mut logs[1], 1);
    grant(&mut logs[2], 2);
    logs[3].run(Grant { id: 1, ttl: 11 });
    let mut fingerprints: Vec<_> = logs.iter().map(|log| log.kv.fingerprint()).collect();
    fingerprints.sort_unstable();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 4);
}

/// An older version can open a store without leases, and must not open any other store.
#[test]
fn first_lease_upgrades_format() {
    let format = |log: &Log| {
        let store = log.kv.store();
        let (_, record) = store.iter().find(|(key, _)| &key[..] == b"\0f").unwrap();
        record.clone()
    };
    let mut log = Log::new();
    log.run(Put::new("a", "v"));
    assert_eq!(format(&log), &b"\x08\x01"[..]);
    // A session may contain the rejection from now on.
    refused(&mut log, Revoke::new(1));
    assert_eq!(format(&log), &b"\x08\x04"[..]);
    let mut at_once = Kv::open(MemoryStore::new()).unwrap();
    let command =
        |index, request: Request| Entry::command(index, 1, Command::new(request).encode());
    let put = command(1, Put::new("a", "v").into());
    let revoke = command(2, Revoke::new(1).into());
    at_once.apply_batch([put, revoke]).unwrap();
    assert_eq!(at_once.store(), log.kv.store());
    let later = log.kv.store().iter().map(|(key, value)| match &key[..] {
        b"\0f" => (key.clone(), Bytes::from_static(b"\x08\x05")),
        _ => (key.clone(), value.clone()),
    });
    assert_eq!(
        Kv::open(later.collect::<MemoryStore>()).err(),
        Some(OpenError::UnknownFormat { found: 5, supported: 4 })
    );
}

/// Later releases must read existing stores, so these bytes must never change their meaning.
#[test]
fn encoding_of_store_with_leases_is_fixed() {
    let mut log = Log::new();
    grant(&mut log, 0);
    grant(&mut log, -2);
    log.run(attach("k", -2));
    let pairs: Vec<_> = { log.kv.store().iter() }
        .map(|(key, value)| std::format!("{}: {}", key.escape_ascii(), value.escape_ascii()))
        .collect();
    let record = r"\n\x01k\x10\x02\x18\x02 \x01*\x01v0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_eq!(
        pairs,
        [
            r"\x00f: \x08\x04".into(),
            std::format!(r"\x00s: {}", pairs[1].split_once(": ").unwrap().1),
            std::format!(r"\x10k: {record}"),
            r" k\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00: ".into(),
            std::format!(r"0\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00: {record}"),
            r"P\x7f\xff\xff\xff\xff\xff\xff\xfe: \x08\n\x10\x02\x18\x01".into(),
            r"P\x80\x00\x00\x00\x00\x00\x00\x01: \x08\n\x10\x01\x18\x00".into(),
            r"Q\x7f\xff\xff\xff\xff\xff\xff\xfek: ".into(),
        ]
    );
    // If this number changes, replicas of two releases seem to diverge.
    assert_eq!(log.kv.fingerprint(), 11_594_964_549_121_619_944);
}

#[test]
fn audit_covers_every_lease_record() {
    let mut log = Log::new();
    grant(&mut log, 1);
    grant(&mut log, 2);
    log.run(attach("a", 1));
    let pairs: Vec<_> =
        { log.kv.store().iter() }.map(|(key, value)| (key.clone(), value.clone())).collect();
    let is_found =
        |pairs: Vec<(Bytes, Bytes)>| match Kv::open(pairs.into_iter().collect::<MemoryStore>()) {
            Ok(kv) => kv.audit().is_err(),
            Err(_) => true,
        };
    assert!(!is_found(pairs.clone()));
    for lost in 0..pairs.len() {
        let mut fewer = pairs.clone();
        let (key, _) = fewer.remove(lost);
        assert!(is_found(fewer), "damage not found: {key:?}");
    }
    for wrong in [&b"Q\x80\0\0\0\0\0\0\x02a"[..], b"Q\x80\0\0\0\0\0\0\x03a"] {
        let mut more = pairs.clone();
        more.push((Bytes::from_static(wrong), Bytes::new()));
        assert!(is_found(more), "{wrong:?} is too much");
    }
    // Lease 1 has one key, lease 2 none.
    for (at, keys) in [(0, 0), (0, 2), (1, 1)] {
        let mut miscounted = pairs.clone();
        let lease = miscounted.iter().position(|(key, _)| key[0] == b'P').unwrap() + at;
        let mut record = miscounted[lease].1.to_vec();
        *record.last_mut().unwrap() = keys;
        miscounted[lease].1 = record.into();
        assert!(is_found(miscounted), "lease {} has no {keys} keys", at + 1);
    }
}
