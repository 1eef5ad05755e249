//! Reading entries back.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use raft_core::{Entry, LogIndex};

use super::batch::{self, Batch};
use super::index::LogPlaces;
use super::sector::{self, DATA_BYTES, Kind, Sector};
use super::segment;
use crate::error::{DamageReason, StorageError};
use crate::files::{File, Files, SECTOR_BYTES};
use crate::identity::Identity;

/// Reads entries of the log, on any thread.
///
/// A reader opens a segment only while it reads it, so a long log needs few open files.
#[derive(Clone, Debug)]
pub struct LogReader {
    pub(super) files: Arc<dyn Files>,
    pub(super) identity: Identity,
    pub(super) shared: Arc<RwLock<Shared>>,
}

/// The state that the log and its readers share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) places: LogPlaces,
    pub(super) segments: BTreeSet<u64>,
}

impl LogReader {
    /// Returns entries from `from` through `through`, at least one and at most about `bytes_max`.
    /// Returns none if the log does not contain `from`.
    ///
    /// # Errors
    /// The disk failed, or the entries are damaged.
    pub fn read(
        &self,
        from: LogIndex,
        through: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        while next <= through {
            let found = {
                let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
                shared.places.find(next)
            };
            let Some((place, end)) = found else { break };
            let name = segment::name(place.segment);
            let file = match self.files.open(&name) {
                // Its entries were compacted in the meantime.
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                file => file.map_err(StorageError::io("open", &name))?,
            };
            let seed = self.identity.seed(place.segment);
            let mut segment = Segment::new(name, seed, &*file)?;
            let (mut sector, mut number) = (place.sector, place.batch);
            while next < end && next <= through {
                let (batch, behind) = segment.batch(sector, number)?;
                (sector, number) = (behind, number + 1);
                for entry in batch.entries {
                    if entry.id.index != next || next >= end || next > through {
                        continue;
                    }
                    bytes += entry.bytes();
                    if !entries.is_empty() && bytes > bytes_max {
                        return Ok(entries);
                    }
                    next = next.next();
                    entries.push(entry);
                }
            }
        }
        Ok(entries)
    }

    /// The last entry of the log on the disk.
    #[must_use]
    pub fn last(&self) -> raft_core::LogId {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).places.last()
    }

    /// The entry at which the log on the disk starts: the last one that is not in the log.
    #[must_use]
    pub fn start(&self) -> raft_core::LogId {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).places.start()
    }
}

/// A segment that batches are read from, in order.
struct Segment<'a> {
    name: String,
    seed: u32,
    file: &'a dyn File,
    /// The length in sectors.
    sectors: u64,
    /// Sectors that were read, and the number of the first of them.
    buffer: (u64, Vec<u8>),
}

/// Sectors that are read at once.
const READ_SECTORS: u64 = 128;

impl<'a> Segment<'a> {
    fn new(name: String, seed: u32, file: &'a dyn File) -> Result<Self, StorageError> {
        let length = file.length().map_err(StorageError::io("read", &name))?;
        let sectors = length / SECTOR_BYTES as u64;
        Ok(Self { name, seed, file, sectors, buffer: (0, Vec::new()) })
    }

    /// Reads the batch at a sector. Also returns the sector behind it.
    fn batch(&mut self, first: u64, expected: u64) -> Result<(Batch, u64), StorageError> {
        let head = self.sector(first, 1)?;
        let (number, length) = match Batch::decode_head(head) {
            Some((number, length)) if number == expected => (number, length),
            _ => return Err(self.damaged(first, DamageReason::Contents)),
        };
        let count = segment::sectors_of(batch::HEAD_BYTES + length);
        let mut data = Vec::with_capacity(count as usize * DATA_BYTES);
        for number in first..first + count {
            data.extend_from_slice(self.sector(number, first + count - number)?);
        }
        let body = Bytes::from(data).slice(batch::HEAD_BYTES..batch::HEAD_BYTES + length);
        match Batch::decode(number, body) {
            Some(batch) => Ok((batch, first + count)),
            None => Err(self.damaged(first, DamageReason::Contents)),
        }
    }

    /// The data of a sector, of which `count` ones are needed together.
    fn sector(&mut self, number: u64, count: u64) -> Result<&[u8], StorageError> {
        let (start, bytes) = &self.buffer;
        let buffered = *start..*start + (bytes.len() / SECTOR_BYTES) as u64;
        if !buffered.contains(&number) {
            if number >= self.sectors {
                return Err(self.damaged(number, DamageReason::TooShort));
            }
            let read = count.max(READ_SECTORS).min(self.sectors - number);
            let mut bytes = vec![0; read as usize * SECTOR_BYTES];
            self.file
                .read_at(&mut bytes, number * SECTOR_BYTES as u64)
                .map_err(StorageError::io("read", &self.name))?;
            self.buffer = (number, bytes);
        }
        let offset = (number - self.buffer.0) as usize * SECTOR_BYTES;
        let bytes = &self.buffer.1[offset..offset + SECTOR_BYTES];
        match sector::read(bytes, self.seed, number) {
            Sector::Valid(Kind::First | Kind::Continued, data) => Ok(data),
            _ => Err(self.damaged(number, DamageReason::Checksum)),
        }
    }

    fn damaged(&self, sector: u64, reason: DamageReason) -> StorageError {
        StorageError::damaged(&self.name, sector * SECTOR_BYTES as u64, reason)
    }
}
