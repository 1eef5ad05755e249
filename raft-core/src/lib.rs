//! The Raft consensus protocol as a pure state machine.
//!
//! A [`Raft`] has no I/O: inputs are method calls, and outputs are [`Effects`], which the caller
//! executes. There are no threads, sockets, files, clocks or hidden random values. The same code
//! runs in a production node, in a deterministic simulator and in a browser tab. The same seed and
//! inputs give the same effects on every platform, bit by bit.
//!
//! Sections marked § refer to *In Search of an Understandable Consensus Algorithm* (extended
//! version). "Dissertation" refers to *Consensus: Bridging Theory and Practice*. Both are by Diego
//! Ongaro.
//!
//! # Order of calls
//!
//! A server is a [`Raft`]. The caller repeats these steps forever:
//!
//! 1. **Inputs.** Pass all waiting inputs, each with the current time: a
//!    [message](Raft::receive), a [command](Raft::propose), a [read](Raft::read), a [membership
//!    change](Raft::change_membership), a [leadership transfer](Raft::transfer_leadership), a
//!    [durable write](Raft::persisted), [fetched entries](Raft::fetched), a
//!    [snapshot](Raft::report_snapshot), or only the [time](Raft::tick).
//! 2. **One [`drain`](Raft::drain)** into the caller's [`Effects`]. The effects of several inputs
//!    are merged: one write, one acknowledgement, and few batches per follower.
//! 3. **Execute all effects**, in any order and in parallel. One effect has an order:
//!    [`install`](Effects::install) comes after the committed entries of earlier drains and after
//!    all chunks of the snapshot.
//! 4. **Wait** for an input or for the [`deadline`](Raft::deadline), whichever comes first.
//!
//! The caller owns the clock ([`Instant`] counts its monotonic microseconds), the transport
//! (messages may be lost, duplicated and reordered) and the disk.
//!
//! # Durability
//!
//! A vote, an acknowledgement of entries, and the leader's own share in a quorum promise that data
//! is on disk. The messages with such promises are not in [`Effects`] before the caller returns the
//! [`Durable`] token of the [`Write`]. The caller receives the token in exchange for the write.
//! Sending too early does not compile, because there is no message to send.
//!
//! A storage failure is final ([`Raft::storage_failed`]). After a failed sync the content of the
//! disk is unknown, so the server stops.
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
//!         let founders = Membership::new(voters);
//!         let fresh = RestoredState::new(1, founders, HardState::default(), LogIndex(0), 0);
//!         Raft::new(Config::new(*id), fresh, id.0, now)
//!     })
//!     .collect::<Result<_, _>>()?;
//! let mut effects = Effects::default();
//! let mut applied = Vec::new();
//!
//! while applied.len() < 3 {
//!     // Jump to the next timer.
//!     now = cluster.iter().filter_map(Raft::deadline).min().unwrap_or(now);
//!     cluster.iter_mut().for_each(|server| server.tick(now));
//!     if let Some(leader) = cluster.iter_mut().find(|server| server.role() == Role::Leader) {
//!         leader.propose("hello".into(), now)?;
//!     }
//!     let mut in_flight = Vec::new();
//!     loop {
//!         for server in &mut cluster {
//!             server.drain(&mut effects);
//!             if let Some(write) = effects.write.take() {
//!                 // A real caller writes and syncs the content of `write` here.
//!                 server.persisted(write.synced(), now);
//!                 server.drain(&mut effects);
//!             }
//!             in_flight.extend(effects.messages.drain(..).map(|sent| (server.id(), sent)));
//!             let commands = effects.committed.iter().flatten().map(|entry| &entry.payload);
//!             applied.extend(commands.filter(|payload| **payload != Payload::Noop).cloned());
//!             effects.committed.clear();
//!         }
//!         if in_flight.is_empty() {
//!             break;
//!         }
//!         for (from, sent) in in_flight.drain(..) {
//!             let receiver = cluster.iter_mut().find(|server| server.id() == sent.to);
//!             receiver.expect("a member").receive(from, sent.message, now);
//!         }
//!     }
//! }
//! assert_eq!(applied[0], Payload::Command("hello".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Duties of the caller
//!
//! | in [`Effects`] | duty | response |
//! | --- | --- | --- |
//! | `write` | write it after all earlier writes, and sync | [`persisted`](Raft::persisted) with the token; [`set_disk_full`](Raft::set_disk_full) while the disk has no space |
//! | `messages` | send them; some may be lost | none |
//! | `committed` | apply them to the state machine, in order | none |
//! | `fetches` | read entries from the durable log | [`fetched`](Raft::fetched) |
//! | `snapshot_chunk_requests` | read a chunk of a snapshot | [`provide_snapshot_chunk`](Raft::provide_snapshot_chunk) |
//! | `snapshot_chunks` | store them outside of the state machine | none |
//! | `install` | after `committed` and `snapshot_chunks`: make the snapshot durable, and replace the state machine by it | [`snapshot_installed`](Raft::snapshot_installed) with the token, or [`snapshot_damaged`](Raft::snapshot_damaged) |
//! | `reads` | execute the read when its index is applied | none |
//! | `events` | log, count or ignore them | none |
//!
//! A caller without snapshots never calls [`report_snapshot`](Raft::report_snapshot). The three
//! effects of snapshots then never occur, unless another server has snapshots.
//!
//! # Guide
//!
//! The [`guide`] describes a node chapter by chapter:
//!
//! - the [loop](guide::driver) with threads, in an async runtime, and in a simulation;
//! - the [disk](guide::disk) and restarts;
//! - [clients](guide::clients): reads, commands and errors;
//! - [messages](guide::messages) and their transport;
//! - [membership](guide::membership) changes, snapshots and leadership transfer;
//! - [witnesses](guide::witnesses);
//! - the [configuration](guide::configuration), field by field.
//!
//! The example `raft-core/examples/three_nodes` is a complete program.
//!
//! # Limits
//!
//! [`Config`] limits everything that a peer or client can cause to grow: in-flight entries per
//! follower, uncommitted entries, the log cache, and waiting reads. Above a limit, a client
//! receives a typed error, and a follower waits. Entries that have left memory are requested with
//! [`Fetch`].
//!
//! # Platforms
//!
//! The crate needs an allocator and no standard library. It is built for servers, for browsers
//! (`wasm32-unknown-unknown`) and for bare metal (`thumbv7em-none-eabi`). A processor without
//! compare-and-swap, such as a Cortex-M0 (`thumbv6m-none-eabi`), needs the feature
//! `critical-section`. Reference counters are then changed in critical sections, which the final
//! program provides (crate `critical-section`).
//!
//! Commands are [`bytes::Bytes`], and the crate is re-exported as [`bytes`]. A program without the
//! standard library that depends on `bytes` itself needs
//! `bytes = { version = "1", default-features = false }`.
//!
//! # Events
//!
//! With [`Config::record_events`] every decision is an [`Event`] that names the rule and its
//! source.
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
