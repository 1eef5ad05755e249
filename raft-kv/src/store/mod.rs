//! What the state machine needs from storage: an ordered map from bytes to bytes, with atomic
//! batches.

pub(crate) mod layout;
pub(crate) mod memory;
pub(crate) mod overlay;

use alloc::collections::BTreeMap;
use alloc::collections::btree_map;

use bytes::Bytes;

/// The direction of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// From the lowest key up.
    #[default]
    Ascending,
    /// From the highest key down.
    Descending,
}

/// The reading half of a store. A snapshot of a store implements this alone, and then serves reads
/// through [`View`](crate::View) while the store itself goes on changing.
pub trait ReadStore {
    /// What can go wrong in the store itself. The state machine never interprets it.
    type Error: core::error::Error + 'static;

    /// The value stored at exactly `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Self::Error>;

    /// The pairs whose keys lie in `from..to`, in byte order of the keys or its reverse. Nothing
    /// when `from >= to`. Lazy: dropping the iterator early costs nothing for what was not read.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), Self::Error>>;
}

/// An ordered byte store that can apply a batch atomically.
pub trait Store: ReadStore {
    /// Applies all writes of `batch` or none of them, also across a crash. Batches become durable
    /// in the order in which they were committed. Whether this call already waits for the disk is
    /// the implementor's choice: the applied index travels inside the batch, so a batch that a
    /// crash loses is rebuilt from the log.
    ///
    /// # Errors
    /// After an error the state on disk is unknown; [`Kv`](crate::Kv) then refuses further entries
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

/// One change to one key of a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// Set the value.
    Put(Bytes),
    /// Remove the key; removing what is not there is no error.
    Delete,
}

/// Writes that belong together: at most one per key, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Batch {
    writes: BTreeMap<Bytes, Write>,
}

impl Batch {
    /// Sets `key` to `value`; replaces an earlier write to the same key.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.writes.insert(key, Write::Put(value));
    }

    /// Removes `key`; replaces an earlier write to the same key.
    pub fn delete(&mut self, key: Bytes) {
        self.writes.insert(key, Write::Delete);
    }

    /// The number of keys written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Write> {
        self.writes.get(key)
    }

    /// Replaces the write to `key`, or removes it with `None`; returns the write that was there.
    pub(crate) fn set(&mut self, key: Bytes, write: Option<Write>) -> Option<Write> {
        match write {
            Some(write) => self.writes.insert(key, write),
            None => self.writes.remove(&key),
        }
    }

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

    /// The writes in key order.
    fn into_iter(self) -> Self::IntoIter {
        self.writes.into_iter()
    }
}

/// The part of `map` in `from..to`; `BTreeMap::range` panics on an inverted range, this does not.
pub(crate) fn range_of<'a, V>(
    map: &'a BTreeMap<Bytes, V>,
    from: &[u8],
    to: &[u8],
) -> btree_map::Range<'a, Bytes, V> {
    let to = to.max(from);
    map.range::<[u8], _>((core::ops::Bound::Included(from), core::ops::Bound::Excluded(to)))
}

/// Walks a double-ended iterator from the end that `order` names: what an implementor of
/// [`ReadStore::scan`] usually needs.
pub fn with_order<I: DoubleEndedIterator>(inner: I, order: Order) -> Ordered<I> {
    Ordered { inner, order }
}

/// See [`with_order`].
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
