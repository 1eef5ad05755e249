//! The durable log of a server: entries, term and vote.
//!
//! The log is a sequence of batches in segments. One write and one sync make a batch durable.
//!
//! # Torn and damaged batches
//!
//! A batch begins at a new sector. Each of its sectors has a checksum. The next batch is written
//! only after the sync of this one. When a log is opened, these rules decide about a batch that is
//! incomplete:
//!
//! | found | meaning |
//! | --- | --- |
//! | a sector that is neither valid nor empty | damage: a power cut leaves a sector old or new |
//! | a later batch behind it | damage: this batch was synced |
//! | a later segment behind it | damage: this batch was synced |
//! | the mark says that this batch was synced | damage |
//! | otherwise | the batch was torn, and nothing in it was promised: it is erased |
//!
//! The mark is a file with the number of the last synced batch. It is written after each sync, and
//! it is not synced itself. After a power cut the mark is too low at worst. It detects a log whose
//! end was removed while the power was on.

mod batch;
mod index;
mod reader;
mod sector;
mod segment;

use std::fmt;
use std::io::ErrorKind;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use raft_core::{Durable, Entry, HardState, LogId, LogIndex, RestoreError, RestoredState, Write};

pub use reader::LogReader;

use crate::error::{DamageReason, StorageError};
use crate::files::{File, Files, SECTOR_BYTES};
use crate::identity::Identity;
use crate::sabotage::Rule;
use batch::{Batch, LogStart};
use index::LogPlaces;
use reader::Shared;
use sector::{Kind, Sector};
use segment::{SegmentBytes, SegmentHead};

/// The name of the file with the number of the last synced batch.
const MARK: &str = "log-mark";
/// Bytes of entries that are read at once when a server starts.
const RESTORE_BYTES: usize = 4 << 20;
/// The smallest segment, on a disk without space for a normal one.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// The log of a server, which one thread writes.
pub struct Log {
    files: Arc<dyn Files>,
    identity: Identity,
    segment_bytes: u64,
    shared: Arc<RwLock<Shared>>,
    hard_state: HardState,
    next_batch: u64,
    current: Option<Current>,
    next_segment: u64,
    mark: Arc<dyn File>,
    stopped: bool,
}

/// The segment that is written.
struct Current {
    number: u64,
    file: Arc<dyn File>,
    name: String,
    /// The sector at which the next batch begins.
    next: u64,
    sectors: u64,
}

/// Why the stored log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The entries contradict each other.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

impl Log {
    /// Opens the log in a directory, or creates one. Erases a batch that a power cut has torn.
    ///
    /// # Errors
    /// The disk failed, or synced bytes are damaged. Nothing was changed then.
    pub fn open(
        files: Arc<dyn Files>,
        identity: Identity,
        segment_bytes: u64,
    ) -> Result<Self, StorageError> {
        let found = Scan::new(&*files, identity)?;
        let marked = read_mark(&*files, identity)?;
        if let Some(marked) = marked
            && marked >= found.next_batch
            && Rule::CompareMark.holds()
        {
            let (file, position) = found.end_of_log();
            return Err(StorageError::damaged(&file, position, DamageReason::MissingBatch));
        }
        let mark = found.repair(&*files, identity)?;
        Ok(Self {
            files,
            identity,
            segment_bytes: segment_bytes.next_multiple_of(SECTOR_BYTES as u64),
            shared: Arc::new(RwLock::new(found.shared)),
            hard_state: found.hard_state,
            next_batch: found.next_batch,
            current: found.current,
            next_segment: found.next_segment,
            mark,
            stopped: false,
        })
    }

    /// The stored term and vote.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// A reader of the entries.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        let files = self.files.clone();
        LogReader { files, identity: self.identity, shared: self.shared.clone() }
    }

    /// Passes all entries to a server that starts.
    ///
    /// # Errors
    /// The disk failed, or entries are damaged or contradict each other.
    pub fn replay(&self, restored: &mut RestoredState) -> Result<(), ReplayError> {
        let reader = self.reader();
        let (mut next, last) = (reader.start().index.next(), reader.last().index);
        while next <= last {
            let entries = reader.read(next, last, RESTORE_BYTES)?;
            let Some(final_entry) = entries.last() else { break };
            next = final_entry.id.index.next();
            for entry in entries {
                restored.push(entry)?;
            }
        }
        Ok(())
    }

    /// Makes writes durable, with one sync unless the start of the log changes. Returns their
    /// tokens.
    ///
    /// # Errors
    /// After [`StorageError::Full`] nothing has begun, and the writes come back with the error. The
    /// caller may try again. After any other error, it is unknown what is durable. The log then
    /// accepts no writes.
    pub fn append(&mut self, writes: Vec<Write>) -> Result<Vec<Durable>, AppendError> {
        let mut durable = Vec::with_capacity(writes.len());
        let mut writes = writes.into_iter().peekable();
        while writes.peek().is_some() {
            // The start of the log comes before the entries of a batch.
            let mut group = Vec::new();
            let mut batch = Batch::default();
            while let Some(write) =
                writes.next_if(|write| write.log_start().is_none() || group.is_empty())
            {
                batch.log_start = batch.log_start.or(write.log_start().map(|id| self.start_at(id)));
                batch.add(write.hard_state(), write.entries());
                group.push(write);
            }
            match self.append_batch(batch) {
                Ok(()) => durable.extend(group.into_iter().map(Write::synced)),
                Err(error) => {
                    let unwritten = group.into_iter().chain(writes).collect();
                    return Err(AppendError { error, durable, unwritten });
                }
            }
        }
        Ok(durable)
    }

    /// Makes entries durable that were converted from another format.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn import(
        &mut self,
        hard_state: Option<HardState>,
        entries: &[Entry],
    ) -> Result<(), StorageError> {
        self.append_parts(hard_state, None, entries)
    }

    /// Makes the parts of a write durable.
    pub(crate) fn append_parts(
        &mut self,
        hard_state: Option<HardState>,
        log_start: Option<LogId>,
        entries: &[Entry],
    ) -> Result<(), StorageError> {
        let log_start = log_start.map(|id| self.start_at(id));
        let mut batch = Batch { log_start, ..Batch::default() };
        batch.add(hard_state, entries);
        self.append_batch(batch)
    }

    fn start_at(&self, id: LogId) -> LogStart {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        LogStart { id, discards: !shared.places.holds(id) }
    }

    fn append_batch(&mut self, mut batch: Batch) -> Result<(), StorageError> {
        if self.stopped {
            return Err(StorageError::Stopped);
        }
        batch.number = self.next_batch;
        let data = batch.encode();
        let sectors = segment::sectors_of(data.len());
        if self.current.as_ref().is_none_or(|current| current.next + sectors > current.sectors) {
            self.begin_segment(sectors)?;
        }
        // From here on a failure leaves the disk in an unknown state.
        self.stopped = true;
        let current = self.current.as_mut().ok_or(StorageError::Stopped)?;
        let mut framed = Vec::with_capacity(sectors as usize * SECTOR_BYTES);
        let seed = self.identity.seed(current.number);
        sector::append_all(&mut framed, seed, current.next, &data);
        let position = current.next * SECTOR_BYTES as u64;
        (current.file.write_at(&framed, position))
            .map_err(StorageError::io("write", &current.name))?;
        if Rule::SyncBatch.holds() {
            current.file.sync().map_err(StorageError::io("sync", &current.name))?;
        }
        let (number, place) = (current.number, current.next);
        current.next += sectors;
        self.next_batch += 1;
        self.hard_state = batch.hard_state.unwrap_or(self.hard_state);
        self.write_mark(batch.number)?;
        let first_segment = {
            let mut shared = lock(&self.shared);
            let follows = shared.places.add(&batch, number, place);
            assert!(follows, "the core writes entries without gaps");
            shared.places.first_segment().unwrap_or(number)
        };
        self.stopped = false;
        if batch.log_start.is_some() {
            self.remove_segments_before(first_segment)?;
        }
        Ok(())
    }

    fn write_mark(&self, number: u64) -> Result<(), StorageError> {
        let mut bytes = Vec::with_capacity(SECTOR_BYTES);
        let seed = self.identity.seed(u64::MAX);
        sector::append(&mut bytes, seed, 0, Kind::Mark, &number.to_le_bytes());
        self.mark.write_at(&bytes, 0).map_err(StorageError::io("write", MARK))
    }

    /// Begins a segment with space for a batch.
    fn begin_segment(&mut self, sectors: u64) -> Result<(), StorageError> {
        let number = self.next_segment;
        let name = segment::name(number);
        let needed = (1 + sectors) * SECTOR_BYTES as u64;
        let places = {
            let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
            (shared.places.start(), shared.places.last())
        };
        let head = SegmentHead {
            segment: number,
            first_batch: self.next_batch,
            hard_state: self.hard_state,
            start: places.0,
            last: places.1,
        };
        let sizes = [self.segment_bytes, SEGMENT_BYTES_MIN, needed];
        let mut smaller = sizes.into_iter().filter(|size| *size >= needed);
        let file = loop {
            let Some(size) = smaller.next() else { return Err(StorageError::Full) };
            match self.create_segment(&name, size, &head) {
                Ok(file) => break (file, size),
                Err(error) if error.is_full() => self.remove_if_there(&name)?,
                Err(error) => {
                    self.stopped = true;
                    return Err(error);
                }
            }
        };
        let (file, size) = file;
        lock(&self.shared).segments.insert(number);
        self.next_segment += 1;
        let sectors = size / SECTOR_BYTES as u64;
        self.current = Some(Current { number, file, name, next: 1, sectors });
        Ok(())
    }

    fn create_segment(
        &self,
        name: &str,
        size: u64,
        head: &SegmentHead,
    ) -> Result<Arc<dyn File>, StorageError> {
        let file = self.files.create(name).map_err(StorageError::io("create", name))?;
        file.preallocate(size).map_err(StorageError::io("preallocate", name))?;
        let head = head.encode(self.identity);
        file.write_at(&head, 0).map_err(StorageError::io("write", name))?;
        if Rule::SyncSegmentHead.holds() {
            file.sync().map_err(StorageError::io("sync", name))?;
        }
        if Rule::SyncSegmentName.holds() {
            sync_directory(&*self.files)?;
        }
        Ok(file)
    }

    fn remove_if_there(&self, name: &str) -> Result<(), StorageError> {
        match self.files.remove(name) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StorageError::io("remove", name)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes the segments that hold no entry of the log, oldest first.
    fn remove_segments_before(&mut self, first: u64) -> Result<(), StorageError> {
        let removed = {
            let mut shared = lock(&self.shared);
            let kept = shared.segments.split_off(&first);
            std::mem::replace(&mut shared.segments, kept)
        };
        for number in removed {
            self.remove_if_there(&segment::name(number))?;
        }
        Ok(())
    }
}

/// A write that was not made durable.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct AppendError {
    /// The cause.
    #[source]
    pub error: StorageError,
    /// The writes before it are durable.
    pub durable: Vec<Durable>,
    /// This write and the later ones. They may be written again only after
    /// [`StorageError::Full`].
    pub unwritten: Vec<Write>,
}

/// The contents of the files of a log.
pub(crate) struct Scan {
    shared: Shared,
    pub(crate) hard_state: HardState,
    next_batch: u64,
    current: Option<Current>,
    next_segment: u64,
    /// Sectors that a power cut has torn, in the current segment.
    torn: Option<(u64, u64)>,
    /// Segments that are not part of the log.
    stale: Vec<u64>,
    pub(crate) batches: u64,
}

impl Scan {
    /// Reads all segments and changes nothing.
    pub(crate) fn new(files: &dyn Files, identity: Identity) -> Result<Self, StorageError> {
        let names = files.list().map_err(StorageError::io("list", "the directory"))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        let mut scan = Self {
            shared: Shared::default(),
            hard_state: HardState::default(),
            next_batch: 1,
            current: None,
            next_segment: numbers.last().map_or(1, |last| last + 1),
            torn: None,
            stale: Vec::new(),
            batches: 0,
        };
        // The last segment may have been created without a first sector.
        if let Some(&last) = numbers.last()
            && is_unused(files, last, identity)?
        {
            numbers.pop();
            scan.stale.push(last);
            scan.next_segment = last;
        }
        // Segments before a gap were removed, and the removal was not durable.
        let gap = numbers.windows(2).rposition(|pair| pair[0] + 1 != pair[1]);
        let live = numbers.split_off(gap.map_or(0, |gap| gap + 1));
        scan.stale.extend(numbers);
        for (position, number) in live.iter().enumerate() {
            let is_last = position + 1 == live.len();
            scan.read_segment(files, identity, *number, position == 0, is_last)?;
        }
        if !scan.shared.places.is_complete() {
            let file = segment::name(live.first().map_or(1, |first| first.saturating_sub(1)));
            return Err(StorageError::damaged(&file, 0, DamageReason::MissingSegment));
        }
        Ok(scan)
    }

    fn read_segment(
        &mut self,
        files: &dyn Files,
        identity: Identity,
        number: u64,
        is_first: bool,
        is_last: bool,
    ) -> Result<(), StorageError> {
        let name = segment::name(number);
        let (file, bytes) = read_file(files, &name)?;
        let damaged = |sector: u64, reason| {
            StorageError::damaged(&name, sector * SECTOR_BYTES as u64, reason)
        };
        let bytes = SegmentBytes::new(number, identity, bytes);
        let head = bytes.head(number, identity)?;
        let head = head.ok_or_else(|| damaged(0, DamageReason::Checksum))?;
        if is_first {
            self.hard_state = head.hard_state;
            self.next_batch = head.first_batch;
            self.shared.places = LogPlaces::new(head.start, head.last);
        } else if head.first_batch != self.next_batch || head.hard_state != self.hard_state {
            // The segment before was complete when this one was created.
            let (file, position) = self.end_of_log();
            return Err(StorageError::damaged(&file, position, DamageReason::MissingBatch));
        }
        let mut next = 1;
        while let Some((batch, behind)) = bytes.batch(next, self.next_batch)? {
            self.hard_state = batch.hard_state.unwrap_or(self.hard_state);
            if !self.shared.places.add(&batch, number, next) {
                return Err(damaged(next, DamageReason::Contents));
            }
            self.next_batch += 1;
            self.batches += 1;
            next = behind;
        }
        let used = bytes.examine_tail(next, self.next_batch)?;
        if used > next {
            if !is_last {
                return Err(damaged(next, DamageReason::MissingBatch));
            }
            self.torn = Some((next, used));
        }
        self.shared.segments.insert(number);
        let sectors = bytes.sectors();
        self.current = Some(Current { number, file, name, next, sectors });
        Ok(())
    }

    /// The last entry of the log.
    pub(crate) fn last(&self) -> LogIndex {
        self.shared.places.last().index
    }

    /// The last entry that is not in the log any more.
    pub(crate) fn start(&self) -> LogId {
        self.shared.places.start()
    }

    /// The number of segments.
    pub(crate) fn segments(&self) -> usize {
        self.shared.segments.len()
    }

    fn end_of_log(&self) -> (String, u64) {
        match &self.current {
            Some(current) => (current.name.clone(), current.next * SECTOR_BYTES as u64),
            None => (segment::name(self.next_segment), 0),
        }
    }

    /// Erases what a power cut has left, so that it never mixes with later batches. Returns the
    /// file of the mark.
    fn repair(&self, files: &dyn Files, identity: Identity) -> Result<Arc<dyn File>, StorageError> {
        if let (Some((from, to)), Some(current)) = (self.torn, &self.current)
            && Rule::EraseTornBatch.holds()
        {
            let zeros = vec![0; (to - from) as usize * SECTOR_BYTES];
            let position = from * SECTOR_BYTES as u64;
            (current.file.write_at(&zeros, position))
                .map_err(StorageError::io("write", &current.name))?;
            current.file.sync().map_err(StorageError::io("sync", &current.name))?;
        }
        for number in &self.stale {
            let name = segment::name(*number);
            files.remove(&name).map_err(StorageError::io("remove", &name))?;
        }
        let mark = match files.open(MARK) {
            Ok(mark) => mark,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                files.create(MARK).map_err(StorageError::io("create", MARK))?
            }
            Err(error) => return Err(StorageError::io("open", MARK)(error)),
        };
        // Also a mark whose name was lost belongs to this log from now on.
        let mut bytes = Vec::with_capacity(SECTOR_BYTES);
        let durable = (self.next_batch - 1).to_le_bytes();
        sector::append(&mut bytes, identity.seed(u64::MAX), 0, Kind::Mark, &durable);
        mark.write_at(&bytes, 0).map_err(StorageError::io("write", MARK))?;
        sync_directory(files)?;
        Ok(mark)
    }
}

/// Returns true if the first sector of a segment was not written, and nothing behind it.
fn is_unused(files: &dyn Files, number: u64, identity: Identity) -> Result<bool, StorageError> {
    let (_, bytes) = read_file(files, &segment::name(number))?;
    let bytes = SegmentBytes::new(number, identity, bytes);
    Ok(bytes.head(number, identity)?.is_none() && bytes.is_empty())
}

/// Checks the mark against a scan, for an offline verification.
pub(crate) fn check_mark(
    files: &dyn Files,
    identity: Identity,
    scan: &Scan,
) -> Result<(), StorageError> {
    match read_mark(files, identity)? {
        Some(marked) if marked >= scan.next_batch => {
            let (file, position) = scan.end_of_log();
            Err(StorageError::damaged(&file, position, DamageReason::MissingBatch))
        }
        _ => Ok(()),
    }
}

/// The number of the last synced batch, if the mark says so. A power cut may destroy the mark.
fn read_mark(files: &dyn Files, identity: Identity) -> Result<Option<u64>, StorageError> {
    let bytes = match read_file(files, MARK) {
        Ok((_, bytes)) => bytes,
        Err(StorageError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // The name and the length of the mark survive a power cut only by chance.
    let Some(bytes) = bytes.get(..SECTOR_BYTES) else { return Ok(None) };
    match sector::read(bytes, identity.seed(u64::MAX), 0) {
        Sector::Empty => Ok(None),
        Sector::Valid(Kind::Mark, data) => {
            Ok(data.first_chunk::<8>().map(|number| u64::from_le_bytes(*number)))
        }
        _ => Err(StorageError::damaged(MARK, 0, DamageReason::Checksum)),
    }
}

/// Opens a file and reads all of it.
fn read_file(files: &dyn Files, name: &str) -> Result<(Arc<dyn File>, Vec<u8>), StorageError> {
    let file = files.open(name).map_err(StorageError::io("open", name))?;
    let length = file.length().map_err(StorageError::io("read", name))?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_at(&mut bytes, 0).map_err(StorageError::io("read", name))?;
    Ok((file, bytes))
}

pub(crate) fn sync_directory(files: &dyn Files) -> Result<(), StorageError> {
    files.sync_directory().map_err(StorageError::io("sync", "the directory"))
}

/// Another thread's panic leaves the places as they were between two batches.
fn lock(shared: &RwLock<Shared>) -> RwLockWriteGuard<'_, Shared> {
    shared.write().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("next_batch", &self.next_batch).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
