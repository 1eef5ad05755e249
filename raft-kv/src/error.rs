//! Failures that are not outcomes: they stop the state machine or the call, and leave no trace in
//! it.

/// The store failed, or holds what this crate did not write. A node that sees this stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault<E> {
    /// The store's own error.
    #[error("the store failed: {0}")]
    Store(#[source] E),
    /// A record does not decode, or contradicts another one.
    #[error("the store is damaged: {0}")]
    Damaged(&'static str),
}

/// Why a store could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError<E> {
    /// Reading it failed.
    #[error(transparent)]
    Fault(#[from] StoreFault<E>),
    /// The store was written by a later version of this crate. Use that version.
    #[error("the store has format {found}; this program knows formats up to {supported}")]
    UnknownFormat {
        /// The format found.
        found: u32,
        /// The latest format known here.
        supported: u32,
    },
    /// The store is not empty, but holds no state machine.
    #[error("the store is not empty and was not written by this state machine")]
    Foreign,
}

/// Why a read was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// Reading the store failed.
    #[error(transparent)]
    Fault(#[from] StoreFault<E>),
    /// The revision is not there yet. On a follower it may come; wait, or ask another node.
    #[error("revision {requested} is in the future: the store is at revision {current}")]
    FutureRevision {
        /// The revision asked for.
        requested: i64,
        /// The revision of the state machine.
        current: i64,
    },
    /// History begins at revision 1.
    #[error("revision {requested} does not exist: history begins at revision 1")]
    RevisionNotPositive {
        /// The revision asked for.
        requested: i64,
    },
    /// A key or an end of the range is longer than [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX).
    #[error("a key is longer than {} bytes", crate::KEY_BYTES_MAX)]
    KeyTooLong,
}

/// Why entries were not applied. None of a batch is applied when one of these is returned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError<E> {
    /// The store failed. The node must stop.
    #[error(transparent)]
    Fault(#[from] StoreFault<E>),
    /// An earlier commit failed, and what reached the disk is unknown. Open the store again.
    #[error("an earlier commit failed; the store must be opened again")]
    Stopped,
    /// Entries between the last applied one and this one are missing.
    #[error("entry {index} does not follow entry {applied}")]
    Gap {
        /// The index offered.
        index: u64,
        /// The last index applied.
        applied: u64,
    },
    /// The entry's index was already applied. This is not skipped silently: if the log was lost and
    /// the state kept, it may be a different entry. A driver hands out what follows
    /// [`Kv::applied`](crate::Kv::applied).
    #[error("entry {index} was already applied: the state machine is at entry {applied}")]
    AlreadyApplied {
        /// The index offered.
        index: u64,
        /// The last index applied.
        applied: u64,
    },
    /// Terms never fall along a log, so this entry and the state are from different logs.
    #[error("entry {index} has term {term}, below term {applied} of the entry before it")]
    TermWentBack {
        /// The index offered.
        index: u64,
        /// Its term.
        term: u64,
        /// The term of the last applied entry.
        applied: u64,
    },
    /// The command was proposed by a later version of this crate. Going on would diverge from the
    /// replicas that understand it, so the node must stop and be upgraded.
    #[error(
        "entry {index} holds a command of version {found}; this program knows up to {supported}"
    )]
    UnknownCommand {
        /// The entry's index.
        index: u64,
        /// The command's version.
        found: u32,
        /// The latest version known here.
        supported: u32,
    },
}
