//! What the log is made of.

use alloc::boxed::Box;

use bytes::Bytes;

use crate::api::types::{LogId, NodeId, Term};
use crate::state::membership::Membership;

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
    /// The membership from this entry on (§6). The state machine has nothing to do with it.
    Membership(Box<Membership>),
    /// A command that this server does not keep, because it is a witness (dissertation 11.7.2).
    Stripped,
}

/// A picture of the state machine, and what consensus must know about it (§7).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Snapshot {
    /// The last entry that the picture includes.
    pub last: LogId,
    /// The membership at that entry.
    pub membership: Membership,
    /// Names the bytes: two snapshots with the same `last` and the same identity are the same,
    /// byte by byte. A checksum will do.
    pub identity: u64,
    /// How many bytes there are.
    pub size: u64,
}

/// The part of a server's state that must survive a crash, besides the log (Figure 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HardState {
    /// The latest term that the server has seen.
    pub term: Term,
    /// The candidate that got the server's vote in `term`.
    pub vote: Option<NodeId>,
}

/// What an entry takes in memory where pointers have 64 bits. Limits on bytes decide what is sent
/// when, so this is the same number where they have 32.
const OVERHEAD_BYTES: usize = 56;
const _: () = assert!(size_of::<Entry>() <= OVERHEAD_BYTES);

impl Entry {
    /// What the entry counts against the limits in [`Config`](crate::Config): its payload and a
    /// fixed part for its place in the log, so that empty entries are not free.
    #[must_use]
    pub fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.payload.len()
    }

    /// The entry without what a witness does not keep.
    pub(crate) fn strip_payload(&self) -> Self {
        let payload = match &self.payload {
            Payload::Command(_) => Payload::Stripped,
            other => other.clone(),
        };
        Self { id: self.id, payload }
    }
}

impl Snapshot {
    /// What a follower is sent of the snapshot: a witness learns where its log starts, and gets no
    /// bytes.
    pub(crate) fn sent_to(&self, witness: bool) -> Self {
        Self { size: if witness { 0 } else { self.size }, ..self.clone() }
    }

    /// Whether it is the very one.
    pub(crate) fn matches(&self, last: LogId, identity: u64) -> bool {
        (self.last, self.identity) == (last, identity)
    }
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Self::Noop | Self::Stripped => 0,
            Self::Command(command) => command.len(),
            Self::Membership(membership) => membership.bytes(),
        }
    }
}
