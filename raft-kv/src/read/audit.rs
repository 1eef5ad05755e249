//! The check of a whole store for contradictions.
//!
//! The history determines the other tables of keys. It is read twice: in the order of revisions for
//! the digest, and key by key for versions and latest records.

use core::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;

use crate::apply::lease::{self, StoredLease};
use crate::error::StoreFault;
use crate::range::KeyRange;
use crate::read;
use crate::read::fingerprint;
use crate::store::layout::{self, Revision};
use crate::store::{Order, ReadStore};
use crate::wire::{
    KEYS_COUNTED_SINCE, KeyValue, SessionRecord, SessionUse, StateRecord, VersionRecord,
};

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

/// Checks all tables against each other, the counters and the digest.
pub(crate) fn audit<R: ReadStore>(store: &R, state: &StateRecord) -> Result<(), R> {
    let (changes, history_digest) = history(store, state)?;
    let present = versions(store, changes)?;
    let (from, to) = layout::current_range(&KeyRange::all());
    require::<R>(
        read::count(store, &from, &to)? == present,
        "the number of latest records is not the number of keys",
    )?;
    let session_digest = sessions(store, state)?;
    let lease_digest = leases(store, state)?;
    let digest = history_digest.wrapping_add(session_digest).wrapping_add(lease_digest);
    require::<R>(digest == state.digest, "the digest does not match the records")
}

/// Checks that the history has no gaps. Returns the number of changes and their digest.
fn history<R: ReadStore>(store: &R, state: &StateRecord) -> Result<(u64, u64), R> {
    let mut changes = 0;
    let mut digest = 0_u64;
    let mut before = Revision::first_of(1);
    let (from, to) = layout::history();
    for entry in store.scan(&from, &to, Order::Ascending) {
        let (key, record) = entry.map_err(StoreFault::Store)?;
        let revision = layout::history_revision(&key)
            .ok_or(StoreFault::Damaged("a key in the history is not a revision"))?;
        let follows = if revision.main == before.main {
            changes > 0 && revision.sub == before.sub + 1
        } else {
            revision == Revision::first_of(before.main + 1)
        };
        require::<R>(follows, "the history has a gap")?;
        digest = digest.wrapping_add(fingerprint::pair_fingerprint(&key, &record));
        let record: KeyValue = read::decode(record, "a record in the history cannot be decoded")?;
        require::<R>(
            record.mod_revision == revision.main,
            "a record in the history has another revision",
        )?;
        changes += 1;
        before = revision;
    }
    require::<R>(before.main == state.revision, "the history does not end at the latest revision")?;
    Ok((changes, digest))
}

/// Checks versions and latest record of each key. Returns the number of keys.
fn versions<R: ReadStore>(store: &R, changes: u64) -> Result<u64, R> {
    let mut seen = 0;
    let mut present = 0;
    let mut before: Option<(Bytes, KeyValue)> = None;
    let (from, to) = layout::version_range(&KeyRange::all());
    for entry in store.scan(&from, &to, Order::Ascending) {
        let (version_key, version) = entry.map_err(StoreFault::Store)?;
        let (group, revision) = layout::split_version_key(&version_key)
            .ok_or(StoreFault::Damaged("a key in the table of versions is too short"))?;
        let version: VersionRecord = read::decode(version, "a version cannot be decoded")?;
        let record = store
            .get(&layout::history_key(revision))
            .map_err(StoreFault::Store)?
            .ok_or(StoreFault::Damaged("a version has no record in the history"))?;
        let record: KeyValue = read::decode(record, "a record in the history cannot be decoded")?;
        require::<R>(
            version_key == layout::version_key(&record.key, revision)
                && version.removed == (record.version == 0),
            "a version does not match its record",
        )?;
        let last = match before.take() {
            Some((key, last)) if key == group => Some(last),
            Some((_, last)) => {
                present += newest(store, &last)?;
                None
            }
            None => None,
        };
        require::<R>(
            continues(last.as_ref(), &record),
            "a record does not continue the previous record",
        )?;
        seen += 1;
        before = Some((group, record));
    }
    if let Some((_, last)) = before {
        present += newest(store, &last)?;
    }
    require::<R>(seen == changes, "the versions do not match the history")?;
    Ok(present)
}

/// Returns true if `record` can be the next change of a key whose last change was `last`.
fn continues(last: Option<&KeyValue>, record: &KeyValue) -> bool {
    match (last.filter(|last| last.version > 0), record.version) {
        (None, 0) => false,
        (None, version) => version == 1 && record.create_revision == record.mod_revision,
        (Some(_), 0) => record.create_revision == 0,
        (Some(last), version) => {
            version == last.version + 1 && record.create_revision == last.create_revision
        }
    }
}

/// Checks the latest record of the key whose last change is `last`. Returns 1 if the key exists.
fn newest<R: ReadStore>(store: &R, last: &KeyValue) -> Result<u64, R> {
    let stored = store.get(&layout::current_key(&last.key)).map_err(StoreFault::Store)?;
    let expected = (last.version > 0).then(|| Bytes::from(last.encode_to_vec()));
    require::<R>(
        stored == expected,
        "the latest record of a key is not its last change in the history",
    )?;
    Ok(u64::from(expected.is_some()))
}

/// Checks that sessions and their uses match. Returns the digest of the sessions.
fn sessions<R: ReadStore>(store: &R, state: &StateRecord) -> Result<u64, R> {
    let mut digest = 0_u64;
    let mut seen = 0;
    let (from, to) = layout::sessions();
    for entry in store.scan(&from, &to, Order::Ascending) {
        let (key, bytes) = entry.map_err(StoreFault::Store)?;
        digest = digest.wrapping_add(fingerprint::pair_fingerprint(&key, &bytes));
        let record: SessionRecord = read::decode(bytes, "a session cannot be decoded")?;
        require::<R>(
            record.last_used > state.session_horizon && record.last_used <= state.applied_index,
            "a session was used before the horizon or in the future",
        )?;
        let usage = store
            .get(&layout::session_use_key(record.last_used))
            .map_err(StoreFault::Store)?
            .ok_or(StoreFault::Damaged("a session has no use"))?;
        let usage: SessionUse = read::decode(usage, "the use of a session cannot be decoded")?;
        require::<R>(
            layout::session_key_of(&usage.client) == key,
            "the use of a session names another client",
        )?;
        seen += 1;
    }
    require::<R>(seen == state.sessions, "the number of sessions is wrong")?;
    let (from, to) = layout::session_uses_after(0);
    require::<R>(read::count(store, &from, &to)? == seen, "a use has no session")?;
    Ok(digest)
}

/// Checks that leases and attached keys match. Returns the digest of the leases.
fn leases<R: ReadStore>(store: &R, state: &StateRecord) -> Result<u64, R> {
    let mut digest = 0_u64;
    let mut seen = 0;
    let (from, to) = layout::leases();
    for entry in store.scan(&from, &to, Order::Ascending) {
        let (key, bytes) = entry.map_err(StoreFault::Store)?;
        let StoredLease { lease, keys, .. } = lease::of_entry(&key, bytes)?;
        digest = digest.wrapping_add(lease.fingerprint());
        require::<R>(lease.granted_at <= state.applied_index, "a lease was granted in the future")?;
        if let Some(keys) = keys {
            require::<R>(
                state.format >= KEYS_COUNTED_SINCE,
                "a lease has a number of keys in a format without these numbers",
            )?;
            let (from, to) = layout::lease_keys_of(lease.id);
            let attached = read::count(store, &from, &to)?;
            require::<R>(keys == attached, "the number of keys of a lease is wrong")?;
        }
        seen += 1;
    }
    require::<R>(seen == state.leases, "the number of leases is wrong")?;
    let mut attached = 0;
    let (from, to) = layout::lease_keys();
    for entry in store.scan(&from, &to, Order::Ascending) {
        let (key, _) = entry.map_err(StoreFault::Store)?;
        let (id, key) = layout::lease_id(&key)
            .zip(layout::split_lease_key_entry(&key))
            .ok_or(StoreFault::Damaged("a key in the table of lease keys is too short"))?;
        require::<R>(
            read::latest(store, &key)?.is_some_and(|kv| kv.lease == id),
            "a lease has a key that is not attached to it",
        )?;
        require::<R>(lease::get(store, id)?.is_some(), "a key is attached to a missing lease")?;
        attached += 1;
    }
    let mut leased = 0;
    read::visit_latest(store, &KeyRange::all(), |kv| {
        leased += u64::from(kv.lease != 0);
        ControlFlow::Continue(())
    })?;
    require::<R>(leased == attached, "a lease lacks a key that is attached to it")?;
    Ok(digest)
}

/// Returns [`StoreFault::Damaged`] unless a condition holds.
fn require<R: ReadStore>(holds: bool, otherwise: &'static str) -> Result<(), R> {
    if holds { Ok(()) } else { Err(StoreFault::Damaged(otherwise)) }
}
