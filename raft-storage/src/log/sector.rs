//! Sectors: the unit in which a batch reaches the disk, and the unit that a power cut tears.
//!
//! A sector contains a checksum, a kind and data. The checksum covers the identity, the segment,
//! the position, the kind and the data. A kind is never zero, so a written sector is never empty.

use crate::files::SECTOR_BYTES;
use crate::sabotage::Rule;

/// Bytes of data in a sector.
pub(crate) const DATA_BYTES: usize = SECTOR_BYTES - HEAD_BYTES;
const HEAD_BYTES: usize = 5;

/// The role of a sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The first sector of a batch.
    First = 1,
    /// A later sector of a batch.
    Continued = 2,
    /// The first sector of a segment.
    Segment = 3,
    /// The only sector of the mark.
    Mark = 4,
}

/// A sector of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sector<'a> {
    /// All bytes are zero: the sector was never written.
    Empty,
    /// The checksum matches.
    Valid(Kind, &'a [u8]),
    /// The checksum does not match. A power cut does not have this result.
    Invalid,
}

fn checksum(seed: u32, number: u64, checked: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &number.to_le_bytes()), checked)
}

/// Appends a sector with data, which is padded with zeros.
pub(crate) fn append(target: &mut Vec<u8>, seed: u32, number: u64, kind: Kind, data: &[u8]) {
    let start = target.len();
    target.extend_from_slice(&[0; 4]);
    target.push(kind as u8);
    target.extend_from_slice(data);
    target.resize(start + SECTOR_BYTES, 0);
    let sum = checksum(seed, number, &target[start + 4..]);
    target[start..start + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Appends data as sectors, beginning with the given number.
pub(crate) fn append_all(target: &mut Vec<u8>, seed: u32, first: u64, data: &[u8]) {
    let mut kind = Kind::First;
    for (number, part) in (first..).zip(data.chunks(DATA_BYTES)) {
        append(target, seed, number, kind, part);
        kind = Kind::Continued;
    }
}

/// Reads a sector.
pub(crate) fn read(bytes: &[u8], seed: u32, number: u64) -> Sector<'_> {
    if let Some((sum, checked)) = bytes.split_first_chunk::<4>()
        && (checksum(seed, number, checked) == u32::from_le_bytes(*sum)
            || !Rule::CheckSectors.holds())
        && let Some((kind, data)) = checked.split_first()
        && let Some(kind) = kind_of(*kind)
    {
        return Sector::Valid(kind, data);
    }
    if bytes.iter().all(|byte| *byte == 0) { Sector::Empty } else { Sector::Invalid }
}

fn kind_of(byte: u8) -> Option<Kind> {
    [Kind::First, Kind::Continued, Kind::Segment, Kind::Mark]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
}
