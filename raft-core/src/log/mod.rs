//! The log: the newest entries in memory, and the terms of all entries.
//!
//! Operations on the entries of one server belong here. Replication belongs in `raft/`.

pub(crate) mod cache;

use alloc::collections::VecDeque;

use crate::api::entries::Entries;
use crate::api::entry::Entry;
use crate::api::types::{LogId, LogIndex, Term};
use crate::log::cache::LogCache;

/// The log of a server.
///
/// The newest entries are in a cache. The terms of all entries are in memory, as runs of equal
/// terms. Logs are therefore compared at any index without access to the disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Log {
    /// The last compacted entry. A snapshot includes the entries up to it.
    start: LogId,
    /// The next write must contain `start`.
    start_unwritten: bool,
    /// The first entry of each term in the log, in ascending order.
    runs: VecDeque<LogId>,
    /// The newest entries, up to `last`.
    pub(crate) cache: LogCache,
    /// The last entry, or `start` if there is none.
    last: LogId,
    /// The last index that was drained in a write.
    written: LogIndex,
    /// The last durable index.
    durable: LogIndex,
}

impl Log {
    /// The last entry, or the last compacted one.
    pub(crate) fn last(&self) -> LogId {
        self.last
    }

    /// The last compacted entry.
    pub(crate) fn start(&self) -> LogId {
        self.start
    }

    /// The last durable index.
    pub(crate) fn durable(&self) -> LogIndex {
        self.durable
    }

    /// The first index in the cache; one past the last index if the cache is empty.
    pub(crate) fn cache_start(&self) -> LogIndex {
        self.cache.first().unwrap_or(self.last.index.next())
    }

    /// The term of the entry at `index`, which may be the last compacted entry. `None` if the log
    /// does not contain it.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.last.index {
            return Some(self.last.term);
        }
        if index > self.last.index || index < self.start.index {
            return None;
        }
        Some(self.term_run_at(index).map_or(self.start.term, |run| run.term))
    }

    /// Returns true if the log contains the entry `id`, or if `id` is the last compacted entry.
    pub(crate) fn contains(&self, id: LogId) -> bool {
        self.term_at(id.index) == Some(id.term)
    }

    /// The last entry whose index and term do not exceed those of `bound`. If another log matches
    /// nowhere after `bound`, it matches nowhere after this entry (§5.3).
    ///
    /// `None` if that entry is compacted.
    pub(crate) fn find_conflict_by_term(&self, bound: LogId) -> Option<LogId> {
        let mut index = bound.index.min(self.last.index);
        while index > self.start.index {
            let run = self.term_run_at(index)?;
            if run.term <= bound.term {
                return Some(LogId::new(run.term, index));
            }
            index = run.index.previous();
        }
        (index == self.start.index && self.start.term <= bound.term).then_some(self.start)
    }

    /// Appends the entries of a batch after the first `skipped` ones.
    pub(crate) fn append_batch(&mut self, batch: Entries, skipped: usize) {
        let appended = match skipped {
            0 => batch,
            // A slice would also keep the skipped entries in memory.
            _ => batch.iter().skip(skipped).cloned().collect(),
        };
        for entry in &appended {
            self.advance(entry.id);
        }
        self.cache.push_segment(appended);
    }

    /// Appends an entry.
    pub(crate) fn append(&mut self, entry: Entry) {
        self.advance(entry.id);
        self.cache.push(entry);
    }

    /// Moves the end of the log to the next entry `id`.
    fn advance(&mut self, id: LogId) {
        debug_assert_eq!(id.index, self.last.index.next(), "entries are appended without gaps");
        debug_assert!(id.term >= self.last.term, "terms in a log never decrease");
        if id.term != self.last.term || self.runs.is_empty() {
            self.runs.push_back(id);
        }
        self.last = id;
    }

    /// Removes the entry at `first` and all after it.
    pub(crate) fn truncate(&mut self, first: LogIndex) {
        let keep = first.previous();
        self.cache.truncate(keep);
        while self.runs.back().is_some_and(|run| run.index > keep) {
            self.runs.pop_back();
        }
        if keep < self.last.index {
            let term = self.runs.back().map_or(self.start.term, |run| run.term);
            self.last = LogId::new(term, keep);
        }
        self.written = self.written.min(keep);
        self.durable = self.durable.min(keep);
    }

    /// The cached entries from `from` to `through` whose size does not exceed `bytes_max`, and at
    /// least one entry if there is one.
    pub(crate) fn batch(&self, from: LogIndex, through: LogIndex, bytes_max: usize) -> Entries {
        let count_max = usize::try_from(through - from.previous()).unwrap_or(usize::MAX);
        let (mut count, mut bytes) = (0, 0);
        for entry in self.cache.iter_from(from).take(count_max) {
            bytes += entry.bytes();
            if count > 0 && bytes > bytes_max {
                break;
            }
            count += 1;
        }
        self.collect(from, count)
    }

    /// `count` cached entries from `from` on. They are shared if they are in one segment, and
    /// copied otherwise.
    fn collect(&self, from: LogIndex, count: usize) -> Entries {
        let through = LogIndex(from.0.saturating_add((count as u64).saturating_sub(1)));
        match self.cache.segment(from, through) {
            Some(segment) if segment.len() == count => segment,
            _ => self.cache.iter_from(from).take(count).cloned().collect(),
        }
    }

    /// Compacts the log up to `through`, which a durable snapshot includes. The entries after it
    /// stay if the log contains this entry. Otherwise they conflict with the snapshot (§7).
    pub(crate) fn compact(&mut self, through: LogId) {
        if through.index <= self.start.index {
            return;
        }
        if self.contains(through) {
            self.cache.remove_through(through.index);
            while self.runs.len() > 1 && self.runs[1].index <= through.index.next() {
                self.runs.pop_front();
            }
            if self.last.index == through.index {
                self.runs.clear();
            }
            self.start = through;
            self.written = self.written.max(through.index);
            self.durable = self.durable.max(through.index);
            self.start_unwritten = true;
        } else {
            self.replace(through);
        }
    }

    /// Removes all entries. The log starts after `start`, which a durable snapshot includes.
    pub(crate) fn replace(&mut self, start: LogId) {
        self.reset_to(start);
        self.start_unwritten = true;
    }

    /// The last compacted entry, once, if the next write must contain it.
    pub(crate) fn take_start(&mut self) -> Option<LogId> {
        core::mem::take(&mut self.start_unwritten).then_some(self.start)
    }

    /// Returns true if a write of entries or of the start is due.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.written < self.last.index || self.start_unwritten
    }

    /// The last entry that was not drained in a write; `None` if all were.
    pub(crate) fn last_unwritten(&self) -> Option<LogId> {
        (self.written < self.last.index).then_some(self.last)
    }

    /// Returns the entries that were not drained in a write, for a write.
    pub(crate) fn take_unwritten(&mut self) -> Entries {
        debug_assert!(
            self.written.next() >= self.cache_start(),
            "unwritten entries stay in memory"
        );
        self.cache.seal();
        let from = self.written.next();
        let entries = match self.cache.newest() {
            Some(segment) if segment.first == from => segment.entries.clone(),
            _ => self.collect(from, (self.last.index - self.written) as usize),
        };
        self.written = self.last.index;
        entries
    }

    /// Records that a write up to the entry `last` is durable. Returns true if that is news.
    /// Returns false if the entry was replaced: a later write contains its replacement.
    pub(crate) fn persisted(&mut self, last: LogId) -> bool {
        self.contains(last) && self.note_durable(last.index)
    }

    /// Records that the log is durable up to `through`. Returns true if that is news.
    pub(crate) fn note_durable(&mut self, through: LogIndex) -> bool {
        let is_news = through > self.durable && through <= self.last.index;
        if is_news {
            self.durable = through;
        }
        is_news
    }

    /// Removes durable segments up to `through` from the cache, until the cache is not larger than
    /// `bytes_max`.
    pub(crate) fn evict(&mut self, through: LogIndex, bytes_max: usize) {
        self.cache.evict(through.min(self.durable), bytes_max);
    }

    /// Makes the log empty, starting after `start`.
    pub(crate) fn reset_to(&mut self, start: LogId) {
        *self = Self {
            start,
            last: start,
            written: start.index,
            durable: start.index,
            ..Self::default()
        };
    }

    /// Appends an entry that is durable already.
    pub(crate) fn restore(&mut self, entry: Entry, bytes_max: usize) {
        /// The number of segments of a full cache. Eviction removes one of them at a time.
        const SEGMENTS: usize = 16;
        self.append(entry);
        self.written = self.last.index;
        self.durable = self.last.index;
        if self.cache.open_bytes() * SEGMENTS >= bytes_max {
            self.cache.seal();
        }
        self.evict(self.last.index, bytes_max);
    }

    /// The first entry in the log with the term of the entry at `index`. That entry may be
    /// compacted.
    #[inline(always)]
    fn term_run_at(&self, index: LogIndex) -> Option<LogId> {
        if index <= self.start.index {
            return None;
        }
        match self.runs.back() {
            Some(run) if run.index <= index => Some(*run),
            _ => {
                let after = self.runs.partition_point(|run| run.index <= index);
                after.checked_sub(1).map(|run| self.runs[run])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bytes::Bytes;

    use super::*;
    use crate::api::entry::Payload;

    fn entry(term: u64, index: u64) -> Entry {
        Entry { id: id(term, index), payload: Payload::Command(Bytes::from_static(&[0; 100])) }
    }

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(Term(term), LogIndex(index))
    }

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::default();
        for (index, term) in (1..).zip(terms) {
            log.append(entry(*term, index));
        }
        log
    }

    #[test]
    fn terms_are_known_outside_cache() {
        let mut log = log(&[1, 1, 2, 4, 4, 4]);
        log.take_unwritten();
        assert!(log.persisted(id(4, 6)));
        log.evict(LogIndex(6), 0);
        assert_eq!(log.cache_start(), LogIndex(7));
        let terms: Vec<_> = (0..8).map(|index| log.term_at(LogIndex(index)).map(|t| t.0)).collect();
        let expected = [Some(0), Some(1), Some(1), Some(2), Some(4), Some(4), Some(4), None];
        assert_eq!(terms, expected);
        assert_eq!(log.last(), id(4, 6));
    }

    #[test]
    fn only_durable_segments_are_evicted() {
        let mut log = log(&[1, 1]);
        log.evict(LogIndex(2), 0);
        assert_eq!(log.cache_start(), LogIndex(1));
        log.take_unwritten();
        log.append(entry(1, 3));
        log.append(entry(1, 4));
        log.take_unwritten();
        assert!(log.persisted(id(1, 3)));
        log.evict(LogIndex(4), 0);
        assert_eq!(log.cache_start(), LogIndex(3));
    }

    #[test]
    fn completion_of_truncated_entries_is_ignored() {
        let mut log = log(&[1, 1, 1]);
        log.take_unwritten();
        log.truncate(LogIndex(2));
        log.append(entry(2, 2));
        log.append(entry(2, 3));
        assert!(!log.persisted(id(1, 3)));
        assert_eq!(log.durable(), LogIndex(0));
        assert_eq!(log.take_unwritten().len(), 2);
        assert!(log.persisted(id(2, 3)));
        assert_eq!(log.durable(), LogIndex(3));
    }

    #[test]
    fn find_conflict_by_term_skips_terms() {
        let log = log(&[1, 1, 4, 4, 5, 5, 6]);
        assert_eq!(log.find_conflict_by_term(id(3, 6)), Some(id(1, 2)));
        assert_eq!(log.find_conflict_by_term(id(4, 9)), Some(id(4, 4)));
        assert_eq!(log.find_conflict_by_term(id(9, 5)), Some(id(5, 5)));
        assert_eq!(log.find_conflict_by_term(id(0, 5)), Some(LogId::default()));
    }

    /// All logs of six entries with terms that do not decrease, compacted at each index.
    #[test]
    fn compacted_log_agrees_with_full_log() {
        for code in 0..3_u32.pow(6) {
            let terms: Vec<u64> =
                (0..6).map(|place| u64::from(code / 3_u32.pow(place) % 3) + 1).collect();
            if !terms.is_sorted() {
                continue;
            }
            let mut full = log(&terms);
            full.take_unwritten();
            full.persisted(full.last());
            for start in 1..=6 {
                let mut compacted = full.clone();
                compacted.compact(id(terms[start as usize - 1], start));
                assert_eq!(compacted.last(), full.last());
                for index in 0..=7 {
                    let expected = full.term_at(LogIndex(index)).filter(|_| index >= start);
                    assert_eq!(compacted.term_at(LogIndex(index)), expected);
                    for term in 0..=4 {
                        let bound = id(term, index);
                        let expected = full
                            .find_conflict_by_term(bound)
                            .filter(|found| found.index.0 >= start);
                        assert_eq!(
                            compacted.find_conflict_by_term(bound),
                            expected,
                            "{terms:?} {start} {bound:?}"
                        );
                    }
                }
                let left: Vec<_> =
                    compacted.cache.iter_from(LogIndex(1)).map(|e| e.id.index.0).collect();
                assert_eq!(left, (start + 1..=6).collect::<Vec<_>>());
                assert_eq!(compacted.take_start(), Some(id(terms[start as usize - 1], start)));
                compacted.append(entry(9, 7));
                assert_eq!(compacted.term_at(LogIndex(7)), Some(Term(9)));
            }
        }
    }

    #[test]
    fn compaction_to_foreign_entry_discards_log() {
        let mut log = log(&[1, 1, 2]);
        log.take_unwritten();
        log.persisted(id(2, 3));
        log.compact(id(3, 2));
        assert_eq!((log.start(), log.last(), log.durable()), (id(3, 2), id(3, 2), LogIndex(2)));
        assert_eq!(log.cache.iter_from(LogIndex(1)).count(), 0);
        log.append(entry(3, 3));
        assert_eq!(log.last(), id(3, 3));
    }

    #[test]
    fn truncation_below_cache_empties_it() {
        let mut log = Log::default();
        for index in 1..=5 {
            log.restore(entry(1, index), 300);
        }
        assert!(log.cache_start() > LogIndex(2));
        log.truncate(LogIndex(2));
        assert_eq!((log.last(), log.cache_start()), (id(1, 1), LogIndex(2)));
        log.append(entry(2, 2));
        let cached: Vec<_> = log.cache.iter_from(LogIndex(1)).map(|entry| entry.id).collect();
        assert_eq!(cached, [id(2, 2)]);
    }

    #[test]
    fn batch_stops_at_limit_but_has_one_entry() {
        let log = log(&[1, 1, 1, 1]);
        let size = entry(1, 1).bytes();
        let batch = |from, bytes_max| log.batch(LogIndex(from), LogIndex(4), bytes_max).len();
        assert_eq!(batch(2, 1), 1);
        assert_eq!(batch(2, 2 * size), 2);
        assert_eq!(batch(2, 99 * size), 3);
        assert_eq!(batch(5, 99 * size), 0);
    }

    /// No correct server reaches this index, but an incorrect one must not cause a panic.
    #[test]
    fn log_may_end_at_max_index() {
        let (before, last) = (u64::MAX - 1, LogIndex(u64::MAX));
        let mut log = Log::default();
        log.reset_to(id(1, before));
        log.append(entry(1, last.0));
        assert_eq!(log.batch(last, last, 1), [entry(1, last.0)].into());
        assert_eq!(*log.take_unwritten(), [entry(1, last.0)]);
        assert_eq!(log.batch(last, last, 1), [entry(1, last.0)].into());
        assert_eq!(log.batch(LogIndex(before), last, 1000).len(), 1);
        assert_eq!(log.cache.iter_from(last).count(), 1);
        log.truncate(last);
        assert_eq!(log.last(), id(1, before));
    }

    /// On 32-bit platforms, an index may exceed `usize`.
    #[test]
    fn batch_after_usize_max_entries_is_empty() {
        let log = log(&[1, 1, 1]);
        for from in [1 << 32, (1 << 32) + 1, u64::MAX] {
            assert_eq!(log.cache.iter_from(LogIndex(from)).count(), 0);
            assert_eq!(log.cache.bytes_between(LogIndex(3), LogIndex(from)), 0);
        }
    }

    #[test]
    fn batch_is_written_unsplit() {
        let batch = Entries::from_iter([entry(1, 1), entry(1, 2)]);
        let mut log = Log::default();
        log.append_batch(batch.clone(), 0);
        assert!(core::ptr::eq(&*log.take_unwritten(), &*batch));
        // A batch is copied if the log contains a part of it, or if there is more to write.
        let more = Entries::from_iter([entry(1, 2), entry(1, 3)]);
        log.append_batch(more, 1);
        log.append(entry(1, 4));
        assert_eq!(*log.take_unwritten(), [entry(1, 3), entry(1, 4)]);
        log.append_batch([entry(1, 5)].into(), 0);
        log.truncate(LogIndex(5));
        log.append(entry(2, 5));
        assert_eq!(*log.take_unwritten(), [entry(2, 5)]);
    }

    #[test]
    fn batching_does_not_affect_equality() {
        let mut one_by_one = log(&[1, 1, 1, 1]);
        let mut at_once = Log::default();
        let batch = Entries::from_iter((1..=4).map(|index| entry(1, index)));
        at_once.append_batch(batch.clone(), 0);
        assert_eq!(one_by_one, at_once);
        one_by_one.take_unwritten();
        at_once.take_unwritten();
        let sent = |log: &Log, from| log.batch(LogIndex(from), LogIndex(4), usize::MAX);
        for from in 1..=4 {
            assert_eq!(sent(&one_by_one, from), sent(&at_once, from));
            assert_eq!(*sent(&at_once, from), batch[from as usize - 1..]);
        }
        one_by_one.truncate(LogIndex(3));
        assert_ne!(one_by_one, at_once);
        at_once.truncate(LogIndex(3));
        assert_eq!(one_by_one, at_once);
    }
}
