//! Errors that are not outcomes. They do not change the replicated state.

/// A failure or damage of the store, after which the node must stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault<E> {
    /// An error of the store.
    #[error("the store failed: {0}")]
    Store(#[source] E),
    /// A record cannot be decoded, or contradicts another record.
    #[error("the store is damaged: {0}; restore the node from a snapshot or its peers")]
    Damaged(&'static str),
}

/// The reason why a store could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError<E> {
    /// Reading failed.
    #[error(transparent)]
    Fault(#[from] StoreFault<E>),
    /// A later version of this crate has written the store. Use that version.
    #[error("unknown store format: {found}; this version supports up to {supported}, upgrade it")]
    UnknownFormat {
        /// The format of the store.
        found: u32,
        /// The latest format that this version supports.
        supported: u32,
    },
    /// The store contains data of another program.
    #[error("invalid store: it contains other data; choose an empty store")]
    Foreign,
}

/// The reason why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// Reading the store failed.
    #[error(transparent)]
    Fault(#[from] StoreFault<E>),
    /// The revision is in the future. A follower may reach it later; retry, or read at another
    /// node.
    #[error("unknown revision: {requested}; the latest revision is {current}")]
    FutureRevision {
        /// The requested revision.
        requested: i64,
        /// The revision of the state machine.
        current: i64,
    },
    /// The revision is below 1, the first revision.
    #[error("invalid revision: {requested}; the first revision is 1")]
    RevisionNotPositive {
        /// The requested revision.
        requested: i64,
    },
    /// A key or an end of the range is longer than [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX).
    #[error("key is too long: the limit is {} bytes", crate::KEY_BYTES_MAX)]
    KeyTooLong,
}

/// The reason why no entry of a batch was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError<E> {
    /// The store failed. The node must stop.
    #[error(transparent)]
    Fault(#[from] StoreFault<E>),
    /// An earlier commit failed, and the content of the disk is unknown. Open the store again.
    #[error("an earlier commit failed; open the store again")]
    Stopped,
    /// Entries between the last applied one and this one are missing.
    #[error("missing entries: entry {index} follows entry {applied}; deliver all entries in order")]
    Gap {
        /// The index of the entry.
        index: u64,
        /// The last applied index.
        applied: u64,
    },
    /// An entry with this index was applied. It may have been a different entry, if the log was
    /// lost and the state was not. A driver delivers the entries after
    /// [`Kv::applied`](crate::Kv::applied).
    #[error("duplicate entry: {index}; entries up to {applied} are applied")]
    AlreadyApplied {
        /// The index of the entry.
        index: u64,
        /// The last applied index.
        applied: u64,
    },
    /// The term of the entry is earlier than that of the last applied entry. Terms never decrease
    /// in a log, so entry and state are from different logs.
    #[error("invalid term of entry {index}: {term}; the previous entry has term {applied}")]
    TermWentBack {
        /// The index of the entry.
        index: u64,
        /// The term of the entry.
        term: u64,
        /// The term of the last applied entry.
        applied: u64,
    },
    /// A later version of this crate proposed the command. The node must stop and be upgraded;
    /// otherwise it would diverge from other replicas.
    #[error(
        "unknown command version in entry {index}: {found}; this version supports up to \
         {supported}, upgrade it"
    )]
    UnknownCommand {
        /// The index of the entry.
        index: u64,
        /// The version of the command.
        found: u32,
        /// The latest version that this version of the crate supports.
        supported: u32,
    },
}
