//! The replicated key-value state machine: what a Raft log means to its clients.
//!
//! # The law
//!
//! - **Deterministic.** The state is a function of the entries applied, and nothing else: no clock,
//!   no randomness, no configuration, no I/O but the store's. Replicas that applied the same
//!   entries have the same [fingerprint](View::fingerprint), and their entries had the same
//!   [`Outcome`]s.
//! - **Applied once.** Entries are applied in index order without gaps. The applied index is
//!   written in the same atomic batch as the effects, so after a crash the state machine knows
//!   exactly which entries it has: the log goes on after [`Kv::applied`]. An entry offered again is
//!   a typed error, never applied twice.
//! - **Carried out once.** A [`Command`] with a [`Session`] is carried out once, even if a client's
//!   retries put it into the log several times.
//! - **etcd's data model.** An empty state machine is at revision 1. Each command that changes
//!   something adds one revision, however many keys it touches. Every key knows the revision of its
//!   creation and of its last change, and its version. Reads at older revisions see what was there.
//! - **A lease ends in the log.** A key may hang on a lease. When its [`Revoke`] is applied, all
//!   its keys go in one revision, on every replica at the same place. That its time is over is
//!   found by the leader, whose [`Lessor`] is the only thing here that is told the time. No more
//!   than [`LEASE_KEYS_MAX`] keys hang on a lease, so the entry that ends it is bounded.
//! - **History can be followed.** What watches a range of keys is told every change once, in the
//!   order of revisions, and can go on at any replica: [`View::changes`].
//! - **Nothing in the log can break it.** A malformed command is refused by every replica alike,
//!   with an outcome, and the applied index advances. Only two things stop it: a store that fails,
//!   and a command from a later version, which it cannot carry out as others do. Both are typed
//!   errors.
//!
//! # The order of calls
//!
//! The proposer builds a [`Command`], calls [`Command::validate`], and proposes what
//! [`Command::encode`] returns. When the entry is committed, every node hands it to [`Kv::apply`]
//! or, with others, to [`Kv::apply_batch`]; the proposer answers its client with the [`Outcome`].
//! Reads go to [`Kv::get`] and [`Kv::range`], or on another thread to a [`View`] of a snapshot of
//! the store; whether a read is linearizable is the business of whoever calls it.
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
//! // Compare-and-set: only if nobody changed the key since revision 2.
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
