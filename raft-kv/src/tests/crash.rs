//! Failures of the store.

use core::cell::Cell;
use core::fmt;

use alloc::vec;
use bytes::Bytes;

use crate::{
    ApplyError, Batch, Command, Entry, Grant, Kv, MemoryStore, Order, Put, ReadStore, Request,
    Revoke, Store, StoreFault,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DiskError;

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk failed")
    }
}

impl core::error::Error for DiskError {}

/// A store that reports failed commits although they succeeded, and whose reads fail after a number
/// of reads.
struct Failing {
    inner: MemoryStore,
    commits_fail: bool,
    reads_left: Cell<u32>,
}

impl Failing {
    fn new(inner: MemoryStore) -> Self {
        Self { inner, commits_fail: false, reads_left: Cell::new(u32::MAX) }
    }

    fn read(&self) -> Result<(), DiskError> {
        let left = self.reads_left.get().checked_sub(1).ok_or(DiskError)?;
        self.reads_left.set(left);
        Ok(())
    }
}

impl ReadStore for Failing {
    type Error = DiskError;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        self.read()?;
        Ok(self.inner.get(key).unwrap())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), DiskError>> {
        self.inner.scan(from, to, order).map(|pair| {
            self.read()?;
            Ok(pair.unwrap())
        })
    }
}

impl Store for Failing {
    fn commit(&mut self, batch: Batch) -> Result<(), DiskError> {
        self.inner.commit(batch).unwrap();
        if self.commits_fail { Err(DiskError) } else { Ok(()) }
    }
}

fn put(index: u64) -> Entry {
    Entry::command(index, 1, Command::new(Put::new("a", "v")).encode())
}

#[test]
fn failed_commit_blocks_apply_until_reopen() {
    let mut kv = Kv::open(Failing::new(MemoryStore::new())).unwrap();
    kv.apply(put(1)).unwrap();
    kv.store_mut_for_tests().commits_fail = true;
    let fault = ApplyError::Fault(StoreFault::Store(DiskError));
    assert_eq!(kv.apply(put(2)), Err(fault));
    kv.store_mut_for_tests().commits_fail = false;
    assert_eq!(kv.apply(put(2)), Err(ApplyError::Stopped));
    assert_eq!(kv.apply_batch(vec![put(2)]), Err(ApplyError::Stopped));
    // The commit was written. If the entry were applied again, the version would be 3.
    let mut kv = Kv::open(Failing::new(kv.into_store().inner)).unwrap();
    assert_eq!(kv.applied_index(), 2);
    kv.apply(put(3)).unwrap();
    assert_eq!(kv.get(b"a", None).unwrap().unwrap().version, 3);
}

#[test]
fn failed_read_applies_nothing_and_is_retryable() {
    let mut kv = Kv::open(Failing::new(MemoryStore::new())).unwrap();
    kv.apply(put(1)).unwrap();
    kv.store_mut_for_tests().reads_left = Cell::new(1);
    let fault = ApplyError::Fault(StoreFault::Store(DiskError));
    // The second entry reads the key from the batch, and the third reads another key.
    let other = Entry::command(3, 1, Command::new(Put::new("b", "v")).encode());
    assert_eq!(kv.apply_batch([put(2), other.clone()]), Err(fault));
    assert_eq!((kv.applied_index(), kv.revision()), (1, 2));
    kv.store_mut_for_tests().reads_left = Cell::new(u32::MAX);
    kv.apply_batch([put(2), other]).unwrap();
    kv.audit().unwrap();
    assert_eq!(kv.get(b"a", None).unwrap().unwrap().version, 2);
}

/// A revocation that fails at any read deletes the lease and all its keys, or nothing.
#[test]
fn failed_revoke_is_atomic() {
    let command =
        |index, request: Request| Entry::command(index, 1, Command::new(request).encode());
    let grant = command(1, Grant { id: 7, ttl: 1 }.into());
    let attach = |index, key| command(index, Put::new(key, "v").with_lease(7).into());
    let revoke = || command(4, Revoke::new(7).into());
    let mut kv = Kv::open(Failing::new(MemoryStore::new())).unwrap();
    kv.apply_batch([grant, attach(2, "a"), attach(3, "b")]).unwrap();
    let mut reads = 0;
    loop {
        kv.store_mut_for_tests().reads_left = Cell::new(reads);
        if kv.apply(revoke()).is_ok() {
            break;
        }
        kv.store_mut_for_tests().reads_left = Cell::new(u32::MAX);
        kv.audit().unwrap();
        assert_eq!(kv.view().lease_keys(7, 9).unwrap(), ["a", "b"]);
        reads += 1;
    }
    // The lease twice, its two keys, and their pairs.
    assert_eq!(reads, 6);
    kv.store_mut_for_tests().reads_left = Cell::new(u32::MAX);
    kv.audit().unwrap();
    assert_eq!((kv.revision(), kv.view().leases().unwrap()), (4, vec![]));
}
