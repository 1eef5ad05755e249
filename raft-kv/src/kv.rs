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

/// The replicated state machine over a store. See the crate's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kv<S> {
    store: S,
    /// The counters as they stand in the store, which is asked for them only on opening.
    state: StateRecord,
    /// Whether a commit failed, so that the store may hold more than `state` says.
    stopped: bool,
    /// [`SESSIONS_MAX`], [`LEASES_MAX`], [`LEASE_KEYS_MAX`] and [`ANSWER_BYTES_MAX`], except in
    /// tests of what happens beyond them.
    capacity: Capacity,
}

impl<S: Store> Kv<S> {
    /// Opens a state machine, or begins a new one in an empty store. Writes nothing.
    ///
    /// # Errors
    /// The store cannot be read, is damaged, has a later format or belongs to something else.
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

    /// Applies one committed entry: its effects and the applied index are one commit.
    ///
    /// # Errors
    /// The entry is not applied. After [`ApplyError::Fault`] the node must stop.
    pub fn apply(&mut self, entry: Entry) -> Result<Outcome, ApplyError<S::Error>> {
        let mut transition = self.begin()?;
        let outcome = transition.apply(entry)?;
        let (state, batch) = transition.finish();
        self.commit(state, batch)?;
        Ok(outcome)
    }

    /// Applies committed entries in order, each seeing the effects of those before it, in one
    /// commit. There is one outcome for each entry, in order. How many entries to take at once is
    /// up to the caller; their effects are in memory until the commit.
    ///
    /// # Errors
    /// None of the entries is applied. After [`ApplyError::Fault`] the node must stop.
    pub fn apply_batch(
        &mut self,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Vec<Outcome>, ApplyError<S::Error>> {
        let mut transition = self.begin()?;
        let outcomes = entries
            .into_iter()
            .map(|entry| transition.apply(entry))
            .collect::<Result<Vec<_>, _>>()?;
        if outcomes.is_empty() {
            return Ok(outcomes);
        }
        let (state, batch) = transition.finish();
        self.commit(state, batch)?;
        Ok(outcomes)
    }

    fn begin(&self) -> Result<BatchApply<'_, S>, ApplyError<S::Error>> {
        if self.stopped {
            return Err(ApplyError::Stopped);
        }
        let mut transition = BatchApply::new(&self.store, self.state, self.capacity);
        if self.state.applied_index == 0 {
            let key = Bytes::from_static(layout::FORMAT_KEY);
            transition.overlay.put(key, format_record(1));
        }
        Ok(transition)
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

    /// The state machine as readers see it.
    pub fn view(&self) -> View<&S> {
        View::new(&self.store, self.state)
    }

    /// See [`View::revision`].
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.view().revision()
    }

    /// The last entry applied, as durable as the store; index and term 0 if there is none. After a
    /// restart the log hands out what follows it.
    #[must_use]
    pub fn applied(&self) -> EntryId {
        self.view().applied()
    }

    /// The index of [`applied`](Self::applied).
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.applied().index
    }

    /// See [`View::fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.view().fingerprint()
    }

    /// See [`View::get`].
    ///
    /// # Errors
    /// The revision is not there, the key is impossibly long, or the store failed.
    pub fn get(
        &self,
        key: &[u8],
        at_revision: Option<i64>,
    ) -> Result<Option<KeyValue>, ReadError<S::Error>> {
        self.view().get(key, at_revision)
    }

    /// See [`View::range`].
    ///
    /// # Errors
    /// The revision is not there, a key is impossibly long, or the store failed.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError<S::Error>> {
        self.view().range(request)
    }

    /// See [`View::changes`].
    ///
    /// # Errors
    /// The revision is not there, a key is impossibly long, or the store failed.
    pub fn changes(&self, request: &ChangesRequest) -> Result<Changes, ReadError<S::Error>> {
        self.view().changes(request)
    }

    /// See [`View::audit`].
    ///
    /// # Errors
    /// The store contradicts itself or failed.
    pub fn audit(&self) -> Result<(), StoreFault<S::Error>> {
        self.view().audit()
    }

    /// The store, for taking a snapshot of it.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }
}
