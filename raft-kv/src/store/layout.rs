//! The layout of tables in the store.
//!
//! The store has one flat key space. The first byte of a key identifies the table:
//!
//! | table | key | value |
//! |---|---|---|
//! | meta | name | format version; counters with the applied index |
//! | current | user key | latest record of a key that exists |
//! | versions | escaped user key, revision | whether the key was deleted at that revision |
//! | history | revision | the record: all changes, in order |
//! | sessions | client | latest sequence number and its outcome |
//! | session uses | log index | client; orders sessions by their last use |
//! | leases | lease | time to live, entry of the grant, number of attached keys |
//! | lease keys | lease, user key | empty: the keys attached to a lease |
//!
//! There is no index in memory. The store opens instantly, and memory does not grow with the number
//! of keys. In exchange, a record is stored twice. A read of the latest value of a key, or of a
//! range, is therefore one lookup or one scan. The history in the order of revisions is one
//! sequential scan, for watches, hashes and compaction. Both copies have the same bytes. `versions`
//! contains no values, so a read at an earlier revision skips superseded versions cheaply.
//!
//! A compaction up to a revision reads `history` from its start. For each change it finds the next
//! version of the key. If that version is old enough too, it removes the change from both tables.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::range::{End, KeyRange};

const META: u8 = 0x00;
const CURRENT: u8 = 0x10;
const VERSIONS: u8 = 0x20;
const HISTORY: u8 = 0x30;
const SESSIONS: u8 = 0x40;
const SESSION_USES: u8 = 0x41;
const LEASES: u8 = 0x50;
const LEASE_KEYS: u8 = 0x51;

/// The key of the record with the format of the store.
pub(crate) const FORMAT_KEY: &[u8] = &[META, b'f'];
/// The key of the record with the counters.
pub(crate) const STATE_KEY: &[u8] = &[META, b's'];

/// The revision of a change, and its position among the changes of that revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision {
    pub(crate) main: i64,
    pub(crate) sub: u32,
}

const REVISION_BYTES: usize = 12;

impl Revision {
    /// The first change of a revision.
    pub(crate) fn first_of(main: i64) -> Self {
        Self { main, sub: 0 }
    }

    fn encode(self, to: &mut Vec<u8>) {
        // Revisions are positive, so bytes and numbers have the same order.
        to.extend_from_slice(&self.main.to_be_bytes());
        to.extend_from_slice(&self.sub.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (main, sub) = bytes.split_at_checked(size_of::<i64>())?;
        Some(Self {
            main: i64::from_be_bytes(main.try_into().ok()?),
            sub: u32::from_be_bytes(sub.try_into().ok()?),
        })
    }
}

/// The bounds of a scan: the first key, and the end, which is exclusive.
pub(crate) type StoreRange = (Bytes, Bytes);

/// The range of the whole store.
pub(crate) fn full_range() -> StoreRange {
    (Bytes::new(), Bytes::from_static(&[u8::MAX]))
}

fn table(prefix: u8) -> StoreRange {
    (Bytes::copy_from_slice(&[prefix]), Bytes::copy_from_slice(&[prefix + 1]))
}

fn prefixed(prefix: u8, rest: &[u8], spare: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len() + spare);
    key.push(prefix);
    key.extend_from_slice(rest);
    key
}

/// The key of the latest record of a user key.
pub(crate) fn current_key(key: &[u8]) -> Bytes {
    prefixed(CURRENT, key, 0).into()
}

pub(crate) fn current_range(keys: &KeyRange) -> StoreRange {
    let from = current_key(&keys.start);
    let to = match keys.stop() {
        End::Single => {
            let mut successor = prefixed(CURRENT, &keys.start, 1);
            successor.push(0);
            successor.into()
        }
        End::Open => table(CURRENT).1,
        End::Before(end) => current_key(end),
    };
    (from, to)
}

/// Appends an escaped user key. A zero byte becomes `00 ff`, and the key ends with `00 00`. Bytes
/// after the key therefore do not change the order of keys.
fn escape_to(target: &mut Vec<u8>, key: &[u8]) {
    for &byte in key {
        target.push(byte);
        if byte == 0 {
            target.push(u8::MAX);
        }
    }
    target.extend_from_slice(&[0, 0]);
}

fn versions_of(key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len() + 2 + REVISION_BYTES);
    bytes.push(VERSIONS);
    escape_to(&mut bytes, key);
    bytes
}

/// The key of a version.
pub(crate) fn version_key(key: &[u8], revision: Revision) -> Bytes {
    let mut bytes = versions_of(key);
    revision.encode(&mut bytes);
    bytes.into()
}

/// Splits a key of `versions` into the table and escaped user key, and the revision.
pub(crate) fn split_version_key(key: &Bytes) -> Option<(Bytes, Revision)> {
    let at = key.len().checked_sub(REVISION_BYTES)?;
    let revision = Revision::decode(key.get(at..)?)?;
    Some((key.slice(..at), revision))
}

/// The range of all versions of a range of keys.
pub(crate) fn version_range(keys: &KeyRange) -> StoreRange {
    let from = versions_of(&keys.start);
    let to = match keys.stop() {
        End::Single => {
            // `00 01` is between the end of this key, `00 00`, and a longer key, `00 ff`.
            let mut successor = from.clone();
            if let Some(last) = successor.last_mut() {
                *last = 1;
            }
            successor.into()
        }
        End::Open => table(VERSIONS).1,
        End::Before(end) => versions_of(end).into(),
    };
    (from.into(), to)
}

/// The range of the versions of one key up to and including revision `main`.
pub(crate) fn version_range_until(key: &[u8], main: i64) -> StoreRange {
    let to = version_key(key, Revision::first_of(main.saturating_add(1)));
    (versions_of(key).into(), to)
}

/// The key of a change in `history`.
pub(crate) fn history_key(revision: Revision) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + REVISION_BYTES);
    bytes.push(HISTORY);
    revision.encode(&mut bytes);
    bytes.into()
}

/// The range of the history.
pub(crate) fn history() -> StoreRange {
    table(HISTORY)
}

/// The revision in a key of `history`.
pub(crate) fn history_revision(key: &[u8]) -> Option<Revision> {
    Revision::decode(key.get(1..)?)
}

/// The range of all sessions.
pub(crate) fn sessions() -> StoreRange {
    table(SESSIONS)
}

/// The key of a session.
pub(crate) fn session_key(client: u128) -> Bytes {
    session_key_of(&client.to_be_bytes())
}

/// The key of a session, from the encoded client id.
pub(crate) fn session_key_of(client: &[u8]) -> Bytes {
    prefixed(SESSIONS, client, 0).into()
}

/// The key of the use of a session at a log index.
pub(crate) fn session_use_key(index: u64) -> Bytes {
    prefixed(SESSION_USES, &index.to_be_bytes(), 0).into()
}

/// The range of the uses of sessions after a log index, oldest first.
pub(crate) fn session_uses_after(index: u64) -> StoreRange {
    (session_use_key(index.saturating_add(1)), table(SESSION_USES).1)
}

/// The range of all leases.
pub(crate) fn leases() -> StoreRange {
    table(LEASES)
}

/// The key of a lease.
pub(crate) fn lease_key(id: i64) -> Bytes {
    prefixed(LEASES, &order_preserving(id), 0).into()
}

/// The lease id in a key of `leases` or of `lease keys`.
pub(crate) fn lease_id(key: &[u8]) -> Option<i64> {
    let bytes = key.get(1..=size_of::<i64>())?;
    let number = u64::from_be_bytes(bytes.try_into().ok()?);
    Some((number ^ SIGN).cast_signed())
}

/// The range of all keys attached to leases.
pub(crate) fn lease_keys() -> StoreRange {
    table(LEASE_KEYS)
}

/// The range of the keys attached to a lease.
pub(crate) fn lease_keys_of(id: i64) -> StoreRange {
    let to = match id.checked_add(1) {
        Some(next) => prefixed(LEASE_KEYS, &order_preserving(next), 0).into(),
        None => table(LEASE_KEYS).1,
    };
    (prefixed(LEASE_KEYS, &order_preserving(id), 0).into(), to)
}

/// The key of a user key that is attached to a lease.
pub(crate) fn lease_key_entry(id: i64, key: &[u8]) -> Bytes {
    let mut bytes = prefixed(LEASE_KEYS, &order_preserving(id), key.len());
    bytes.extend_from_slice(key);
    bytes.into()
}

/// The user key in a key of `lease keys`.
pub(crate) fn split_lease_key_entry(key: &Bytes) -> Option<Bytes> {
    let at = 1 + size_of::<i64>();
    (key.len() >= at).then(|| key.slice(at..))
}

const SIGN: u64 = 1 << 63;

/// Encodes a number so that bytes and numbers have the same order, with negative numbers first.
fn order_preserving(id: i64) -> [u8; 8] {
    (id.cast_unsigned() ^ SIGN).to_be_bytes()
}
