//! Verification of the data directory of a stopped node.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use raft_storage::files::OsFiles;
use raft_storage::{CheckReport, check};

use super::{Owner, STORE, StorageError, exists, old_format, permissions};

/// The result of the verification of a data directory.
#[derive(Debug)]
#[non_exhaustive]
pub struct DataReport {
    /// The node that owns the directory.
    pub owner: String,
    /// How often a node has started from the directory.
    pub boots: u64,
    /// The contents of the files, and their errors.
    pub contents: CheckReport,
}

/// Why a data directory cannot be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum CheckDataError {
    #[error("a node uses the directory; stop the node")]
    InUse,
    #[error("the directory has the format of an earlier release; start the node to convert it")]
    OldFormat,
    #[error("the directory has no data of a node; check the path")]
    NoData,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Reads all files of a stopped node and verifies their checksums. Changes nothing.
///
/// # Errors
///
/// [`CheckDataError`] if the directory cannot be verified. Damage is part of the report, except
/// damage of the file that names the owner.
pub fn check_data(path: &Path) -> Result<DataReport, CheckDataError> {
    let _lock = lock(path)?;
    let store = path.join(STORE);
    if !exists(&store)? {
        let is_old = old_format::is_present(path)?;
        return Err(if is_old { CheckDataError::OldFormat } else { CheckDataError::NoData });
    }
    let files = OsFiles::new(&store);
    let owner = Owner::read(&files)?.ok_or(CheckDataError::NoData)?;
    let contents = check(&files, owner.identity());
    Ok(DataReport { owner: owner.name().to_owned(), boots: owner.boots(), contents })
}

/// Locks the directory if a node has ever used it.
fn lock(path: &Path) -> Result<Option<fs::File>, CheckDataError> {
    let name = path.join(permissions::LOCK_FILE);
    let file = match fs::File::open(&name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| StorageError::File { path: name.clone(), error })?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Err(CheckDataError::InUse),
        Err(fs::TryLockError::Error(error)) => Err(StorageError::File { path: name, error }.into()),
    }
}
