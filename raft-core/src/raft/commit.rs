//! The commit index (§5.3, §5.4.2), and the delivery of committed entries to the state machine.

use crate::api::effects::{Effects, Fetch, FetchPurpose};
use crate::api::entries::Entries;
use crate::api::event::Event;
use crate::api::types::{LogId, LogIndex, NodeId};
use crate::raft::Raft;
use crate::raft::role::RoleState;
use crate::sabotage::Rule;
use crate::state::progress::Progress;

/// The delivery of committed entries to the state machine.
///
/// The entries come from one of three places: those of the latest durable write, those in the log
/// cache, and those that the caller reads from the durable log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Delivery {
    /// The last delivered index.
    pub(super) delivered: LogIndex,
    /// The entries of the latest durable write, and the last of them. The next commit usually
    /// covers exactly these entries, so they are delivered without another reference count.
    pub(super) last_persisted: Option<(LogId, Entries)>,
    /// The caller reads committed entries from the durable log.
    pub(super) fetch_in_flight: bool,
    /// The committed entries that the caller has read, for the next drain.
    pub(super) fetched: Option<Entries>,
}

impl Delivery {
    /// The delivery to a state machine that has applied everything up to `applied`.
    pub(super) fn new(applied: LogIndex) -> Self {
        Self { delivered: applied, last_persisted: None, fetch_in_flight: false, fetched: None }
    }

    /// The last delivered index.
    pub(super) fn index(&self) -> LogIndex {
        self.delivered
    }
}

impl Raft {
    /// The largest value that a quorum has reached, if each voter has the value `per_voter(voter)`.
    pub(super) fn quorum_value<T: Ord + Copy>(
        &self,
        per_voter: impl FnMut(NodeId) -> T,
    ) -> Option<T> {
        #[cfg(feature = "sabotage")]
        if !self.config.enforces(Rule::JointNeedsBoth) {
            return self.membership().without_outgoing().quorum_value(per_voter);
        }
        self.membership().quorum_value(per_voter)
    }

    /// Advances the leader's commit index after a server has the log up to `matched`, durably.
    ///
    /// The new commit index is the last index that a quorum has, if that is an entry of the
    /// leader's own term. An older entry on a majority can still be replaced (§5.4.2, Figure 8).
    pub(super) fn advance_commit(&mut self, matched: LogIndex) {
        let RoleState::Leader(leader) = &self.role else { return };
        let commit_index = self.volatile.commit_index;
        if matched <= commit_index {
            return;
        }
        let log = &self.persistent.log;
        let durable = if self.config.enforces(Rule::LeaderCountsDurable) {
            log.durable()
        } else {
            log.last().index
        };
        // The leader's own disk is usually the first. Then no quorum has to be computed.
        let needs_others =
            self.membership().majority() > 1 && self.config.enforces(Rule::MajorityCommits);
        let has_more = |(_, progress): &(_, Progress)| progress.match_index() > commit_index;
        if needs_others && !leader.followers.iter().any(has_more) {
            return;
        }
        let match_index = |voter| leader.follower(voter).map_or(durable, Progress::match_index);
        let quorum_index = self.quorum_value(match_index);
        #[cfg(feature = "sabotage")]
        let quorum_index = self.sabotaged_quorum_index(leader, durable).or(quorum_index);
        let Some(quorum_index) = quorum_index else { return };
        let is_own =
            quorum_index >= leader.first_index || !self.config.enforces(Rule::CommitOwnTerm);
        if is_own && quorum_index > commit_index {
            self.commit_through(quorum_index);
            self.confirm_reads();
        }
    }

    /// Advances the commit index to `to`.
    #[inline(always)]
    pub(super) fn commit_through(&mut self, to: LogIndex) {
        let from = self.volatile.commit_index;
        let log = &self.persistent.log;
        debug_assert!(from < to && to <= log.last().index, "commit stays within the log");
        self.volatile.commit_index = to;
        self.release_uncommitted(to.min(log.durable()));
        let learned_from = self.leader().filter(|leader| *leader != self.id());
        self.emit(|| Event::CommitAdvanced { from, to, learned_from });
        if self.membership_index() > from && !self.config.enforces(Rule::MembershipOnAppend) {
            self.on_membership_changed();
        }
        self.advance_change();
    }

    /// Subtracts the entries up to `through`, which are committed and durable on this server, from
    /// the leader's uncommitted bytes.
    #[inline(always)]
    pub(super) fn release_uncommitted(&mut self, through: LogIndex) {
        if let RoleState::Leader(leader) = &mut self.role
            && through > leader.released_through
        {
            let cache = &self.persistent.log.cache;
            let released = cache.bytes_between(leader.released_through, through);
            leader.uncommitted_bytes = leader.uncommitted_bytes.saturating_sub(released);
            leader.released_through = through;
        }
    }

    /// Drains the entries that are committed and durable on this server, and removes the oldest of
    /// them from memory.
    pub(super) fn drain_committed(&mut self, effects: &mut Effects) {
        let through = self.volatile.commit_index.min(self.persistent.log.durable());
        // A snapshot in installation includes more than these entries.
        if !self.incoming.is_installing() {
            self.push_committed(through, effects);
        }
        // Entries that leave memory undelivered are read from the durable log later.
        self.persistent.log.evict(through, self.config.log_cache_bytes_max);
    }

    fn push_committed(&mut self, through: LogIndex, effects: &mut Effects) {
        let delivery = &mut self.delivery;
        if self.config.witness {
            delivery.delivered = delivery.delivered.max(through);
        }
        if let Some(fetched) = delivery.fetched.take()
            && let Some(last) = fetched.last()
        {
            delivery.delivered = last.id.index;
            effects.committed.push(fetched);
        }
        // The result of a fetch is valid only at the index for which it was requested, so nothing
        // else is delivered while a fetch is in flight.
        if let Some((last, entries)) = &delivery.last_persisted
            && last.index <= through
            && !delivery.fetch_in_flight
        {
            let is_next = delivery.delivered.0 + entries.len() as u64 == last.index.0;
            if is_next && self.persistent.log.contains(*last) {
                delivery.delivered = last.index;
                let entries = delivery.last_persisted.take().map(|(_, entries)| entries);
                effects.committed.extend(entries);
            } else {
                delivery.last_persisted = None;
            }
        }
        while delivery.delivered < through {
            let next = delivery.delivered.next();
            let Some(segment) = self.persistent.log.cache.segment(next, through) else {
                return effects.fetches.extend(self.fetch_committed());
            };
            delivery.delivered.0 += segment.len() as u64;
            effects.committed.push(segment);
        }
    }

    /// The request for the next committed entries, which have left memory. `None` if it is in
    /// flight.
    fn fetch_committed(&mut self) -> Option<Fetch> {
        if core::mem::replace(&mut self.delivery.fetch_in_flight, true) {
            return None;
        }
        let cached = self.persistent.log.cache_start().previous();
        Some(Fetch {
            purpose: FetchPurpose::StateMachine,
            from: self.delivery.delivered.next(),
            through: self.volatile.commit_index.min(cached),
            bytes_max: self.config.append_bytes_max,
        })
    }
}
