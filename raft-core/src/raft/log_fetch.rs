//! Entries that have left memory, and come back from the durable log.

use alloc::vec::Vec;
use core::iter;

use crate::api::effects::{Fetch, FetchPurpose};
use crate::api::entry::Entry;
use crate::api::event::StopReason;
use crate::api::types::{Instant, LogIndex, NodeId};
use crate::log::cache::Segment;
use crate::raft::Raft;
use crate::state::progress::Mode;

impl Raft {
    /// Entries come back from the durable log, in answer to a [`Fetch`].
    ///
    /// Late answers are dropped, and so is what was not asked for. Entries other than those that
    /// were written stop the server.
    pub fn fetched(&mut self, fetch: Fetch, mut entries: Vec<Entry>, now: Instant) {
        if self.start_input(now) {
            return;
        }
        let asked = (fetch.through.next() - fetch.from).try_into();
        entries.truncate(asked.unwrap_or(usize::MAX));
        match fetch.purpose {
            FetchPurpose::Follower(id) => self.fetched_for_follower(id, fetch.from, entries),
            FetchPurpose::StateMachine => self.fetched_for_state_machine(fetch.from, entries),
        }
    }

    fn fetched_for_follower(&mut self, follower: NodeId, asked: LogIndex, entries: Vec<Entry>) {
        let Some(progress) = self.role.progress_of(follower) else { return };
        let Mode::Fetching { pipeline } = progress.mode else { return };
        progress.mode = if pipeline { Mode::Pipeline } else { Mode::Probe { awaiting: false } };
        let (from, mut progress) = (progress.next_index, progress.clone());
        if asked != from || from <= self.log.start().index {
            // It answers an earlier question, or one whose answer has been compacted away since.
            return;
        }
        if let Some(index) = self.wrong_entry(from, &entries) {
            return self.stop(StopReason::FetchedWrongEntries { index });
        }
        self.send_append(follower, &mut progress, Segment::new(entries.into()));
        if let Some(known) = self.role.progress_of(follower) {
            *known = progress;
        }
    }

    fn fetched_for_state_machine(&mut self, asked: LogIndex, entries: Vec<Entry>) {
        if asked != self.delivered_index.next() || !core::mem::take(&mut self.fetch_in_flight) {
            return;
        }
        if let Some(index) = self.wrong_entry(asked, &entries) {
            return self.stop(StopReason::FetchedWrongEntries { index });
        }
        let through = self.commit_index.min(self.log.durable());
        let committed = entries.into_iter().take_while(|entry| entry.id.index <= through);
        self.fetched_committed = Some(committed.collect());
    }

    /// Asks for committed entries that the state machine lacks and memory no longer has.
    pub(crate) fn request_committed(&mut self, fetches: &mut Vec<Fetch>) {
        if !core::mem::replace(&mut self.fetch_in_flight, true) {
            let through = self.commit_index.min(self.log.cache_start().previous());
            fetches.push(Fetch {
                purpose: FetchPurpose::StateMachine,
                from: self.delivered_index.next(),
                through,
                bytes_max: self.config.append_bytes_max,
            });
        }
    }

    /// The first position at which `entries` are not the log's own from `from` on.
    fn wrong_entry(&self, from: LogIndex, entries: &[Entry]) -> Option<LogIndex> {
        let positions = iter::successors(Some(from), |index| Some(index.next()));
        let is_wrong = |(index, entry): &(LogIndex, &Entry)| {
            entry.id.index != *index || !self.log.contains(entry.id)
        };
        let wrong = positions.zip(entries).find(is_wrong).map(|(index, _)| index);
        wrong.or(entries.is_empty().then_some(from))
    }
}
