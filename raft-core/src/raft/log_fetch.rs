//! Entries that have left memory, and that the caller reads from the durable log.

use alloc::vec::Vec;
use core::iter;

use crate::api::effects::{Fetch, FetchPurpose};
use crate::api::entry::Entry;
use crate::api::event::StopReason;
use crate::api::types::{Instant, LogIndex, NodeId};
use crate::log::cache::Segment;
use crate::raft::Raft;

impl Raft {
    /// Input: the entries that a [`Fetch`] requested, read from the durable log.
    ///
    /// Results that are no longer needed, and entries after [`Fetch::through`], are ignored. The
    /// server stops if an entry is not the one that was written at its index, or if there are no
    /// entries.
    pub fn fetched(&mut self, fetch: Fetch, mut entries: Vec<Entry>, now: Instant) {
        if self.has_stopped(now) {
            return;
        }
        let requested = (fetch.through.next() - fetch.from).try_into();
        entries.truncate(requested.unwrap_or(usize::MAX));
        match fetch.purpose {
            FetchPurpose::Follower(id) => self.fetched_for_follower(id, fetch.from, entries),
            FetchPurpose::StateMachine => self.fetched_for_state_machine(fetch.from, entries),
        }
    }

    fn fetched_for_follower(&mut self, follower: NodeId, from: LogIndex, entries: Vec<Entry>) {
        let Some(progress) = self.role.progress_of(follower) else { return };
        if !progress.finish_fetch() {
            return;
        }
        if from != progress.next_index() || from <= self.persistent.log.start().index {
            // The result of an earlier request, or of one whose entries are compacted now.
            return;
        }
        if let Some(index) = self.wrong_entry(from, &entries) {
            return self.stop(StopReason::FetchedWrongEntries { index });
        }
        let Some((leader, mut sender)) = self.leader_and_sender() else { return };
        if let Some(progress) = leader.follower_mut(follower) {
            sender.send_append(follower, progress, Segment::new(entries.into()));
        }
    }

    fn fetched_for_state_machine(&mut self, from: LogIndex, entries: Vec<Entry>) {
        let is_requested = from == self.delivery.delivered.next();
        if !is_requested || !core::mem::take(&mut self.delivery.fetch_in_flight) {
            return;
        }
        if let Some(index) = self.wrong_entry(from, &entries) {
            return self.stop(StopReason::FetchedWrongEntries { index });
        }
        let through = self.volatile.commit_index.min(self.persistent.log.durable());
        let committed = entries.into_iter().take_while(|entry| entry.id.index <= through);
        self.delivery.fetched = Some(committed.collect());
    }

    /// The first index at which `entries` are not those of the log from `from` on.
    fn wrong_entry(&self, from: LogIndex, entries: &[Entry]) -> Option<LogIndex> {
        let indexes = iter::successors(Some(from), |index| Some(index.next()));
        let is_wrong = |(index, entry): &(LogIndex, &Entry)| {
            entry.id.index != *index || !self.persistent.log.contains(entry.id)
        };
        let wrong = indexes.zip(entries).find(is_wrong).map(|(index, _)| index);
        wrong.or(entries.is_empty().then_some(from))
    }
}
