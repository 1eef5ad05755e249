//! The messages of `proto/peer.proto`; see "Protocol buffers" in CONTRIBUTING.md.

#![allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated from proto/peer.proto"
)]

include!("../../proto/generated/raft.peer.rs");
