//! A guide to building a node around [`Raft`](crate::Raft). These modules contain only text.
//!
//! The example `three_nodes` of the repository is a complete node with threads and a journal on
//! disk: `cargo run -p raft-core --example three_nodes`.

#[doc = include_str!("driver.md")]
pub mod driver {}

#[doc = include_str!("disk.md")]
pub mod disk {}

#[doc = include_str!("clients.md")]
pub mod clients {}

#[doc = include_str!("messages.md")]
pub mod messages {}

#[doc = include_str!("membership.md")]
pub mod membership {}

#[doc = include_str!("witnesses.md")]
pub mod witnesses {}

#[doc = include_str!("configuration.md")]
pub mod configuration {}
