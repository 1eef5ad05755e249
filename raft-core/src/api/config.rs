//! What a caller chooses.

use core::time::Duration;

use crate::api::types::NodeId;
use crate::macros::{described_enum, ensure};
use crate::state::membership::MembershipError;

/// How a server behaves. All servers of a cluster should use the same values, except for `id`,
/// `election_handicap`, `witness` and `explain`. How to choose them is told in the
/// [guide](crate::guide::settings).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// This server.
    pub id: NodeId,
    /// The shortest time without a leader after which a follower stands for election (§5.2), and
    /// the time for which it denies other candidates its vote while its leader is heard.
    ///
    /// Ten heartbeats and ten times the broadcast time are a good start. Default: 1 s.
    pub election_timeout_min: Duration,
    /// The end of the range that election timeouts are drawn from, itself excluded. A wider range
    /// means fewer split votes (dissertation 9.3). Default: 2 s.
    pub election_timeout_max: Duration,
    /// How often a leader makes itself heard (§5.2). Default: 100 ms.
    pub heartbeat_interval: Duration,
    /// Whether to ask around before standing for election, so that a server that cannot win does
    /// not disturb one that leads (dissertation 9.6). Default: yes.
    pub pre_vote: bool,
    /// Whether a leader that does not hear from a majority for `election_timeout_max` steps down
    /// (dissertation 6.2), and whether a server that hears its leader ignores candidates
    /// (dissertation 4.2.3). Default: yes.
    pub check_quorum: bool,
    /// What this server adds to each of its election timeouts, so that others lead if they can.
    /// With the width of the range of timeouts it stands only if no server without a handicap has
    /// won in its first attempt. Safety does not depend on it. Default: zero.
    pub election_handicap: Duration,
    /// Whether this server is a witness: it votes and keeps the terms of the log, but no payloads,
    /// never leads, and hands out nothing to apply (dissertation 11.7.2). The cluster's
    /// [`Membership`](crate::Membership) must say the same. Default: no.
    pub witness: bool,
    /// Allows reads by lease, and says by how much the clocks of two servers may differ in speed
    /// from true time, in parts per million: a leader whose heartbeats a majority has answered
    /// answers reads by itself for a little less than `election_timeout_min` (dissertation 6.4.1).
    /// Needs `check_quorum`, on all servers; a server that starts then grants no vote for
    /// `election_timeout_min`, because it may have forgotten a leader.
    ///
    /// A lease counts on what *others* promise, so all servers must have leases, and all the same
    /// `election_timeout_min`: a leader with a longer one than a voter counts on that voter after
    /// it has ceased to deny its vote. To change one of the three while servers run, ask for no
    /// read by lease until all have the new value; see the [guide](crate::guide::settings).
    /// Default: no leases.
    pub lease_drift_ppm: Option<u32>,
    /// How long a write may take. A leader whose write takes longer steps down, and a server does
    /// not stand for election meanwhile: heartbeats alone would keep a leader that can commit
    /// nothing. Not zero. Default: 2 s.
    pub write_stall_max: Duration,
    /// Upper bound of one command, in bytes. A larger one is refused. Default: 2 MiB.
    pub command_bytes_max: usize,
    /// Entries in one AppendEntries stop at this many bytes (but there is always at least one).
    /// Default: 256 KiB.
    pub append_bytes_max: usize,
    /// AppendEntries on the way to one follower, unanswered. Default: 256.
    pub in_flight_messages_max: usize,
    /// Bytes of entries on the way to one follower, unanswered. Default: 8 MiB.
    pub in_flight_bytes_max: usize,
    /// Bytes of entries that a leader holds and that are not committed, or not durable on its own
    /// disk, which followers may be ahead of; over it, proposals are refused. Default: 32 MiB.
    pub uncommitted_bytes_max: usize,
    /// Bytes of entries in memory over which those leave it that are durable and committed. What is
    /// left of it by entries that are not is for followers that are a little behind. What is
    /// further back is asked for by [`Fetch`](crate::Fetch). Entries leave in the batches in which
    /// they came, so there may be one batch more. Default: 16 MiB.
    pub log_cache_bytes_max: usize,
    /// Upper bound of one piece of a snapshot, in bytes. Default: 256 KiB.
    pub snapshot_chunk_bytes_max: usize,
    /// Reads that wait for their confirmation; over it, reads are refused. Default: 65,536.
    pub reads_max: usize,
    /// Whether to record [`Event`](crate::Event)s. Default: no.
    pub record_events: bool,
    /// Rules that are not kept, to see what they are good for.
    #[cfg(feature = "sabotage")]
    pub disabled_rules: crate::DisabledRules,
}

described_enum! {
    /// Why a [`Config`] or a [`RestoredState`](crate::RestoredState) was refused.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum ConfigError: core::error::Error {
        /// `election_timeout_min` must be less than `election_timeout_max`.
        EmptyElectionRange => "election_timeout_min must be less than election_timeout_max";
        /// `heartbeat_interval` must be positive and less than `election_timeout_min`.
        HeartbeatNotBelowElectionTimeout =>
            "heartbeat_interval must be positive and less than election_timeout_min";
        /// This limit must not be zero.
        ZeroLimit(name: &'static str) => "{name} must not be zero";
        /// `lease_drift_ppm` needs `check_quorum`, and must be less than a million.
        LeaseImpossible =>
            "reads by lease need check_quorum, and a clock drift of less than a million ppm";
        /// The membership makes no sense.
        Membership(error: MembershipError) => "{error}";
        /// What is applied lies beyond the end of the log.
        AppliedBeyondLog => "what is applied lies beyond the end of the log";
        /// What is applied lies before the end of the snapshot, or the log starts behind it:
        /// something is missing in between.
        SnapshotDoesNotFit =>
            "entries are missing between the snapshot and the log or what is applied";
        /// The last entry of the log has a later term than the hard state: they are of different
        /// ages.
        LogNewerThanTerm => "the log ends in a later term than the hard state names";
        /// The snapshot was added after entries:
        /// [`RestoredState::with_snapshot`](crate::RestoredState::with_snapshot) comes first.
        SnapshotAfterEntries => "the snapshot must be added before the entries of the log";
        /// The membership names this server a witness, or a voter that is none, and
        /// [`Config::witness`] says otherwise.
        WitnessMismatch =>
            "the membership and the configuration disagree on whether this server is a witness";
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

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let (timeout, heartbeat) = (self.election_timeout_min, self.heartbeat_interval);
        ensure!(timeout < self.election_timeout_max, ConfigError::EmptyElectionRange);
        let is_below = !heartbeat.is_zero() && heartbeat < timeout;
        ensure!(is_below, ConfigError::HeartbeatNotBelowElectionTimeout);
        let limits = [
            // Every write would have taken too long from its beginning.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_limits_are_rejected() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::new(NodeId(1));
            assert_eq!(config.validate(), Ok(()));
            change(&mut config);
            config.validate()
        };
        let zero = |name| Err(ConfigError::ZeroLimit(name));
        let stall = refused(|config| config.write_stall_max = Duration::ZERO);
        assert_eq!(stall, zero("write_stall_max"));
        let reads = refused(|config| config.reads_max = 0);
        assert_eq!(reads, zero("reads_max"));
        assert_eq!(refused(|config| config.log_cache_bytes_max = 0), Ok(()));
    }
}
