//! The durable parts of a Raft node: the log and the store of the state machine.
//!
//! - [`Log`] makes entries, term and vote durable with one sync for each group of writes.
//! - [`files`] is the layer between the storage and the disk. Its simulated disk loses everything
//!   that was not synced.
//!
//! # Promises
//!
//! - What [`Log::append`] acknowledged survives every power cut.
//! - A power cut never prevents a start.
//! - Damage to synced bytes is detected, and the error contains file and position.

mod check;
mod error;
pub mod files;
mod identity;
mod log;
pub mod power_cuts;
mod record;
pub mod sabotage;
mod state;

pub use check::{CheckReport, check};
pub use error::{Damage, DamageReason, StorageError};
pub use identity::Identity;
pub use log::{AppendError, Log, LogReader, ReplayError};
pub use record::{read_record, write_record};
pub use state::{Flusher, StateOptions, StateReader, StateReaders, StateStore};
