//! The data directory: its owner, the log and the state machine.
//!
//! `raft-storage` has the log and the store of the state machine. This module decides to whom a
//! directory belongs, and converts directories of earlier releases.

mod error;
mod old_format;
mod open_error;
mod owner;
mod permissions;
mod verification;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::HardState;
use raft_storage::files::{Files, OsFiles};
use raft_storage::{Flusher, Log, StateOptions, StateStore};

use crate::config::NodeConfig;

pub use error::StorageError;
pub use open_error::OpenError;
pub use verification::{CheckDataError, DataReport, check_data};

use owner::Owner;

/// The directory of the files of `raft-storage`, within the data directory.
const STORE: &str = "store";
/// The same, while an earlier format is converted.
const UNFINISHED_STORE: &str = "store.unfinished";
/// The size of a segment of the log.
const SEGMENT_BYTES: u64 = 32 << 20;

/// An open data directory. Dropping it unlocks the directory.
pub(crate) struct Storage {
    pub(crate) log: Log,
    pub(crate) state: StateStore,
    pub(crate) flusher: Flusher,
    /// How often a node has started from this directory.
    pub(crate) boot: u64,
    /// Held as long as the directory is used.
    pub(crate) lock: Box<fs::File>,
}

impl Storage {
    /// Opens the data directory of the node, and creates it if it is missing.
    pub(crate) fn open(config: &NodeConfig) -> Result<Self, OpenError> {
        let path = &config.data_dir;
        let unusable = |error: StorageError| match error {
            error if error.is_damage() => OpenError::damaged(path, error),
            error => OpenError::Unusable { path: path.clone(), error },
        };
        permissions::make_private(path).map_err(unusable)?;
        let lock = lock(path)?;
        let store = path.join(STORE);
        let is_new = !exists(&store).map_err(unusable)?;
        if is_new && old_format::is_present(path).map_err(unusable)? {
            convert(config)?;
        } else if is_new {
            create(path, STORE).map_err(unusable)?;
        }
        old_format::remove(path).map_err(unusable)?;
        let files: Arc<dyn Files> = Arc::new(OsFiles::new(&store));
        let owner = Owner::claim(config, &*files)?;
        let identity = owner.identity();
        let log = Log::open(files.clone(), identity, SEGMENT_BYTES)
            .map_err(|error| unusable(error.into()))?;
        let state = StateStore::open(files, identity, StateOptions::default())
            .map_err(|error| unusable(error.into()))?;
        let flusher = state.flusher();
        Ok(Self { log, state, flusher, boot: owner.boots(), lock: Box::new(lock) })
    }

    /// The stored term and vote.
    pub(crate) fn hard_state(&self) -> HardState {
        self.log.hard_state()
    }
}

/// Converts a directory of the release before. The new files get their name when they are complete.
fn convert(config: &NodeConfig) -> Result<(), OpenError> {
    let path = &config.data_dir;
    let unusable = |error: StorageError| match error {
        error if error.is_damage() => OpenError::damaged(path, error),
        error => OpenError::Unusable { path: path.clone(), error },
    };
    let unfinished = path.join(UNFINISHED_STORE);
    if exists(&unfinished).map_err(unusable)? {
        fs::remove_dir_all(&unfinished).map_err(|error| unusable(error.into()))?;
    }
    create(path, UNFINISHED_STORE).map_err(unusable)?;
    old_format::convert(config, Arc::new(OsFiles::new(&unfinished)))?;
    fs::rename(&unfinished, path.join(STORE)).map_err(|error| unusable(error.into()))?;
    sync(path).map_err(unusable)
}

fn exists(path: &Path) -> Result<bool, StorageError> {
    let failed = |error| StorageError::File { path: path.to_owned(), error };
    path.try_exists().map_err(failed)
}

/// Creates a directory within the data directory, durably.
fn create(path: &Path, name: &str) -> Result<(), StorageError> {
    let directory = path.join(name);
    let created = fs::DirBuilder::new().mode(0o700).create(&directory);
    created.map_err(|error| StorageError::File { path: directory, error })?;
    sync(path)
}

fn sync(path: &Path) -> Result<(), StorageError> {
    let synced = fs::File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| StorageError::File { path: path.to_owned(), error })
}

/// Removes a file or directory, if it exists.
fn remove(path: &Path) -> Result<(), StorageError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(StorageError::File { path: path.to_owned(), error })
        }
        _ => Ok(()),
    }
}

fn lock(path: &Path) -> Result<fs::File, OpenError> {
    let unusable = |error| OpenError::Unusable { path: path.to_owned(), error };
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let name = path.join(permissions::LOCK_FILE);
    let file = options
        .open(&name)
        .map_err(|error| unusable(StorageError::File { path: name.clone(), error }))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(fs::TryLockError::Error(error)) => {
            Err(unusable(StorageError::File { path: name, error }))
        }
    }
}

/// Returns the data directory of a node without `--data-dir`.
#[must_use]
pub fn default_data_dir(name: &str) -> PathBuf {
    PathBuf::from(name)
}
