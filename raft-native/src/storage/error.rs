//! Errors of the storage, as sentences.

use std::io;
use std::path::PathBuf;

/// Why the storage does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum StorageError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("{what}")]
    Damaged { what: String },
    #[error(transparent)]
    Store(#[from] raft_storage::StorageError),
    #[error("the files belong to another version of the storage engine; use the matching program")]
    OtherEngineVersion,
    #[error("another process uses the files; stop it")]
    Locked,
    /// The engine does not keep the cause. Its first failure was returned to another caller.
    #[error(
        "the storage engine accepts no writes after an earlier failure; check the free space, \
         the limit of open files and the kernel log"
    )]
    Poisoned,
    #[error(
        "the directory was written by a later version (format {found}, this one knows {known}); \
         update this program"
    )]
    LaterFormat { found: u32, known: u32 },
    #[error(
        "other users can access {path} (mode {mode:04o}), and this cannot be changed: {error}; \
         use a directory that belongs to this user"
    )]
    Exposed { path: PathBuf, mode: u32, error: io::Error },
    #[error(
        "{path} holds other files and is accessible to other users (mode {mode:04o}); \
         use an empty directory"
    )]
    OtherFiles { path: PathBuf, mode: u32 },
}

impl StorageError {
    pub(crate) fn damaged(what: impl std::fmt::Display) -> Self {
        Self::Damaged { what: what.to_string() }
    }

    /// Returns true if the stored bytes are not those that were written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Store(error) => error.is_damage(),
            _ => false,
        }
    }
}

impl From<fjall::Error> for StorageError {
    fn from(error: fjall::Error) -> Self {
        use fjall::Error as Engine;
        match error {
            Engine::Io(error) => Self::Io(error),
            Engine::Storage(error) => error.into(),
            Engine::JournalRecovery(error) => {
                use fjall::JournalRecoveryError as Journal;
                Self::damaged(match error {
                    Journal::InsufficientLength => "a batch of the journal is incomplete",
                    Journal::TooManyItems => "a batch of the journal has too many items",
                    Journal::ChecksumMismatch => "the checksum of a journal batch does not match",
                    Journal::InvalidFileName => "a journal file has an invalid name",
                })
            }
            Engine::InvalidVersion(Some(_)) => Self::OtherEngineVersion,
            Engine::InvalidVersion(None) => Self::damaged("the version file is invalid"),
            Engine::Decompress(_) => Self::damaged("a block cannot be decompressed"),
            Engine::InvalidTrailer => Self::damaged("a journal batch has an invalid trailer"),
            Engine::InvalidTag((name, tag)) => {
                Self::damaged(format_args!("invalid tag {tag} of {name}"))
            }
            Engine::Poisoned => Self::Poisoned,
            Engine::Locked => Self::Locked,
            Engine::KeyspaceDeleted => Self::damaged("a keyspace was deleted"),
            Engine::Unrecoverable => Self::damaged("required files are missing"),
            _ => Self::damaged("the storage engine failed for a reason unknown to this version"),
        }
    }
}

impl From<fjall::LsmError> for StorageError {
    fn from(error: fjall::LsmError) -> Self {
        use fjall::LsmError as Tree;
        match error {
            Tree::Io(error) => Self::Io(error),
            Tree::Decompress(_) => Self::damaged("a block cannot be decompressed"),
            Tree::InvalidVersion(_) => Self::OtherEngineVersion,
            Tree::Unrecoverable => Self::damaged("required files are missing"),
            Tree::ChecksumMismatch { .. } => {
                Self::damaged("the checksum of a block does not match")
            }
            Tree::InvalidTag((name, tag)) => {
                Self::damaged(format_args!("invalid tag {tag} of {name}"))
            }
            Tree::InvalidTrailer => Self::damaged("a block has an invalid trailer"),
            Tree::InvalidHeader(name) => Self::damaged(format_args!("invalid header of {name}")),
            Tree::Utf8(_) => Self::damaged("a name is not valid UTF-8"),
            _ => Self::damaged("the storage engine failed for a reason unknown to this version"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_errors_are_sentences() {
        let os = || io::Error::from_raw_os_error(24);
        let cases = [
            (fjall::Error::Io(os()), "Too many open files (os error 24)"),
            (fjall::Error::Storage(fjall::LsmError::Io(os())), "Too many open files"),
            (fjall::Error::JournalRecovery(fjall::JournalRecoveryError::ChecksumMismatch), "check"),
            (fjall::Error::Poisoned, "after an earlier failure"),
            (fjall::Error::Locked, "another process"),
            (fjall::Error::InvalidTag(("block", 7)), "invalid tag 7 of block"),
        ];
        for (error, part) in cases {
            let text = StorageError::from(error).to_string();
            assert!(text.contains(part), "{text}");
            for debug in ["FjallError", "Os {", "(", "kind:"] {
                assert!(!text.replace("(os error 24)", "").contains(debug), "{text}");
            }
        }
    }
}
