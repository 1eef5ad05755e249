//! What a world is made of.

use std::fmt;
use std::time::Duration;

use raft_core::{Membership, NodeId};
use serde::{Deserialize, Serialize};

use crate::network::LatencyDistribution;
use crate::util::rng::DurationRange;
use crate::util::units::duration;

/// Everything that decides a world, except for what is done to it. The same configuration and the
/// same [`Action`](crate::Action)s give the same world, event by event. Times are in microseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// How many servers there are.
    pub nodes: u64,
    /// How many of them found the cluster, if not all: the others can be added later.
    pub founders: Option<u64>,
    /// Those of the founders that are witnesses.
    pub witnesses: Vec<u64>,
    /// What is on the servers' disks before they start for the first time: the terms of the entries
    /// of each log. Servers without one start empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(alias = "logs")]
    pub initial_logs: Vec<Vec<u64>>,
    /// What all chance is drawn from.
    pub seed: u64,
    /// Election timeouts of the servers.
    pub election_timeout: DurationRange,
    /// Time between two heartbeats of a leader.
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
    /// See [`raft_core::Config::lease_drift_ppm`]. Clients read by lease then.
    pub lease_drift_ppm: Option<u32>,
    /// See [`raft_core::Config::write_stall_max`], in microseconds.
    pub write_stall_max: u64,
    /// A server takes a snapshot whenever it has applied so many entries since the last one; never,
    /// if zero.
    pub snapshot_every: u64,
    /// How many entries its log keeps before the end of a snapshot.
    pub snapshot_retain: u64,
    /// See [`raft_core::Config::snapshot_chunk_bytes_max`].
    #[serde(alias = "snapshot_piece_bytes_max")]
    pub snapshot_chunk_bytes_max: usize,
    /// Rules of the protocol that the servers do not follow, by their names.
    #[cfg(feature = "sabotage")]
    #[serde(with = "rule_names", skip_serializing_if = "rule_names::is_none")]
    pub disabled_rules: raft_core::DisabledRules,
    /// How long a message travels.
    pub latency: DurationRange,
    /// How latencies are spread over that range.
    pub latency_shape: LatencyDistribution,
    /// Bytes a second that a link carries each way; zero if that is no limit.
    pub bandwidth: u64,
    /// Messages lost, of a thousand.
    pub loss_per_mille: u32,
    /// Messages delivered twice, of a thousand.
    pub duplicate_per_mille: u32,
    /// Whether a message may overtake an earlier one on the same way.
    pub reorder: bool,
    /// How long a write takes until it is durable.
    #[serde(alias = "sync")]
    pub sync_latency: DurationRange,
    /// Whether writes to a disk complete in any order. A crash leaves those before which none is
    /// missing.
    #[serde(alias = "sync_reorder")]
    pub reorder_syncs: bool,
    /// Clients that send requests by themselves.
    pub clients: u64,
    /// How long such a client rests between two requests.
    #[serde(alias = "think")]
    pub think_time: DurationRange,
    /// How many keys those clients share.
    #[serde(alias = "keys")]
    pub key_count: u64,
    /// Clients that hold leases.
    #[serde(alias = "holders")]
    pub lease_clients: u64,
    /// How many seconds those leases live when nobody keeps them alive, at most.
    pub lease_ttl: u64,
    /// Clients that watch keys, each at one server after the other.
    #[serde(alias = "watchers")]
    pub watch_clients: u64,
    /// Clients that read and change several keys at once, or read at any server what that has.
    #[serde(alias = "traders")]
    pub txn_clients: u64,
    /// How long a client waits for an answer before it asks another server.
    pub request_timeout: u64,
    /// Whether to keep a record of events and decisions in words.
    #[serde(alias = "story")]
    pub record_events: bool,
    /// Whether to count which branches of the protocol were taken.
    #[serde(alias = "branches")]
    pub count_coverage: bool,
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

/// Why a [`WorldConfig`] was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WorldError {
    /// `nodes` must be at least one and at most [`NODES_MAX`].
    Nodes(u64),
    /// The founders must be some of the nodes, and the witnesses must be few enough of the
    /// founders.
    Founders,
    /// There are more logs than nodes, or the terms of one fall, or are zero.
    Logs,
    /// The named range ends before it begins.
    EmptyRange(&'static str),
    /// There are too many of these.
    TooMany(&'static str),
    /// This takes longer than a world can last.
    TooLong(&'static str),
    /// More than 1000 of a thousand.
    MoreThanAll(&'static str),
    /// Clients that never rest may ask for ever more at one moment.
    NeverRest,
    /// The servers refused their part of the configuration.
    Core(raft_core::ConfigError),
}

/// The earlier names of settings, which addresses of the page may contain, and their present names.
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

/// The largest cluster that a world can hold.
pub const NODES_MAX: u64 = 127;

/// The most clients of one kind.
const CLIENTS_MAX: u64 = 1_000;
/// No time that a world is made of is longer, in microseconds: thirty years.
pub(crate) const TIME_MAX: u64 = 1_000_000_000_000_000;
/// All there are of a thousand.
pub(crate) const PER_MILLE: u32 = 1_000;

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            nodes: 5,
            founders: None,
            witnesses: Vec::new(),
            initial_logs: Vec::new(),
            seed: 1,
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
            latency: DurationRange::new(5_000, 15_000),
            latency_shape: LatencyDistribution::Uniform,
            bandwidth: 0,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            reorder: false,
            sync_latency: DurationRange::new(500, 3_000),
            reorder_syncs: false,
            clients: 0,
            think_time: DurationRange::new(10_000, 200_000),
            key_count: 5,
            lease_clients: 0,
            lease_ttl: 1,
            watch_clients: 0,
            txn_clients: 0,
            request_timeout: 400_000,
            record_events: true,
            count_coverage: false,
        }
    }
}

impl WorldConfig {
    pub(crate) fn validate(&self) -> Result<(), WorldError> {
        if !(1..=NODES_MAX).contains(&self.nodes) {
            return Err(WorldError::Nodes(self.nodes));
        }
        let founders = self.founders.unwrap_or(self.nodes);
        if founders > self.nodes || self.founding().validate().is_err() {
            return Err(WorldError::Founders);
        }
        let is_log = |log: &Vec<u64>| log.is_sorted() && !log.contains(&0);
        if self.initial_logs.len() as u64 > self.nodes || !self.initial_logs.iter().all(is_log) {
            return Err(WorldError::Logs);
        }
        let spans = [
            ("election_timeout", self.election_timeout),
            ("latency", self.latency),
            ("sync", self.sync_latency),
            ("think", self.think_time),
        ];
        if let Some((name, _)) = spans.iter().find(|(_, span)| span.min > span.max) {
            return Err(WorldError::EmptyRange(name));
        }
        self.validate_limits(&spans)
    }

    /// A world must neither be too large to hold nor stand still.
    fn validate_limits(&self, spans: &[(&'static str, DurationRange)]) -> Result<(), WorldError> {
        let clients = [
            ("clients", self.clients),
            ("holders", self.lease_clients),
            ("traders", self.txn_clients),
            ("watchers", self.watch_clients),
        ];
        if let Some((name, _)) = clients.iter().find(|(_, count)| *count > CLIENTS_MAX) {
            return Err(WorldError::TooMany(name));
        }
        let times = [
            ("heartbeat_interval", self.heartbeat_interval),
            ("write_stall_max", self.write_stall_max),
            ("request_timeout", self.request_timeout),
            ("lease_ttl", self.lease_ttl.saturating_mul(1_000_000)),
        ];
        let longest = spans.iter().map(|(name, span)| (*name, span.max));
        if let Some((name, _)) = longest.chain(times).find(|(_, time)| *time > TIME_MAX) {
            return Err(WorldError::TooLong(name));
        }
        let shares = [
            ("loss_per_mille", self.loss_per_mille),
            ("duplicate_per_mille", self.duplicate_per_mille),
        ];
        if let Some((name, _)) = shares.iter().find(|(_, share)| *share > PER_MILLE) {
            return Err(WorldError::MoreThanAll(name));
        }
        match self.think_time.max == 0 && self.clients + self.lease_clients + self.txn_clients > 0 {
            true => Err(WorldError::NeverRest),
            false => Ok(()),
        }
    }

    /// Whether the node is an initial member.
    pub(crate) fn is_founder(&self, node: u64) -> bool {
        node <= self.founders.unwrap_or(self.nodes)
    }

    /// The membership that the cluster begins with.
    pub(crate) fn founding(&self) -> Membership {
        let founders = self.founders.unwrap_or(self.nodes);
        let witnesses = self.witnesses.iter().map(|witness| NodeId(*witness));
        Membership::new((1..=founders).map(NodeId)).with_witnesses(witnesses)
    }

    pub(crate) fn core(&self, id: NodeId) -> raft_core::Config {
        let mut config = raft_core::Config::new(id);
        config.election_timeout_min = Duration::from_micros(self.election_timeout.min);
        config.election_timeout_max = Duration::from_micros(self.election_timeout.max);
        config.heartbeat_interval = Duration::from_micros(self.heartbeat_interval);
        config.pre_vote = self.pre_vote;
        config.check_quorum = self.check_quorum;
        config.log_cache_bytes_max = self.log_cache_bytes_max;
        config.append_bytes_max = self.append_bytes_max;
        config.witness = self.witnesses.contains(&id.0);
        config.lease_drift_ppm = self.lease_drift_ppm;
        config.write_stall_max = Duration::from_micros(self.write_stall_max);
        config.snapshot_chunk_bytes_max = self.snapshot_chunk_bytes_max;
        #[cfg(feature = "sabotage")]
        {
            config.disabled_rules = self.disabled_rules;
        }
        config.record_events = self.record_events || self.count_coverage;
        config
    }
}

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(nodes) => write!(f, "a cluster has 1 to {NODES_MAX} nodes, not {nodes}"),
            Self::Founders => f.write_str(
                "the founders must be some of the nodes, and few enough of them witnesses",
            ),
            Self::Logs => f.write_str(
                "a node has one log at most, and its terms begin at one and do not fall",
            ),
            Self::EmptyRange(name) => write!(f, "{name}: the range ends before it begins"),
            Self::TooMany(name) => write!(f, "{name}: there are {CLIENTS_MAX} at most"),
            Self::TooLong(name) => {
                write!(f, "{name}: no time is longer than {}", duration(TIME_MAX))
            }
            Self::MoreThanAll(name) => {
                write!(f, "{name}: there are {PER_MILLE} of a thousand at most")
            }
            Self::NeverRest => f.write_str("think: clients must rest between two requests"),
            Self::Core(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WorldError {}
