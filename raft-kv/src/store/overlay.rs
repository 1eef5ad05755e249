//! A store together with the uncommitted writes of a batch.
//!
//! The entries of a batch read through the overlay, so each sees the changes of the earlier ones.
//! The store is written only once.

use core::cmp::Ordering;
use core::iter::Peekable;

use alloc::vec::Vec;

use bytes::Bytes;

use crate::store::{Batch, Order, ReadStore, Write};

/// A store with uncommitted writes.
pub(crate) struct Overlay<'a, R> {
    /// The store without the writes.
    base: &'a R,
    /// The uncommitted writes.
    batch: Batch,
    /// The writes that were replaced since the savepoint, oldest first; `None` without a savepoint.
    replaced: Option<Vec<(Bytes, Option<Write>)>>,
}

impl<'a, R: ReadStore> Overlay<'a, R> {
    /// An overlay without writes.
    pub(crate) fn new(base: &'a R) -> Self {
        Self { base, batch: Batch::default(), replaced: None }
    }

    /// Sets `key` to `value`.
    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) {
        self.write(key, Write::Put(value));
    }

    /// Deletes `key`.
    pub(crate) fn delete(&mut self, key: Bytes) {
        self.write(key, Write::Delete);
    }

    fn write(&mut self, key: Bytes, write: Write) {
        let before = self.batch.set(key.clone(), Some(write));
        if let Some(replaced) = &mut self.replaced {
            replaced.push((key, before));
        }
    }

    /// Marks the state to which [`roll_back`](Self::roll_back) returns.
    pub(crate) fn set_savepoint(&mut self) {
        self.replaced = Some(Vec::new());
    }

    /// Removes the savepoint and keeps the writes since then.
    pub(crate) fn release_savepoint(&mut self) {
        self.replaced = None;
    }

    /// Undoes all writes since the savepoint.
    pub(crate) fn roll_back(&mut self) {
        for (key, before) in self.replaced.take().into_iter().flatten().rev() {
            self.batch.set(key, before);
        }
    }

    /// Returns the writes.
    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }
}

impl<R: ReadStore> ReadStore for Overlay<'_, R> {
    type Error = R::Error;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, R::Error> {
        match self.batch.get(key) {
            Some(Write::Put(value)) => Ok(Some(value.clone())),
            Some(Write::Delete) => Ok(None),
            None => self.base.get(key),
        }
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), R::Error>> {
        Merge {
            base: self.base.scan(from, to, order).peekable(),
            pending: self.batch.scan(from, to, order).peekable(),
            order,
        }
    }
}

/// The merge of two scans in the same order. A pending write hides the pair of the base with its
/// key.
struct Merge<B: Iterator, P: Iterator> {
    base: Peekable<B>,
    pending: Peekable<P>,
    order: Order,
}

impl<'w, E, B, P> Iterator for Merge<B, P>
where
    B: Iterator<Item = Result<(Bytes, Bytes), E>>,
    P: Iterator<Item = (&'w Bytes, &'w Write)>,
{
    type Item = Result<(Bytes, Bytes), E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let first = match (self.base.peek(), self.pending.peek()) {
                // An error of the base is returned immediately.
                (Some(Err(_)), _) | (_, None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok((base, _))), Some((pending, _))) => match self.order {
                    Order::Ascending => base.cmp(pending),
                    Order::Descending => (*pending).cmp(base),
                },
            };
            if first == Ordering::Less {
                return self.base.next();
            }
            if first == Ordering::Equal {
                self.base.next();
            }
            let (key, write) = self.pending.next()?;
            if let Write::Put(value) = write {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}
