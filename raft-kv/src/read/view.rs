//! Read access to the state machine.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::apply::lease::{self, Lease};
use crate::entry::EntryId;
use crate::error::{OpenError, ReadError, StoreFault};
use crate::range::{KeyRange, KeyValue, RangeRequest, RangeResponse};
use crate::read;
use crate::read::audit;
use crate::read::changes::{self, Changes, ChangesRequest};
use crate::read::fingerprint;
use crate::store::layout;
use crate::store::{Order, ReadStore};
use crate::validate::KEY_BYTES_MAX;
use crate::wire::{FORMAT_VERSION, FormatRecord, StateRecord};

/// The revision of an empty state machine.
const FIRST_REVISION: i64 = 1;

/// A consistent view of the state machine between two batches.
///
/// A view reads [`Kv`](crate::Kv) itself, or a snapshot of its store. Other threads can read a
/// snapshot while entries are applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View<R> {
    store: R,
    state: StateRecord,
}

impl<R: ReadStore> View<R> {
    /// Opens a view of a store or of a snapshot, and reads its counters.
    ///
    /// # Errors
    /// [`OpenError`] if the store cannot be read, is damaged, has a later format, or contains other
    /// data.
    pub fn open(store: R) -> Result<Self, OpenError<R::Error>> {
        let get = |key| store.get(key).map_err(StoreFault::Store);
        let Some(format) = get(layout::FORMAT_KEY)? else {
            let (from, to) = layout::full_range();
            if store.scan(&from, &to, Order::Ascending).next().is_some() {
                return Err(OpenError::Foreign);
            }
            let state = StateRecord { revision: FIRST_REVISION, ..StateRecord::default() };
            return Ok(Self { store, state });
        };
        let format: FormatRecord = read::decode(format, "the format record does not decode")?;
        if format.version > FORMAT_VERSION {
            return Err(OpenError::UnknownFormat {
                found: format.version,
                supported: FORMAT_VERSION,
            });
        }
        if format.version == 0 {
            return Err(StoreFault::Damaged("the format record has no format").into());
        }
        let state =
            get(layout::STATE_KEY)?.ok_or(StoreFault::Damaged("the counters are missing"))?;
        let state: StateRecord = read::decode(state, "the counters do not decode")?;
        if state.revision < FIRST_REVISION {
            return Err(StoreFault::Damaged("the revision is below 1").into());
        }
        Ok(Self { store, state })
    }

    pub(crate) fn new(store: R, state: StateRecord) -> Self {
        Self { store, state }
    }

    pub(crate) fn into_parts(self) -> (R, StateRecord) {
        (self.store, self.state)
    }

    /// The store-wide revision: 1 for an empty store, incremented by each command with a change.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.state.revision
    }

    /// The last applied entry in this view; index and term 0 if there is none.
    #[must_use]
    pub fn applied(&self) -> EntryId {
        EntryId { index: self.state.applied_index, term: self.state.applied_term }
    }

    /// A hash of all data that clients can observe: all changes, sessions and leases. Replicas that
    /// have applied the same entries have the same fingerprint, on every platform.
    ///
    /// The fingerprint is computed incrementally, so reading it costs nothing. It detects
    /// divergence, and does not protect against an adversary.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint::state_fingerprint(&self.state)
    }

    /// Reads one key, at the latest or an earlier revision.
    ///
    /// # Errors
    /// [`ReadError`] if the revision does not exist, the key is too long, or the store failed.
    pub fn get(
        &self,
        key: &[u8],
        at_revision: Option<i64>,
    ) -> Result<Option<KeyValue>, ReadError<R::Error>> {
        check_length(key)?;
        Ok(match self.past(at_revision)? {
            None => read::latest(&self.store, key)?,
            Some(revision) => read::at_revision(&self.store, key, revision)?,
        })
    }

    /// Reads a range of keys.
    ///
    /// # Errors
    /// [`ReadError`] if the revision does not exist, a key is too long, or the store failed.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError<R::Error>> {
        let KeyRange { start, end } = &request.keys;
        check_length(start)?;
        check_length(end)?;
        let past = self.past(request.revision)?;
        Ok(read::range(&self.store, request, past, self.revision())?)
    }

    /// The lease with this id.
    ///
    /// # Errors
    /// [`StoreFault`] if the store failed or is damaged.
    pub fn lease(&self, id: i64) -> Result<Option<Lease>, StoreFault<R::Error>> {
        Ok(lease::get(&self.store, id)?.map(|stored| stored.lease))
    }

    /// All leases in ascending order of their ids.
    ///
    /// # Errors
    /// [`StoreFault`] if the store failed or is damaged.
    pub fn leases(&self) -> Result<Vec<Lease>, StoreFault<R::Error>> {
        lease::all(&self.store)
    }

    /// The first `limit` keys attached to a lease, in ascending order. Empty if the lease does not
    /// exist.
    ///
    /// # Errors
    /// [`StoreFault`] if the store failed or is damaged.
    pub fn lease_keys(&self, id: i64, limit: usize) -> Result<Vec<Bytes>, StoreFault<R::Error>> {
        lease::keys_of(&self.store, id, limit)
    }

    /// Reads the next batch of changes of a range of keys, for a watcher. See [`Changes`].
    ///
    /// # Errors
    /// [`ReadError`] if the revision is below 1 or more than one after the latest, a key is too
    /// long, or the store failed.
    pub fn changes(&self, request: &ChangesRequest) -> Result<Changes, ReadError<R::Error>> {
        let KeyRange { start, end } = &request.keys;
        check_length(start)?;
        check_length(end)?;
        let (requested, current) = (request.from_revision, self.revision());
        if requested < FIRST_REVISION {
            return Err(ReadError::RevisionNotPositive { requested });
        }
        if requested.saturating_sub(1) > current {
            return Err(ReadError::FutureRevision { requested, current });
        }
        Ok(changes::changes(&self.store, request, current)?)
    }

    /// Reads the whole store, and checks its tables against each other, the counters and the
    /// fingerprint. It is meant for tests, for the simulator, and for nodes after a disk failure.
    ///
    /// # Errors
    /// [`StoreFault::Damaged`] with the first contradiction, or the error of the store.
    pub fn audit(&self) -> Result<(), StoreFault<R::Error>> {
        audit::audit(&self.store, &self.state)
    }

    /// The earlier revision to read at; `None` for the latest, which has separate tables.
    fn past(&self, requested: Option<i64>) -> Result<Option<i64>, ReadError<R::Error>> {
        let current = self.revision();
        match requested {
            Some(requested) if requested > current => {
                Err(ReadError::FutureRevision { requested, current })
            }
            Some(requested) if requested < FIRST_REVISION => {
                Err(ReadError::RevisionNotPositive { requested })
            }
            Some(requested) if requested < current => Ok(Some(requested)),
            _ => Ok(None),
        }
    }
}

fn check_length<E>(key: &[u8]) -> Result<(), ReadError<E>> {
    if key.len() > KEY_BYTES_MAX {
        return Err(ReadError::KeyTooLong);
    }
    Ok(())
}

/// The record with the format of a store.
pub(crate) fn format_record(version: u32) -> Bytes {
    use prost::Message;
    FormatRecord { version }.encode_to_vec().into()
}
