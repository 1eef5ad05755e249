//! The protocol's rules, each as a short story: who times out, which message arrives, what each
//! server then believes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod bounds;
mod callers;
mod cluster;
#[path = "../disk/mod.rs"]
mod disk;
mod durability;
mod elections;
mod elsewhere;
mod late;
mod membership;
mod reads;
mod replay;
mod replication;
mod room;
mod snapshot_transfer;
mod snapshots;
mod status;
mod transfer;
mod unreachable;
mod witnesses;
