//! A Raft node: `raft-core` and `raft-kv` with a disk, a network and clients around them.
//!
//! # The law
//!
//! - **One loop owns the server** (`consensus`): no locks. It takes what waits, steps the core, and
//!   hands the effects to the disk (`writer`), the peers (`peer`) and the state machine
//!   (`applier`), which work in parallel.
//! - **Nothing is promised before it is durable.** The core enforces it; the loop has nothing to
//!   send too early.
//! - **A storage fault ends the node.** It says so, answers nothing any more, and exits.
//! - **Every queue is bounded, or fed by something bounded**, and each says what happens when it is
//!   full.
//! - **Any node takes any request** (`Handle`): it forwards writes to the leader, and asks it how
//!   far a read must see. An error says whether the request certainly was not carried out.
//!
//! # A tour
//!
//! [`Node::start`] reads the data directory (`storage`), makes an identity from the cluster's
//! secret (`identity`) and starts everything. [`Handle`] is what the client interfaces are made of.

mod address;
mod api;
mod applier;
mod config;
mod consensus;
mod failure;
mod handle;
mod health;
mod identity;
mod journal;
mod names;
mod node;
mod open_files;
mod payload;
mod peer;
mod secret;
mod session;
mod status;
mod storage;
mod timings;
mod writer;

pub use address::{Address, AddressError};
pub use api::{ClientServer, ClientServerError};
pub use config::{NodeConfig, StartError};
pub use failure::NodeFailure;
pub use handle::{Consistency, Handle, RequestError};
pub use health::NotReady;
pub use node::Node;
pub use open_files::{OpenFiles, OpenFilesError};
pub use secret::{ClusterSecret, ClusterSecrets, SecretError};
pub use status::{ClusterMember, FollowerView, LogEntry, NodeStatus};
pub use storage::default_data_dir;
