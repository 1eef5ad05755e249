//! A Raft node: `raft-core` and `raft-kv` with a disk, a network and clients.
//!
//! # Rules
//!
//! - **One loop owns the server** (`consensus`), without locks. It takes all waiting inputs, steps
//!   the core, and passes the effects to the disk thread, the peers and the apply thread, which
//!   work in parallel.
//! - **Nothing is sent before it is durable.** The core enforces this: the loop gets the messages
//!   only after the write.
//! - **A failure of the storage stops the node.** The node logs the reason, answers no more
//!   requests, and exits.
//! - **Every queue is bounded**, or its input is bounded. The documentation of the queue says what
//!   happens when it is full.
//! - **Any node accepts any request** ([`Handle`]). The node forwards writes to the leader, and
//!   requests the read index from the leader. An error says whether the request was certainly not
//!   carried out.
//!
//! # Folders
//!
//! A folder imports only folders above it in this list.
//!
//! - `config`: the settings of a node, and their checks.
//! - `storage`: the data directory.
//! - `observe`: events, health and timings for operators.
//! - `peer`: connections to the other nodes, and their messages (`proto/peer.proto`).
//! - `consensus`: the loop and its threads.
//! - `client`: [`Handle`], the operations of a node.
//! - `node`: [`Node`], which starts and stops all parts.
//! - `api`: REST, gRPC, metrics and the page, on top of [`Handle`].

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
pub use storage::{
    CheckDataError, DataReport, OpenError, StorageError, check_data, default_data_dir,
};
