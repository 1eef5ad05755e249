//! The wrong behaviour behind disabled rules, where leaving out a check is not enough.
//!
//! This file exists only under the feature `sabotage`. See `sabotage.rs` for the rules.

use crate::api::effects::Effects;
use crate::api::message::{AppendEntriesResponse, AppendResult, Message};
use crate::api::types::{LogIndex, NodeId};
use crate::raft::Raft;
use crate::raft::role::{Leader, RoleState};
use crate::sabotage::Rule;
use crate::state::progress::Progress;
use crate::state::votes::Votes;

impl Raft {
    /// Passes disabled rules on to the components of the state that apply them.
    pub(super) fn disable_component_rules(&mut self) {
        self.incoming.mixes_snapshots = !self.config.enforces(Rule::ChunksOfOneSnapshot);
    }

    /// A victory with half of the votes ([`Rule::MajorityElects`]), or with repeated votes of the
    /// same voters ([`Rule::VoterCountsOnce`]).
    pub(super) fn sabotaged_victory(&self, votes: &Votes) -> bool {
        let half = self.membership().majority() - 1;
        let half_elects = !self.config.enforces(Rule::MajorityElects);
        (half_elects && votes.granted() >= half.max(1)) || votes.repeated > half
    }

    /// Counts a vote again. Returns true if [`Rule::VoterCountsOnce`] is disabled.
    pub(super) fn count_vote_again(&mut self, granted: bool) -> bool {
        let counts = !self.config.enforces(Rule::VoterCountsOnce);
        if let RoleState::Candidate(votes) = &mut self.role {
            votes.repeated += usize::from(counts && granted);
        }
        counts
    }

    /// The index that a removed leader commits if it counts itself
    /// ([`Rule::RemovedLeaderDoesNotCount`]), or that a leader commits alone
    /// ([`Rule::MajorityCommits`]).
    pub(super) fn sabotaged_quorum_index(
        &self,
        leader: &Leader,
        durable: LogIndex,
    ) -> Option<LogIndex> {
        let match_index = |voter| leader.follower(voter).map_or(durable, Progress::match_index);
        let is_voter = self.membership().is_voter(self.id());
        if !self.config.enforces(Rule::RemovedLeaderDoesNotCount) && !is_voter {
            // The leader takes the place of the voter that is furthest behind.
            let voters = self.membership().voters();
            let last = voters.iter().copied().min_by_key(|voter| match_index(*voter));
            let with_leader =
                |voter| if Some(voter) == last { durable } else { match_index(voter) };
            self.quorum_value(with_leader)
        } else {
            (!self.config.enforces(Rule::MajorityCommits)).then_some(durable)
        }
    }

    /// Removes all entries after the previous entry of a request, whether they conflict or not
    /// ([`Rule::OnlyConflictIsRemoved`]).
    pub(super) fn remove_without_conflict(&mut self, leader: NodeId, prev_index: LogIndex) {
        let first = prev_index.max(self.volatile.commit_index).next();
        let is_disabled = !self.config.enforces(Rule::OnlyConflictIsRemoved);
        if is_disabled && first <= self.persistent.log.last().index {
            self.remove_conflict(leader, first);
        }
    }

    /// Acknowledges a snapshot that is received and not durable ([`Rule::SnapshotIsDurable`]).
    pub(super) fn acknowledge_received_snapshot(&mut self, effects: &Effects) {
        if !self.config.enforces(Rule::SnapshotIsDurable)
            && let Some(install) = &effects.install
            && let Some(leader) = self.leader()
        {
            let result = AppendResult::Accepted { match_index: install.snapshot.last.index };
            let response = AppendEntriesResponse { term: self.term(), result };
            self.outbox.send_checked(leader, Message::AppendEntriesResponse(response));
        }
    }
}
