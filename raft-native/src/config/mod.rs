//! What a node is told at its start, and what is wrong with it.

pub(crate) mod address;
pub(crate) mod node_names;
pub(crate) mod open_files;
pub(crate) mod secret;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::address::Address;
use crate::config::open_files::OpenFiles;
use crate::config::secret::{ClusterSecrets, SecretError};
use crate::peer::PeersError;
use crate::peer::identity::IdentityError;
use crate::storage::StorageError;

/// How to start a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's name, for people.
    pub name: String,
    /// Where the other nodes reach this one. Its port is the one that the node listens at.
    pub advertise: Address,
    /// The interface that the node listens at.
    pub listen: IpAddr,
    /// The other nodes.
    pub peers: Vec<Address>,
    /// Where the node keeps its data.
    pub data_dir: PathBuf,
    /// The cluster secrets. Without them, the node uses the development secret of this user, on
    /// loopback only.
    pub cluster_secrets: Option<ClusterSecrets>,
    /// The shortest election timeout.
    pub election_timeout_min: Duration,
    /// The longest election timeout.
    pub election_timeout_max: Duration,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// How long a client's request may take.
    pub request_timeout: Duration,
    /// Names by which clients may call this node, besides its advertised one.
    pub allowed_hosts: Vec<String>,
    /// The files that this node may keep open.
    pub open_files: OpenFiles,
}

/// Why a node did not start. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum StartError {
    #[error("--peers names the node itself ({0}): name only the others")]
    PeersContainSelf(Address),
    #[error("--peers names {0} twice: name each of the others once")]
    DuplicatePeer(Address),
    #[error(
        "--peers names nobody: name the other nodes, such as --peers localhost:50052,localhost:50053"
    )]
    NoPeers,
    #[error(
        "--node-id must be 1 to 64 letters, digits, '-', '_' or '.', and not begin with '.', unlike {0:?}"
    )]
    BadName(String),
    #[error("{0} and {1} have the same node number by chance: use another port for one of them")]
    NodeIdCollision(Address, Address),
    #[error("port {port} is in use ({protocol}): stop what uses it, or choose another with --port")]
    PortInUse { port: u16, protocol: &'static str },
    #[error("cannot listen at port {port}: {error}")]
    Listen { port: u16, error: std::io::Error },
    #[error(
        "missing cluster secret: other machines can reach {0}; make a secret with: raft secret new \
         FILE, and start every node with --cluster-secret-file FILE"
    )]
    SecretNeeded(IpAddr),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("cannot use the data directory {path}: {error}")]
    DataDir { path: PathBuf, error: StorageError },
    #[error(
        "the data directory {path} belongs to node {owner:?}, not to {name:?}: choose another with --data-dir"
    )]
    DataDirOfOtherNode { path: PathBuf, owner: String, name: String },
    #[error(
        "the data directory {path} belongs to a cluster of {found}, not of {expected}: choose another with --data-dir"
    )]
    DataDirOfOtherCluster { path: PathBuf, found: String, expected: String },
    #[error(
        "the data directory {path} is in use by another process: stop it, or choose another with --data-dir"
    )]
    DataDirInUse { path: PathBuf },
    #[error(
        "the data in {path} is damaged: {reason}. Nothing was changed. The other nodes go on without this one. Do not put an older copy of the directory in its place: it would have forgotten votes and acknowledgements"
    )]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot make the credentials of the node: {0}")]
    Identity(#[from] IdentityError),
    #[error("cannot talk to the other nodes: {0}")]
    Peers(#[from] PeersError),
    #[error("cannot start a thread: {0}; check the limit of processes and threads (ulimit -u)")]
    Thread(std::io::Error),
    #[error("a task failed while the node started: {0}; this is a defect of the program")]
    Task(tokio::task::JoinError),
    #[error("invalid {flag}: 0; give at least 1")]
    ZeroTimeout { flag: &'static str },
    #[error(
        "invalid --heartbeat-ms: {heartbeat_ms}; give less than --election-timeout-min-ms, {min_ms}"
    )]
    HeartbeatTooLong { heartbeat_ms: u128, min_ms: u128 },
    #[error(
        "invalid --election-timeout-max-ms: {max_ms}; give more than --election-timeout-min-ms, {min_ms}"
    )]
    ElectionTimeouts { min_ms: u128, max_ms: u128 },
    #[error("the timing makes no sense: {0}")]
    Timing(raft_core::ConfigError),
}

impl StartError {
    pub(crate) fn damaged(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}

impl NodeConfig {
    /// A node with this name at this port of this machine, with all else as usual.
    #[must_use]
    pub fn new(name: &str, port: u16, peers: Vec<Address>, data_dir: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            advertise: Address::new("localhost", port),
            listen: IpAddr::from([127, 0, 0, 1]),
            peers,
            data_dir,
            cluster_secrets: None,
            election_timeout_min: Duration::from_millis(300),
            election_timeout_max: Duration::from_millis(600),
            heartbeat_interval: Duration::from_millis(50),
            request_timeout: Duration::from_secs(5),
            allowed_hosts: Vec::new(),
            open_files: OpenFiles::default(),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), StartError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_path = self.name.starts_with('.');
        if self.name.is_empty() || self.name.len() > 64 || is_path || !self.name.chars().all(fits) {
            return Err(StartError::BadName(self.name.clone()));
        }
        let itself = |peer: &&Address| peer.is_same_endpoint(&self.advertise);
        if let Some(peer) = self.peers.iter().find(itself) {
            return Err(StartError::PeersContainSelf(peer.clone()));
        }
        let members = self.members();
        for (position, member) in members.iter().enumerate() {
            for other in &members[..position] {
                if member.is_same_endpoint(other) {
                    return Err(StartError::DuplicatePeer(member.clone()));
                }
                if member.node_id() == other.node_id() {
                    return Err(StartError::NodeIdCollision(member.clone(), other.clone()));
                }
            }
        }
        self.validate_timeouts()?;
        if self.cluster_secrets.is_none() && !self.listen.is_loopback() {
            return Err(StartError::SecretNeeded(self.listen));
        }
        Ok(())
    }

    fn validate_timeouts(&self) -> Result<(), StartError> {
        for (flag, timeout) in [
            ("--request-timeout-ms", self.request_timeout),
            ("--heartbeat-ms", self.heartbeat_interval),
            ("--election-timeout-min-ms", self.election_timeout_min),
        ] {
            if timeout.is_zero() {
                return Err(StartError::ZeroTimeout { flag });
            }
        }
        let min_ms = self.election_timeout_min.as_millis();
        if self.heartbeat_interval >= self.election_timeout_min {
            let heartbeat_ms = self.heartbeat_interval.as_millis();
            return Err(StartError::HeartbeatTooLong { heartbeat_ms, min_ms });
        }
        if self.election_timeout_min >= self.election_timeout_max {
            let max_ms = self.election_timeout_max.as_millis();
            return Err(StartError::ElectionTimeouts { min_ms, max_ms });
        }
        Ok(())
    }

    /// All nodes of the cluster, this one first.
    pub(crate) fn members(&self) -> Vec<Address> {
        let mut members = vec![self.advertise.clone()];
        members.extend(self.peers.iter().cloned());
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut NodeConfig)) -> String {
        let peers = vec![Address::new("localhost", 2), Address::new("localhost", 3)];
        let mut config = NodeConfig::new("node1", 1, peers, PathBuf::new());
        config.validate().unwrap();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn invalid_config_has_actionable_error() {
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            let own = Address::new(host, 1);
            assert!(problem(|config| config.peers.push(own)).contains("names the node itself"));
        }
        let twice = Address::new("localhost", 2);
        assert!(problem(|config| config.peers.push(twice)).contains("twice"));
        for name in ["a b", "", ".", "..", ".hidden"] {
            assert!(problem(|config| config.name = name.into()).contains("--node-id"));
        }
        assert!(problem(|config| config.listen = [0, 0, 0, 0].into()).contains("--cluster-secret"));
    }

    #[test]
    fn start_errors_name_the_part_that_failed() {
        let error = || std::io::Error::from_raw_os_error(11);
        let thread = StartError::Thread(error()).to_string();
        assert!(thread.contains("thread") && thread.contains("ulimit -u"), "{thread}");
        let endpoint = StartError::from(PeersError::from(error())).to_string();
        assert!(endpoint.contains("UDP socket"), "{endpoint}");
        for text in [thread, endpoint] {
            assert!(!text.contains("identity") && !text.contains("credentials"), "{text}");
        }
    }

    #[test]
    fn impossible_timeout_is_refused_with_its_flag() {
        let zero = Duration::ZERO;
        assert!(problem(|c| c.request_timeout = zero).contains("--request-timeout-ms"));
        assert!(problem(|c| c.heartbeat_interval = zero).contains("--heartbeat-ms"));
        assert!(problem(|c| c.election_timeout_min = zero).contains("--election-timeout-min-ms"));
        let second = Duration::from_secs(1);
        assert!(problem(|c| c.heartbeat_interval = second).contains("--heartbeat-ms: 1000"));
        let shorter = problem(|c| c.election_timeout_min = second);
        assert!(shorter.contains("--election-timeout-max-ms: 600"), "{shorter}");
    }
}
