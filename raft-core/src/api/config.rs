//! The configuration of a server.

use core::time::Duration;

use crate::api::membership::MembershipError;
use crate::api::types::{LogIndex, NodeId};
use crate::macros::{described_enum, ensure};
use crate::sabotage::Rule;

/// The configuration of a server.
///
/// All servers of a cluster should have the same values, except for `id`, `election_handicap`,
/// `witness` and `record_events`. The [guide](crate::guide::configuration) explains how to choose
/// them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// The id of this server.
    pub id: NodeId,
    /// The minimum election timeout (§5.2). A follower that hears its leader rejects other
    /// candidates for this time.
    ///
    /// Start with ten heartbeat intervals and ten times the round trip time. Must be less than
    /// `election_timeout_max`. Default: 1 s.
    pub election_timeout_min: Duration,
    /// The upper bound of the election timeouts, exclusive. A wider range causes fewer split votes
    /// (dissertation 9.3). Default: 2 s.
    pub election_timeout_max: Duration,
    /// The interval between two heartbeats of a leader (§5.2). Must be positive and less than
    /// `election_timeout_min`. Default: 100 ms.
    pub heartbeat_interval: Duration,
    /// Runs a pre-vote before a campaign, so that a server that cannot win does not interrupt a
    /// leader (dissertation 9.6). Default: true.
    pub pre_vote: bool,
    /// Makes a leader step down if it does not hear from a quorum for `election_timeout_max`
    /// (dissertation 6.2), and makes a server with recent contact to its leader ignore candidates
    /// (dissertation 4.2.3). Default: true.
    pub check_quorum: bool,
    /// A duration that this server adds to each of its election timeouts, so that other servers
    /// lead if they can. Safety does not depend on it.
    ///
    /// With a handicap of `election_timeout_max - election_timeout_min`, this server campaigns only
    /// after the first campaign of each other server has failed. Default: zero.
    pub election_handicap: Duration,
    /// Makes this server a witness: it votes and stores the terms of the log, but no payloads. It
    /// never leads, and delivers nothing to its state machine (dissertation 11.7.2). The
    /// [`Membership`](crate::Membership) must name it as a witness. Default: false.
    pub witness: bool,
    /// Enables lease reads, and bounds the deviation of each clock's rate from the true rate, in
    /// parts per million. Less than 1,000,000. Default: none, which disables leases.
    ///
    /// A leader whose heartbeats a quorum has answered confirms reads alone for a little less than
    /// `election_timeout_min` (dissertation 6.4.1). This needs `check_quorum`. A server that starts
    /// grants no vote for `election_timeout_min`, because it may have forgotten a leader.
    ///
    /// All servers must have leases and the same `election_timeout_min`. Otherwise a leader with a
    /// longer timeout counts on voters that already vote again. To change one of the three values
    /// while servers run, request no lease reads until all servers have the new value; see the
    /// [guide](crate::guide::configuration).
    pub lease_drift_ppm: Option<u32>,
    /// The duration of a write after which the disk counts as stalled. A leader with a stalled disk
    /// steps down, and other servers with a stalled disk do not campaign. Without this, heartbeats
    /// alone would keep a leader that can commit nothing. Not zero. Default: 2 s.
    pub write_stall_max: Duration,
    /// The maximum size of a command, in bytes. Larger commands are rejected. Not zero. Default:
    /// 2 MiB.
    pub command_bytes_max: usize,
    /// The maximum size of the entries of one AppendEntries message, in bytes. A message contains
    /// at least one entry. Not zero. Default: 256 KiB.
    pub append_bytes_max: usize,
    /// The maximum number of unacknowledged AppendEntries messages per follower. Not zero. Default:
    /// 256.
    pub in_flight_messages_max: usize,
    /// The maximum size of unacknowledged entries per follower, in bytes. Not zero. Default: 8 MiB.
    pub in_flight_bytes_max: usize,
    /// The size of entries that are not committed, or not durable on the leader, above which a
    /// leader rejects commands, in bytes. Not zero. Default: 32 MiB.
    pub uncommitted_bytes_max: usize,
    /// The size of the log cache above which entries leave memory once they are durable and
    /// committed, in bytes. Default: 16 MiB.
    ///
    /// Entries that are not durable and committed always stay. The rest of the cache serves
    /// followers that lag slightly. Older entries are requested with [`Fetch`](crate::Fetch).
    /// Entries leave memory in the batches in which they came, so the cache may exceed the limit by
    /// one batch.
    pub log_cache_bytes_max: usize,
    /// The maximum size of one snapshot chunk, in bytes. Not zero. Default: 256 KiB.
    pub snapshot_chunk_bytes_max: usize,
    /// The maximum number of reads that wait for their confirmation. More reads are rejected. Not
    /// zero. Default: 65,536.
    pub reads_max: usize,
    /// Records [`Event`](crate::Event)s. Default: false.
    pub record_events: bool,
    /// The rules that this server does not enforce, for tests.
    #[cfg(feature = "sabotage")]
    pub disabled_rules: crate::DisabledRules,
}

described_enum! {
    /// The reason why a [`Config`] or a [`RestoredState`](crate::RestoredState) is invalid.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum ConfigError: core::error::Error {
        /// `election_timeout_min` is not less than `election_timeout_max`.
        EmptyElectionRange =>
            "invalid election timeouts: election_timeout_min must be less than election_timeout_max";
        /// `heartbeat_interval` is zero, or not less than `election_timeout_min`.
        HeartbeatNotBelowElectionTimeout =>
            "invalid heartbeat_interval: it must be positive and less than election_timeout_min";
        /// A limit is zero.
        ZeroLimit(name: &'static str) => "invalid {name}: 0; choose a positive value";
        /// `lease_drift_ppm` is a million or more, or `check_quorum` is false.
        LeaseImpossible =>
            "invalid lease_drift_ppm: it must be less than 1000000, and needs check_quorum";
        /// The membership is invalid.
        Membership(error: MembershipError) => "{error}";
        /// The applied index is after the end of the log.
        AppliedBeyondLog =>
            "invalid stored state: the applied index is after the end of the log; restore both from the same time";
        /// The applied index is before the end of the snapshot, or the log starts after it. Entries
        /// are missing between them.
        SnapshotDoesNotFit =>
            "invalid stored state: entries are missing after the snapshot; restore snapshot, log and applied index from the same time";
        /// The end of the log or snapshot has an index that no correct server reaches.
        IndexTooLarge(index: LogIndex) =>
            "invalid stored state: index {index} is too large; restore the server or add it again under a new id";
        /// The last entry of the log has a later term than the hard state.
        LogNewerThanTerm =>
            "invalid stored state: the log has a later term than the hard state; restore both from the same time";
        /// Entries were added before the snapshot. Call
        /// [`RestoredState::with_snapshot`](crate::RestoredState::with_snapshot) first.
        SnapshotAfterEntries =>
            "invalid order: entries were added before the snapshot; add the snapshot first";
        /// The membership and [`Config::witness`] differ on whether this server is a witness.
        WitnessMismatch =>
            "conflict: membership and configuration differ on whether this server is a witness; correct the configuration";
    }
}

impl Config {
    /// The default configuration of the server `id`.
    #[must_use]
    pub fn new(id: NodeId) -> Self {
        const KIB: usize = 1024;
        const MIB: usize = 1024 * KIB;
        Self {
            id,
            election_timeout_min: Duration::from_millis(1000),
            election_timeout_max: Duration::from_millis(2000),
            heartbeat_interval: Duration::from_millis(100),
            pre_vote: true,
            check_quorum: true,
            election_handicap: Duration::ZERO,
            witness: false,
            lease_drift_ppm: None,
            write_stall_max: Duration::from_secs(2),
            command_bytes_max: 2 * MIB,
            append_bytes_max: 256 * KIB,
            in_flight_messages_max: 256,
            in_flight_bytes_max: 8 * MIB,
            uncommitted_bytes_max: 32 * MIB,
            log_cache_bytes_max: 16 * MIB,
            snapshot_chunk_bytes_max: 256 * KIB,
            reads_max: 65_536,
            record_events: false,
            #[cfg(feature = "sabotage")]
            disabled_rules: crate::DisabledRules::default(),
        }
    }

    /// Checks that the values are in their ranges and fit together.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let (timeout, heartbeat) = (self.election_timeout_min, self.heartbeat_interval);
        ensure!(timeout < self.election_timeout_max, ConfigError::EmptyElectionRange);
        let is_below = !heartbeat.is_zero() && heartbeat < timeout;
        ensure!(is_below, ConfigError::HeartbeatNotBelowElectionTimeout);
        let limits = [
            // With zero, each write would count as stalled when it starts.
            ("write_stall_max", usize::from(!self.write_stall_max.is_zero())),
            ("command_bytes_max", self.command_bytes_max),
            ("append_bytes_max", self.append_bytes_max),
            ("in_flight_messages_max", self.in_flight_messages_max),
            ("in_flight_bytes_max", self.in_flight_bytes_max),
            ("uncommitted_bytes_max", self.uncommitted_bytes_max),
            ("snapshot_chunk_bytes_max", self.snapshot_chunk_bytes_max),
            ("reads_max", self.reads_max),
        ];
        let is_possible = |ppm| self.check_quorum && ppm < 1_000_000;
        ensure!(self.lease_drift_ppm.is_none_or(is_possible), ConfigError::LeaseImpossible);
        match limits.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError::ZeroLimit(name)),
            None => Ok(()),
        }
    }

    /// The length of a lease on the leader's clock, from the start of a confirmed round; `None`
    /// without leases.
    ///
    /// A voter with a fast clock keeps its promise for `election_timeout_min / (1 + drift)`. A
    /// leader with a slow clock measures `1 - drift` of that time.
    pub(crate) fn lease_length(&self) -> Option<Duration> {
        const MILLION: u128 = 1_000_000;
        let ppm = u128::from(self.lease_drift_ppm?);
        let promise = self.election_timeout_min.as_micros();
        let length = if self.enforces(Rule::LeaseWithinDrift) {
            promise * (MILLION - ppm) / (MILLION + ppm)
        } else {
            promise * 2
        };
        Some(Duration::from_micros(length as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_limits_are_rejected() {
        let rejected = |change: fn(&mut Config)| {
            let mut config = Config::new(NodeId(1));
            assert_eq!(config.validate(), Ok(()));
            change(&mut config);
            config.validate()
        };
        let zero = |name| Err(ConfigError::ZeroLimit(name));
        let stall = rejected(|config| config.write_stall_max = Duration::ZERO);
        assert_eq!(stall, zero("write_stall_max"));
        let reads = rejected(|config| config.reads_max = 0);
        assert_eq!(reads, zero("reads_max"));
        assert_eq!(rejected(|config| config.log_cache_bytes_max = 0), Ok(()));
    }

    #[test]
    fn lease_is_shorter_by_drift_of_both_clocks() {
        let mut config = Config::new(NodeId(1));
        assert_eq!(config.lease_length(), None);
        config.lease_drift_ppm = Some(0);
        assert_eq!(config.lease_length(), Some(config.election_timeout_min));
        config.lease_drift_ppm = Some(100_000);
        assert_eq!(config.lease_length(), Some(Duration::from_micros(818_181)));
    }
}
