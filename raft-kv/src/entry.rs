//! Committed log entries.

use bytes::Bytes;

/// The position of an entry in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The term in which the entry was appended.
    pub term: u64,
    /// The index of the entry. The first entry has index 1.
    pub index: u64,
}

/// A committed entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The position of the entry.
    pub id: EntryId,
    /// The content of the entry.
    pub payload: Payload,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// No command: the first entry of a leader, or a membership. The entry only advances the
    /// applied index.
    Noop,
    /// An encoded [`Command`](crate::Command).
    Command(Bytes),
}

impl Entry {
    /// An entry without a command.
    #[must_use]
    pub fn noop(index: u64, term: u64) -> Self {
        Self { id: EntryId { term, index }, payload: Payload::Noop }
    }

    /// An entry with an encoded command.
    pub fn command(index: u64, term: u64, command: impl Into<Bytes>) -> Self {
        Self { id: EntryId { term, index }, payload: Payload::Command(command.into()) }
    }
}
