//! What a node keeps on its disk: who it is, its log, and its state machine.
//!
//! All three live in one fjall database, whose journal makes a batch atomic and, when asked,
//! durable. Why fjall: docs/decisions/0003-storage.md.

pub(crate) mod codec;
mod error;
mod high_water_mark;
mod log;
mod open_error;
mod permissions;
mod state;

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use prost::Message;
use raft_core::{HardState, NodeId, Term};

use crate::config::NodeConfig;
use crate::config::address::Address;

pub use error::StorageError;
pub(crate) use high_water_mark::HighWaterMarkFile;
pub(crate) use log::{DamagedEntry, LogStore};
pub use open_error::OpenError;
pub(crate) use state::StateStore;

/// The format of everything below; a node refuses a later one.
const FORMAT: u32 = 1;

const IDENTITY: &[u8] = b"identity";
const HARD_STATE: &[u8] = b"hard-state";

/// An open data directory. Dropping it unlocks the directory.
pub(crate) struct Storage {
    pub(crate) database: Database,
    pub(crate) meta: Keyspace,
    pub(crate) log: LogStore,
    pub(crate) state: StateStore,
    pub(crate) hard_state: HardState,
    pub(crate) mark: HighWaterMarkFile,
    /// How often a node has started from this directory.
    pub(crate) boot: u64,
    /// Held as long as the directory is used.
    pub(crate) lock: Box<fs::File>,
}

/// Whose directory it is.
#[derive(Clone, PartialEq, Message)]
struct IdentityRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    members: Vec<String>,
    #[prost(uint64, tag = "4")]
    boots: u64,
    #[prost(string, tag = "5")]
    address: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct HardStateRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, optional, tag = "2")]
    vote: Option<u64>,
}

impl Storage {
    /// Opens the node's data directory, and makes it if it is not there.
    pub(crate) fn open(config: &NodeConfig) -> Result<Self, OpenError> {
        let path = &config.data_dir;
        let unusable = |error: StorageError| match error {
            error if error.is_damage() => OpenError::damaged(path, error),
            error => OpenError::Unusable { path: path.clone(), error },
        };
        permissions::make_private(path).map_err(unusable)?;
        let lock = lock(path)?;
        let database = Database::builder(path.join("data"))
            .manual_journal_persist(true)
            .worker_threads(1)
            .max_cached_files(Some(config.open_files.storage_max))
            .open()
            .map_err(|error| unusable(error.into()))?;
        let keyspace = |name: &str| {
            database
                .keyspace(name, KeyspaceCreateOptions::default)
                .map_err(|error| unusable(error.into()))
        };
        let (meta, log, state) = (keyspace("meta")?, keyspace("log")?, keyspace("state")?);
        let boot = verify_ownership(config, &database, &meta)?;
        let hard_state = read_hard_state(&meta).map_err(unusable)?;
        let mark = HighWaterMarkFile::open(path).map_err(|error| unusable(error.into()))?;
        if let Some(reason) = mark.reached().describe_regression(hard_state) {
            return Err(OpenError::damaged(path, reason));
        }
        let log = LogStore::new(log, &config.advertise);
        let state = StateStore::new(database.clone(), state);
        Ok(Self { database, meta, log, state, hard_state, mark, boot, lock: Box::new(lock) })
    }
}

impl HardStateRecord {
    pub(crate) fn stage(
        batch: &mut fjall::OwnedWriteBatch,
        meta: &Keyspace,
        hard_state: HardState,
    ) {
        let record =
            Self { term: hard_state.term.0, vote: hard_state.vote.map(|candidate| candidate.0) };
        batch.insert(meta, HARD_STATE, record.encode_to_vec());
    }
}

fn lock(path: &Path) -> Result<fs::File, OpenError> {
    let unusable = |error| OpenError::Unusable { path: path.to_owned(), error };
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let name = path.join(permissions::LOCK_FILE);
    let file = options
        .open(&name)
        .map_err(|error| unusable(StorageError::File { path: name.clone(), error }))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(fs::TryLockError::Error(error)) => {
            Err(unusable(StorageError::File { path: name, error }))
        }
    }
}

/// Makes sure that the directory is this node's, and counts its starts.
fn verify_ownership(
    config: &NodeConfig,
    database: &Database,
    meta: &Keyspace,
) -> Result<u64, OpenError> {
    let path = config.data_dir.clone();
    let unusable = |error: fjall::Error| OpenError::Unusable {
        path: config.data_dir.clone(),
        error: error.into(),
    };
    let mut members: Vec<String> = config.members().iter().map(Address::to_string).collect();
    members.sort_unstable();
    let address = config.advertise.to_string();
    let boots = match meta.get(IDENTITY).map_err(unusable)? {
        None => 0,
        Some(bytes) => {
            let found = IdentityRecord::decode(&bytes[..])
                .map_err(|error| OpenError::damaged(&path, error))?;
            if found.format > FORMAT {
                let error = StorageError::LaterFormat { found: found.format, known: FORMAT };
                return Err(OpenError::Unusable { path, error });
            }
            if found.name != config.name {
                let (owner, name) = (found.name, config.name.clone());
                return Err(OpenError::OfOtherNode { path, owner, name });
            }
            if found.members != members || found.address != address {
                let describe = |members: &[String], own: &str| {
                    format!("{} (this node: {own})", members.join(", "))
                };
                let (found, expected) =
                    (describe(&found.members, &found.address), describe(&members, &address));
                return Err(OpenError::OfOtherCluster { path, found, expected });
            }
            found.boots
        }
    };
    let name = config.name.clone();
    let record = IdentityRecord { format: FORMAT, name, members, boots: boots + 1, address };
    meta.insert(IDENTITY, record.encode_to_vec()).map_err(unusable)?;
    database.persist(PersistMode::SyncAll).map_err(unusable)?;
    Ok(boots + 1)
}

fn read_hard_state(meta: &Keyspace) -> Result<HardState, StorageError> {
    let Some(bytes) = meta.get(HARD_STATE)? else {
        return Ok(HardState::default());
    };
    let record = HardStateRecord::decode(&bytes[..]).map_err(StorageError::damaged)?;
    Ok(HardState { term: Term(record.term), vote: record.vote.map(NodeId) })
}

/// Where a node of this name keeps its data if it is not told.
#[must_use]
pub fn default_data_dir(name: &str) -> PathBuf {
    PathBuf::from(name)
}
