//! Sorted pairs in memory.

use std::sync::Arc;

use bytes::Bytes;
use raft_kv::{Batch, Order, Write};

/// A key, and its value unless the key was deleted.
pub(super) type Pair = (Bytes, Option<Bytes>);

/// The writes of some successive batches, in the order of keys. A layer never changes.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pairs: Vec<Pair>,
    bytes: usize,
}

/// Memory of a pair besides its key and value, in the layer and in the index of the store.
const PAIR_OVERHEAD_BYTES: usize = 2 * size_of::<Pair>() + 64;

impl Layer {
    /// The writes of one batch.
    pub(super) fn from_batch(batch: Batch) -> Self {
        let mut pairs = Vec::with_capacity(batch.len());
        pairs.extend(batch.into_iter().map(|(key, write)| match write {
            Write::Put(value) => (key, Some(value)),
            Write::Delete => (key, None),
        }));
        Self::from_sorted(pairs)
    }

    fn from_sorted(pairs: Vec<Pair>) -> Self {
        let size = |(key, value): &Pair| {
            PAIR_OVERHEAD_BYTES + key.len() + value.as_ref().map_or(0, Bytes::len)
        };
        let bytes = pairs.iter().map(size).sum();
        Self { pairs, bytes }
    }

    /// The writes of two layers, of which the newer one wins.
    pub(super) fn merge(newer: &Self, older: &Self) -> Self {
        let mut pairs = Vec::with_capacity(newer.pairs.len() + older.pairs.len());
        let mut old = older.pairs.iter().peekable();
        for pair in &newer.pairs {
            while let Some(older) = old.next_if(|older| older.0 < pair.0) {
                pairs.push(older.clone());
            }
            old.next_if(|older| older.0 == pair.0);
            pairs.push(pair.clone());
        }
        pairs.extend(old.cloned());
        Self::from_sorted(pairs)
    }

    pub(super) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// The memory of the layer, approximately.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last write to a key: `Some(None)` if it was deleted, `None` if it was not written.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let found = self.pairs.binary_search_by(|pair| pair.0[..].cmp(key)).ok()?;
        Some(self.pairs[found].1.clone())
    }

    /// The pairs with keys in `from..to`.
    pub(super) fn scan(self: Arc<Self>, from: &[u8], to: &[u8], order: Order) -> LayerScan {
        let start = self.pairs.partition_point(|pair| pair.0[..] < *from);
        let end = self.pairs.partition_point(|pair| pair.0[..] < *to);
        LayerScan { layer: self, start, end, order }
    }
}

/// A scan of a layer.
#[derive(Debug)]
pub(super) struct LayerScan {
    layer: Arc<Layer>,
    start: usize,
    end: usize,
    order: Order,
}

impl Iterator for LayerScan {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        if self.start >= self.end {
            return None;
        }
        let at = match self.order {
            Order::Ascending => {
                self.start += 1;
                self.start - 1
            }
            Order::Descending => {
                self.end -= 1;
                self.end
            }
        };
        Some(self.layer.pairs[at].clone())
    }
}
