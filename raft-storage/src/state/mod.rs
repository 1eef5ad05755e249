//! The durable store of the state machine.
//!
//! The Raft log already holds every command, so a commit of the store only changes memory. A
//! [`Flusher`] writes what has gathered there to a sorted table in the background, and merges
//! tables. After a crash the store is as it was at some commit, and the log repeats what follows.
//!
//! Layers in memory and tables never change, so a [`StateReader`] sees one moment of the store for
//! as long as it lives.

mod filter;
mod layer;
mod merge;
mod table;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use raft_kv::{Batch, Order, ReadStore, Store};

use crate::error::{DamageReason, StorageError};
use crate::files::Files;
use crate::identity::Identity;
use layer::Layer;
use merge::{Merge, Source};
use table::{Table, TableWriter};

/// Sizes of the store of the state machine.
#[derive(Clone, Copy, Debug)]
pub struct StateOptions {
    /// When the writes in memory exceed this, they become a table.
    pub memory_bytes: usize,
    /// The size of a block: what a read of one key reads from the disk.
    pub block_bytes: usize,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self { memory_bytes: 8 << 20, block_bytes: 8 << 10 }
    }
}

/// The store of the state machine, for the thread that applies entries.
#[derive(Debug)]
pub struct StateStore {
    shared: Arc<Shared>,
    /// The same writes as the layers, so that this thread finds a key without a search.
    recent: Recent,
    /// The same writes as the frozen layer, until the next table is complete.
    frozen: Recent,
}

/// The last write to each key of some batches.
type Recent = HashMap<Bytes, Option<Bytes>>;

/// The store at one moment, for any thread.
#[derive(Clone, Debug)]
pub struct StateReader {
    version: Arc<Version>,
}

/// Makes readers, on any thread.
#[derive(Clone, Debug)]
pub struct StateReaders {
    shared: Arc<Shared>,
}

/// Writes tables in the background.
#[derive(Clone, Debug)]
pub struct Flusher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    files: Arc<dyn Files>,
    identity: Identity,
    options: StateOptions,
    current: Mutex<Current>,
    /// Signals each change of `current` that the store or the flusher waits for.
    changed: Condvar,
}

#[derive(Debug)]
struct Current {
    version: Arc<Version>,
    /// The flusher has failed, so memory would grow without bound.
    failed: bool,
    /// The flusher has found no space, and tries again.
    full: bool,
    stopping: bool,
}

/// One moment of the store.
#[derive(Clone, Debug, Default)]
struct Version {
    /// The writes that are only in memory, newest first. Each layer is much larger than the one
    /// before.
    layers: Vec<Arc<Layer>>,
    /// The writes that become the next table.
    frozen: Option<Arc<Layer>>,
    /// Newest first.
    tables: Vec<Arc<Table>>,
    next_table: u64,
}

/// How much memory the writes may take while the disk is full, as a multiple of the usual limit.
const FULL_FACTOR: usize = 8;
/// Tables of one size class that are merged.
const TABLES_PER_CLASS: usize = 4;

impl StateStore {
    /// Opens the store in a directory, or creates one. Removes files that are not part of it.
    ///
    /// # Errors
    /// The disk failed, or the store is damaged.
    pub fn open(
        files: Arc<dyn Files>,
        identity: Identity,
        options: StateOptions,
    ) -> Result<Self, StorageError> {
        let (tables, leftovers) = open_tables(&*files, identity)?;
        for name in &leftovers {
            files.remove(name).map_err(StorageError::io("remove", name))?;
        }
        let next_table = tables.iter().map(|table| table.number).max().unwrap_or(0) + 1;
        let version = Arc::new(Version { tables, next_table, ..Version::default() });
        let current = Mutex::new(Current { version, failed: false, full: false, stopping: false });
        let changed = Condvar::new();
        let shared = Arc::new(Shared { files, identity, options, current, changed });
        Ok(Self { shared, recent: Recent::new(), frozen: Recent::new() })
    }

    /// Makes readers.
    #[must_use]
    pub fn readers(&self) -> StateReaders {
        StateReaders { shared: self.shared.clone() }
    }

    /// Writes the tables of this store.
    #[must_use]
    pub fn flusher(&self) -> Flusher {
        Flusher { shared: self.shared.clone() }
    }

    /// Lets the next [`Flusher::run_once`] write everything that is in memory. Returns false if the
    /// flusher is behind.
    pub fn freeze(&mut self) -> bool {
        let mut current = self.shared.lock();
        if current.version.frozen.is_some() {
            return false;
        }
        if !current.version.layers.is_empty() {
            let mut version = (*current.version).clone();
            version.freeze();
            self.frozen = std::mem::take(&mut self.recent);
            current.version = Arc::new(version);
            self.shared.changed.notify_all();
        }
        true
    }
}

/// The tables of a store, newest first, and the names of other files.
fn open_tables(
    files: &dyn Files,
    identity: Identity,
) -> Result<(Vec<Arc<Table>>, Vec<String>), StorageError> {
    let names = files.list().map_err(StorageError::io("list", "the directory"))?;
    let numbers = || names.iter().filter_map(|name| table::number(name));
    let mut tables = Vec::new();
    if let Some(newest) = numbers().max() {
        let newest = Arc::new(Table::open(files, newest, identity)?);
        for number in &newest.live {
            if *number == newest.number {
                tables.push(newest.clone());
                continue;
            }
            let table = match Table::open(files, *number, identity) {
                Err(StorageError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
                    let name = table::name(*number);
                    return Err(StorageError::damaged(&name, 0, DamageReason::MissingTable));
                }
                opened => opened?,
            };
            tables.push(Arc::new(table));
        }
    }
    let is_live = |number| tables.iter().any(|table| table.number == number);
    let is_leftover = |name: &&String| {
        table::is_unfinished(name) || table::number(name).is_some_and(|number| !is_live(number))
    };
    let leftovers = names.iter().filter(is_leftover).cloned().collect();
    Ok((tables, leftovers))
}

/// Reads all tables. Returns the number of tables and of pairs.
pub(crate) fn check(
    files: &dyn Files,
    identity: Identity,
    found: &mut Vec<StorageError>,
) -> (usize, u64) {
    let tables = match open_tables(files, identity) {
        Ok((tables, _)) => tables,
        Err(error) => {
            found.push(error);
            return (0, 0);
        }
    };
    let mut pairs = 0;
    for table in &tables {
        match table.check() {
            Ok(count) => pairs += count,
            Err(error) => found.push(error),
        }
    }
    (tables.len(), pairs)
}

impl Flusher {
    /// Writes tables until [`stop`](Self::stop). Calls `full` when there is no space, and tries
    /// again after it returns.
    ///
    /// # Errors
    /// The disk failed, or a table is damaged. The store then accepts no commits.
    pub fn run(&self, mut full: impl FnMut()) -> Result<(), StorageError> {
        loop {
            {
                let mut current = self.shared.lock();
                while !current.stopping && !current.version.has_work() {
                    current = wait(&self.shared.changed, current);
                }
                if current.stopping {
                    return Ok(());
                }
            }
            match self.run_once() {
                Ok(_) => self.shared.lock().full = false,
                Err(error) if error.is_full() => {
                    self.shared.lock().full = true;
                    self.shared.changed.notify_all();
                    full();
                }
                Err(error) => {
                    self.shared.lock().failed = true;
                    self.shared.changed.notify_all();
                    return Err(error);
                }
            }
        }
    }

    /// Ends [`run`](Self::run) after the present table.
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
    }

    /// Writes one table, if there is something to write. Returns true if it did.
    ///
    /// # Errors
    /// The disk failed or has no space, or a table is damaged. Nothing has changed for readers.
    pub fn run_once(&self) -> Result<bool, StorageError> {
        let version = self.shared.lock().version.clone();
        if let Some(frozen) = &version.frozen {
            let number = version.next_table;
            let live = || version.tables.iter().map(|table| table.number);
            let mut writer = self.writer(number)?;
            for pair in frozen.clone().scan(&[], &[u8::MAX], Order::Ascending) {
                writer.push(&pair)?;
            }
            let table = writer.finish([number].into_iter().chain(live()).collect())?;
            self.publish(|version| {
                version.frozen = None;
                version.tables.insert(0, Arc::new(table));
            });
            return Ok(true);
        }
        let Some(merged) = version.tables_to_merge() else { return Ok(false) };
        self.merge(&version, merged)?;
        Ok(true)
    }

    /// Replaces the newest tables by one.
    fn merge(&self, version: &Version, count: usize) -> Result<(), StorageError> {
        let number = version.next_table;
        let (merged, kept) = version.tables.split_at(count);
        let scan = |table: &Arc<Table>| {
            Source::Table(table.clone().scan(&[], &[u8::MAX], Order::Ascending))
        };
        let mut writer = self.writer(number)?;
        for pair in Merge::new(merged.iter().map(scan).collect(), Order::Ascending) {
            let pair = pair?;
            // A deleted key hides a value in an older table.
            if pair.1.is_some() || !kept.is_empty() {
                writer.push(&pair)?;
            }
        }
        let live = kept.iter().map(|table| table.number);
        let table = writer.finish([number].into_iter().chain(live).collect())?;
        self.publish(|version| {
            version.tables.splice(..count, [Arc::new(table)]);
        });
        for table in merged {
            let name = table::name(table.number);
            self.shared.files.remove(&name).map_err(StorageError::io("remove", &name))?;
        }
        Ok(())
    }

    fn writer(&self, number: u64) -> Result<TableWriter<'_>, StorageError> {
        let Shared { files, identity, options, .. } = &*self.shared;
        TableWriter::new(&**files, number, *identity, options.block_bytes)
    }

    /// Only this flusher changes tables, so the version that it has read is still valid for them.
    fn publish(&self, change: impl FnOnce(&mut Version)) {
        let mut current = self.shared.lock();
        let mut version = (*current.version).clone();
        change(&mut version);
        version.next_table += 1;
        current.version = Arc::new(version);
        self.shared.changed.notify_all();
    }
}

impl Version {
    fn has_work(&self) -> bool {
        self.frozen.is_some() || self.tables_to_merge().is_some()
    }

    /// How many of the newest tables are merged next.
    ///
    /// A class contains tables that are up to four times as large as those of the class below. Four
    /// tables of a class are merged together with all newer ones, which are smaller.
    fn tables_to_merge(&self) -> Option<usize> {
        let class = |table: &Arc<Table>| table.bytes.max(1).ilog2() / 2;
        let largest = self.tables.iter().map(class).max()?;
        (0..=largest).find_map(|size| {
            let newest = self.tables.iter().take_while(|table| class(table) <= size);
            let same = newest.clone().filter(|table| class(table) == size).count();
            (same >= TABLES_PER_CLASS).then(|| newest.count())
        })
    }

    fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.bytes()).sum()
    }

    /// Adds the newest writes. Layers of similar size are merged, so their number is logarithmic.
    fn add(&mut self, layer: Layer) {
        let mut layer = Arc::new(layer);
        let mut merged = 0;
        for older in &self.layers {
            if older.len() > 2 * layer.len() {
                break;
            }
            layer = Arc::new(Layer::merge(&layer, older));
            merged += 1;
        }
        self.layers.splice(..merged, [layer]);
    }

    fn freeze(&mut self) {
        let mut layers = std::mem::take(&mut self.layers).into_iter();
        if let Some(newest) = layers.next() {
            let merge = |newer: Arc<Layer>, older: Arc<Layer>| Layer::merge(&newer, &older).into();
            self.frozen = Some(layers.fold(newest, merge));
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        for layer in self.layers.iter().chain(&self.frozen) {
            if let Some(found) = layer.get(key) {
                return Ok(found);
            }
        }
        self.get_in_tables(key)
    }

    fn get_in_tables(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let hash = filter::hash(key);
        for table in &self.tables {
            if let Some(found) = table.get(key, hash)? {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StorageError>> + use<> {
        let to = to.max(from);
        let layers = self.layers.iter().chain(&self.frozen);
        let layers = layers.map(|layer| Source::Layer(layer.clone().scan(from, to, order)));
        let tables = self.tables.iter();
        let tables = tables.map(|table| Source::Table(table.clone().scan(from, to, order)));
        Merge::new(layers.chain(tables).collect(), order).filter_map(merge::existing)
    }
}

impl Shared {
    /// Another thread's panic leaves the version complete.
    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> Arc<Version> {
        self.lock().version.clone()
    }
}

fn wait<'a>(changed: &Condvar, current: MutexGuard<'a, Current>) -> MutexGuard<'a, Current> {
    changed.wait(current).unwrap_or_else(PoisonError::into_inner)
}

impl StateReaders {
    /// A reader of the store as it is now.
    #[must_use]
    pub fn reader(&self) -> StateReader {
        StateReader { version: self.shared.version() }
    }
}

impl ReadStore for StateStore {
    type Error = StorageError;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match self.recent.get(key).or_else(|| self.frozen.get(key)) {
            Some(found) => Ok(found.clone()),
            None => self.shared.version().get_in_tables(key),
        }
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StorageError>> {
        self.shared.version().scan(from, to, order)
    }
}

impl Store for StateStore {
    /// Waits while the flusher is more than one table behind.
    fn commit(&mut self, batch: Batch) -> Result<(), StorageError> {
        let layer = Layer::from_batch(batch);
        self.recent.extend(layer.pairs().iter().cloned());
        // Only this store changes the layers.
        let mut version = (*self.shared.version()).clone();
        version.add(layer);
        let mut current = self.shared.lock();
        let bytes = version.bytes();
        let memory_bytes = self.shared.options.memory_bytes;
        if bytes > memory_bytes {
            // Reads go on while the disk is full, until memory is scarce, too.
            while current.version.frozen.is_some()
                && !current.failed
                && !current.stopping
                && (!current.full || bytes > FULL_FACTOR * memory_bytes)
            {
                current = wait(&self.shared.changed, current);
            }
            if current.failed {
                return Err(StorageError::Stopped);
            }
        }
        // The flusher may have changed these meanwhile.
        version.frozen.clone_from(&current.version.frozen);
        version.tables.clone_from(&current.version.tables);
        version.next_table = current.version.next_table;
        if version.frozen.is_none() {
            self.frozen = Recent::new();
            if bytes > memory_bytes {
                version.freeze();
                self.frozen = std::mem::take(&mut self.recent);
                self.shared.changed.notify_all();
            }
        }
        current.version = Arc::new(version);
        Ok(())
    }
}

impl ReadStore for StateReader {
    type Error = StorageError;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.version.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StorageError>> {
        self.version.scan(from, to, order)
    }
}

#[cfg(test)]
mod tests;
