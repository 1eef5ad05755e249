//! The configuration of a node.

pub(crate) mod address;
mod error;
pub(crate) mod node_names;
pub(crate) mod open_files;
pub(crate) mod secret;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::address::Address;
use crate::config::open_files::OpenFiles;
use crate::config::secret::ClusterSecrets;

pub use error::ConfigError;

/// The configuration of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The name of the node in logs and in the status.
    pub name: String,
    /// The address at which the other nodes reach this node. The node listens on its port.
    pub advertise: Address,
    /// The IP address of the interface on which the node listens.
    pub listen: IpAddr,
    /// The addresses of the other nodes.
    pub peers: Vec<Address>,
    /// The directory that contains the data of the node.
    pub data_dir: PathBuf,
    /// The cluster secrets. Without them, the node uses the development secret of this user, and
    /// listens only on loopback.
    pub cluster_secrets: Option<ClusterSecrets>,
    /// The shortest election timeout.
    pub election_timeout_min: Duration,
    /// The longest election timeout.
    pub election_timeout_max: Duration,
    /// The interval of heartbeats.
    pub heartbeat_interval: Duration,
    /// The longest duration of a client request.
    pub request_timeout: Duration,
    /// Host names under which clients may address this node, besides the advertised one.
    pub allowed_hosts: Vec<String>,
    /// The node rejects writes if fewer bytes of the disk are free.
    pub disk_reserve: u64,
    /// The node rejects writes if its data takes more bytes.
    pub quota: Option<u64>,
    /// The limits of open files.
    pub open_files: OpenFiles,
}

/// The default of [`NodeConfig::disk_reserve`]. It suffices for some segments of the log and for a
/// merge of small tables.
const DISK_RESERVE: u64 = 256 << 20;

impl NodeConfig {
    /// A node with this name at this port of this machine, and with default settings.
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
            disk_reserve: DISK_RESERVE,
            quota: None,
            open_files: OpenFiles::default(),
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first invalid setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_hidden = self.name.starts_with('.');
        if self.name.is_empty()
            || self.name.len() > 64
            || is_hidden
            || !self.name.chars().all(is_allowed)
        {
            return Err(ConfigError::InvalidName(self.name.clone()));
        }
        let is_self = |peer: &&Address| peer.is_same_endpoint(&self.advertise);
        if let Some(peer) = self.peers.iter().find(is_self) {
            return Err(ConfigError::PeersContainSelf(peer.clone()));
        }
        let members = self.members();
        for (position, member) in members.iter().enumerate() {
            for other in &members[..position] {
                if member.is_same_endpoint(other) {
                    return Err(ConfigError::DuplicatePeer(member.clone()));
                }
                if member.node_id() == other.node_id() {
                    return Err(ConfigError::NodeIdCollision(member.clone(), other.clone()));
                }
            }
        }
        self.validate_timeouts()?;
        if self.cluster_secrets.is_none() && !self.listen.is_loopback() {
            return Err(ConfigError::MissingSecret(self.listen));
        }
        Ok(())
    }

    fn validate_timeouts(&self) -> Result<(), ConfigError> {
        for (flag, timeout) in [
            ("--request-timeout-ms", self.request_timeout),
            ("--heartbeat-ms", self.heartbeat_interval),
            ("--election-timeout-min-ms", self.election_timeout_min),
        ] {
            if timeout.is_zero() {
                return Err(ConfigError::ZeroTimeout { flag });
            }
        }
        let min_ms = self.election_timeout_min.as_millis();
        if self.heartbeat_interval >= self.election_timeout_min {
            let heartbeat_ms = self.heartbeat_interval.as_millis();
            return Err(ConfigError::HeartbeatTooLong { heartbeat_ms, min_ms });
        }
        if self.election_timeout_min >= self.election_timeout_max {
            let max_ms = self.election_timeout_max.as_millis();
            return Err(ConfigError::ElectionTimeouts { min_ms, max_ms });
        }
        Ok(())
    }

    /// The addresses of all nodes of the cluster. The first one is the address of this node.
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
            assert!(
                problem(|config| config.peers.push(own)).contains("is the address of this node")
            );
        }
        let twice = Address::new("localhost", 2);
        assert!(problem(|config| config.peers.push(twice)).contains("duplicate"));
        for name in ["a b", "", ".", "..", ".hidden"] {
            assert!(problem(|config| config.name = name.into()).contains("--node-id"));
        }
        assert!(problem(|config| config.listen = [0, 0, 0, 0].into()).contains("--cluster-secret"));
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
