//! What a node says of itself, as JSON.

use raft_core::{Role, Status};
use serde::{Deserialize, Serialize};

/// A node, seen by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub node_id: String,
    /// Where its peers reach it.
    pub address: String,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub role: String,
    /// True if it is a candidate that asks for pre-votes: its term is not increased yet.
    #[serde(default)]
    pub pre_candidate: bool,
    /// Its term.
    pub term: u64,
    /// The name of the node that it voted for in this term.
    pub vote: Option<String>,
    /// The name of the leader that it knows.
    pub leader: Option<String>,
    /// The last position that it knows to be committed.
    pub commit_index: u64,
    /// The last position that its state machine has applied.
    pub applied_index: u64,
    /// The end of its log.
    pub last_index: u64,
    /// The term of the last entry of its log.
    pub last_term: u64,
    /// The last position of its log that is durable.
    pub durable_index: u64,
    /// The revision of its state machine.
    pub revision: i64,
    /// The version of this program.
    pub version: String,
    /// What it knows of its followers, if it leads.
    pub followers: Vec<FollowerView>,
}

/// A follower, seen by the leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FollowerView {
    /// Its name.
    pub node_id: String,
    /// The next entry to send.
    pub next_index: u64,
    /// The last position where its log is known to agree.
    pub match_index: u64,
    /// AppendEntries that are not acknowledged.
    pub in_flight: usize,
}

/// A member of the cluster, seen by the node that was asked.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterMember {
    /// Its address.
    pub address: String,
    /// Whether it answered.
    pub reachable: bool,
    /// What it said.
    pub status: Option<NodeStatus>,
}

/// An entry of the log.
#[derive(Clone, Debug, Serialize)]
pub struct LogEntry {
    /// Its position.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// `noop`, `put`, `delete` or `txn`.
    pub kind: &'static str,
    /// The key that it is about, if there is one; bytes that are no text are replaced.
    pub key: Option<String>,
    /// Its size in bytes.
    pub bytes: usize,
    /// Whether it is committed.
    pub committed: bool,
}

/// The name of a role. A server that only asks whether it could win counts as a candidate.
pub(crate) fn role_name(status: &Status) -> &'static str {
    match status.role {
        Role::Follower => "follower",
        Role::PreCandidate | Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}
