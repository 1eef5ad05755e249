//! The configuration of a world.

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use crate::network::config::NetworkConfig;
use crate::network::latency::DurationRange;
pub(crate) use crate::node::config::{ClusterConfig, DiskConfig};
use crate::util::units::duration;
pub(crate) use crate::workload::config::WorkloadConfig;

/// The settings of a world.
///
/// The same configuration and the same [`Action`](crate::Action)s give the same run, event by
/// event. Times are in microseconds. Files and addresses contain the settings of all groups side by
/// side, without the names of the groups.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// The settings of the servers.
    #[serde(flatten)]
    pub cluster: ClusterConfig,
    /// The seed of all random values.
    pub seed: u64,
    /// The settings of the network.
    #[serde(flatten)]
    pub network: NetworkConfig,
    /// The settings of the disks.
    #[serde(flatten)]
    pub disk: DiskConfig,
    /// The settings of the clients.
    #[serde(flatten)]
    pub workload: WorkloadConfig,
    /// Records events and decisions in words.
    #[serde(alias = "story")]
    pub record_events: bool,
    /// Counts the covered branches of the protocol.
    #[serde(alias = "branches")]
    pub count_coverage: bool,
}

/// Why a [`WorldConfig`] is invalid.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WorldError {
    /// The number of servers must be between 1 and [`NODES_MAX`].
    Nodes(u64),
    /// The number of initial members exceeds the number of servers, or there are too many
    /// witnesses.
    Founders,
    /// There are more logs than servers, or the terms of a log decrease or are zero.
    Logs,
    /// The minimum of a range is larger than its maximum.
    EmptyRange(&'static str),
    /// The number of clients exceeds the limit.
    TooMany(&'static str),
    /// A time exceeds the limit.
    TooLong(&'static str),
    /// A share exceeds 1000 per mille.
    MoreThanAll(&'static str),
    /// Clients without think time could start any number of operations at one moment.
    NoThinkTime,
    /// The servers reject their configuration.
    Core(raft_core::ConfigError),
}

/// The earlier names of settings, which addresses of the page may contain, and their current names.
pub const EARLIER_SETTING_NAMES: [(&str, &str); 12] = [
    ("branches", "count_coverage"),
    ("holders", "lease_clients"),
    ("keys", "key_count"),
    ("logs", "initial_logs"),
    ("snapshot_piece_bytes_max", "snapshot_chunk_bytes_max"),
    ("story", "record_events"),
    ("sync", "sync_latency"),
    ("sync_reorder", "reorder_syncs"),
    ("think", "think_time"),
    ("traders", "txn_clients"),
    ("watchers", "watch_clients"),
    ("window_bytes_max", "log_cache_bytes_max"),
];

/// The largest number of servers.
pub const NODES_MAX: u64 = 127;

/// The largest number of clients of one kind.
const CLIENTS_MAX: u64 = 1_000;
/// The longest time in a configuration or an action, in microseconds: about thirty years.
pub(crate) const TIME_MAX: u64 = 1_000_000_000_000_000;
/// The largest share per mille.
pub(crate) const PER_MILLE: u32 = 1_000;

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            cluster: ClusterConfig::default(),
            seed: 1,
            network: NetworkConfig::default(),
            disk: DiskConfig::default(),
            workload: WorkloadConfig::default(),
            record_events: true,
            count_coverage: false,
        }
    }
}

impl WorldConfig {
    pub(crate) fn validate(&self) -> Result<(), WorldError> {
        let cluster = &self.cluster;
        if !(1..=NODES_MAX).contains(&cluster.nodes) {
            return Err(WorldError::Nodes(cluster.nodes));
        }
        let founders = cluster.founders.unwrap_or(cluster.nodes);
        if founders > cluster.nodes || cluster.initial_membership().validate().is_err() {
            return Err(WorldError::Founders);
        }
        let is_valid = |log: &Vec<u64>| log.is_sorted() && !log.contains(&0);
        let logs = &cluster.initial_logs;
        if logs.len() as u64 > cluster.nodes || !logs.iter().all(is_valid) {
            return Err(WorldError::Logs);
        }
        let ranges = [
            ("election_timeout", cluster.election_timeout),
            ("latency", self.network.latency),
            ("sync_latency", self.disk.sync_latency),
            ("think_time", self.workload.think_time),
        ];
        if let Some((name, _)) = ranges.iter().find(|(_, range)| range.min > range.max) {
            return Err(WorldError::EmptyRange(name));
        }
        self.validate_limits(&ranges)
    }

    /// Checks the limits on sizes, times and shares.
    fn validate_limits(&self, ranges: &[(&'static str, DurationRange)]) -> Result<(), WorldError> {
        let workload = &self.workload;
        let clients = [
            ("clients", workload.clients),
            ("lease_clients", workload.lease_clients),
            ("txn_clients", workload.txn_clients),
            ("watch_clients", workload.watch_clients),
        ];
        if let Some((name, _)) = clients.iter().find(|(_, count)| *count > CLIENTS_MAX) {
            return Err(WorldError::TooMany(name));
        }
        let times = [
            ("heartbeat_interval", self.cluster.heartbeat_interval),
            ("write_stall_max", self.cluster.write_stall_max),
            ("request_timeout", workload.request_timeout),
            ("lease_ttl", workload.lease_ttl.saturating_mul(1_000_000)),
        ];
        let longest = ranges.iter().map(|(name, range)| (*name, range.max));
        if let Some((name, _)) = longest.chain(times).find(|(_, time)| *time > TIME_MAX) {
            return Err(WorldError::TooLong(name));
        }
        let shares = [
            ("loss_per_mille", self.network.loss_per_mille),
            ("duplicate_per_mille", self.network.duplicate_per_mille),
        ];
        if let Some((name, _)) = shares.iter().find(|(_, share)| *share > PER_MILLE) {
            return Err(WorldError::MoreThanAll(name));
        }
        if workload.think_time.max == 0
            && workload.clients + workload.lease_clients + workload.txn_clients > 0
        {
            return Err(WorldError::NoThinkTime);
        }
        Ok(())
    }

    /// Returns true if the cores of the servers must record events.
    pub(crate) fn needs_core_events(&self) -> bool {
        self.record_events || self.count_coverage
    }
}

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(nodes) => {
                write!(f, "invalid nodes: {nodes}; a cluster has 1 to {NODES_MAX} nodes")
            }
            Self::Founders => f.write_str(
                "invalid founders or witnesses: founders must exist, and most must not be witnesses",
            ),
            Self::Logs => f.write_str(
                "invalid initial_logs: each node has at most one log, with terms from 1 that do not decrease",
            ),
            Self::EmptyRange(name) => write!(f, "invalid {name}: min is larger than max"),
            Self::TooMany(name) => write!(f, "invalid {name}: the limit is {CLIENTS_MAX}"),
            Self::TooLong(name) => {
                write!(f, "invalid {name}: the limit is {}", duration(TIME_MAX))
            }
            Self::MoreThanAll(name) => {
                write!(f, "invalid {name}: the limit is {PER_MILLE} per mille")
            }
            Self::NoThinkTime => f.write_str("invalid think_time: it must be positive"),
            Self::Core(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WorldError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_setting_is_rejected_with_its_name() {
        for text in [r#"{"colour": 1}"#, r#"{"nodes": 3, "network": {"latency": 1}}"#] {
            let error = serde_json::from_str::<WorldConfig>(text).unwrap_err().to_string();
            assert!(error.contains("unknown field"), "{error}");
            assert!(error.contains("colour") || error.contains("network"), "{error}");
        }
    }

    #[test]
    fn settings_are_side_by_side_without_groups() {
        let mut config = WorldConfig::default();
        config.cluster.nodes = 3;
        config.workload.clients = 2;
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!((&written["nodes"], &written["clients"]), (&3.into(), &2.into()));
        assert_eq!(serde_json::from_value::<WorldConfig>(written).unwrap(), config);
        let read: WorldConfig = serde_json::from_str(r#"{"nodes": 3, "clients": 2}"#).unwrap();
        assert_eq!(read, config);
    }
}
