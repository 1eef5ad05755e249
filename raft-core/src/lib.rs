//! The Raft consensus protocol as a pure state machine.
//!
//! This crate decides; it does nothing. It has no threads, no sockets, no files, no clock and no
//! hidden randomness: inputs go in, effects come out, and the caller carries them out. The same
//! code runs in a production node, in a deterministic simulator and in a browser tab, and on any
//! platform the same seed and the same inputs give the same effects, bit by bit.
//!
//! Section marks (§) refer to *In Search of an Understandable Consensus Algorithm* (extended
//! version), "dissertation" to *Consensus: Bridging Theory and Practice*, both by Diego Ongaro.
//!
//! # The law
//!
//! A server is a [`Raft`]. Its methods are of four kinds, to be called in this order, for ever:
//!
//! 1. **Inputs:** [`receive`](Raft::receive) a message, [`propose`](Raft::propose) a command, ask
//!    for a [`read`](Raft::read), [change the membership](Raft::change_membership), [hand
//!    over](Raft::transfer_leadership), report that a write is [`persisted`](Raft::persisted), that
//!    entries were [`fetched`](Raft::fetched) or a snapshot was [taken](Raft::report_snapshot), let
//!    time [`tick`](Raft::tick). Each carries the current moment. Step as many as are waiting.
//! 2. **One [`drain`](Raft::drain)** fills the caller's [`Effects`]. What many inputs brought about
//!    has merged: one write, one acknowledgement, few batches for each follower.
//! 3. **Carry them out**, all of them, in any order and in parallel: the [`Write`] to the disk, the
//!    messages to the network, the committed entries to the state machine. One effect has an order:
//!    [`install`](Effects::install) comes after the committed entries of earlier drains and after
//!    all pieces of the snapshot.
//! 4. **Wait** for an input or for the [`deadline`](Raft::deadline), whichever comes first.
//!
//! The caller owns the clock ([`Instant`] is whatever monotonic microseconds it counts), the
//! transport (messages may be lost, repeated and reordered) and the disk.
//!
//! # Durability is in the types
//!
//! A vote, an acknowledgement of entries and the leader's own share in a majority promise that
//! something is on disk. The messages that make such promises are not in [`Effects`] until the
//! caller gives back the [`Durable`] token of the [`Write`], and it gets the token only by giving
//! up the write. Sending too early does not compile, because there is nothing to send.
//!
//! A storage error is final ([`Raft::storage_failed`]): after a failed sync nobody knows what is on
//! the disk, so the server stops and promises nothing any more.
//!
//! # A cluster in memory
//!
//! ```
//! use raft_core::*;
//!
//! let voters = [NodeId(1), NodeId(2), NodeId(3)];
//! let mut now = Instant(0);
//! let mut cluster: Vec<Raft> = voters
//!     .iter()
//!     .map(|id| {
//!         let fresh = RestoredState::new(1, Membership::new(voters), HardState::default(), LogIndex(0), 0);
//!         Raft::new(Config::new(*id), fresh, id.0, now)
//!     })
//!     .collect::<Result<_, _>>()?;
//! let mut effects = Effects::default();
//! let mut applied = Vec::new();
//!
//! while applied.len() < 3 {
//!     // Jump to the next timer, or stay if somebody still has something to do.
//!     now = cluster.iter().filter_map(Raft::deadline).min().unwrap_or(now);
//!     cluster.iter_mut().for_each(|server| server.tick(now));
//!     if let Some(leader) = cluster.iter_mut().find(|server| server.role() == Role::Leader) {
//!         leader.propose("hello".into(), now)?;
//!     }
//!     let mut mail = Vec::new();
//!     loop {
//!         for server in &mut cluster {
//!             server.drain(&mut effects);
//!             if let Some(write) = effects.write.take() {
//!                 // Here a real caller writes and syncs `write.hard_state()` and `write.entries()`.
//!                 server.persisted(write.synced(), now);
//!                 server.drain(&mut effects);
//!             }
//!             mail.extend(effects.messages.drain(..).map(|sent| (server.id(), sent)));
//!             let commands = effects.committed.iter().flatten().map(|entry| &entry.payload);
//!             applied.extend(commands.filter(|payload| **payload != Payload::Noop).cloned());
//!             effects.committed.clear();
//!         }
//!         if mail.is_empty() {
//!             break;
//!         }
//!         for (from, sent) in mail.drain(..) {
//!             let receiver = cluster.iter_mut().find(|server| server.id() == sent.to);
//!             receiver.expect("a member").receive(from, sent.message, now);
//!         }
//!     }
//! }
//! assert_eq!(applied[0], Payload::Command("hello".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is owed for each effect
//!
//! | in [`Effects`] | what to do | what to answer |
//! | --- | --- | --- |
//! | `write` | write it, after all earlier writes, and sync | [`persisted`](Raft::persisted) with the token; [`set_disk_full`](Raft::set_disk_full) while there is no room for it |
//! | `messages` | send them; some may be lost | nothing |
//! | `committed` | feed them to the state machine, in order | nothing |
//! | `fetches` | read entries from the durable log | [`fetched`](Raft::fetched) |
//! | `snapshot_chunk_requests` | read a piece of a snapshot | [`provide_snapshot_chunk`](Raft::provide_snapshot_chunk) |
//! | `snapshot_chunks` | keep them, apart from the state machine | nothing |
//! | `install` | after `committed` and `snapshot_chunks`: make the snapshot durable, and the state machine what it says | [`snapshot_installed`](Raft::snapshot_installed) with the token, or [`snapshot_damaged`](Raft::snapshot_damaged) |
//! | `reads` | answer the read once its index is applied | nothing |
//! | `events` | show, count or ignore them | nothing |
//!
//! A caller without snapshots never calls [`report_snapshot`](Raft::report_snapshot), and then sees
//! none of the three effects that are about them, as long as its peers don't either.
//!
//! # How to embed it
//!
//! The [`guide`] tells it chapter by chapter: [the loop](guide::driver) with threads, in an async
//! runtime and in a simulation; [the disk](guide::disk), and how a server starts again;
//! [clients](guide::clients), their reads and commands, and what each error means;
//! [messages](guide::messages) and how they travel; [members](guide::membership) and snapshots;
//! [witnesses](guide::witnesses); [settings](guide::configuration), one by one.
//! `raft-core/examples/three_nodes` is all of it in one program.
//!
//! # What is bounded
//!
//! Everything that a peer or a client can make grow has a limit in [`Config`]: entries on the way
//! to a follower, entries not committed, the part of the log that stays in memory, reads that wait.
//! Over a limit a client gets a typed error, and a follower waits. Entries that have left memory
//! are asked for by [`Fetch`].
//!
//! # Where it runs
//!
//! Anywhere that has an allocator: no standard library is used. That is built for servers, for
//! browsers (`wasm32-unknown-unknown`) and for bare metal (`thumbv7em-none-eabi`). A processor
//! without compare-and-swap, such as a Cortex-M0 (`thumbv6m-none-eabi`), needs the feature
//! `critical-section`: payloads and entries are shared by counters, which are then changed in
//! critical sections that the final program provides (crate `critical-section`).
//!
//! Commands are [`bytes::Bytes`], and the crate is re-exported as [`bytes`]. A program without the
//! standard library that names `bytes` itself needs
//! `bytes = { version = "1", default-features = false }`.
//!
//! # Why it did that
//!
//! With [`Config::record_events`] every decision becomes an [`Event`] that names the rule and where
//! the rule is written.
#![no_std]

extern crate alloc;

mod api;
#[cfg(any(doc, doctest))]
pub mod guide;
mod log;
mod macros;
mod raft;
mod sabotage;
mod state;

pub use api::config::{Config, ConfigError};
pub use api::effects::{
    Durable, Effects, Fetch, FetchPurpose, Outbound, SnapshotChunk, SnapshotChunkRequest,
    SnapshotInstall, SnapshotInstalled, Write,
};
pub use api::entries::Entries;
pub use api::entry::{Entry, HardState, Payload, Snapshot};
pub use api::event::{
    AppendRefusal, Event, IgnoreReason, ReadConfirmation, StepDownReason, StopReason, VoteRefusal,
};
pub use api::membership::{Membership, MembershipError, VoteResult};
pub use api::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, Heartbeat, HeartbeatResponse,
    InstallSnapshot, InstallSnapshotResponse, Message, PreVote, PreVoteResponse, ReadIndex,
    ReadIndexResponse, RequestVote, RequestVoteResponse, TimeoutNow,
};
pub use api::read::{ReadId, ReadMode, ReadOutcome};
pub use api::types::{Instant, LogId, LogIndex, NodeId, Term};
pub use bytes;
pub use raft::{
    ChangeError, ChangeStage, FollowerStatus, ProposeError, Raft, ReadError, RestoreError,
    RestoredState, Role, SnapshotProgress, Status, Timer, TransferError,
};
#[cfg(feature = "sabotage")]
pub use sabotage::{DisabledRules, Rule};
