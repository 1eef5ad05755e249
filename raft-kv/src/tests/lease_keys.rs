//! The number of keys per lease, and its limit.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::Log;
use super::properties::{CAPACITY, run_model};
use super::strategy::step;
use crate::apply::Capacity;
use crate::wire::{LeaseRecord, StateRecord};
use crate::{
    Command, Delete, Entry, Grant, KeyRange, Kv, LEASE_KEYS_MAX, MemoryStore, Op, Outcome, Put,
    Rejection, Request, Revoke, Session, Txn,
};

const TWO: Capacity = Capacity { sessions: 9, leases: 9, lease_keys: 2, answer_bytes: 1 << 20 };

/// Leases 7 and 8, with a limit of two keys each.
fn two_leases() -> Log {
    let mut log = Log { kv: Kv::open_with(MemoryStore::new(), TWO).unwrap() };
    log.run(Grant { id: 7, ttl: 10 });
    log.run(Grant { id: 8, ttl: 10 });
    log
}

fn attach(key: &'static str, lease: i64) -> Put {
    Put::new(key, "v").with_lease(lease)
}

fn txn(ops: impl IntoIterator<Item = Op>) -> Txn {
    Txn { success: ops.into_iter().collect(), ..Txn::default() }
}

fn delete(keys: KeyRange) -> Op {
    Op::Delete(Delete::new(keys))
}

/// Asserts that a request is rejected with too many keys for a lease, and changes nothing.
fn assert_too_many_keys(log: &mut Log, lease: i64, request: impl Into<Request>) {
    let (before, all) = (log.kv.fingerprint(), log.all(None));
    let outcome = log.apply(&Command::new(request));
    let is_rejected = |it: &Outcome| match it {
        Outcome::Rejected(Rejection::TooManyKeys { lease: crowded, .. }) => *crowded == lease,
        _ => false,
    };
    assert!(is_rejected(&outcome), "{outcome:?}");
    assert_eq!((log.kv.fingerprint(), log.all(None)), (before, all));
}

fn keys(log: &Log, lease: i64) -> Vec<Bytes> {
    log.kv.view().lease_keys(lease, 100).unwrap()
}

/// The number of keys of each lease in the store.
fn counted(log: &Log) -> Vec<Option<u8>> {
    { log.kv.store().iter() }
        .filter(|(key, _)| key[0] == b'P')
        .map(|(_, record)| match record[..] {
            [_, _, _, _, 0x18, keys] => Some(keys),
            _ => None,
        })
        .collect()
}

#[test]
fn lease_key_limit_is_enforced() {
    let mut log = two_leases();
    log.run(attach("a", 7));
    log.run(attach("b", 7));
    assert_eq!(counted(&log), [Some(2), Some(0)]);
    assert_too_many_keys(&mut log, 7, attach("c", 7));
    // Attached keys may be written again, and there is another lease.
    log.run(attach("a", 7));
    log.run(attach("c", 8));
    assert_too_many_keys(&mut log, 7, attach("c", 7));
    assert_eq!(counted(&log), [Some(2), Some(1)]);
    // A key that is deleted, moved or detached no longer counts.
    log.run(Delete::new(KeyRange::key("a")));
    log.run(attach("c", 7));
    assert_too_many_keys(&mut log, 7, attach("d", 7));
    log.run(attach("c", 8));
    log.run(attach("d", 7));
    assert_too_many_keys(&mut log, 7, attach("e", 7));
    log.run(Put::new("d", "v"));
    log.run(attach("e", 7));
    assert_eq!((keys(&log, 7), keys(&log, 8)), (vec!["b".into(), "e".into()], vec!["c".into()]));
    assert_eq!(counted(&log), [Some(2), Some(1)]);
    log.run(Delete::new(KeyRange::all()));
    assert_eq!(counted(&log), [Some(0), Some(0)]);
    log.run(Revoke::new(7));
    assert_eq!(counted(&log), [Some(0)]);
}

#[test]
fn txn_over_lease_key_limit_has_no_effect() {
    let mut log = two_leases();
    log.run(attach("a", 7));
    let more = [attach("b", 7), attach("free", 0), attach("c", 7)].map(Op::Put);
    assert_too_many_keys(&mut log, 7, txn(more.clone()));
    // The order of deletes and puts does not matter.
    let mut deletes = vec![delete(KeyRange::key("a"))];
    deletes.extend(more.clone());
    log.run(txn(deletes));
    assert_eq!(keys(&log, 7), ["b", "c"]);
    let mut deletes = [attach("d", 7), attach("e", 7)].map(Op::Put).to_vec();
    deletes.push(delete(KeyRange::between("b", "d")));
    // Two overlapping deletes detach a key once.
    deletes.push(delete(KeyRange::key("c")));
    log.run(txn(deletes));
    assert_eq!(keys(&log, 7), ["d", "e"]);
    let meet = [delete(KeyRange::key("d")), delete(KeyRange::key("d"))];
    assert_too_many_keys(
        &mut log,
        7,
        txn(meet.into_iter().chain([attach("f", 7), attach("g", 7)].map(Op::Put))),
    );
    // Deletes of keys of other leases do not count.
    let elsewhere = [delete(KeyRange::key("free")), Op::Put(attach("f", 7))];
    assert_too_many_keys(&mut log, 7, txn(elsewhere));
    // The side that is not executed does not matter.
    let other_side = Txn { failure: more.to_vec(), ..Txn::default() };
    log.run(other_side);
}

#[test]
fn full_leases_can_exchange_keys_in_one_transaction() {
    let mut log = two_leases();
    log.run(txn([attach("a", 7), attach("b", 7), attach("c", 8), attach("d", 8)].map(Op::Put)));
    assert_too_many_keys(&mut log, 8, txn([attach("a", 8), attach("b", 7)].map(Op::Put)));
    log.run(txn([attach("a", 8), attach("c", 7), attach("d", 8)].map(Op::Put)));
    assert_eq!(keys(&log, 7), ["b", "c"]);
    assert_eq!(keys(&log, 8), ["a", "d"]);
    assert_eq!(counted(&log), [Some(2), Some(2)]);
    // The rejection names the lease with the smallest id.
    let both = [attach("e", 8), attach("f", 7)].map(Op::Put);
    assert_too_many_keys(&mut log, 7, txn(both));
}

#[test]
fn retry_of_rejected_put_stays_rejected() {
    let mut log = two_leases();
    log.run(txn([attach("a", 7), attach("b", 7)].map(Op::Put)));
    let session = Session { client: 1, sequence: 1, since: 0 };
    let command = Command::new(attach("c", 7)).with_session(session);
    let refused = log.apply(&command);
    assert_eq!(refused, Outcome::Rejected(Rejection::TooManyKeys { lease: 7, max: 2 }));
    log.run(Delete::new(KeyRange::key("a")));
    assert_eq!(log.apply(&command), refused);
}

/// Entries of a batch see the changes of the earlier ones.
#[test]
fn batch_counts_like_single_entries() {
    let mut log = two_leases();
    let puts = ["a", "b", "c", "d"].map(|key| Command::new(attach(key, 7)).encode());
    let entries = (3..).zip(puts).map(|(index, put)| Entry::command(index, 1, put));
    let outcomes = log.kv.apply_batch(entries).unwrap();
    let is_done = outcomes.iter().map(|it| matches!(it, Outcome::Done(_)));
    assert_eq!(is_done.collect::<Vec<_>>(), [true, true, false, false]);
    log.kv.audit().unwrap();
}

#[test]
fn full_lease_is_deleted_in_one_entry() {
    let mut log = Log::new();
    log.run(Grant { id: 7, ttl: 10 });
    let put = |number: u64| Op::Put(Put::new(std::format!("{number}"), "").with_lease(7));
    let all = (1..=LEASE_KEYS_MAX).map(put);
    assert_too_many_keys(&mut log, 7, txn(all.clone().chain([put(0)])));
    log.run(txn(all));
    assert_too_many_keys(&mut log, 7, attach("one more", 7));
    log.run(Revoke::new(7));
    assert_eq!(log.all(None), []);
}

/// A command as version 2 encoded it.
fn of_version_2(log: &Log, request: impl Into<Request>) -> Entry {
    let mut bytes = Command::new(request).encode().to_vec();
    bytes[1] = 2;
    Entry::command(log.kv.applied_index() + 1, 1, bytes)
}

/// Commands of versions without the limit are executed without it on all replicas.
#[test]
fn version_2_put_has_no_key_limit() {
    let mut log = two_leases();
    for put in [attach("a", 7), attach("b", 7), attach("c", 7), attach("d", 7)] {
        let entry = of_version_2(&log, put);
        assert!(matches!(log.kv.apply(entry), Ok(Outcome::Done(_))));
        log.kv.audit().unwrap();
    }
    assert_eq!(counted(&log), [Some(4), Some(0)]);
    // From now on, only requests that add no keys are executed.
    assert_too_many_keys(&mut log, 7, attach("e", 7));
    log.run(attach("a", 7));
    log.run(txn([delete(KeyRange::key("b")), Op::Put(attach("e", 7))]));
    log.run(txn([delete(KeyRange::between("c", "e")), Op::Put(attach("f", 7))]));
    assert_eq!(keys(&log, 7), ["a", "e", "f"]);
    assert_too_many_keys(&mut log, 7, attach("g", 7));
    log.run(Revoke::new(7));
    assert_eq!(log.all(None), []);
}

/// The store as a version with format 2 would have written it.
fn in_format_2(store: &MemoryStore) -> MemoryStore {
    let pairs = store.iter().map(|(key, value)| {
        let value = match &key[..] {
            b"\0f" if value == &b"\x08\x04"[..] => Bytes::from_static(b"\x08\x02"),
            b"\0s" => {
                let mut state = StateRecord::decode(value.clone()).unwrap();
                state.format = state.format.min(2);
                state.encode_to_vec().into()
            }
            [b'P', ..] => {
                let mut lease = LeaseRecord::decode(value.clone()).unwrap();
                lease.keys = None;
                lease.encode_to_vec().into()
            }
            _ => value.clone(),
        };
        (key.clone(), value)
    });
    pairs.collect()
}

fn format(store: &MemoryStore) -> u8 {
    let (_, record) = store.iter().find(|(key, _)| &key[..] == b"\0f").unwrap();
    record[1]
}

/// Later releases must read existing stores. This store contains a lease with a chosen id, and
/// lease -2 with a key.
#[test]
fn a_store_of_format_2_is_read() {
    let record = b"\n\x01k\x10\x02\x18\x02 \x01*\x01v0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let pairs: [(&[u8], &[u8]); 8] = [
        (b"\0f", b"\x08\x02"),
        (b"\0s", b"\x08\x03\x10\x01\x18\x021\xf7\xd7l\x80\xd3*O\\8\x02@\x01H\x02"),
        (b"\x10k", record),
        (b" k\0\0\0\0\0\0\0\0\0\x02\0\0\0\0", b""),
        (b"0\0\0\0\0\0\0\0\x02\0\0\0\0", record),
        (b"P\x7f\xff\xff\xff\xff\xff\xff\xfe", b"\x08\n\x10\x02"),
        (b"P\x80\0\0\0\0\0\0\x01", b"\x08\n\x10\x01"),
        (b"Q\x7f\xff\xff\xff\xff\xff\xff\xfek", b""),
    ];
    let pairs = pairs.map(|(key, value)| (Bytes::from_static(key), Bytes::from_static(value)));
    let mut log = Log { kv: Kv::open(pairs.into_iter().collect()).unwrap() };
    log.kv.audit().unwrap();
    assert_eq!(log.kv.fingerprint(), 11_594_964_549_121_619_944);
    assert_eq!(keys(&log, -2), ["k"]);
    assert_eq!(counted(&log), [None, None]);
    // Commands of version 1 do not change the format, even if they detach a key.
    log.run(Delete::new(KeyRange::key("k")));
    assert_eq!((counted(&log), format(log.kv.store())), (vec![None, None], 2));
    log.run(attach("k", -2));
    assert_eq!((counted(&log), format(log.kv.store())), (vec![Some(1), None], 4));
    log.run(Revoke::new(1));
    log.run(Revoke::new(-2));
    assert_eq!(counted(&log), []);
}

/// The keys of a legacy lease are counted by the first request that attaches keys, even if it is
/// rejected. The count is stored.
#[test]
fn legacy_lease_is_counted_once() {
    let mut log = two_leases();
    for put in [attach("a", 7), attach("b", 7), attach("c", 7), attach("d", 8)] {
        let entry = of_version_2(&log, put);
        log.kv.apply(entry).unwrap();
    }
    let mut old = Log { kv: Kv::open_with(in_format_2(log.kv.store()), TWO).unwrap() };
    old.kv.audit().unwrap();
    assert_eq!((counted(&old), format(old.kv.store())), (vec![None, None], 2));
    assert_eq!(old.kv.fingerprint(), log.kv.fingerprint());
    let entry = of_version_2(&old, attach("d", 7));
    old.kv.apply(entry.clone()).unwrap();
    log.kv.apply(entry).unwrap();
    assert_eq!(counted(&old), [None, None], "no request needed the number");
    assert_too_many_keys(&mut old, 7, attach("e", 7));
    assert_too_many_keys(&mut log, 7, attach("e", 7));
    assert_eq!(counted(&old), [Some(4), None]);
    old.run(attach("a", 8));
    log.run(attach("a", 8));
    assert_eq!(counted(&old), [Some(3), Some(1)]);
    assert_eq!(old.kv.store(), log.kv.store());
}

proptest! {
    /// An upgraded replica behaves like one that counted from the start.
    #[test]
    fn store_without_counts_behaves_alike(
        before in vec(step(), 0..30), after in vec(step(), 0..30),
    ) {
        let steps: Vec<_> = before.iter().chain(&after).cloned().collect();
        let (_, mut entries, outcomes) = run_model(&steps);
        let later = entries.split_off(before.len());
        let mut counts = Kv::open_with(MemoryStore::new(), CAPACITY).unwrap();
        counts.apply_batch(entries).unwrap();
        let mut old = Kv::open_with(in_format_2(counts.store()), CAPACITY).unwrap();
        old.audit().unwrap();
        for (entry, outcome) in later.into_iter().zip(&outcomes[before.len()..]) {
            prop_assert_eq!(&old.apply(entry.clone()).unwrap(), outcome);
            counts.apply(entry).unwrap();
            prop_assert_eq!(old.fingerprint(), counts.fingerprint());
            old.audit().unwrap();
        }
        // Each known number is correct, and the others were never needed.
        prop_assert_eq!(in_format_2(old.store()), in_format_2(counts.store()));
    }
}
