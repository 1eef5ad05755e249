//! The store of a state machine.

use std::convert::Infallible;
use std::ops::Bound;

use bytes::Bytes;
use raft_kv::{Batch, Order, ReadStore, Store, Write, with_order};

use crate::util::cow::CowMap;

/// A store in memory whose clones share their contents. Each server has two: the store of its
/// process, and the durable one. Each checkpoint of a world contains both.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct SharedStore {
    pairs: CowMap<Bytes, Bytes>,
}

impl SharedStore {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.pairs.iter()
    }
}

impl FromIterator<(Bytes, Bytes)> for SharedStore {
    fn from_iter<I: IntoIterator<Item = (Bytes, Bytes)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter().collect();
        Self { pairs }
    }
}

impl ReadStore for SharedStore {
    type Error = Infallible;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Infallible> {
        let found = self.pairs.range::<[u8]>((Bound::Included(key), Bound::Included(key)));
        Ok({ found }.next().map(|(_, value)| value.clone()))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), Infallible>> {
        let keys = (Bound::Included(from), Bound::Excluded(to));
        with_order(self.pairs.range::<[u8]>(keys), order)
            .map(|(key, value)| Ok((key.clone(), value.clone())))
    }
}

impl Store for SharedStore {
    fn commit(&mut self, batch: Batch) -> Result<(), Infallible> {
        for (key, write) in batch {
            match write {
                Write::Put(value) => self.pairs.insert(key, value),
                Write::Delete => {
                    self.pairs.remove(&key);
                }
            }
        }
        Ok(())
    }
}
