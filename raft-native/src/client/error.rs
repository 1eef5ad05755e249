//! The errors of requests.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use raft_kv::{ReadError, Rejection, ValidateError};

/// The reason for which a request failed.
///
/// Each reason says whether the request may have been carried out; see
/// [`is_definite`](Self::is_definite).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The command is invalid or over a limit. It was not applied.
    #[error(transparent)]
    InvalidCommand(#[from] ValidateError),
    /// The state machine rejected the command. It changed nothing.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The read is invalid.
    #[error(transparent)]
    InvalidRead(#[from] ReadError<Infallible>),
    /// The disk or the stored data failed.
    #[error(transparent)]
    Storage(#[from] StorageFault),
    /// The node did not apply the entries that the read must see in time.
    #[error("this node is behind by {entries} entries; use another node, or retry later")]
    Behind {
        /// The number of committed entries that the node lacks.
        entries: u64,
    },
    /// No leader was known before the deadline. The request was not carried out.
    #[error("no leader: the cluster has no quorum or is electing; retry later")]
    NoLeader,
    /// The node has too many pending requests. The request was not carried out.
    #[error("overloaded: too many pending requests; retry later")]
    Overloaded,
    /// The disk of the leader has less free space than the reserve, or its data exceeds the quota.
    /// The request was not carried out. Deletions are accepted.
    #[error(
        "no space: the disk of the leader is nearly full, or the data exceeds the quota; delete keys \
         or add disk space"
    )]
    NoSpace,
    /// The node is stopping. The request was not carried out.
    #[error("this node is stopping; use another node")]
    Stopping,
    /// The leader did not respond before the deadline. The write may have been applied, or may
    /// still be applied.
    #[error(
        "timed out: the write may or may not have been applied, or may still be; read the key \
         before you repeat the write"
    )]
    Unknown,
}

/// A failure of the disk or of the stored data during a read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot read the store: {0}; check the disk, or use another node")]
pub struct StorageFault(Arc<dyn Error + Send + Sync>);

impl RequestError {
    /// Returns true if the request was certainly not carried out, so that a retry is safe.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Unknown)
    }

    /// Returns true if a key, a value, the request or its response exceeds a limit.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::InvalidCommand(error) => !matches!(error, ValidateError::Malformed(_)),
            Self::Rejected(error) => matches!(error, Rejection::AnswerTooLarge { .. }),
            Self::InvalidRead(error) => matches!(error, ReadError::KeyTooLong),
            _ => false,
        }
    }

    pub(crate) fn storage(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Storage(StorageFault(Arc::new(error)))
    }

    pub(crate) fn read<E: Error + Send + Sync + 'static>(error: ReadError<E>) -> Self {
        let invalid = match error {
            ReadError::Fault(fault) => return Self::storage(fault),
            ReadError::FutureRevision { requested, current } => {
                ReadError::FutureRevision { requested, current }
            }
            ReadError::RevisionNotPositive { requested } => {
                ReadError::RevisionNotPositive { requested }
            }
            ReadError::KeyTooLong => ReadError::KeyTooLong,
        };
        Self::InvalidRead(invalid)
    }
}
