//! The components of a server's state: plain values with tests of their own.
//!
//! A component belongs here if it works without a [`Raft`](crate::Raft). Nothing here imports
//! `raft/`; the rules of the protocol, which combine the components, belong there.

pub(crate) mod acknowledgement;
pub(crate) mod incoming_snapshot;
pub(crate) mod lease;
pub(crate) mod membership_history;
pub(crate) mod outbox;
pub(crate) mod pending_writes;
pub(crate) mod progress;
pub(crate) mod read_queue;
pub(crate) mod timer;
pub(crate) mod transfer;
pub(crate) mod votes;
