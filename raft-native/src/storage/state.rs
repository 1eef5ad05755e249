//! The state machine on the disk.

use bytes::Bytes;
use fjall::{Database, Keyspace, PersistMode, Readable, Snapshot};
use raft_kv::{Batch, Order, ReadStore, Store, Write, with_order};

use super::StorageError;

/// The state machine's store, written by the thread that applies.
///
/// Commits are atomic and not synced: the log holds everything that a loss of power takes from
/// here, and the applied index is part of each commit.
pub(crate) struct StateStore {
    database: Database,
    keyspace: Keyspace,
}

/// The state as it was at one moment, for readers on any thread.
pub(crate) struct StateReader {
    snapshot: Snapshot,
    keyspace: Keyspace,
}

impl StateStore {
    pub(crate) fn new(database: Database, keyspace: Keyspace) -> Self {
        Self { database, keyspace }
    }

    /// Something that makes readers.
    pub(crate) fn share(&self) -> Self {
        Self { database: self.database.clone(), keyspace: self.keyspace.clone() }
    }

    pub(crate) fn reader(&self) -> StateReader {
        StateReader { snapshot: self.database.snapshot(), keyspace: self.keyspace.clone() }
    }
}

impl ReadStore for StateStore {
    type Error = StorageError;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.keyspace.get(key)?.map(Bytes::from))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StorageError>> {
        let to = to.max(from);
        with_order(self.keyspace.range(from..to), order).map(pair)
    }
}

impl Store for StateStore {
    fn commit(&mut self, batch: Batch) -> Result<(), StorageError> {
        let mut writes = self.database.batch().durability(Some(PersistMode::Buffer));
        for (key, write) in batch {
            match write {
                Write::Put(value) => writes.insert(&self.keyspace, key, value),
                Write::Delete => writes.remove(&self.keyspace, key),
            }
        }
        Ok(writes.commit()?)
    }
}

impl ReadStore for StateReader {
    type Error = StorageError;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.snapshot.get(&self.keyspace, key)?.map(Bytes::from))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StorageError>> {
        let to = to.max(from);
        with_order(self.snapshot.range(&self.keyspace, from..to), order).map(pair)
    }
}

fn pair(guard: fjall::Guard) -> Result<(Bytes, Bytes), StorageError> {
    let (key, value) = guard.into_inner()?;
    Ok((key.into(), value.into()))
}
