//! The errors of a configuration.

use std::net::IpAddr;

use crate::config::address::Address;

/// The reason for which a configuration is invalid. The text is one line with advice.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum ConfigError {
    #[error("invalid --peers: {0} is the address of this node; list only the other nodes")]
    PeersContainSelf(Address),
    #[error("invalid --peers: duplicate {0}; list each of the other nodes once")]
    DuplicatePeer(Address),
    #[error(
        "missing --peers; list the other nodes, for example --peers localhost:50052,localhost:50053"
    )]
    NoPeers,
    #[error(
        "invalid --node-id: {0:?}; use 1 to 64 letters, digits, '-', '_' or '.', without '.' at the \
         beginning"
    )]
    InvalidName(String),
    #[error("node id collision: {0} and {1} have the same id; use another port for one of them")]
    NodeIdCollision(Address, Address),
    #[error(
        "missing cluster secret: other machines can reach {0}; make a secret with: raft secret new \
         FILE, and start every node with --cluster-secret-file FILE"
    )]
    MissingSecret(IpAddr),
    #[error("invalid {flag}: 0; give at least 1")]
    ZeroTimeout { flag: &'static str },
    #[error(
        "invalid --heartbeat-ms: {heartbeat_ms}; give less than --election-timeout-min-ms, {min_ms}"
    )]
    HeartbeatTooLong { heartbeat_ms: u128, min_ms: u128 },
    #[error(
        "invalid --election-timeout-max-ms: {max_ms}; give more than --election-timeout-min-ms, \
         {min_ms}"
    )]
    ElectionTimeouts { min_ms: u128, max_ms: u128 },
}
