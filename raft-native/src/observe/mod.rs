//! What a node shows of itself: events, health, timings and status.
//!
//! Nothing in this folder decides anything, and no part of a node waits for it.

pub(crate) mod event_log;
pub(crate) mod health;
pub(crate) mod status;
pub(crate) mod timings;
