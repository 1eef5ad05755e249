//! The canonical state of a server, for the model checker (feature `model`). Not part of the
//! supported interface.

use crate::api::effects::Durable;
use crate::api::entries::Entries;
use crate::api::types::Instant;
use crate::raft::Raft;
use crate::raft::role::{Leader, RoleState};
use crate::state::lease::Lease;

/// The time of a canonical state.
const ZERO: Instant = Instant(0);

impl Raft {
    /// Sets all times to zero, and gives the pending writes the smallest numbers. Servers that
    /// differ only in these become equal.
    ///
    /// The caller then advances the time with its next input, by the duration that the next event
    /// needs: an election timeout, the loss of contact to a leader, or the loss of contact to a
    /// quorum. `tokens` are the tokens of this server that the caller holds.
    ///
    /// Call this after a drain. Reads and leases are not supported, because the numbers of
    /// heartbeat rounds are removed.
    #[doc(hidden)]
    pub fn canonicalize<'a>(&mut self, tokens: impl IntoIterator<Item = &'a mut Durable>) {
        debug_assert!(self.config.lease_drift_ppm.is_none(), "leases depend on the time");
        let contact_counts = self.config.pre_vote || self.config.check_quorum;
        let (now, timeout) = (self.volatile.now, self.config.election_timeout_min);
        let is_recent = |heard_at| now.saturating_since(heard_at) < timeout;
        self.volatile.last_leader_contact = match self.volatile.last_leader_contact {
            Some((leader, at)) if contact_counts && is_recent(at) => Some((leader, ZERO)),
            _ => None,
        };
        self.volatile.now = ZERO;
        self.volatile.votes_blocked_until = ZERO;
        self.volatile.timer.canonicalize(ZERO);
        self.forwarded_reads.canonicalize(ZERO);
        self.delivery.last_persisted = None;
        let earlier = self.writes.canonicalize(ZERO);
        for token in tokens {
            // The entries of a token only save work.
            token.entries = Entries::default();
            // The token of a write that is already durable gets the number of no write.
            token.sequence = token.sequence.saturating_sub(earlier);
        }
        let heartbeat_deadline = ZERO + self.config.heartbeat_interval;
        let transfer_deadline = ZERO + self.config.election_timeout_max;
        match &mut self.role {
            RoleState::Leader(leader) => leader.canonicalize(heartbeat_deadline, transfer_deadline),
            RoleState::PreCandidate(votes) | RoleState::Candidate(votes) => votes.canonicalize(),
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
            progress.canonicalize(ZERO);
        }
        if let Some(transfer) = &mut self.transfer {
            transfer.canonicalize(transfer_deadline);
        }
    }
}
