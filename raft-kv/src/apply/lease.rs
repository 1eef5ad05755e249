//! Leases: keys that are attached to a lease are deleted together with it.
//!
//! The replicated state contains the leases, their times to live, and the keys attached to them. It
//! has no clock. A lease ends when a [`Revoke`] is applied, which deletes all its keys in one
//! revision. The [`Lessor`](crate::Lessor) of the leader has a clock and detects expired leases.
//! The leader then proposes a [`Revoke`] like any other command. All replicas therefore end the
//! lease at the same position of the log.

use alloc::vec::Vec;
use core::result::Result as Either;

use bytes::Bytes;
use prost::Message;

use crate::apply::{BatchApply, RevisionWriter};
use crate::command::{Grant, Put, Revoke};
use crate::error::StoreFault;
use crate::outcome::{GrantResult, Rejection, RevokeResult};
use crate::range::KeyRange;
use crate::read;
use crate::read::fingerprint;
use crate::store::layout;
use crate::store::{Order, ReadStore};
use crate::wire::LeaseRecord;

/// The maximum time to live of a lease, in seconds: that of etcd, about 285 years.
pub const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// The maximum number of leases. It limits the memory of a [`Lessor`](crate::Lessor). All replicas
/// must have the same limit, so it is not configurable.
pub const LEASES_MAX: u64 = 100_000;

/// The maximum number of keys that are attached to one lease. It limits the work of the entry that
/// ends the lease. All replicas must have the same limit, so it is not configurable.
///
/// A put that exceeds the limit is rejected with [`Rejection::TooManyKeys`]. More keys need more
/// leases. Keys attached by earlier versions, which had no limit, stay attached.
pub const LEASE_KEYS_MAX: u64 = 10_000;

/// A lease in the replicated state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The id of the lease. Not 0.
    pub id: i64,
    /// The time to live in seconds, from the grant or the latest renewal.
    pub ttl: i64,
    /// The index of the entry that granted the lease. It distinguishes the lease from an earlier
    /// one with the same id.
    pub granted_at: u64,
}

/// A lease in the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredLease {
    pub(crate) lease: Lease,
    /// The number of attached keys; `None` if they were never counted.
    pub(crate) keys: Option<u64>,
}

const MISCOUNTED: &str = "the number of keys of a lease is wrong";

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

impl<R: ReadStore> BatchApply<'_, R> {
    /// Returns true if the lease exists.
    pub(crate) fn is_lease(&self, id: i64) -> Result<bool, R> {
        Ok(get(&self.overlay, id)?.is_some())
    }

    /// Grants a lease.
    pub(super) fn grant(
        &mut self,
        index: u64,
        grant: &Grant,
    ) -> Result<Either<GrantResult, Rejection>, R> {
        if grant.id != 0 && self.is_lease(grant.id)? {
            return Ok(Err(Rejection::LeaseExists { id: grant.id }));
        }
        let max = self.capacity.leases;
        if self.state.leases >= max {
            return Ok(Err(Rejection::TooManyLeases { max }));
        }
        let id = match grant.id {
            0 => self.allocate_id(index)?,
            id => id,
        };
        let lease = Lease { id, ttl: grant.ttl, granted_at: index };
        let digest = &mut self.state.digest;
        *digest = digest.wrapping_add(lease.fingerprint());
        self.overlay.put(layout::lease_key(id), lease.record(Some(0)));
        self.state.leases += 1;
        Ok(Ok(GrantResult { lease }))
    }

    /// An id that was never allocated before. Without this, the holder of an earlier lease could
    /// renew this one.
    fn allocate_id(&mut self, index: u64) -> Result<i64, R> {
        let too_large = || StoreFault::Damaged("the id of a lease is too large");
        let after = |id: i64| id.checked_add(1).ok_or_else(too_large);
        let mut id =
            i64::try_from(index).map_err(|_| too_large())?.max(after(self.state.lease_assigned)?);
        while self.is_lease(id)? {
            id = after(id)?;
        }
        self.state.lease_assigned = id;
        Ok(id)
    }
}

impl<R: ReadStore> RevisionWriter<'_, '_, R> {
    /// The reason to reject these puts and deletes of one request, if there is one: a lease does
    /// not exist, or too many keys would be attached to it. The order of the operations does not
    /// matter, because they make one revision.
    pub(super) fn rejection_of_puts(
        &mut self,
        puts: &[&Put],
        deletes: &[&KeyRange],
    ) -> Result<Option<Rejection>, R> {
        let leases = puts.iter().map(|put| put.lease);
        let mut leases: Vec<i64> = leases.filter(|lease| *lease != 0).collect();
        leases.sort_unstable();
        for attached in leases.chunk_by(|one, next| one == next) {
            let id = attached[0];
            let Some(stored) = get(&self.batch.overlay, id)? else {
                return Ok(Some(Rejection::LeaseNotFound { id }));
            };
            let Some(max) = self.batch.lease_keys_max else {
                continue;
            };
            let before = self.key_count(stored)?;
            // In most cases this upper bound is sufficient.
            let upper_bound = before.saturating_add(attached.len() as u64);
            if upper_bound <= max {
                continue;
            }
            let after = upper_bound.saturating_sub(self.detached_keys(id, puts, deletes)?);
            // A lease may exceed the limit since a version without limit. A request that adds no
            // keys to it is not rejected.
            if after > max && after > before {
                return Ok(Some(Rejection::TooManyKeys { lease: id, max }));
            }
        }
        Ok(None)
    }

    /// The number of keys attached to a lease. Counts and stores it for a lease without count.
    fn key_count(&mut self, StoredLease { lease, keys }: StoredLease) -> Result<u64, R> {
        if let Some(keys) = keys {
            return Ok(keys);
        }
        let (from, to) = layout::lease_keys_of(lease.id);
        let overlay = &mut self.batch.overlay;
        let keys = read::count(overlay, &from, &to)?;
        overlay.put(layout::lease_key(lease.id), lease.record(Some(keys)));
        Ok(keys)
    }

    /// The number of keys attached to a lease that a request puts or deletes. No request puts a key
    /// twice, or puts and deletes the same key.
    fn detached_keys(&self, id: i64, puts: &[&Put], deletes: &[&KeyRange]) -> Result<u64, R> {
        let overlay = &self.batch.overlay;
        let mut detached = 0;
        for put in puts {
            let held = read::latest(overlay, &put.key)?;
            detached += u64::from(held.is_some_and(|kv| kv.lease == id));
        }
        if !deletes.is_empty() {
            let is_deleted = |key: &&Bytes| deletes.iter().any(|keys| keys.contains(key));
            let keys = keys_of(overlay, id, usize::MAX)?;
            detached += keys.iter().filter(is_deleted).count() as u64;
        }
        Ok(detached)
    }

    /// Detaches a key from the lease `from`, and attaches it to the lease `to`. 0 means no lease.
    pub(super) fn move_key(&mut self, key: &[u8], from: i64, to: i64) -> Result<(), R> {
        if from == to {
            return Ok(());
        }
        if from != 0 {
            self.batch.overlay.delete(layout::lease_key_entry(from, key));
            self.update_count(from, |keys| keys.checked_sub(1))?;
        }
        if to != 0 {
            self.batch.overlay.put(layout::lease_key_entry(to, key), Bytes::new());
            self.update_count(to, |keys| keys.checked_add(1))?;
        }
        Ok(())
    }

    /// Changes the number of keys of a lease, if it was ever counted.
    fn update_count(&mut self, id: i64, change: impl FnOnce(u64) -> Option<u64>) -> Result<(), R> {
        let overlay = &mut self.batch.overlay;
        let Some(StoredLease { lease, keys }) = get(overlay, id)? else {
            return Err(StoreFault::Damaged("a key is attached to a missing lease"));
        };
        if let Some(keys) = keys {
            let keys = change(keys).ok_or(StoreFault::Damaged(MISCOUNTED))?;
            overlay.put(layout::lease_key(id), lease.record(Some(keys)));
        }
        Ok(())
    }

    /// Ends a lease, and deletes its keys.
    pub(super) fn revoke(
        &mut self,
        term: u64,
        revoke: &Revoke,
    ) -> Result<Either<RevokeResult, Rejection>, R> {
        let id = revoke.id;
        let Some(StoredLease { lease, keys: counted }) = get(&self.batch.overlay, id)? else {
            return Ok(Err(Rejection::LeaseNotFound { id }));
        };
        if let Some(expiry) = revoke.expiry
            && (expiry.term != term || expiry.granted_at != lease.granted_at)
        {
            return Ok(Err(Rejection::LeaseNotExpired { id }));
        }
        let keys = keys_of(&self.batch.overlay, id, usize::MAX)?;
        if counted.is_some_and(|counted| counted != keys.len() as u64) {
            return Err(StoreFault::Damaged(MISCOUNTED));
        }
        for key in &keys {
            let kv = read::latest(&self.batch.overlay, key)?
                .ok_or(StoreFault::Damaged("a key of a lease is missing"))?;
            self.delete_key(&kv)?;
        }
        let BatchApply { overlay, state, .. } = &mut *self.batch;
        let digest = &mut state.digest;
        *digest = digest.wrapping_sub(lease.fingerprint());
        overlay.delete(layout::lease_key(id));
        state.leases = state.leases.saturating_sub(1);
        Ok(Ok(RevokeResult { lease, deleted: keys.len() as u64 }))
    }
}

impl Lease {
    /// The record of the lease in the store.
    fn record(&self, keys: Option<u64>) -> Bytes {
        LeaseRecord { ttl: self.ttl, granted_at: self.granted_at, keys }.encode_to_vec().into()
    }

    /// The part of the lease in the digest. The number of keys is not included: it follows from the
    /// history, and not every replica has counted it.
    pub(crate) fn fingerprint(&self) -> u64 {
        fingerprint::pair_fingerprint(&layout::lease_key(self.id), &self.record(None))
    }
}

impl StoredLease {
    fn of_record<E>(id: i64, record: Bytes) -> Either<Self, StoreFault<E>> {
        let LeaseRecord { ttl, granted_at, keys } =
            read::decode(record, "a lease cannot be decoded")?;
        Ok(Self { lease: Lease { id, ttl, granted_at }, keys })
    }
}

/// The lease with this id.
pub(crate) fn get<R: ReadStore>(store: &R, id: i64) -> Result<Option<StoredLease>, R> {
    let record = store.get(&layout::lease_key(id));
    record.map_err(StoreFault::Store)?.map(|record| StoredLease::of_record(id, record)).transpose()
}

/// All leases in ascending order of their ids.
pub(crate) fn all<R: ReadStore>(store: &R) -> Result<Vec<Lease>, R> {
    let (from, to) = layout::leases();
    let entries = store.scan(&from, &to, Order::Ascending).map(|entry| {
        let (key, record) = entry.map_err(StoreFault::Store)?;
        of_entry(&key, record).map(|stored| stored.lease)
    });
    entries.collect()
}

/// The lease in a pair of the table `leases`.
pub(crate) fn of_entry<E>(key: &[u8], record: Bytes) -> Either<StoredLease, StoreFault<E>> {
    let id = layout::lease_id(key)
        .ok_or(StoreFault::Damaged("a key in the table of leases is too short"));
    StoredLease::of_record(id?, record)
}

/// The first `limit` keys that are attached to a lease, in ascending order.
pub(crate) fn keys_of<R: ReadStore>(store: &R, id: i64, limit: usize) -> Result<Vec<Bytes>, R> {
    let (from, to) = layout::lease_keys_of(id);
    let entries = store.scan(&from, &to, Order::Ascending).map(|entry| {
        let (key, _) = entry.map_err(StoreFault::Store)?;
        layout::split_lease_key_entry(&key)
            .ok_or(StoreFault::Damaged("a key in the table of lease keys is too short"))
    });
    entries.take(limit).collect()
}
