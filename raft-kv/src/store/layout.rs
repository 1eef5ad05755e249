//! Where everything stands in the store.
//!
//! One flat key space, one byte in front per table, so that any ordered store fits:
//!
//! | table | key | value |
//! |---|---|---|
//! | meta | name | format version; counters with the applied index |
//! | current | user key | newest record of a key that is there |
//! | versions | escaped user key, revision | whether the key was removed at that revision |
//! | history | revision | the record: every change ever made, in order |
//! | sessions | client | latest sequence and its outcome |
//! | session uses | log index | client; orders sessions by their last use |
//! | leases | lease | how long it lives, which entry granted it, and how many keys hang on it |
//! | lease keys | lease, user key | nothing: the keys that hang on a lease |
//!
//! There is no index in memory, so opening is instant and memory does not grow with the number of
//! keys. In exchange a record is stored twice: the common reads (newest value of a key, newest
//! values of a range) are then one lookup or one scan with no indirection, while history in
//! revision order is one sequential scan, which is what following changes from a revision, hashing
//! and compaction need. Both copies are the same bytes, encoded once. `versions` holds no values,
//! so a read at an old revision steps over superseded versions cheaply, and fetches from `history`
//! only what it returns.
//!
//! Compaction up to a revision walks `history` from its beginning; for each change it finds the
//! key's next version, and drops the change from both tables if that version is old enough too.

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

/// The record that says which format the store has.
pub(crate) const FORMAT_KEY: &[u8] = &[META, b'f'];
/// The record with the counters.
pub(crate) const STATE_KEY: &[u8] = &[META, b's'];

/// A change: the revision of its transaction, and its place among the transaction's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision {
    pub(crate) main: i64,
    pub(crate) sub: u32,
}

const REVISION_BYTES: usize = 12;

impl Revision {
    pub(crate) fn first_of(main: i64) -> Self {
        Self { main, sub: 0 }
    }

    fn encode(self, to: &mut Vec<u8>) {
        // Revisions are positive, so the order of the bytes is the order of the numbers.
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

/// Bounds of a scan: from the first key on, to the second key and not including it.
pub(crate) type Span = (Bytes, Bytes);

/// All of the store.
pub(crate) fn full_range() -> Span {
    (Bytes::new(), Bytes::from_static(&[u8::MAX]))
}

fn table(prefix: u8) -> Span {
    (Bytes::copy_from_slice(&[prefix]), Bytes::copy_from_slice(&[prefix + 1]))
}

fn prefixed(prefix: u8, rest: &[u8], spare: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len() + spare);
    key.push(prefix);
    key.extend_from_slice(rest);
    key
}

pub(crate) fn current_key(key: &[u8]) -> Bytes {
    prefixed(CURRENT, key, 0).into()
}

pub(crate) fn current_range(keys: &KeyRange) -> Span {
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

/// Escapes a user key, so that what follows it cannot change the order of keys: a zero byte becomes
/// `00 ff`, and the key ends with `00 00`.
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

pub(crate) fn version_key(key: &[u8], revision: Revision) -> Bytes {
    let mut bytes = versions_of(key);
    revision.encode(&mut bytes);
    bytes.into()
}

/// Splits a key of `versions` into what stands for the user key and the revision.
pub(crate) fn split_version_key(key: &Bytes) -> Option<(Bytes, Revision)> {
    let at = key.len().checked_sub(REVISION_BYTES)?;
    let revision = Revision::decode(key.get(at..)?)?;
    Some((key.slice(..at), revision))
}

/// All versions of a range of keys.
pub(crate) fn version_range(keys: &KeyRange) -> Span {
    let from = versions_of(&keys.start);
    let to = match keys.stop() {
        End::Single => {
            // `00 01` lies between the end of this key, `00 00`, and a key that goes on, `00 ff`.
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

/// The versions of one key up to and including revision `main`.
pub(crate) fn version_range_until(key: &[u8], main: i64) -> Span {
    let to = version_key(key, Revision::first_of(main.saturating_add(1)));
    (versions_of(key).into(), to)
}

pub(crate) fn history_key(revision: Revision) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + REVISION_BYTES);
    bytes.push(HISTORY);
    revision.encode(&mut bytes);
    bytes.into()
}

/// All of history.
pub(crate) fn history() -> Span {
    table(HISTORY)
}

/// The revision of a key of `history`.
pub(crate) fn history_revision(key: &[u8]) -> Option<Revision> {
    Revision::decode(key.get(1..)?)
}

/// All sessions.
pub(crate) fn sessions() -> Span {
    table(SESSIONS)
}

pub(crate) fn session_key(client: u128) -> Bytes {
    session_key_of(&client.to_be_bytes())
}

/// The key of a session whose client is given as it stands in such a key.
pub(crate) fn session_key_of(client: &[u8]) -> Bytes {
    prefixed(SESSIONS, client, 0).into()
}

pub(crate) fn session_use_key(index: u64) -> Bytes {
    prefixed(SESSION_USES, &index.to_be_bytes(), 0).into()
}

/// The uses of sessions after a log index, oldest first.
pub(crate) fn session_uses_after(index: u64) -> Span {
    (session_use_key(index.saturating_add(1)), table(SESSION_USES).1)
}

/// All leases.
pub(crate) fn leases() -> Span {
    table(LEASES)
}

pub(crate) fn lease_key(id: i64) -> Bytes {
    prefixed(LEASES, &order_preserving(id), 0).into()
}

/// The lease of a key of `leases` or of `lease keys`.
pub(crate) fn lease_id(key: &[u8]) -> Option<i64> {
    let bytes = key.get(1..=size_of::<i64>())?;
    let number = u64::from_be_bytes(bytes.try_into().ok()?);
    Some((number ^ SIGN).cast_signed())
}

/// All keys of all leases.
pub(crate) fn lease_keys() -> Span {
    table(LEASE_KEYS)
}

/// The keys of a lease.
pub(crate) fn lease_keys_of(id: i64) -> Span {
    let to = match id.checked_add(1) {
        Some(next) => prefixed(LEASE_KEYS, &order_preserving(next), 0).into(),
        None => table(LEASE_KEYS).1,
    };
    (prefixed(LEASE_KEYS, &order_preserving(id), 0).into(), to)
}

pub(crate) fn lease_key_entry(id: i64, key: &[u8]) -> Bytes {
    let mut bytes = prefixed(LEASE_KEYS, &order_preserving(id), key.len());
    bytes.extend_from_slice(key);
    bytes.into()
}

/// The user key of a key of `lease keys`.
pub(crate) fn split_lease_key_entry(key: &Bytes) -> Option<Bytes> {
    let at = 1 + size_of::<i64>();
    (key.len() >= at).then(|| key.slice(at..))
}

const SIGN: u64 = 1 << 63;

/// A number so that the order of the bytes is the order of the numbers, negative ones first.
fn order_preserving(id: i64) -> [u8; 8] {
    (id.cast_unsigned() ^ SIGN).to_be_bytes()
}
