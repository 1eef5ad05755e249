//! Errors of the storage.

use std::io::{self, ErrorKind};

/// Why the storage does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// An operation of the file layer failed. Which bytes are durable is unknown.
    #[error("{operation} of {file} failed: {error}; check the disk and the kernel log")]
    Io {
        /// The operation.
        operation: &'static str,
        /// The file, or "the directory".
        file: String,
        /// The cause.
        error: io::Error,
    },
    /// There is no space, and the write has not begun. The caller may try again.
    #[error("the disk has no free space; delete files or use a larger disk")]
    Full,
    /// Synced bytes have changed.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A later version of the program wrote the file.
    #[error("unknown format of {file}: {found}; update this program, which knows {known}")]
    UnknownFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The latest format that this program knows.
        known: u32,
    },
    /// The file belongs to another cluster or member.
    #[error("{file} belongs to another member or cluster; restore the directory of this member")]
    Foreign {
        /// The file.
        file: String,
    },
    /// An earlier operation failed, so the storage accepts no writes.
    #[error("the storage accepts no writes after an earlier failure; restart the node")]
    Stopped,
}

/// Synced bytes that have changed, and their position.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file} is damaged at byte {position}: {reason}")]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The position of the first damaged byte, or of the block that contains it.
    pub position: u64,
    /// The kind of the damage.
    pub reason: DamageReason,
}

/// The kind of a damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DamageReason {
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
    /// The checksum matches, but the contents cannot be decoded.
    #[error("the contents are invalid")]
    Contents,
    /// A later batch exists, so this one was synced.
    #[error("a synced batch is missing")]
    MissingBatch,
    /// The log needs a segment that does not exist.
    #[error("an earlier segment is missing")]
    MissingSegment,
    /// The store needs a table that does not exist.
    #[error("a table is missing")]
    MissingTable,
    /// The file is shorter than when it was synced.
    #[error("the file is too short")]
    TooShort,
}

impl StorageError {
    /// Returns a function that adds operation and file to an error.
    pub(crate) fn io<'a>(
        operation: &'static str,
        file: &'a str,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self::Io { operation, file: file.to_owned(), error }
    }

    pub(crate) fn damaged(file: &str, position: u64, reason: DamageReason) -> Self {
        Self::Damaged(Damage { file: file.to_owned(), position, reason })
    }

    /// Returns true if an operation failed for lack of space.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Io { error, .. } => {
                matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Returns true if the stored bytes are not those that were written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}
