//! The interface to the storage: an ordered map of byte strings with atomic batches.
//!
//! Stores, and the layout of tables in them, belong here. The meaning of the tables belongs in
//! `apply/` and `read/`.

pub(crate) mod layout;
pub(crate) mod memory;
pub(crate) mod overlay;

use alloc::collections::BTreeMap;
use alloc::collections::btree_map;

use bytes::Bytes;

/// The direction of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// From the smallest key to the largest.
    #[default]
    Ascending,
    /// From the largest key to the smallest.
    Descending,
}

/// The read access to a store. A snapshot of a store implements only this trait, and serves reads
/// through [`View`](crate::View) while the store changes.
pub trait ReadStore {
    /// The error of the store. The state machine does not interpret it.
    type Error: core::error::Error + 'static;

    /// The value of `key`; `None` if the key does not exist.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Self::Error>;

    /// The pairs with keys in `from..to`, in ascending or descending byte order of the keys. Empty
    /// if `from >= to`. The iterator reads lazily.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), Self::Error>>;
}

/// A store that can commit a batch atomically.
pub trait Store: ReadStore {
    /// Commits all writes of `batch` or none, even if the process crashes. Batches become durable
    /// in the order of their commits.
    ///
    /// The call may return before the batch is durable. The batch contains the applied index, so a
    /// batch that is lost in a crash is repeated from the log.
    ///
    /// # Errors
    /// After an error the content of the disk is unknown. [`Kv`](crate::Kv) applies no more entries
    /// until it is opened again.
    fn commit(&mut self, batch: Batch) -> Result<(), Self::Error>;
}

impl<R: ReadStore> ReadStore for &R {
    type Error = R::Error;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Self::Error> {
        (**self).get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), Self::Error>> {
        (**self).scan(from, to, order)
    }
}

/// A change of one key of a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// Set the value.
    Put(Bytes),
    /// Delete the key, which need not exist.
    Delete,
}

/// The writes of one commit, at most one per key, in the order of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Batch {
    writes: BTreeMap<Bytes, Write>,
}

impl Batch {
    /// Adds a put. It replaces an earlier write of the same key.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.writes.insert(key, Write::Put(value));
    }

    /// Adds a delete. It replaces an earlier write of the same key.
    pub fn delete(&mut self, key: Bytes) {
        self.writes.insert(key, Write::Delete);
    }

    /// The number of writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Returns true if there are no writes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The write of `key`, if there is one.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Write> {
        self.writes.get(key)
    }

    /// Replaces the write of `key`, or removes it with `None`. Returns the previous write.
    pub(crate) fn set(&mut self, key: Bytes, write: Option<Write>) -> Option<Write> {
        match write {
            Some(write) => self.writes.insert(key, write),
            None => self.writes.remove(&key),
        }
    }

    /// The writes of keys in `from..to`.
    pub(crate) fn scan<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = (&'a Bytes, &'a Write)> + use<'a> {
        with_order(range_of(&self.writes, from, to), order)
    }
}

impl IntoIterator for Batch {
    type Item = (Bytes, Write);
    type IntoIter = btree_map::IntoIter<Bytes, Write>;

    /// The writes in ascending order of keys.
    fn into_iter(self) -> Self::IntoIter {
        self.writes.into_iter()
    }
}

/// The pairs of `map` with keys in `from..to`. Unlike `BTreeMap::range`, it does not panic on an
/// inverted range.
pub(crate) fn range_of<'a, V>(
    map: &'a BTreeMap<Bytes, V>,
    from: &[u8],
    to: &[u8],
) -> btree_map::Range<'a, Bytes, V> {
    let to = to.max(from);
    map.range::<[u8], _>((core::ops::Bound::Included(from), core::ops::Bound::Excluded(to)))
}

/// Iterates in the given order, for implementations of [`ReadStore::scan`].
pub fn with_order<I: DoubleEndedIterator>(inner: I, order: Order) -> Ordered<I> {
    Ordered { inner, order }
}

/// The iterator of [`with_order`].
#[derive(Clone, Debug)]
pub struct Ordered<I> {
    inner: I,
    order: Order,
}

impl<I: DoubleEndedIterator> Iterator for Ordered<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        match self.order {
            Order::Ascending => self.inner.next(),
            Order::Descending => self.inner.next_back(),
        }
    }
}
