//! The state of each role (§5.1). It starts and ends with the role.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::api::types::{Instant, LogIndex, NodeId};
use crate::state::acknowledgement::Acknowledgement;
use crate::state::lease::Lease;
use crate::state::progress::Progress;
use crate::state::read_queue::PendingReads;
use crate::state::transfer::Transfer;
use crate::state::votes::Votes;

/// The role of a server in its term, with the state of the role.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum RoleState {
    Follower(Follower),
    PreCandidate(Votes),
    Candidate(Votes),
    Leader(Box<Leader>),
}

/// The state of a follower.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Follower {
    /// The leader of this term, once known.
    pub(super) leader: Option<NodeId>,
    /// The acknowledgement that this server owes the leader.
    pub(super) ack: Acknowledgement,
}

/// The state of a leader.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Leader {
    /// The other members, and how far each has the log.
    pub(super) followers: Vec<(NodeId, Progress)>,
    /// The next heartbeat round starts at this time.
    pub(super) heartbeat_deadline: Instant,
    /// The number of the latest heartbeat round. Rounds of one leadership start at 1.
    pub(super) round: u64,
    /// The first entry of this term. Reads and commitment depend on it (§5.4.2, §8).
    pub(super) first_index: LogIndex,
    /// The size of the entries that are not committed, or not durable on this server.
    pub(super) uncommitted_bytes: usize,
    /// The last entry that `uncommitted_bytes` no longer includes.
    pub(super) released_through: LogIndex,
    /// The reads that wait for a quorum.
    pub(super) reads: PendingReads,
    /// The time for which no other server can lead.
    pub(super) lease: Lease,
    /// The leadership transfer in progress.
    pub(super) transfer: Option<Transfer>,
}

impl RoleState {
    /// The progress of a follower, if this server leads.
    #[inline]
    pub(super) fn progress_of(&mut self, follower: NodeId) -> Option<&mut Progress> {
        match self {
            Self::Leader(leader) => leader.follower_mut(follower),
            _ => None,
        }
    }

    /// The leader's state, if this server leads.
    pub(super) fn leader(&self) -> Option<&Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            _ => None,
        }
    }

    /// The votes of a campaign, and whether they are pre-votes.
    pub(super) fn votes(&self) -> Option<(&Votes, bool)> {
        match self {
            Self::PreCandidate(votes) => Some((votes, true)),
            Self::Candidate(votes) => Some((votes, false)),
            Self::Follower(_) | Self::Leader(_) => None,
        }
    }
}

impl Leader {
    /// Starts a heartbeat round.
    pub(super) fn start_round(&mut self, now: Instant, lease_round_distance: core::time::Duration) {
        self.round += 1;
        self.lease.note_round(self.round, now, lease_round_distance);
        for (_, progress) in &mut self.followers {
            progress.schedule_heartbeat();
        }
    }

    /// The progress of a follower.
    pub(super) fn follower(&self, id: NodeId) -> Option<&Progress> {
        self.followers.iter().find(|(known, _)| *known == id).map(|(_, progress)| progress)
    }

    /// The progress of a follower.
    pub(super) fn follower_mut(&mut self, id: NodeId) -> Option<&mut Progress> {
        self.followers.iter_mut().find(|(known, _)| *known == id).map(|(_, progress)| progress)
    }
}
