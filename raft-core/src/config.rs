//! What a caller chooses.

use core::fmt;
use core::time::Duration;

use crate::id::NodeId;

/// How a server behaves. All servers of a cluster should use the same values, except for `id`.
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
    /// Upper bound of one command, in bytes. A larger one is refused. Default: 2 MiB.
    pub command_bytes_max: usize,
    /// Entries in one AppendEntries stop at this many bytes (but there is always at least one).
    /// Default: 256 KiB.
    pub append_bytes_max: usize,
    /// AppendEntries on the way to one follower, unanswered. Default: 256.
    pub in_flight_messages_max: usize,
    /// Bytes of entries on the way to one follower, unanswered. Default: 8 MiB.
    pub in_flight_bytes_max: usize,
    /// Bytes of entries that a leader holds uncommitted; over it, proposals are refused.
    /// Default: 32 MiB.
    pub uncommitted_bytes_max: usize,
    /// Bytes of durable and committed entries that stay in memory for followers that are a little
    /// behind. What is further back is asked for by [`Fetch`](crate::Fetch). Default: 16 MiB.
    pub window_bytes_max: usize,
    /// Reads that wait for their confirmation; over it, reads are refused. Default: 65,536.
    pub reads_max: usize,
    /// Whether to record [`Event`](crate::Event)s. Default: no.
    pub explain: bool,
}

/// Why a [`Config`] or a [`Restored`](crate::Restored) was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// `election_timeout_min` must be less than `election_timeout_max`.
    EmptyElectionRange,
    /// `heartbeat_interval` must be positive and less than `election_timeout_min`.
    HeartbeatNotBelowElectionTimeout,
    /// This limit must not be zero.
    ZeroLimit(&'static str),
    /// A cluster needs at least one voter.
    NoVoters,
    /// The commit index lies beyond the end of the log.
    CommittedBeyondLog,
    /// The last entry of the log has a later term than the hard state: they are of different ages.
    LogNewerThanTerm,
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
            command_bytes_max: 2 * MIB,
            append_bytes_max: 256 * KIB,
            in_flight_messages_max: 256,
            in_flight_bytes_max: 8 * MIB,
            uncommitted_bytes_max: 32 * MIB,
            window_bytes_max: 16 * MIB,
            reads_max: 65_536,
            explain: false,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.election_timeout_min >= self.election_timeout_max {
            return Err(ConfigError::EmptyElectionRange);
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval >= self.election_timeout_min
        {
            return Err(ConfigError::HeartbeatNotBelowElectionTimeout);
        }
        let limits = [
            ("command_bytes_max", self.command_bytes_max),
            ("append_bytes_max", self.append_bytes_max),
            ("in_flight_messages_max", self.in_flight_messages_max),
            ("in_flight_bytes_max", self.in_flight_bytes_max),
            ("uncommitted_bytes_max", self.uncommitted_bytes_max),
            ("reads_max", self.reads_max),
        ];
        match limits.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError::ZeroLimit(name)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyElectionRange => {
                f.write_str("election_timeout_min must be less than election_timeout_max")
            }
            Self::HeartbeatNotBelowElectionTimeout => f.write_str(
                "heartbeat_interval must be positive and less than election_timeout_min",
            ),
            Self::ZeroLimit(name) => write!(f, "{name} must not be zero"),
            Self::NoVoters => f.write_str("a cluster needs at least one voter"),
            Self::CommittedBeyondLog => {
                f.write_str("the commit index lies beyond the end of the log")
            }
            Self::LogNewerThanTerm => {
                f.write_str("the log ends in a later term than the hard state names")
            }
        }
    }
}

impl core::error::Error for ConfigError {}
