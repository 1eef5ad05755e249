//! Reads of keys, at the latest and at earlier revisions, from any [`ReadStore`].

pub(crate) mod audit;
pub(crate) mod changes;
pub(crate) mod fingerprint;
pub(crate) mod view;

use core::ops::ControlFlow;

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;

use crate::error::StoreFault;
use crate::range::{CountMode, End, Fields, KeyRange, KeyValue, RangeRequest, RangeResponse};
use crate::store::layout::{self, Revision};
use crate::store::{Order, ReadStore};
use crate::wire::{self, VersionRecord};

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

/// Decodes a record of the store. `what` describes the damage if that fails.
pub(crate) fn decode<M: Message + Default, E>(
    bytes: Bytes,
    what: &'static str,
) -> core::result::Result<M, StoreFault<E>> {
    M::decode(bytes).map_err(|_| StoreFault::Damaged(what))
}

fn decode_kv<E>(bytes: Bytes) -> core::result::Result<KeyValue, StoreFault<E>> {
    decode::<wire::KeyValue, E>(bytes, "a key-value record cannot be decoded").map(Into::into)
}

/// The latest record of a key; `None` if the key does not exist.
pub(crate) fn latest<R: ReadStore>(store: &R, key: &[u8]) -> Result<Option<KeyValue>, R> {
    store.get(&layout::current_key(key)).map_err(StoreFault::Store)?.map(decode_kv).transpose()
}

/// The record of a key at an earlier revision; `None` if the key did not exist.
pub(crate) fn at_revision<R: ReadStore>(
    store: &R,
    key: &[u8],
    revision: i64,
) -> Result<Option<KeyValue>, R> {
    let (from, to) = layout::version_range_until(key, revision);
    match store.scan(&from, &to, Order::Descending).next() {
        None => Ok(None),
        Some(entry) => {
            let version = Version::read::<R>(entry)?;
            version.load(store)
        }
    }
}

/// Visits the latest records of a range in the order of keys, until the visitor breaks.
pub(crate) fn visit_latest<R: ReadStore>(
    store: &R,
    keys: &KeyRange,
    mut visit: impl FnMut(KeyValue) -> ControlFlow<()>,
) -> Result<(), R> {
    if keys.stop() == End::Single {
        if let Some(kv) = latest(store, &keys.start)? {
            let _ = visit(kv);
        }
        return Ok(());
    }
    let (from, to) = layout::current_range(keys);
    for entry in store.scan(&from, &to, Order::Ascending) {
        let (_, record) = entry.map_err(StoreFault::Store)?;
        if visit(decode_kv(record)?).is_break() {
            break;
        }
    }
    Ok(())
}

/// The number of pairs with keys in `from..to`.
pub(crate) fn count<R: ReadStore>(store: &R, from: &[u8], to: &[u8]) -> Result<u64, R> {
    let mut count = 0;
    for entry in store.scan(from, to, Order::Ascending) {
        entry.map_err(StoreFault::Store)?;
        count += 1;
    }
    Ok(count)
}

/// Reads a range at an earlier revision, or at the latest if `revision` is `None`. The caller has
/// checked the revision. `shown` is the revision in the response.
pub(crate) fn range<R: ReadStore>(
    store: &R,
    request: &RangeRequest,
    revision: Option<i64>,
    shown: i64,
) -> Result<RangeResponse, R> {
    range_within(store, request, revision, shown, u64::MAX).map(|(response, _)| response)
}

/// Reads a range like [`range`], and returns the size of the response in bytes. The read stops at
/// the pair with which the response exceeds `bytes_max`. The response is then incomplete.
pub(crate) fn range_within<R: ReadStore>(
    store: &R,
    request: &RangeRequest,
    revision: Option<i64>,
    shown: i64,
    bytes_max: u64,
) -> Result<(RangeResponse, u64), R> {
    let mut answer = RangeCollector {
        request,
        response: RangeResponse { kvs: Vec::new(), more: false, count: 0, revision: shown },
        bytes: 0,
        bytes_max,
    };
    match (revision, request.keys.stop()) {
        (None, End::Single) => {
            if let Some(kv) = latest(store, &request.keys.start)? {
                let _ = answer.offer::<R>(|| Ok(kv))?;
            }
        }
        (None, _) => {
            let (from, to) = layout::current_range(&request.keys);
            for entry in store.scan(&from, &to, request.order) {
                let (_, record) = entry.map_err(StoreFault::Store)?;
                if answer.offer::<R>(|| decode_kv(record))?.is_break() {
                    break;
                }
            }
        }
        (Some(revision), End::Single) => {
            if let Some(kv) = at_revision(store, &request.keys.start, revision)? {
                let _ = answer.offer::<R>(|| Ok(kv))?;
            }
        }
        (Some(revision), _) => past_range(store, revision, &mut answer)?,
    }
    Ok((answer.response, answer.bytes))
}

/// Scans the versions of all keys of a range. For each key it takes the latest version up to the
/// revision: the last one of an ascending scan, and the first one of a descending scan.
fn past_range<R: ReadStore>(
    store: &R,
    revision: i64,
    answer: &mut RangeCollector<'_>,
) -> Result<(), R> {
    let order = answer.request.order;
    let (from, to) = layout::version_range(&answer.request.keys);
    let mut newest: Option<Version> = None;
    for entry in store.scan(&from, &to, order) {
        let version = Version::read::<R>(entry)?;
        if version.revision.main > revision {
            continue;
        }
        match &newest {
            Some(known) if known.key == version.key => {
                if order == Order::Ascending {
                    newest = Some(version);
                }
            }
            _ => {
                if let Some(done) = newest.replace(version)
                    && answer.offer_version(store, &done)?.is_break()
                {
                    return Ok(());
                }
            }
        }
    }
    if let Some(done) = newest {
        let _ = answer.offer_version(store, &done)?;
    }
    Ok(())
}

/// A pair of the table of versions.
struct Version {
    /// The escaped user key, which is equal for all versions of a key.
    key: Bytes,
    revision: Revision,
    removed: bool,
}

impl Version {
    fn read<R: ReadStore>(
        entry: core::result::Result<(Bytes, Bytes), R::Error>,
    ) -> Result<Self, R> {
        let (key, record) = entry.map_err(StoreFault::Store)?;
        let (key, revision) = layout::split_version_key(&key)
            .ok_or(StoreFault::Damaged("a key in the table of versions is too short"))?;
        let record: VersionRecord = decode(record, "a version cannot be decoded")?;
        Ok(Self { key, revision, removed: record.removed })
    }

    fn load<R: ReadStore>(&self, store: &R) -> Result<Option<KeyValue>, R> {
        if self.removed {
            return Ok(None);
        }
        let record = store
            .get(&layout::history_key(self.revision))
            .map_err(StoreFault::Store)?
            .ok_or(StoreFault::Damaged("a version has no record in the history"))?;
        decode_kv(record).map(Some)
    }
}

/// A collector of the pairs of a range response.
struct RangeCollector<'r> {
    request: &'r RangeRequest,
    response: RangeResponse,
    bytes: u64,
    bytes_max: u64,
}

impl RangeCollector<'_> {
    /// Adds the next key in order. `load` is called only if the key is returned.
    fn offer<R: ReadStore>(
        &mut self,
        load: impl FnOnce() -> Result<KeyValue, R>,
    ) -> Result<ControlFlow<()>, R> {
        if self.request.projection == Fields::Count {
            self.response.count += 1;
            return Ok(ControlFlow::Continue(()));
        }
        let returned = self.response.kvs.len() as u64;
        if self.request.limit.is_some_and(|limit| returned >= limit) {
            self.response.more = true;
            return Ok(match self.request.counting {
                CountMode::Returned => ControlFlow::Break(()),
                CountMode::WholeRange => {
                    self.response.count += 1;
                    ControlFlow::Continue(())
                }
            });
        }
        let mut kv = load()?;
        if self.request.projection == Fields::Keys {
            kv.value = Bytes::new();
        }
        self.response.count += 1;
        self.bytes = self.bytes.saturating_add(kv.answer_bytes());
        self.response.kvs.push(kv);
        Ok(if self.bytes > self.bytes_max {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    fn offer_version<R: ReadStore>(
        &mut self,
        store: &R,
        version: &Version,
    ) -> Result<ControlFlow<()>, R> {
        if version.removed {
            return Ok(ControlFlow::Continue(()));
        }
        self.offer::<R>(|| {
            version
                .load(store)?
                .ok_or(StoreFault::Damaged("a version has no record in the history"))
        })
    }
}
