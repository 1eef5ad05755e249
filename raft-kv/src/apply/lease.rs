//! Leases: a key that hangs on one goes when the lease does.
//!
//! What is replicated is which leases there are, how long each lives when nobody keeps it alive,
//! and which keys hang on it; no clock. A lease ends when a [`Revoke`] is applied: all its keys go
//! in one revision. Whether its time is over is found by the leader, whose
//! [`Lessor`](crate::Lessor) has a clock, and put into the log like any other command, so that all
//! replicas agree on when it ended, and on what was written before and after.

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

/// The longest life of a lease in seconds, which is etcd's: about 285 years.
pub const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// The number of leases that there may be. The same on every replica, so not configurable; it
/// bounds the memory of a [`Lessor`](crate::Lessor).
pub const LEASES_MAX: u64 = 100_000;

/// The number of keys that may hang on a lease. The same on every replica, so not configurable; it
/// bounds the entry in which the lease ends, since all its keys go in one revision. A put after
/// which more would hang is refused with
/// [`Rejection::TooManyKeys`]: more keys need more leases.
///
/// What replicas before this bound put on a lease hangs there still.
pub const LEASE_KEYS_MAX: u64 = 10_000;

/// A lease, as every replica knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Its number, which is not 0.
    pub id: i64,
    /// How many seconds it lives when nobody keeps it alive.
    pub ttl: i64,
    /// The index of the entry that granted it: tells it from an earlier one of the same number.
    pub granted_at: u64,
}

/// A lease as it stands in the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredLease {
    pub(crate) lease: Lease,
    /// How many keys hang on it, if that was ever counted.
    pub(crate) keys: Option<u64>,
}

const MISCOUNTED: &str = "the keys of a lease are not as counted";

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

impl<R: ReadStore> BatchApply<'_, R> {
    pub(crate) fn is_lease(&self, id: i64) -> Result<bool, R> {
        Ok(get(&self.overlay, id)?.is_some())
    }

    pub(crate) fn grant(
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

    /// A number for a lease that was never chosen before: whoever still holds on to an earlier
    /// lease must not keep this one alive.
    fn allocate_id(&mut self, index: u64) -> Result<i64, R> {
        let absurd = || StoreFault::Damaged("the number of a lease is absurd");
        let after = |id: i64| id.checked_add(1).ok_or_else(absurd);
        let mut id =
            i64::try_from(index).map_err(|_| absurd())?.max(after(self.state.lease_assigned)?);
        while self.is_lease(id)? {
            id = after(id)?;
        }
        self.state.lease_assigned = id;
        Ok(id)
    }
}

impl<R: ReadStore> RevisionWriter<'_, '_, R> {
    /// Why a request must not do these puts and delete these ranges: a lease is not there, or more
    /// keys would hang on it than may. It is a matter of what they come to, not of their order: all
    /// make one revision.
    pub(crate) fn refuses_puts(
        &mut self,
        puts: &[&Put],
        deletes: &[&KeyRange],
    ) -> Result<Option<Rejection>, R> {
        let leases = puts.iter().map(|put| put.lease);
        let mut leases: Vec<i64> = leases.filter(|lease| *lease != 0).collect();
        leases.sort_unstable();
        for hung in leases.chunk_by(|one, next| one == next) {
            let id = hung[0];
            let Some(stored) = get(&self.transition.overlay, id)? else {
                return Ok(Some(Rejection::LeaseNotFound { id }));
            };
            let Some(max) = self.transition.lease_keys_max else {
                continue;
            };
            let before = self.key_count(stored)?;
            // As a rule there is room, wherever the keys hung before.
            let most = before.saturating_add(hung.len() as u64);
            if most <= max {
                continue;
            }
            let after = most.saturating_sub(self.detached_keys(id, puts, deletes)?);
            // Where there were too many before there was a bound, what adds none is not refused.
            if after > max && after > before {
                return Ok(Some(Rejection::TooManyKeys { lease: id, max }));
            }
        }
        Ok(None)
    }

    /// How many keys hang on a lease. One from before keys were counted says so from here on.
    fn key_count(&mut self, StoredLease { lease, keys }: StoredLease) -> Result<u64, R> {
        if let Some(keys) = keys {
            return Ok(keys);
        }
        let (from, to) = layout::lease_keys_of(lease.id);
        let overlay = &mut self.transition.overlay;
        let keys = read::count(overlay, &from, &to)?;
        overlay.put(layout::lease_key(lease.id), lease.record(Some(keys)));
        Ok(keys)
    }

    /// How many of the keys that hang on a lease are put again, wherever they hang then, or
    /// deleted. No request puts a key twice, or puts and deletes it.
    fn detached_keys(&self, id: i64, puts: &[&Put], deletes: &[&KeyRange]) -> Result<u64, R> {
        let overlay = &self.transition.overlay;
        let mut taken = 0;
        for put in puts {
            let held = read::latest(overlay, &put.key)?;
            taken += u64::from(held.is_some_and(|kv| kv.lease == id));
        }
        if !deletes.is_empty() {
            let is_deleted = |key: &&Bytes| deletes.iter().any(|keys| keys.contains(key));
            let keys = keys_of(overlay, id, usize::MAX)?;
            taken += keys.iter().filter(is_deleted).count() as u64;
        }
        Ok(taken)
    }

    /// A key that hung on one lease hangs on another; 0 is none.
    pub(crate) fn move_key(&mut self, key: &[u8], from: i64, to: i64) -> Result<(), R> {
        if from == to {
            return Ok(());
        }
        if from != 0 {
            self.transition.overlay.delete(layout::lease_key_entry(from, key));
            self.update_count(from, |keys| keys.checked_sub(1))?;
        }
        if to != 0 {
            self.transition.overlay.put(layout::lease_key_entry(to, key), Bytes::new());
            self.update_count(to, |keys| keys.checked_add(1))?;
        }
        Ok(())
    }

    /// Changes how many keys hang on a lease, if that is known.
    fn update_count(&mut self, id: i64, change: impl FnOnce(u64) -> Option<u64>) -> Result<(), R> {
        let overlay = &mut self.transition.overlay;
        let Some(StoredLease { lease, keys }) = get(overlay, id)? else {
            return Err(StoreFault::Damaged("a key hangs on a lease that is gone"));
        };
        if let Some(keys) = keys {
            let keys = change(keys).ok_or(StoreFault::Damaged(MISCOUNTED))?;
            overlay.put(layout::lease_key(id), lease.record(Some(keys)));
        }
        Ok(())
    }

    pub(crate) fn revoke(
        &mut self,
        term: u64,
        revoke: &Revoke,
    ) -> Result<Either<RevokeResult, Rejection>, R> {
        let id = revoke.id;
        let Some(StoredLease { lease, keys: counted }) = get(&self.transition.overlay, id)? else {
            return Ok(Err(Rejection::LeaseNotFound { id }));
        };
        if let Some(expiry) = revoke.expiry
            && (expiry.term != term || expiry.granted_at != lease.granted_at)
        {
            return Ok(Err(Rejection::LeaseNotExpired { id }));
        }
        let keys = keys_of(&self.transition.overlay, id, usize::MAX)?;
        if counted.is_some_and(|counted| counted != keys.len() as u64) {
            return Err(StoreFault::Damaged(MISCOUNTED));
        }
        for key in &keys {
            let kv = read::latest(&self.transition.overlay, key)?
                .ok_or(StoreFault::Damaged("a lease has a key that is not there"))?;
            self.delete_key(&kv)?;
        }
        let BatchApply { overlay, state, .. } = self.transition;
        let digest = &mut state.digest;
        *digest = digest.wrapping_sub(lease.fingerprint());
        overlay.delete(layout::lease_key(id));
        state.leases = state.leases.saturating_sub(1);
        Ok(Ok(RevokeResult { lease, deleted: keys.len() as u64 }))
    }
}

impl Lease {
    fn record(&self, keys: Option<u64>) -> Bytes {
        LeaseRecord { ttl: self.ttl, granted_at: self.granted_at, keys }.encode_to_vec().into()
    }

    /// Its part in the digest: without its number of keys, which follows from history, and which
    /// not every replica has counted.
    pub(crate) fn fingerprint(&self) -> u64 {
        fingerprint::pair_fingerprint(&layout::lease_key(self.id), &self.record(None))
    }
}

impl StoredLease {
    fn of_record<E>(id: i64, record: Bytes) -> Either<Self, StoreFault<E>> {
        let LeaseRecord { ttl, granted_at, keys } =
            read::decode(record, "a lease does not decode")?;
        Ok(Self { lease: Lease { id, ttl, granted_at }, keys })
    }
}

pub(crate) fn get<R: ReadStore>(store: &R, id: i64) -> Result<Option<StoredLease>, R> {
    let record = store.get(&layout::lease_key(id));
    record.map_err(StoreFault::Store)?.map(|record| StoredLease::of_record(id, record)).transpose()
}

pub(crate) fn all<R: ReadStore>(store: &R) -> Result<Vec<Lease>, R> {
    let (from, to) = layout::leases();
    let entries = store.scan(&from, &to, Order::Ascending).map(|entry| {
        let (key, record) = entry.map_err(StoreFault::Store)?;
        of_entry(&key, record).map(|stored| stored.lease)
    });
    entries.collect()
}

/// A lease of an entry of `leases`.
pub(crate) fn of_entry<E>(key: &[u8], record: Bytes) -> Either<StoredLease, StoreFault<E>> {
    let id = layout::lease_id(key).ok_or(StoreFault::Damaged("a key of the leases is short"));
    StoredLease::of_record(id?, record)
}

pub(crate) fn keys_of<R: ReadStore>(store: &R, id: i64, limit: usize) -> Result<Vec<Bytes>, R> {
    let (from, to) = layout::lease_keys_of(id);
    let entries = store.scan(&from, &to, Order::Ascending).map(|entry| {
        let (key, _) = entry.map_err(StoreFault::Store)?;
        layout::split_lease_key_entry(&key)
            .ok_or(StoreFault::Damaged("a key of a lease is too short"))
    });
    entries.take(limit).collect()
}
