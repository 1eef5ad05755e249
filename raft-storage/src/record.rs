//! Small files that are replaced as a whole.

use std::io::ErrorKind;

use bytes::{Buf, BufMut};

use crate::error::{DamageReason, StorageError};
use crate::files::Files;

const MAGIC: &[u8; 8] = b"raft-rec";
/// The format of the frame. The caller owns the format of the contents.
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 16;

/// Returns the contents of a record, or `None` if it was never written.
///
/// # Errors
/// The disk failed, or the record is damaged or of a later format.
pub fn read_record(files: &dyn Files, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match files.open(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(StorageError::io("open", name))?,
    };
    let length = file.length().map_err(StorageError::io("read", name))?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_at(&mut bytes, 0).map_err(StorageError::io("read", name))?;
    let damaged = |reason| StorageError::damaged(name, 0, reason);
    let (mut head, contents) =
        bytes.split_at_checked(HEAD_BYTES).ok_or_else(|| damaged(DamageReason::TooShort))?;
    if !head.starts_with(MAGIC) {
        return Err(damaged(DamageReason::Contents));
    }
    head.advance(MAGIC.len());
    let (found, expected) = (head.get_u32_le(), head.get_u32_le());
    if checksum(name, found, contents) != expected {
        return Err(damaged(DamageReason::Checksum));
    }
    if found != FORMAT {
        return Err(StorageError::UnknownFormat { file: name.to_owned(), found, known: FORMAT });
    }
    Ok(Some(contents.to_vec()))
}

/// Replaces a record durably. A power cut leaves the old or the new contents.
///
/// # Errors
/// The disk failed or has no space.
pub fn write_record(files: &dyn Files, name: &str, contents: &[u8]) -> Result<(), StorageError> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + contents.len());
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(FORMAT);
    bytes.put_u32_le(checksum(name, FORMAT, contents));
    bytes.put_slice(contents);
    let new = format!("{name}.unfinished");
    match files.remove(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(StorageError::io("remove", &new)(error));
        }
        _ => {}
    }
    let file = files.create(&new).map_err(StorageError::io("create", &new))?;
    file.write_at(&bytes, 0).map_err(StorageError::io("write", &new))?;
    file.sync().map_err(StorageError::io("sync", &new))?;
    files.rename(&new, name).map_err(StorageError::io("rename", &new))?;
    crate::log::sync_directory(files)
}

fn checksum(name: &str, format: u32, contents: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(crc32c::crc32c(name.as_bytes()), &format.to_le_bytes());
    crc32c::crc32c_append(seed, contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::SimulatedFiles;

    #[test]
    fn power_cut_leaves_old_or_new_record() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let files = SimulatedFiles::new(seed);
            write_record(&files, "owner", b"old").unwrap();
            files.fail_power_after(seed % 6);
            let result = write_record(&files, "owner", b"new");
            files.cut_power();
            let found = read_record(&files, "owner").unwrap().unwrap();
            assert!(found == b"new" || (found == b"old" && result.is_err()), "{seed}: {found:?}");
            seen.insert(found);
            write_record(&files, "owner", b"later").unwrap();
            assert_eq!(read_record(&files, "owner").unwrap().unwrap(), b"later");
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn damaged_record_is_detected() {
        let files = SimulatedFiles::new(1);
        assert_eq!(read_record(&files, "owner").unwrap(), None);
        write_record(&files, "owner", b"contents").unwrap();
        for position in 0..files.length_of("owner").unwrap() {
            assert!(files.damage("owner", position, 4));
            assert!(read_record(&files, "owner").unwrap_err().is_damage(), "{position}");
            assert!(files.damage("owner", position, 4));
        }
    }
}
