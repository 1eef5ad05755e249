//! Servers without their clocks, for a checker that enumerates states: behind the feature `model`,
//! and no part of the interface.

use crate::api::effects::Durable;
use crate::api::entries::Entries;
use crate::api::types::Instant;
use crate::raft::read::Lease;
use crate::raft::{Leader, Raft, RoleState};

const REST: Instant = Instant(0);

impl Raft {
    /// Puts all clocks to rest, and gives the writes on the way the smallest numbers. Two servers
    /// that differ in nothing else then become equal.
    ///
    /// Time does not pass any more by itself: every moment that the server remembers becomes zero,
    /// and so does the present. Whoever calls this lets time pass by its next input, by so much as
    /// it takes for the one thing that is to happen: a timer fires, a leader has not been heard for
    /// long, a leader has not heard a majority for long. `tokens` are those of this server that its
    /// caller still holds.
    ///
    /// Call it after a drain. Reads are not covered, and neither are leases: the numbers of their
    /// rounds are forgotten.
    #[doc(hidden)]
    pub fn canonicalize<'a>(&mut self, tokens: impl IntoIterator<Item = &'a mut Durable>) {
        debug_assert!(self.config.lease_drift_ppm.is_none(), "leases need a clock that passes");
        let heard_counts = self.config.pre_vote || self.config.check_quorum;
        let is_alive = |at| self.now.saturating_since(at) < self.config.election_timeout_min;
        self.last_leader_contact = match self.last_leader_contact {
            Some((leader, at)) if heard_counts && is_alive(at) => Some((leader, REST)),
            _ => None,
        };
        self.now = REST;
        self.votes_blocked_until = REST;
        self.timer.canonicalize(REST);
        self.forwarded_reads.asked_at = REST;
        self.last_persisted_batch = None;
        let earlier = self.durability.canonicalize(REST);
        for token in tokens {
            // What comes back with it spares work, and decides nothing.
            token.entries = Entries::default();
            // One of a write that others have overtaken becomes one of none.
            token.sequence = token.sequence.saturating_sub(earlier);
        }
        let heartbeat_deadline = REST + self.config.heartbeat_interval;
        let transfer_deadline = REST + self.config.election_timeout_max;
        match &mut self.role {
            RoleState::Leader(leader) => leader.canonicalize(heartbeat_deadline, transfer_deadline),
            // In which order the answers came makes no difference.
            RoleState::PreCandidate(ballot) | RoleState::Candidate(ballot) => ballot.answers.sort(),
            RoleState::Follower(_) => {}
        }
    }
}

impl Leader {
    fn canonicalize(&mut self, heartbeat_deadline: Instant, transfer_deadline: Instant) {
        self.heartbeat_deadline = heartbeat_deadline;
        self.round = 0;
        self.lease = Lease::default();
        for (_, progress) in &mut self.followers {
            progress.canonicalize(REST);
        }
        if let Some(transfer) = &mut self.transfer {
            transfer.deadline = transfer_deadline;
        }
    }
}
