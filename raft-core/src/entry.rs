//! What the log is made of.

use bytes::Bytes;

use crate::NodeId;
use crate::id::{LogId, Term};

/// One position of the replicated log (§5.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// Where it stands, and the term of the leader that created it.
    pub id: LogId,
    /// What it carries.
    pub payload: Payload,
}

/// What an entry carries.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Payload {
    /// Nothing: a leader's first entry, by which it learns what is committed (§8).
    Noop,
    /// A command of the state machine, opaque to consensus.
    Command(Bytes),
}

/// The part of a server's state that must survive a crash, besides the log (Figure 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HardState {
    /// The latest term that the server has seen.
    pub term: Term,
    /// The candidate that got the server's vote in `term`.
    pub vote: Option<NodeId>,
}

impl Entry {
    /// What the entry counts against the limits in [`Config`](crate::Config): its payload and a
    /// fixed part for its place in the log, so that empty entries are not free.
    #[must_use]
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = size_of::<Entry>();
        OVERHEAD + self.payload.len()
    }
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Self::Noop => 0,
            Self::Command(command) => command.len(),
        }
    }
}
