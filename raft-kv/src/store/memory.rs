//! A store in memory, for the simulator and for tests.

use alloc::collections::BTreeMap;
use core::convert::Infallible;

use bytes::Bytes;

use crate::store::{Batch, Order, ReadStore, Store, Write, range_of, with_order};

/// A store in memory. A clone is a snapshot, which shares keys and values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemoryStore {
    pairs: BTreeMap<Bytes, Bytes>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All pairs in ascending order of keys. They are the content of a snapshot of the state
    /// machine.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.pairs.iter()
    }
}

impl FromIterator<(Bytes, Bytes)> for MemoryStore {
    fn from_iter<I: IntoIterator<Item = (Bytes, Bytes)>>(pairs: I) -> Self {
        Self { pairs: pairs.into_iter().collect() }
    }
}

impl ReadStore for MemoryStore {
    type Error = Infallible;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Infallible> {
        Ok(self.pairs.get(key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), Infallible>> {
        with_order(range_of(&self.pairs, from, to), order)
            .map(|(key, value)| Ok((key.clone(), value.clone())))
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, batch: Batch) -> Result<(), Infallible> {
        for (key, write) in batch {
            match write {
                Write::Put(value) => {
                    self.pairs.insert(key, value);
                }
                Write::Delete => {
                    self.pairs.remove(&key);
                }
            }
        }
        Ok(())
    }
}
