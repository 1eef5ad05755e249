//! The state of a server for people: dashboards, logs and tests.

use alloc::vec::Vec;

use crate::api::event::StopReason;
use crate::api::types::{Instant, LogId, LogIndex, NodeId, Term};
use crate::raft::Raft;
use crate::state::progress::snapshot_transfer::SnapshotTransfer;
use crate::state::progress::{Mode, Progress};

/// The role of a server in its term (§5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// The server responds to leaders and candidates.
    Follower,
    /// The server runs a pre-vote before a campaign (dissertation 9.6).
    PreCandidate,
    /// The server campaigns for leadership.
    Candidate,
    /// The server accepts commands and replicates them.
    Leader,
}

/// A snapshot of the state of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The id of the server.
    pub id: NodeId,
    /// The role in the current term.
    pub role: Role,
    /// The current term.
    pub term: Term,
    /// The server that received this server's vote in the current term.
    pub vote: Option<NodeId>,
    /// The leader of the current term, if the server knows it.
    pub leader: Option<NodeId>,
    /// The last index that is known to be committed.
    pub commit_index: LogIndex,
    /// The last index that was delivered to the state machine.
    pub delivered_index: LogIndex,
    /// The last entry of the log.
    pub last_log: LogId,
    /// The last index of the log that is durable on this server.
    pub durable_index: LogIndex,
    /// The election timer. A leader, and a server that must not lead, have none.
    pub election_timer: Option<Timer>,
    /// The responses to the campaign of a candidate or pre-candidate. True is a granted vote.
    pub votes: Vec<(NodeId, bool)>,
    /// The progress of the followers of a leader.
    pub followers: Vec<FollowerStatus>,
    /// The reason why the server stopped permanently.
    pub stopped: Option<StopReason>,
}

/// A running timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// The timer was started at this time.
    pub started: Instant,
    /// The timer fires at this time.
    pub deadline: Instant,
}

/// The progress of a follower, as its leader knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FollowerStatus {
    /// The id of the follower.
    pub id: NodeId,
    /// The index of the next entry to send (Figure 2).
    pub next_index: LogIndex,
    /// The last index up to which the follower's durable log is known to match (Figure 2).
    pub match_index: LogIndex,
    /// The leader does not know yet where the logs match.
    pub probing: bool,
    /// The number of AppendEntries messages that are not acknowledged.
    pub in_flight: usize,
    /// The time of the follower's last message, or of the leader's election.
    pub last_contact: Instant,
    /// The next entries have left memory, and the caller reads them from the durable log.
    pub fetching: bool,
    /// The snapshot transfer to the follower, if its next entry is compacted.
    pub snapshot: Option<SnapshotProgress>,
    /// The follower has caught up under this leader and was heard recently, so it may become a
    /// voter (dissertation 4.2.1).
    pub caught_up: bool,
}

/// The progress of a snapshot transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SnapshotProgress {
    /// The last entry that the snapshot includes.
    pub last: LogId,
    /// The number of bytes that the follower has. With all bytes, it may still install the
    /// snapshot.
    pub received: u64,
    /// The size of the snapshot, in bytes.
    pub size: u64,
}

impl Raft {
    /// A snapshot of the server's state.
    #[must_use]
    pub fn status(&self) -> Status {
        let (now, timeout) = (self.volatile.now, self.config.election_timeout_min);
        let follower = |(id, progress): &(NodeId, Progress)| FollowerStatus {
            id: *id,
            next_index: progress.next_index(),
            match_index: progress.match_index(),
            probing: matches!(progress.mode(), Mode::Probe { .. }),
            in_flight: progress.in_flight(),
            last_contact: progress.last_contact(),
            fetching: matches!(progress.mode(), Mode::Fetching { .. }),
            snapshot: progress.snapshot_transfer().map(SnapshotProgress::of),
            caught_up: progress.has_caught_up(now, timeout),
        };
        let timer = &self.volatile.timer;
        Status {
            id: self.id(),
            role: self.role(),
            term: self.term(),
            vote: self.persistent.hard_state.vote,
            leader: self.leader(),
            commit_index: self.commit_index(),
            delivered_index: self.delivered_index(),
            last_log: self.last_log(),
            durable_index: self.durable_index(),
            election_timer: self
                .election_deadline()
                .map(|deadline| Timer { started: timer.started(), deadline }),
            votes: self.role.votes().map_or_else(Vec::new, |(votes, _)| votes.responses().to_vec()),
            followers: self
                .role
                .leader()
                .map_or_else(Vec::new, |leader| leader.followers.iter().map(follower).collect()),
            stopped: self.stopped(),
        }
    }
}

impl SnapshotProgress {
    fn of(transfer: &SnapshotTransfer) -> Self {
        let (last, size) = (transfer.snapshot().last, transfer.snapshot().size);
        Self { last, received: transfer.offset(), size }
    }
}
