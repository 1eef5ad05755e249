//! The settings of the servers and their disks.

use std::time::Duration;

use raft_core::{Membership, NodeId};
use serde::{Deserialize, Serialize};

use crate::network::latency::DurationRange;

/// The settings of the servers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterConfig {
    /// The number of servers.
    pub nodes: u64,
    /// The number of initial members. By default all servers are initial members. The others can
    /// be added later.
    pub founders: Option<u64>,
    /// The initial members that are witnesses.
    pub witnesses: Vec<u64>,
    /// The terms of the entries in the log of each server before its first start. Logs of other
    /// servers are empty.
    #[serde(alias = "logs", skip_serializing_if = "Vec::is_empty")]
    pub initial_logs: Vec<Vec<u64>>,
    /// The election timeouts.
    pub election_timeout: DurationRange,
    /// The time between two heartbeats of a leader.
    pub heartbeat_interval: u64,
    /// See [`raft_core::Config::pre_vote`].
    pub pre_vote: bool,
    /// See [`raft_core::Config::check_quorum`].
    pub check_quorum: bool,
    /// See [`raft_core::Config::log_cache_bytes_max`].
    #[serde(alias = "window_bytes_max")]
    pub log_cache_bytes_max: usize,
    /// See [`raft_core::Config::append_bytes_max`].
    pub append_bytes_max: usize,
    /// See [`raft_core::Config::lease_drift_ppm`]. If set, clients read with the leader's lease.
    pub lease_drift_ppm: Option<u32>,
    /// See [`raft_core::Config::write_stall_max`], in microseconds.
    pub write_stall_max: u64,
    /// The number of applied entries between two snapshots. Zero means no snapshots.
    pub snapshot_every: u64,
    /// The number of entries that the log keeps before the end of a snapshot.
    pub snapshot_retain: u64,
    /// See [`raft_core::Config::snapshot_chunk_bytes_max`].
    #[serde(alias = "snapshot_piece_bytes_max")]
    pub snapshot_chunk_bytes_max: usize,
    /// The rules of the protocol that the servers do not follow, by their names.
    #[cfg(feature = "sabotage")]
    #[serde(with = "rule_names", skip_serializing_if = "rule_names::is_none")]
    pub disabled_rules: raft_core::DisabledRules,
}

/// Disabled rules as a list of their names.
#[cfg(feature = "sabotage")]
mod rule_names {
    use raft_core::{DisabledRules, Rule};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn is_none(rules: &DisabledRules) -> bool {
        *rules == DisabledRules::default()
    }

    pub(super) fn serialize<S: Serializer>(
        rules: &DisabledRules,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let disabled = Rule::ALL.iter().filter(|rule| rules.and(**rule) == *rules);
        serializer.collect_seq(disabled.map(|rule| rule.name()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DisabledRules, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.iter().try_fold(DisabledRules::default(), |disabled, name| {
            let rule = Rule::ALL.iter().find(|rule| rule.name() == name);
            let rule = rule.ok_or_else(|| D::Error::custom(format!("unknown rule: {name}")))?;
            Ok(disabled.and(*rule))
        })
    }
}

/// The settings of the disks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskConfig {
    /// How long a disk takes to make a write durable.
    #[serde(alias = "sync")]
    pub sync_latency: DurationRange,
    /// Lets writes complete in any order. After a crash, the disk contains the writes before the
    /// first incomplete write.
    #[serde(alias = "sync_reorder")]
    pub reorder_syncs: bool,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            nodes: 5,
            founders: None,
            witnesses: Vec::new(),
            initial_logs: Vec::new(),
            election_timeout: DurationRange::new(150_000, 300_000),
            heartbeat_interval: 50_000,
            pre_vote: true,
            check_quorum: true,
            log_cache_bytes_max: 1 << 20,
            append_bytes_max: 4096,
            lease_drift_ppm: None,
            write_stall_max: 1_000_000,
            snapshot_every: 0,
            snapshot_retain: 0,
            snapshot_chunk_bytes_max: 1024,
            #[cfg(feature = "sabotage")]
            disabled_rules: raft_core::DisabledRules::default(),
        }
    }
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self { sync_latency: DurationRange::new(500, 3_000), reorder_syncs: false }
    }
}

impl ClusterConfig {
    /// Returns true if a server is an initial member.
    pub(crate) fn is_founder(&self, node: u64) -> bool {
        node <= self.founders.unwrap_or(self.nodes)
    }

    /// The initial membership of the cluster.
    pub(crate) fn initial_membership(&self) -> Membership {
        let founders = self.founders.unwrap_or(self.nodes);
        let witnesses = self.witnesses.iter().map(|witness| NodeId(*witness));
        Membership::new((1..=founders).map(NodeId)).with_witnesses(witnesses)
    }

    /// Returns true if a server is a witness.
    pub(crate) fn is_witness(&self, node: u64) -> bool {
        self.witnesses.contains(&node)
    }

    /// The configuration of a server's core.
    pub(crate) fn core(&self, id: NodeId, record_events: bool) -> raft_core::Config {
        let mut config = raft_core::Config::new(id);
        config.election_timeout_min = Duration::from_micros(self.election_timeout.min);
        config.election_timeout_max = Duration::from_micros(self.election_timeout.max);
        config.heartbeat_interval = Duration::from_micros(self.heartbeat_interval);
        config.pre_vote = self.pre_vote;
        config.check_quorum = self.check_quorum;
        config.log_cache_bytes_max = self.log_cache_bytes_max;
        config.append_bytes_max = self.append_bytes_max;
        config.witness = self.is_witness(id.0);
        config.lease_drift_ppm = self.lease_drift_ppm;
        config.write_stall_max = Duration::from_micros(self.write_stall_max);
        config.snapshot_chunk_bytes_max = self.snapshot_chunk_bytes_max;
        #[cfg(feature = "sabotage")]
        {
            config.disabled_rules = self.disabled_rules;
        }
        config.record_events = record_events;
        config
    }
}
