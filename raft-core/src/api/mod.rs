//! The types that a driver of [`Raft`](crate::Raft) uses: configuration, effects, messages, events.
//!
//! Plain values and their arithmetic belong here. The rules of the protocol belong in `raft/`.

pub(crate) mod config;
pub(crate) mod effects;
pub(crate) mod entries;
pub(crate) mod entry;
pub(crate) mod event;
pub(crate) mod membership;
pub(crate) mod message;
pub(crate) mod quorum;
pub(crate) mod read;
pub(crate) mod types;
