//! The cache of the newest entries of a log.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use crate::api::entries::Entries;
use crate::api::entry::Entry;
use crate::api::types::LogIndex;

/// The newest entries of a log, with consecutive indexes, in segments that can be shared.
///
/// The segmentation is an implementation detail: caches with the same entries are equal. It only
/// determines which entries [`evict`](Self::evict) removes together.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogCache {
    /// The segments that messages, writes and the state machine may share.
    sealed: VecDeque<Segment>,
    /// The entries after the sealed segments.
    open: Vec<Entry>,
    /// The size of the open entries, in bytes.
    open_bytes: usize,
    /// The size of all entries, in bytes.
    bytes: usize,
}

/// A batch of entries, with its first index and its size.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// The index of the first entry.
    pub(crate) first: LogIndex,
    /// The size of the entries, in bytes.
    pub(crate) bytes: usize,
    /// The entries, of which there is at least one.
    pub(crate) entries: Entries,
}

impl LogCache {
    /// The index of the first entry.
    pub(crate) fn first(&self) -> Option<LogIndex> {
        match self.sealed.front() {
            Some(segment) => Some(segment.first),
            None => self.open.first().map(|entry| entry.id.index),
        }
    }

    /// The size of the entries that are not sealed, in bytes.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Adds an entry to the open entries.
    pub(crate) fn push(&mut self, entry: Entry) {
        let bytes = entry.bytes();
        self.bytes += bytes;
        self.open_bytes += bytes;
        self.open.push(entry);
    }

    /// Adds a batch as a sealed segment.
    #[inline(always)]
    pub(crate) fn push_segment(&mut self, batch: Entries) {
        self.seal();
        if let Some(segment) = Segment::new(batch) {
            self.bytes += segment.bytes;
            self.sealed.push_back(segment);
        }
    }

    /// Makes the open entries a sealed segment.
    #[inline]
    pub(crate) fn seal(&mut self) {
        if let Some(first) = self.open.first() {
            self.seal_open(first.id.index);
        }
    }

    fn seal_open(&mut self, first: LogIndex) {
        self.sealed.push_back(Segment {
            first,
            bytes: core::mem::take(&mut self.open_bytes),
            entries: self.open.drain(..).collect(),
        });
    }

    /// Removes the entries after `keep`.
    pub(crate) fn truncate(&mut self, keep: LogIndex) {
        self.seal();
        while let Some(segment) = self.sealed.pop_back() {
            self.bytes -= segment.bytes;
            let kept = segment.before(keep.next());
            if kept > 0 {
                return self.push_segment(segment.entries.iter().take(kept).cloned().collect());
            }
        }
    }

    /// Removes the entries up to `through`.
    pub(crate) fn remove_through(&mut self, through: LogIndex) {
        self.seal();
        self.evict(through, 0);
        if let Some(segment) = self.sealed.front_mut() {
            let gone = segment.before(through.next());
            let left = segment.entries.iter().skip(gone).cloned().collect();
            if let Some(left) = Segment::new(left) {
                self.bytes -= segment.bytes - left.bytes;
                *segment = left;
            }
        }
    }

    /// Removes the oldest sealed segments that end at or before `through`, until the cache is not
    /// larger than `bytes_max`.
    pub(crate) fn evict(&mut self, through: LogIndex, bytes_max: usize) {
        while self.bytes > bytes_max {
            let is_over = |segment: &mut Segment| segment.last() <= through;
            let Some(segment) = self.sealed.pop_front_if(is_over) else { return };
            self.bytes -= segment.bytes;
        }
    }

    /// The entries from `from` on.
    pub(crate) fn iter_from(&self, from: LogIndex) -> impl Iterator<Item = &Entry> {
        let shared = self.sealed.range(self.position(from)..);
        let shared = shared.flat_map(move |segment| &segment.entries[segment.before(from)..]);
        shared.chain(&self.open[before(&self.open, from)..])
    }

    /// The entries from `from` to `through` in the sealed segment that contains `from`. `None` if
    /// there is no such segment.
    #[inline]
    pub(crate) fn segment(&self, from: LogIndex, through: LogIndex) -> Option<Entries> {
        let segment = self.sealed.get(self.position(from))?;
        let part = segment.before(from)..segment.before(through.next());
        (segment.first <= from && !part.is_empty()).then(|| segment.entries.slice(part))
    }

    /// The size of the sealed entries after `from` up to `to`, in bytes.
    pub(crate) fn bytes_between(&self, from: LogIndex, to: LogIndex) -> usize {
        let (from, to) = (from.next(), to.next());
        let mut size = 0;
        for position in self.position(from)..self.sealed.len() {
            let segment = &self.sealed[position];
            match segment.before(from)..segment.before(to) {
                none if none.is_empty() => break,
                all if all.len() == segment.entries.len() => size += segment.bytes,
                some => size += bytes(&segment.entries[some]),
            }
        }
        size
    }

    /// The last sealed segment.
    pub(crate) fn newest(&self) -> Option<&Segment> {
        self.sealed.back()
    }

    /// The position of the sealed segment that contains `from`, or of the nearest one.
    fn position(&self, from: LogIndex) -> usize {
        // Most calls are for one of the last segments.
        const RECENT: usize = 4;
        let mut position = self.sealed.len();
        for _ in 0..RECENT.min(position) {
            position -= 1;
            if self.sealed[position].first <= from {
                return position;
            }
        }
        let after = self.sealed.partition_point(|segment| segment.first <= from);
        after.saturating_sub(1)
    }
}

impl Segment {
    /// A segment with these entries; `None` without entries.
    #[inline(always)]
    pub(crate) fn new(entries: Entries) -> Option<Self> {
        Some(Self { first: entries.first()?.id.index, bytes: bytes(&entries), entries })
    }

    /// The index of the last entry.
    pub(crate) fn last(&self) -> LogIndex {
        LogIndex(self.first.0 + (self.entries.len() as u64 - 1))
    }

    /// The number of entries before `index`.
    fn before(&self, index: LogIndex) -> usize {
        (index - self.first).min(self.entries.len() as u64) as usize
    }
}

impl PartialEq for LogCache {
    fn eq(&self, other: &Self) -> bool {
        self.iter_from(LogIndex(0)).eq(other.iter_from(LogIndex(0)))
    }
}

impl Eq for LogCache {}

impl Hash for LogCache {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.first().hash(state);
        for entry in self.iter_from(LogIndex(0)) {
            entry.hash(state);
        }
    }
}

/// The number of entries before `index`.
fn before(entries: &[Entry], index: LogIndex) -> usize {
    let first = entries.first().map_or(index, |first| first.id.index);
    (index - first).min(entries.len() as u64) as usize
}

/// The size of the entries, in bytes.
fn bytes(entries: &[Entry]) -> usize {
    entries.iter().map(Entry::bytes).sum()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::api::entry::Payload;
    use crate::api::types::{LogId, Term};

    fn entry(index: u64) -> Entry {
        Entry { id: LogId::new(Term(1), LogIndex(index)), payload: Payload::Noop }
    }

    /// A cache with the entries 1 to 6 in segments of two entries, and an open entry 7.
    fn cache() -> LogCache {
        let mut cache = LogCache::default();
        for first in [1, 3, 5] {
            cache.push_segment([entry(first), entry(first + 1)].into());
        }
        cache.push(entry(7));
        cache
    }

    fn indexes(cache: &LogCache) -> Vec<u64> {
        cache.iter_from(LogIndex(0)).map(|entry| entry.id.index.0).collect()
    }

    #[test]
    fn sizes_follow_each_change() {
        let size = entry(1).bytes();
        let mut cache = cache();
        assert_eq!((cache.bytes, cache.open_bytes()), (7 * size, size));
        cache.truncate(LogIndex(5));
        assert_eq!((cache.bytes, indexes(&cache)), (5 * size, (1..=5).collect()));
        cache.remove_through(LogIndex(3));
        assert_eq!((cache.bytes, indexes(&cache)), (2 * size, vec![4, 5]));
        assert_eq!(cache.bytes_between(LogIndex(3), LogIndex(5)), 2 * size);
        assert_eq!(cache.bytes_between(LogIndex(4), LogIndex(9)), size);
    }

    #[test]
    fn eviction_removes_whole_segments() {
        let mut cache = cache();
        cache.evict(LogIndex(3), 0);
        assert_eq!(indexes(&cache), [3, 4, 5, 6, 7], "segment 3 to 4 ends after the bound");
        cache.evict(LogIndex(7), 3 * entry(1).bytes());
        assert_eq!(indexes(&cache), [5, 6, 7]);
        cache.evict(LogIndex(7), 0);
        assert_eq!(indexes(&cache), [7], "open entries stay");
    }

    #[test]
    fn segment_is_part_of_one_sealed_segment() {
        let mut cache = cache();
        let part = |cache: &LogCache, from, through| {
            let segment = cache.segment(LogIndex(from), LogIndex(through))?;
            Some(segment.iter().map(|entry| entry.id.index.0).collect::<Vec<_>>())
        };
        assert_eq!(part(&cache, 2, 7), Some(vec![2]));
        assert_eq!(part(&cache, 3, 7), Some(vec![3, 4]));
        assert_eq!(part(&cache, 7, 7), None, "entry 7 is open");
        cache.seal();
        assert_eq!(part(&cache, 7, 7), Some(vec![7]));
        assert_eq!(part(&cache, 8, 9), None);
    }
}
