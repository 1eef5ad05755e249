//! The errors of opening a data directory.

use std::path::{Path, PathBuf};

use crate::storage::StorageError;

/// The reason for which a data directory cannot be used. The text is one line with advice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum OpenError {
    #[error("cannot use the data directory {path}: {error}")]
    Unusable { path: PathBuf, error: StorageError },
    #[error(
        "the data directory {path} belongs to node {owner:?}, not to {name:?}; choose another one \
         with --data-dir"
    )]
    OfOtherNode { path: PathBuf, owner: String, name: String },
    #[error(
        "the data directory {path} belongs to a cluster of {found}, not of {expected}; choose \
         another one with --data-dir"
    )]
    OfOtherCluster { path: PathBuf, found: String, expected: String },
    #[error(
        "the data directory {path} is in use by another process; stop the process, or choose \
         another directory with --data-dir"
    )]
    InUse { path: PathBuf },
    #[error(
        "the data in {path} is damaged: {reason}; nothing was changed. The other nodes continue \
         without this one. Do not restore an older copy of the directory: it lacks recent votes and \
         acknowledgements"
    )]
    Damaged { path: PathBuf, reason: String },
}

impl OpenError {
    pub(crate) fn damaged(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}
