//! One scan over layers and tables.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bytes::Bytes;
use raft_kv::Order;

use super::layer::{LayerScan, Pair};
use super::table::TableScan;
use crate::error::StorageError;

/// A scan of one layer or table.
#[derive(Debug)]
pub(super) enum Source {
    Layer(LayerScan),
    Table(TableScan),
}

impl Iterator for Source {
    type Item = Result<Pair, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Layer(scan) => scan.next().map(Ok),
            Self::Table(scan) => scan.next(),
        }
    }
}

/// The last write to each key of several sources, in the order of keys. Deleted keys are included.
#[derive(Debug)]
pub(super) struct Merge {
    sources: Vec<Source>,
    order: Order,
    heads: BinaryHeap<Head>,
    /// Sources whose next pair is not among the heads.
    waiting: Vec<usize>,
    failed: bool,
}

/// The next pair of a source. The greatest head comes first.
#[derive(Debug)]
struct Head {
    pair: Pair,
    /// The position of the source: a smaller one is newer.
    source: usize,
    order: Order,
}

impl Merge {
    /// Merges scans, newest first, which have this order.
    pub(super) fn new(sources: Vec<Source>, order: Order) -> Self {
        let waiting = (0..sources.len()).collect();
        Self { sources, order, heads: BinaryHeap::new(), waiting, failed: false }
    }

    fn fill(&mut self) -> Result<(), StorageError> {
        while let Some(source) = self.waiting.pop() {
            if let Some(pair) = self.sources[source].next().transpose()? {
                self.heads.push(Head { pair, source, order: self.order });
            }
        }
        Ok(())
    }
}

impl Iterator for Merge {
    type Item = Result<Pair, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if let Err(error) = self.fill() {
            self.failed = true;
            return Some(Err(error));
        }
        let newest = self.heads.pop()?;
        self.waiting.push(newest.source);
        while let Some(older) = self.heads.peek()
            && older.pair.0 == newest.pair.0
        {
            self.waiting.push(older.source);
            self.heads.pop();
        }
        Some(Ok(newest.pair))
    }
}

/// The existing pairs of a merge.
pub(super) fn existing(
    pair: Result<Pair, StorageError>,
) -> Option<Result<(Bytes, Bytes), StorageError>> {
    match pair {
        Ok((key, value)) => value.map(|value| Ok((key, value))),
        Err(error) => Some(Err(error)),
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = self.pair.0.cmp(&other.pair.0);
        let keys = match self.order {
            Order::Ascending => keys.reverse(),
            Order::Descending => keys,
        };
        keys.then(other.source.cmp(&self.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}
