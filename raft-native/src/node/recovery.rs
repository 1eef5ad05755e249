//! The recovery of a node from its data directory.

use std::fs::File;

use raft_core::{ConfigError, Instant, LogIndex, Membership, Raft, RestoredState};
use raft_kv::Kv;
use raft_storage::{Flusher, Log, StateStore};

use crate::config::NodeConfig;
use crate::config::address::Address;
use crate::node::StartError;
use crate::storage::Storage;

/// The state that a node reads from the disk before its parts start.
pub(crate) struct RecoveredState {
    pub(crate) log: Log,
    pub(crate) flusher: Flusher,
    pub(crate) lock: Box<File>,
    pub(crate) raft: Raft,
    pub(crate) kv: Kv<StateStore>,
}

impl RecoveredState {
    /// Reads the data directory, which may block for a long time.
    pub(crate) fn read(config: &NodeConfig) -> Result<Self, StartError> {
        let storage = Storage::open(config)?;
        let damaged = |reason: String| StartError::damaged(&config.data_dir, reason);
        let hard_state = storage.hard_state();
        let Storage { log, state, flusher, boot, lock } = storage;
        let kv = Kv::open(state).map_err(|error| damaged(error.to_string()))?;
        let membership = Membership::new(config.members().iter().map(Address::node_id));
        let core = core_config(config);
        let applied = LogIndex(kv.applied_index());
        let cache = core.log_cache_bytes_max;
        let mut restored = RestoredState::new(boot, membership, hard_state, applied, cache);
        log.replay(&mut restored).map_err(|error| damaged(error.to_string()))?;
        let raft =
            Raft::new(core, restored, rand::random(), Instant(0)).map_err(|error| match error {
                ConfigError::AppliedBeyondLog
                | ConfigError::SnapshotDoesNotFit
                | ConfigError::LogNewerThanTerm => damaged(error.to_string()),
                error => StartError::Timing(error),
            })?;
        Ok(Self { log, flusher, lock, raft, kv })
    }
}

fn core_config(config: &NodeConfig) -> raft_core::Config {
    let mut core = raft_core::Config::new(config.advertise.node_id());
    core.election_timeout_min = config.election_timeout_min;
    core.election_timeout_max = config.election_timeout_max;
    core.heartbeat_interval = config.heartbeat_interval;
    core.record_events = true;
    core
}
