//! What a person or an operator wants to see of a server.

use alloc::vec::Vec;

use crate::api::event::StopReason;
use crate::api::types::{Instant, LogId, LogIndex, NodeId, Term};
use crate::raft::{Raft, RoleState};
use crate::state::progress::{Mode, Progress, Sending};

/// What a server is in its term (§5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// It answers leaders and candidates.
    Follower,
    /// It asks whether it could win an election (dissertation 9.6).
    PreCandidate,
    /// It stands for election.
    Candidate,
    /// It takes commands and replicates them.
    Leader,
}

/// A picture of a server at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The server.
    pub id: NodeId,
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Whom it voted for in this term.
    pub vote: Option<NodeId>,
    /// The leader that it knows of in this term.
    pub leader: Option<NodeId>,
    /// The last position that it knows to be committed.
    pub commit_index: LogIndex,
    /// The last position that it handed to the state machine.
    pub delivered_index: LogIndex,
    /// The end of its log.
    pub last_log: LogId,
    /// The last position of its log that is durable.
    pub durable_index: LogIndex,
    /// Its election timer; a leader and a server without a vote have none.
    pub election_timer: Option<Timer>,
    /// The answers to its candidacy so far.
    pub votes: Vec<(NodeId, bool)>,
    /// What it knows of its followers, if it leads.
    pub followers: Vec<FollowerStatus>,
    /// Why it stopped for good, if it did.
    pub stopped: Option<StopReason>,
}

/// A running timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// When it was armed.
    pub started: Instant,
    /// When it fires.
    pub deadline: Instant,
}

/// What a leader knows of one follower.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FollowerStatus {
    /// The follower.
    pub id: NodeId,
    /// The next entry to send.
    pub next_index: LogIndex,
    /// The last position where its log is known to agree.
    pub match_index: LogIndex,
    /// Whether the leader still searches where the logs agree.
    pub probing: bool,
    /// AppendEntries that are not acknowledged.
    pub in_flight: usize,
    /// When the leader last heard from it, or began to lead.
    pub last_contact: Instant,
    /// Whether what it needs has left the leader's memory and is being read from the log on disk.
    pub fetching: bool,
    /// The snapshot that it is being sent, because what it needs is in no log any more.
    pub snapshot: Option<SnapshotProgress>,
    /// Whether it has caught up under this leader and was heard of late, so that it may get a vote
    /// (dissertation 4.2.1).
    pub caught_up: bool,
}

/// How far a follower has a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SnapshotProgress {
    /// The last entry that the snapshot includes.
    pub last: LogId,
    /// How many of its bytes the follower has. With all of them it may still be installing it.
    pub received: u64,
    /// How many there are.
    pub size: u64,
}

impl Raft {
    /// Everything at once.
    #[must_use]
    pub fn status(&self) -> Status {
        let follower = |(id, progress): &(NodeId, Progress)| FollowerStatus {
            id: *id,
            next_index: progress.next_index,
            match_index: progress.match_index,
            probing: matches!(progress.mode, Mode::Probe { .. }),
            in_flight: progress.in_flight(),
            last_contact: progress.last_contact,
            fetching: matches!(progress.mode, Mode::Fetching { .. }),
            snapshot: progress.sending().map(SnapshotProgress::of),
            caught_up: progress.has_caught_up(self.now, self.config.election_timeout_min),
        };
        let ballot = self.role.ballot();
        let followers = match &self.role {
            RoleState::Leader(leader) => leader.followers.iter().map(follower).collect(),
            _ => Vec::new(),
        };
        Status {
            id: self.id(),
            role: self.role(),
            term: self.term(),
            vote: self.hard_state.vote,
            leader: self.leader(),
            commit_index: self.commit_index,
            delivered_index: self.delivered_index,
            last_log: self.log.last(),
            durable_index: self.log.durable(),
            election_timer: self
                .election_deadline()
                .map(|deadline| Timer { started: self.timer.started, deadline }),
            votes: ballot.map_or_else(Vec::new, |(ballot, _)| ballot.answers.clone()),
            followers,
            stopped: self.stopped,
        }
    }
}

impl SnapshotProgress {
    fn of(sending: &Sending) -> Self {
        let (last, size) = (sending.snapshot.last, sending.snapshot.size);
        Self { last, received: sending.offset, size }
    }
}
