//! A replicated key-value state machine with the data model of etcd.
//!
//! # Guarantees
//!
//! - **Deterministic.** The state is a function of the applied entries. There is no clock, no
//!   random value, no configuration, and no I/O except that of the store. Replicas that applied the
//!   same entries have the same [fingerprint](View::fingerprint) and the same [`Outcome`]s.
//! - **Entries are applied once.** Entries are applied in the order of their indexes, without gaps.
//!   The applied index is in the same atomic batch as the changes. After a crash, the log therefore
//!   continues after [`Kv::applied`]. A repeated entry is a typed error.
//! - **Commands are executed once.** A [`Command`] with a [`Session`] is executed once, even if
//!   retries of the client put it into the log several times.
//! - **Revisions as in etcd.** An empty state machine has revision 1. Each command with a change
//!   adds one revision, regardless of the number of keys. Each key has a creation revision, a
//!   revision of its last change, and a version. Reads at older revisions return the keys at that
//!   revision.
//! - **Leases end by log entries.** A key can be attached to a lease. When a [`Revoke`] is applied,
//!   all keys of the lease are deleted in one revision. The [`Lessor`] of the leader detects
//!   expired leases; it is the only component with a time. At most [`LEASE_KEYS_MAX`] keys are
//!   attached to a lease, so the work of that entry is limited.
//! - **Watches are complete.** [`View::changes`] returns each change of a range of keys once, in
//!   the order of revisions. A watcher can continue at any replica.
//! - **No entry breaks the state machine.** All replicas reject a malformed command alike, with an
//!   outcome. Only a failed store, or a command of a later version, stops the state machine. Both
//!   are typed errors.
//!
//! # Order of calls
//!
//! The proposer builds a [`Command`], calls [`Command::validate`], and proposes the bytes of
//! [`Command::encode`]. When the entry is committed, every node calls [`Kv::apply`] or
//! [`Kv::apply_batch`]. The proposer returns the [`Outcome`] to its client. Reads use [`Kv::get`]
//! and [`Kv::range`], or on another thread a [`View`] of a snapshot of the store. The caller
//! decides whether a read is linearizable.
//!
//! ```
//! use raft_kv::{Command, Entry, Kv, Limits, MemoryStore, Outcome, Put, Txn};
//!
//! let mut kv = Kv::open(MemoryStore::new())?;
//! assert_eq!(kv.revision(), 1);
//!
//! // A new leader's first entry carries no command.
//! kv.apply(Entry::noop(1, 1))?;
//!
//! let put = Command::new(Put::new("greeting", "hello"));
//! put.validate(&Limits::default())?;
//! kv.apply(Entry::command(2, 1, put.encode()))?;
//! assert_eq!(kv.revision(), 2);
//!
//! // Compare-and-set: only if the key did not change after revision 2.
//! let cas = Command::new(Txn::put_if_unchanged(Put::new("greeting", "good day"), 2));
//! let outcome = kv.apply(Entry::command(3, 1, cas.encode()))?;
//! assert!(matches!(outcome, Outcome::Done(_)));
//!
//! let now = kv.get(b"greeting", None)?.ok_or("the key is there")?;
//! assert_eq!((&now.value[..], now.mod_revision, now.version), (&b"good day"[..], 3, 2));
//! let before = kv.get(b"greeting", Some(2))?.ok_or("the key was there")?;
//! assert_eq!(before.value, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod apply;
mod command;
mod entry;
mod error;
mod kv;
mod lessor;
mod outcome;
mod range;
mod read;
mod store;
mod validate;
mod wire;

#[cfg(test)]
mod tests;

pub use apply::lease::{LEASE_KEYS_MAX, LEASE_TTL_MAX, LEASES_MAX, Lease};
pub use apply::session::{SESSION_OUTCOME_BYTES_MAX, SESSIONS_MAX};
pub use command::{
    Command, Compare, Delete, Expiry, Grant, Op, Operand, Put, Relation, Request, Revoke, Session,
    Txn,
};
pub use entry::{Entry, EntryId, Payload};
pub use error::{ApplyError, OpenError, ReadError, StoreFault};
pub use kv::Kv;
pub use lessor::{Lessor, RenewError};
pub use outcome::{
    ANSWER_BYTES_MAX, DeleteResult, GrantResult, OpResult, Outcome, PutResult, Rejection,
    RequestResult, Response, RevokeResult, TxnResult,
};
pub use range::{CountMode, Fields, KeyRange, KeyValue, RangeRequest, RangeResponse};
pub use read::changes::{Changes, ChangesRequest, Event, EventKind, RevisionChanges};
pub use read::view::View;
pub use store::memory::MemoryStore;
pub use store::{Batch, Order, Ordered, ReadStore, Store, Write, with_order};
pub use validate::{KEY_BYTES_MAX, Limits, Malformed, ValidateError};
pub use wire::{DecodeError, OutcomeDecodeError};
