//! Segments: the files of the log.
//!
//! The first sector describes the segment, and batches follow. The space is reserved when the
//! segment is created, so unused sectors are zero.

use bytes::{Buf, BufMut, Bytes};
use raft_core::{HardState, LogId, NodeId, Term};

use super::batch::{self, Batch};
use super::sector::{self, DATA_BYTES, Kind, Sector};
use crate::error::{DamageReason, StorageError};
use crate::files::SECTOR_BYTES;
use crate::identity::Identity;

const MAGIC: &[u8; 8] = b"raft-log";
/// The format of segments.
const FORMAT: u32 = 1;
const PREFIX: &str = "log-";

/// The first sector of a segment: the state of the log when the segment was created. Older segments
/// can therefore be removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHead {
    /// The number of the segment. Numbers have no gaps.
    pub(super) segment: u64,
    /// The number of the first batch in the segment.
    pub(super) first_batch: u64,
    pub(super) hard_state: HardState,
    /// Where the log starts.
    pub(super) start: LogId,
    /// Where the log ends.
    pub(super) last: LogId,
}

/// The name of a segment.
pub(super) fn name(segment: u64) -> String {
    format!("{PREFIX}{segment:016x}")
}

/// The number of the segment with this name.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// The first sector of every segment has this seed, so that the owner of another segment is known.
fn head_seed() -> u32 {
    crc32c::crc32c(MAGIC)
}

impl SegmentHead {
    /// Encodes the first sector.
    pub(super) fn encode(&self, identity: Identity) -> Vec<u8> {
        let mut data = Vec::with_capacity(DATA_BYTES);
        data.put_slice(MAGIC);
        data.put_u32_le(FORMAT);
        data.put_slice(&identity.to_bytes());
        data.put_u64_le(self.segment);
        data.put_u64_le(self.first_batch);
        data.put_u64_le(self.hard_state.term.0);
        data.put_u8(u8::from(self.hard_state.vote.is_some()));
        data.put_u64_le(self.hard_state.vote.map_or(0, |vote| vote.0));
        batch::put_id(&mut data, self.start);
        batch::put_id(&mut data, self.last);
        let mut bytes = Vec::with_capacity(SECTOR_BYTES);
        sector::append(&mut bytes, head_seed(), 0, Kind::Segment, &data);
        bytes
    }

    /// Decodes the first sector of a segment. Returns `None` if it was never written.
    pub(super) fn decode(
        bytes: &[u8],
        segment: u64,
        identity: Identity,
    ) -> Result<Option<Self>, StorageError> {
        let file = name(segment);
        let mut data = match sector::read(bytes, head_seed(), 0) {
            Sector::Empty => return Ok(None),
            Sector::Valid(Kind::Segment, data) => data,
            _ => return Err(StorageError::damaged(&file, 0, DamageReason::Checksum)),
        };
        let invalid = || StorageError::damaged(&file, 0, DamageReason::Contents);
        if !data.starts_with(MAGIC) {
            return Err(invalid());
        }
        data.advance(MAGIC.len());
        let found = data.try_get_u32_le().map_err(|_| invalid())?;
        if found != FORMAT {
            return Err(StorageError::UnknownFormat { file, found, known: FORMAT });
        }
        if !data.starts_with(&identity.to_bytes()) {
            return Err(StorageError::Foreign { file });
        }
        data.advance(Identity::BYTES);
        let head = Self::decode_state(&mut data).ok_or_else(invalid)?;
        if head.segment != segment {
            return Err(invalid());
        }
        Ok(Some(head))
    }

    fn decode_state(data: &mut &[u8]) -> Option<Self> {
        let segment = data.try_get_u64_le().ok()?;
        let first_batch = data.try_get_u64_le().ok()?;
        let term = Term(data.try_get_u64_le().ok()?);
        let has_vote = data.try_get_u8().ok()? == 1;
        let vote = NodeId(data.try_get_u64_le().ok()?);
        let hard_state = HardState { term, vote: has_vote.then_some(vote) };
        let (start, last) = (batch::get_id(data)?, batch::get_id(data)?);
        Some(Self { segment, first_batch, hard_state, start, last })
    }
}

/// Sectors that hold a batch whose head and body have this length.
pub(super) fn sectors_of(length: usize) -> u64 {
    length.div_ceil(DATA_BYTES) as u64
}

/// The whole contents of a segment.
pub(super) struct SegmentBytes {
    file: String,
    seed: u32,
    bytes: Vec<u8>,
}

impl SegmentBytes {
    pub(super) fn new(segment: u64, identity: Identity, mut bytes: Vec<u8>) -> Self {
        // An incomplete sector was never written.
        bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES), 0);
        Self { file: name(segment), seed: identity.seed(segment), bytes }
    }

    /// The length in sectors.
    pub(super) fn sectors(&self) -> u64 {
        (self.bytes.len() / SECTOR_BYTES) as u64
    }

    /// The first sector, or `None` if it was never written.
    pub(super) fn head(
        &self,
        segment: u64,
        identity: Identity,
    ) -> Result<Option<SegmentHead>, StorageError> {
        let bytes = self.bytes.get(..SECTOR_BYTES).unwrap_or_default();
        SegmentHead::decode(bytes, segment, identity)
    }

    /// Returns true if all bytes are zero.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }

    fn sector(&self, number: u64) -> Sector<'_> {
        let start = number as usize * SECTOR_BYTES;
        match self.bytes.get(start..start + SECTOR_BYTES) {
            Some(bytes) => sector::read(bytes, self.seed, number),
            None => Sector::Empty,
        }
    }

    /// The batch that begins at a sector, with the sector behind it. Returns `None` if the batch
    /// with the expected number does not begin there or is incomplete.
    pub(super) fn batch(
        &self,
        first: u64,
        expected: u64,
    ) -> Result<Option<(Batch, u64)>, StorageError> {
        let Sector::Valid(Kind::First, head) = self.sector(first) else { return Ok(None) };
        let Some((number, length)) = Batch::decode_head(head) else { return Ok(None) };
        if number != expected {
            return Ok(None);
        }
        let end = first + sectors_of(batch::HEAD_BYTES + length);
        if end > self.sectors() {
            return Ok(None);
        }
        let mut data = Vec::with_capacity((end - first) as usize * DATA_BYTES);
        data.extend_from_slice(head);
        for number in first + 1..end {
            let Sector::Valid(Kind::Continued, part) = self.sector(number) else {
                return Ok(None);
            };
            data.extend_from_slice(part);
        }
        let body = Bytes::from(data).slice(batch::HEAD_BYTES..batch::HEAD_BYTES + length);
        let position = first * SECTOR_BYTES as u64;
        match Batch::decode(number, body) {
            Some(batch) => Ok(Some((batch, end))),
            None => Err(StorageError::damaged(&self.file, position, DamageReason::Contents)),
        }
    }

    /// Examines the sectors from `end` on, where no complete batch begins. Returns the sector
    /// behind the last one that is not empty.
    ///
    /// The tail was torn by a power cut if every sector is valid or empty, and if no later batch
    /// has begun. A batch begins only when the one before is synced. So nothing in a torn tail was
    /// promised to another server. Everything else is damage.
    pub(super) fn examine_tail(&self, end: u64, expected: u64) -> Result<u64, StorageError> {
        let damaged = |number: u64, reason| {
            StorageError::damaged(&self.file, number * SECTOR_BYTES as u64, reason)
        };
        let mut used = end;
        let mut first_hole = None;
        for number in end..self.sectors() {
            let (kind, data) = match self.sector(number) {
                Sector::Empty => {
                    first_hole = first_hole.or(Some(number));
                    continue;
                }
                Sector::Invalid => return Err(damaged(number, DamageReason::Checksum)),
                Sector::Valid(kind, data) => (kind, data),
            };
            used = number + 1;
            match kind {
                Kind::Continued => {}
                Kind::First => match Batch::decode_head(data) {
                    Some((found, _)) if found == expected && number == end => {}
                    Some((found, _)) if found > expected => {
                        let at = first_hole.unwrap_or(end);
                        return Err(damaged(at, DamageReason::MissingBatch));
                    }
                    _ => return Err(damaged(number, DamageReason::Contents)),
                },
                Kind::Segment | Kind::Mark => return Err(damaged(number, DamageReason::Contents)),
            }
        }
        Ok(used)
    }
}
