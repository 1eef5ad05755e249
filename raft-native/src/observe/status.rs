//! The status of a node and of its cluster, as the API returns it.

use raft_core::{Role, Status};
use serde::{Deserialize, Serialize};

/// The status of a node as it reports it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The name of the node.
    pub node_id: String,
    /// The address at which the other nodes reach the node.
    pub address: String,
    /// The role: `leader`, `follower` or `candidate`.
    pub role: String,
    /// True if the role is `candidate` and the node is only a pre-candidate.
    #[serde(default)]
    pub pre_candidate: bool,
    /// The current term.
    pub term: u64,
    /// The name of the node that got the vote of this node in the current term.
    pub vote: Option<String>,
    /// The name of the leader that the node knows.
    pub leader: Option<String>,
    /// The index of the last entry that the node knows to be committed.
    pub commit_index: u64,
    /// The index of the last entry that the state machine has applied.
    pub applied_index: u64,
    /// The index of the last entry of the log.
    pub last_index: u64,
    /// The term of the last entry of the log.
    pub last_term: u64,
    /// The index of the last durable entry of the log.
    pub durable_index: u64,
    /// The revision of the state machine.
    pub revision: i64,
    /// The version of the program.
    pub version: String,
    /// The progress of the followers, if the node is the leader.
    pub followers: Vec<FollowerView>,
    /// The alarms of this node: `low-space` or `quota-exceeded`.
    #[serde(default)]
    pub alarms: Vec<String>,
}

/// The progress of a follower as the leader knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FollowerView {
    /// The name of the follower.
    pub node_id: String,
    /// The index of the next entry to send.
    pub next_index: u64,
    /// The index up to which the log of the follower is known to match.
    pub match_index: u64,
    /// The number of AppendEntries messages in flight.
    pub in_flight: usize,
}

/// A member of the cluster as another node sees it.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterMember {
    /// The address of the member.
    pub address: String,
    /// True if the member has responded.
    pub reachable: bool,
    /// The status that the member has reported.
    pub status: Option<NodeStatus>,
}

/// An entry of the log.
#[derive(Clone, Debug, Serialize)]
pub struct LogEntry {
    /// The index of the entry.
    pub index: u64,
    /// The term of the entry.
    pub term: u64,
    /// The kind of the payload: `noop`, `membership`, `put`, `delete`, `txn`, `lease-grant`,
    /// `lease-revoke`, `withheld` or `unknown`.
    pub kind: &'static str,
    /// The key of the command, if it has one. Bytes that are not UTF-8 are replaced.
    pub key: Option<String>,
    /// The size of the command in bytes.
    pub bytes: usize,
    /// True if the entry is committed.
    pub committed: bool,
}

/// The name of a role. A pre-candidate counts as a candidate.
pub(crate) fn role_name(status: &Status) -> &'static str {
    match status.role {
        Role::Follower => "follower",
        Role::PreCandidate | Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}
