//! The types that a driver of [`Raft`](crate::Raft) sees: inputs, effects, messages and events.
//!
//! Nothing here decides: a rule of the protocol belongs to `raft/`.

pub(crate) mod config;
pub(crate) mod effects;
pub(crate) mod entries;
pub(crate) mod entry;
pub(crate) mod event;
pub(crate) mod message;
pub(crate) mod restore;
pub(crate) mod types;
