//! Protocol tests: the rules case by case, with the messages that arrive and the state of each
//! server afterwards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod api_misuse;
mod cluster;
#[path = "../disk/mod.rs"]
mod disk;
mod disk_full;
mod durability;
mod elections;
mod known_bugs;
mod membership;
mod memory_bounds;
mod reads;
mod replay;
mod replication;
mod snapshot_transfer;
mod snapshots;
mod stale_responses;
mod stale_tokens;
mod status;
mod transfer;
mod unreachable_members;
mod witnesses;
