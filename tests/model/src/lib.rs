//! A model checker for three unmodified [`raft_core::Raft`] servers within bounds.
//!
//! Only the environment of the servers is a model: the network, disks, crashes, clients and time.
//! `stateright` explores all reachable states. The properties of the paper are checked in each of
//! them ([`check`]).
//!
//! # Time
//!
//! A server remembers times, so two of its states would never be equal. Time is therefore
//! nondeterministic here. After every step, `Raft::canonicalize` (feature `model`) brings the
//! clocks of the server into a canonical form. Remembered events have just happened, timers have
//! just been armed, and a leader that was silent for an election timeout is forgotten. These events
//! may then happen at any server, in any order:
//!
//! | event | meaning |
//! | --- | --- |
//! | the election timer fires | its deadline has passed, and the leader is no longer considered alive |
//! | a heartbeat is due | the heartbeat interval has passed |
//! | a leader has no contact | the longest election timeout has passed, and the time limit of a transfer |
//! | the leader was silent | the shortest election timeout has passed, and the timer draws a longer one |
//!
//! The clocks of different servers are independent. The model therefore covers every drift and
//! every random timeout. It permits more behaviour than real clocks do, so its properties also hold
//! with real clocks. Leases depend on time for their safety. They would cause false violations, so
//! the models do not use them.
//!
//! # Equal states
//!
//! Servers are compared with `Eq`, apart from their clocks and together with their disks and
//! pending writes. The tokens of pending writes are renumbered from one. Each distinct value is
//! interned, so a state is a few numbers: its servers, the in-flight messages and the history.
//! Servers that have not acted differ only in their names, so only the first of them acts first.
//!
//! A message stays in flight forever. Loss means that the message never arrives; duplication means
//! that it arrives twice. Only messages without a possible effect are dropped: responses to a term
//! that their receiver has durably left.

mod bounds;
mod check;
mod interner;
mod model;
mod models;
mod observation;
mod server;

pub use bounds::{Bounds, Disk, Network, SERVERS};
pub use check::{Order, Report, check};
