//! How to build a node around [`Raft`](crate::Raft), chapter by chapter. It is there to be read,
//! and holds nothing else.
//!
//! The repository has all of it put together, with threads and a journal on disk, as
//! `raft-core/examples/three_nodes`: `cargo run -p raft-core --example three_nodes`.

#[doc = include_str!("driver.md")]
pub mod driver {}

#[doc = include_str!("disk.md")]
pub mod disk {}

#[doc = include_str!("clients.md")]
pub mod clients {}

#[doc = include_str!("messages.md")]
pub mod messages {}

#[doc = include_str!("members.md")]
pub mod members {}

#[doc = include_str!("witnesses.md")]
pub mod witnesses {}

#[doc = include_str!("settings.md")]
pub mod settings {}
