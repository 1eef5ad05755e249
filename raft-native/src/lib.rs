//! A Raft node: `raft-core` and `raft-kv` with a disk, a network and clients around them.
//!
//! # The law
//!
//! - **One loop owns the server** (`consensus`): no locks. It takes what waits, steps the core, and
//!   hands the effects to the disk (`consensus::disk_thread`), the peers (`peer`) and the state
//!   machine (`consensus::apply_thread`), which work in parallel.
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
//! secret (`peer::identity`) and starts everything. [`Handle`] is what the client interfaces are
//! made of.

mod api;
mod client;
mod config;
mod consensus;
mod node;
mod observe;
mod peer;
mod storage;

pub use api::{ClientServer, ClientServerError};
pub use client::{Consistency, Handle, RequestError, StorageFault};
pub use config::address::{Address, AddressError};
pub use config::open_files::{OpenFiles, OpenFilesError};
pub use config::secret::{ClusterSecret, ClusterSecrets, SecretError};
pub use config::{ConfigError, NodeConfig};
pub use consensus::failure::NodeFailure;
pub use node::{Node, StartError};
pub use observe::health::NotReady;
pub use observe::status::{ClusterMember, FollowerView, LogEntry, NodeStatus};
pub use storage::{OpenError, StorageError, default_data_dir};
