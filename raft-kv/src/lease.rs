//! Leases: a key that hangs on one goes when the lease does.
//!
//! What is replicated is which leases there are, how long each lives when nobody keeps it alive, and which keys hang on
//! it; no clock. A lease ends when a [`Revoke`] is applied: all its keys go in one revision. Whether its time is over is
//! found by the leader, whose [`Lessor`](crate::Lessor) has a clock, and put into the log like any other command,
//! so that all replicas agree on when it ended, and on what was written before and after.

use alloc::vec::Vec;
use core::result::Result as Either;

use bytes::Bytes;
use prost::Message;

use crate::apply::{Changes, Transition};
use crate::command::{Grant, Revoke};
use crate::error::StoreFault;
use crate::fingerprint;
use crate::layout;
use crate::outcome::{GrantResult, Rejection, RevokeResult};
use crate::read;
use crate::store::{Order, ReadStore};
use crate::wire::LeaseRecord;

/// The longest life of a lease in seconds, which is etcd's: about 285 years.
pub const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// The number of leases that there may be. The same on every replica, so not configurable; it bounds the memory of a
/// [`Lessor`](crate::Lessor).
pub const LEASES_MAX: u64 = 100_000;

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

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

impl<R: ReadStore> Transition<'_, R> {
    /// Whether keys may hang on it; they may hang on none.
    pub(crate) fn is_lease(&self, id: i64) -> Result<bool, R> {
        Ok(id == 0 || get(&self.overlay, id)?.is_some())
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
            0 => self.choose(index)?,
            id => id,
        };
        let lease = Lease { id, ttl: grant.ttl, granted_at: index };
        let (key, record) = lease.stored();
        let digest = &mut self.state.digest;
        *digest = digest.wrapping_add(fingerprint::of_pair(&key, &record));
        self.overlay.put(key, record);
        self.state.leases += 1;
        Ok(Ok(GrantResult { lease }))
    }

    /// A number for a lease that was never chosen before: whoever still holds on to an earlier lease must not keep this
    /// one alive.
    fn choose(&mut self, index: u64) -> Result<i64, R> {
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

    /// A key that hung on one lease hangs on another; 0 is none.
    pub(crate) fn move_key(&mut self, key: &[u8], from: i64, to: i64) {
        if from == to {
            return;
        }
        if from != 0 {
            self.overlay.delete(layout::lease_key_key(from, key));
        }
        if to != 0 {
            let hangs = layout::lease_key_key(to, key);
            self.overlay.put(hangs, Bytes::new());
        }
    }
}

impl<R: ReadStore> Changes<'_, '_, R> {
    pub(crate) fn revoke(
        &mut self,
        term: u64,
        revoke: &Revoke,
    ) -> Result<Either<RevokeResult, Rejection>, R> {
        let id = revoke.id;
        let Some(lease) = get(&self.transition.overlay, id)? else {
            return Ok(Err(Rejection::LeaseNotFound { id }));
        };
        if let Some(expiry) = revoke.expiry
            && (expiry.term != term || expiry.granted_at != lease.granted_at)
        {
            return Ok(Err(Rejection::LeaseNotExpired { id }));
        }
        let keys = keys_of(&self.transition.overlay, id, usize::MAX)?;
        for key in &keys {
            let kv = read::latest(&self.transition.overlay, key)?
                .ok_or(StoreFault::Damaged("a lease has a key that is not there"))?;
            self.remove(&kv);
        }
        let Transition { overlay, state, .. } = self.transition;
        let (key, record) = lease.stored();
        let digest = &mut state.digest;
        *digest = digest.wrapping_sub(fingerprint::of_pair(&key, &record));
        overlay.delete(key);
        state.leases = state.leases.saturating_sub(1);
        Ok(Ok(RevokeResult { lease, deleted: keys.len() as u64 }))
    }
}

impl Lease {
    /// Its record, and where it stands.
    fn stored(&self) -> (Bytes, Bytes) {
        let record = LeaseRecord { ttl: self.ttl, granted_at: self.granted_at };
        (layout::lease_key(self.id), record.encode_to_vec().into())
    }

    fn of_record<E>(id: i64, record: Bytes) -> Either<Self, StoreFault<E>> {
        let LeaseRecord { ttl, granted_at } = read::decode(record, "a lease does not decode")?;
        Ok(Self { id, ttl, granted_at })
    }
}

pub(crate) fn get<R: ReadStore>(store: &R, id: i64) -> Result<Option<Lease>, R> {
    let record = store.get(&layout::lease_key(id));
    record.map_err(StoreFault::Store)?.map(|record| Lease::of_record(id, record)).transpose()
}

pub(crate) fn all<R: ReadStore>(store: &R) -> Result<Vec<Lease>, R> {
    let (from, to) = layout::leases();
    let entries = store.scan(&from, &to, Order::Ascending).map(|entry| {
        let (key, record) = entry.map_err(StoreFault::Store)?;
        let id = layout::lease_id(&key).ok_or(StoreFault::Damaged("a key of the leases is short"));
        Lease::of_record(id?, record)
    });
    entries.collect()
}

pub(crate) fn keys_of<R: ReadStore>(store: &R, id: i64, limit: usize) -> Result<Vec<Bytes>, R> {
    let (from, to) = layout::lease_keys_of(id);
    let entries = store.scan(&from, &to, Order::Ascending).map(|entry| {
        let (key, _) = entry.map_err(StoreFault::Store)?;
        layout::key_of_lease(&key).ok_or(StoreFault::Damaged("a key of a lease is too short"))
    });
    entries.take(limit).collect()
}
