//! Committed log entries as the state machine takes them.

use bytes::Bytes;

/// The place of an entry in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The term in which the entry was appended.
    pub term: u64,
    /// The entry's index; the first entry has index 1.
    pub index: u64,
}

/// A committed entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its place in the log.
    pub id: EntryId,
    /// What it carries for the state machine.
    pub payload: Payload,
}

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Nothing for the state machine: a new leader's first entry, or a change of membership. It
    /// advances the applied index.
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
