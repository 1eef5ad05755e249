//! The state machine itself.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::apply::lease::{LEASE_KEYS_MAX, LEASES_MAX};
use crate::apply::session::SESSIONS_MAX;
use crate::apply::{BatchApply, Capacity};
use crate::entry::{Entry, EntryId};
use crate::error::{ApplyError, OpenError, ReadError, StoreFault};
use crate::outcome::{ANSWER_BYTES_MAX, Outcome};
use crate::range::{KeyValue, RangeRequest, RangeResponse};
use crate::read::changes::{Changes, ChangesRequest};
use crate::read::view::{View, format_record};
use crate::store::layout;
use crate::store::{Batch, Store};
use crate::wire::StateRecord;

/// The replicated state machine on a store. See the [crate documentation](crate).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kv<S> {
    /// The store with all replicated data.
    store: S,
    /// The counters in the store, which are read only when the store is opened.
    state: StateRecord,
    /// A commit failed, so the store may contain more than `state`. No entry is applied any more.
    stopped: bool,
    /// [`SESSIONS_MAX`], [`LEASES_MAX`], [`LEASE_KEYS_MAX`] and [`ANSWER_BYTES_MAX`]. Tests use
    /// smaller limits.
    capacity: Capacity,
}

impl<S: Store> Kv<S> {
    /// Opens the state machine in a store. An empty store is a new state machine. This writes
    /// nothing.
    ///
    /// # Errors
    /// [`OpenError`] if the store cannot be read, is damaged, has a later format, or contains other
    /// data.
    pub fn open(store: S) -> Result<Self, OpenError<S::Error>> {
        let capacity = Capacity {
            sessions: SESSIONS_MAX,
            leases: LEASES_MAX,
            lease_keys: LEASE_KEYS_MAX,
            answer_bytes: ANSWER_BYTES_MAX,
        };
        Self::open_with(store, capacity)
    }

    pub(crate) fn open_with(store: S, capacity: Capacity) -> Result<Self, OpenError<S::Error>> {
        let (store, state) = View::open(store)?.into_parts();
        Ok(Self { store, state, stopped: false, capacity })
    }

    #[cfg(test)]
    pub(crate) fn store_mut_for_tests(&mut self) -> &mut S {
        &mut self.store
    }

    /// Applies one committed entry. Its changes and the applied index are one commit.
    ///
    /// # Errors
    /// [`ApplyError`] if the entry was not applied. After [`ApplyError::Fault`] the node must stop.
    pub fn apply(&mut self, entry: Entry) -> Result<Outcome, ApplyError<S::Error>> {
        let mut batch = self.begin()?;
        let outcome = batch.apply(entry)?;
        let (state, batch) = batch.finish();
        self.commit(state, batch)?;
        Ok(outcome)
    }

    /// Applies committed entries in one commit, and returns their outcomes in the same order. Each
    /// entry sees the changes of the earlier ones. The changes are in memory until the commit, so
    /// the caller should limit the number of entries.
    ///
    /// # Errors
    /// [`ApplyError`] if no entry was applied. After [`ApplyError::Fault`] the node must stop.
    pub fn apply_batch(
        &mut self,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Vec<Outcome>, ApplyError<S::Error>> {
        let mut batch = self.begin()?;
        let outcomes =
            entries.into_iter().map(|entry| batch.apply(entry)).collect::<Result<Vec<_>, _>>()?;
        if outcomes.is_empty() {
            return Ok(outcomes);
        }
        let (state, batch) = batch.finish();
        self.commit(state, batch)?;
        Ok(outcomes)
    }

    fn begin(&self) -> Result<BatchApply<'_, S>, ApplyError<S::Error>> {
        if self.stopped {
            return Err(ApplyError::Stopped);
        }
        let mut batch = BatchApply::new(&self.store, self.state, self.capacity);
        if self.state.applied_index == 0 {
            let key = Bytes::from_static(layout::FORMAT_KEY);
            batch.overlay.put(key, format_record(1));
        }
        Ok(batch)
    }

    fn commit(&mut self, state: StateRecord, batch: Batch) -> Result<(), StoreFault<S::Error>> {
        match self.store.commit(batch) {
            Ok(()) => {
                self.state = state;
                Ok(())
            }
            Err(error) => {
                self.stopped = true;
                Err(StoreFault::Store(error))
            }
        }
    }

    /// A view for reads.
    pub fn view(&self) -> View<&S> {
        View::new(&self.store, self.state)
    }

    /// The store-wide revision; see [`View::revision`].
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.view().revision()
    }

    /// The last applied entry; index and term 0 if there is none. After a restart, entries are
    /// delivered from the next one on.
    #[must_use]
    pub fn applied(&self) -> EntryId {
        self.view().applied()
    }

    /// The index of [`applied`](Self::applied).
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.applied().index
    }

    /// A hash of the visible state; see [`View::fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.view().fingerprint()
    }

    /// Reads one key; see [`View::get`].
    ///
    /// # Errors
    /// [`ReadError`] if the revision does not exist, the key is too long, or the store failed.
    pub fn get(
        &self,
        key: &[u8],
        at_revision: Option<i64>,
    ) -> Result<Option<KeyValue>, ReadError<S::Error>> {
        self.view().get(key, at_revision)
    }

    /// Reads a range of keys; see [`View::range`].
    ///
    /// # Errors
    /// [`ReadError`] if the revision does not exist, a key is too long, or the store failed.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError<S::Error>> {
        self.view().range(request)
    }

    /// Reads the changes of a range of keys; see [`View::changes`].
    ///
    /// # Errors
    /// [`ReadError`] if the revision does not exist, a key is too long, or the store failed.
    pub fn changes(&self, request: &ChangesRequest) -> Result<Changes, ReadError<S::Error>> {
        self.view().changes(request)
    }

    /// Checks the whole store; see [`View::audit`].
    ///
    /// # Errors
    /// [`StoreFault`] if the store is damaged or failed.
    pub fn audit(&self) -> Result<(), StoreFault<S::Error>> {
        self.view().audit()
    }

    /// The store, for snapshots.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Returns the store.
    pub fn into_store(self) -> S {
        self.store
    }
}
