//! The reads and writes of operations in the store. These numbers are equal on all machines.

use core::cell::Cell;
use core::convert::Infallible;

use bytes::Bytes;

use crate::{
    Batch, ChangesRequest, Command, CountMode, Entry, Grant, KeyRange, Kv, MemoryStore, Order, Put,
    RangeRequest, ReadStore, Request, Revoke, Session, Store,
};

#[derive(Default)]
struct Metered {
    inner: MemoryStore,
    gets: Cell<usize>,
    steps: Cell<usize>,
    writes: usize,
    commits: usize,
}

impl ReadStore for Metered {
    type Error = Infallible;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Infallible> {
        self.gets.set(self.gets.get() + 1);
        self.inner.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), Infallible>> {
        self.inner.scan(from, to, order).inspect(|_| self.steps.set(self.steps.get() + 1))
    }
}

impl Store for Metered {
    fn commit(&mut self, batch: Batch) -> Result<(), Infallible> {
        self.writes += batch.len();
        self.commits += 1;
        self.inner.commit(batch)
    }
}

/// Returns the reads, scan steps, writes and commits since the previous call.
fn spent(kv: &mut Kv<Metered>) -> (usize, usize, usize, usize) {
    let store = kv.store_mut_for_tests();
    (
        store.gets.take(),
        store.steps.take(),
        core::mem::take(&mut store.writes),
        core::mem::take(&mut store.commits),
    )
}

fn put(index: u64, key: u64, session: bool) -> Entry {
    let mut command = Command::new(Put::new(std::format!("key{key:03}"), "v"));
    if session {
        command =
            command.with_session(Session { client: u128::from(key), sequence: index, since: 0 });
    }
    Entry::command(index, 1, command.encode())
}

/// A state machine with 100 keys of one version each, then one key with 100 more.
fn filled() -> Kv<Metered> {
    let mut kv = Kv::open(Metered::default()).unwrap();
    kv.apply_batch((1..=100).map(|index| put(index, index, false))).unwrap();
    kv.apply_batch((101..=200).map(|index| put(index, 50, false))).unwrap();
    spent(&mut kv);
    kv
}

#[test]
fn put_costs_one_read_and_three_writes() {
    let mut kv = filled();
    kv.apply_batch((201..=210).map(|index| put(index, index, false))).unwrap();
    // One more write is that of the counters.
    assert_eq!(spent(&mut kv), (10, 0, 31, 1));
}

#[test]
fn a_session_adds_one_read_and_at_most_three_writes() {
    let mut kv = filled();
    kv.apply(put(201, 1, true)).unwrap();
    assert_eq!(spent(&mut kv), (2, 0, 1 + 3 + 2, 1));
    kv.apply(put(202, 1, true)).unwrap();
    assert_eq!(spent(&mut kv), (2, 0, 1 + 3 + 3, 1));
}

#[test]
fn latest_read_costs_one_store_read_and_past_two() {
    let mut kv = filled();
    assert!(kv.get(b"key050", None).unwrap().is_some());
    assert_eq!(spent(&mut kv), (1, 0, 0, 0));
    // The cost does not depend on the number of versions.
    assert_eq!(kv.get(b"key050", Some(60)).unwrap().unwrap().version, 1);
    assert_eq!(spent(&mut kv), (1, 1, 0, 0));
}

#[test]
fn range_with_limit_stops_reading_at_limit() {
    let mut kv = filled();
    let page = RangeRequest::new(KeyRange::all()).limit(10).counting(CountMode::Returned);
    assert_eq!(kv.range(&page).unwrap().kvs.len(), 10);
    assert_eq!(spent(&mut kv), (0, 11, 0, 0));
    kv.range(&page.counting(CountMode::WholeRange)).unwrap();
    assert_eq!(spent(&mut kv), (0, 100, 0, 0));
}

#[test]
fn costs_of_leases_and_watches() {
    let mut kv = filled();
    let apply = |kv: &mut Kv<Metered>, index, request: Request| {
        let entry = Entry::command(index, 1, Command::new(request).encode());
        kv.apply(entry).unwrap();
        spent(kv)
    };
    // The lease, the counters and, for the first lease, the format.
    let grant = Grant { id: 7, ttl: 1 };
    assert_eq!(apply(&mut kv, 201, grant.into()), (1, 0, 3, 1));
    let leased = |key| Request::Put(Put::new(key, "v").with_lease(7));
    // The key is attached to the lease, which counts it.
    assert_eq!(apply(&mut kv, 202, leased("key001")), (3, 0, 1 + 3 + 2, 1));
    // The key is attached to the same lease already.
    assert_eq!(apply(&mut kv, 203, leased("key001")), (2, 0, 1 + 3, 1));
    apply(&mut kv, 204, leased("key002"));
    // The lease twice, and for each of two keys a step, a read and one write more than for a
    // delete.
    let revoke = Revoke::new(7);
    assert_eq!(apply(&mut kv, 205, revoke.into()), (4, 2, 1 + 1 + 8, 1));
    let mut changes = ChangesRequest::new(KeyRange::all(), 150);
    changes.changes_max = 10;
    kv.changes(&changes).unwrap();
    assert_eq!(spent(&mut kv), (0, 11, 0, 0));
    kv.changes(&changes.returning_previous()).unwrap();
    assert_eq!(spent(&mut kv), (10, 11 + 10, 0, 0));
}
