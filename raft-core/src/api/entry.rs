//! Entries, snapshots and the hard state.

use alloc::boxed::Box;

use bytes::Bytes;

use crate::api::membership::Membership;
use crate::api::types::{LogId, NodeId, Term};

/// An entry of the replicated log (§5.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The position of the entry, and the term of the leader that created it.
    pub id: LogId,
    /// The content of the entry.
    pub payload: Payload,
}

/// The content of an entry.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Payload {
    /// No content. A leader starts its term with such an entry, to learn the commit index (§8).
    Noop,
    /// A command for the state machine. Consensus does not interpret it.
    Command(Bytes),
    /// The membership from this entry on (§6). The state machine ignores it.
    Membership(Box<Membership>),
    /// A command whose content a witness does not store (dissertation 11.7.2).
    Stripped,
}

/// The description of a snapshot of the state machine (§7). The bytes are stored by the caller.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Snapshot {
    /// The last entry that the snapshot includes.
    pub last: LogId,
    /// The membership at that entry.
    pub membership: Membership,
    /// A number that identifies the bytes, such as a checksum. Two snapshots with the same `last`
    /// and the same identity must have the same bytes.
    pub identity: u64,
    /// The number of bytes.
    pub size: u64,
}

/// The part of a server's state that must survive a crash, besides the log (Figure 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HardState {
    /// The current term: the latest one that the server has seen.
    pub term: Term,
    /// The candidate that received the server's vote in `term`.
    pub vote: Option<NodeId>,
}

/// The memory of an entry without payload on a 64-bit platform, in bytes. Limits in bytes influence
/// the messages, so the number is the same on 32-bit platforms.
const OVERHEAD_BYTES: usize = 56;
const _: () = assert!(size_of::<Entry>() <= OVERHEAD_BYTES);

impl Entry {
    /// The size of the entry for the limits in [`Config`](crate::Config), in bytes: the size of its
    /// payload, and a fixed size for the entry itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.payload.len()
    }

    /// The entry as a witness stores it.
    pub(crate) fn strip_payload(&self) -> Self {
        let payload = match &self.payload {
            Payload::Command(_) => Payload::Stripped,
            other => other.clone(),
        };
        Self { id: self.id, payload }
    }
}

impl Snapshot {
    /// The snapshot as a follower receives it. A witness receives no bytes.
    pub(crate) fn sent_to(&self, witness: bool) -> Self {
        Self { size: if witness { 0 } else { self.size }, ..self.clone() }
    }

    /// Returns true if this is the snapshot with these values.
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
