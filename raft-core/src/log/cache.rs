//! The newest entries of a log, which are in memory.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use crate::api::entries::Entries;
use crate::api::entry::Entry;
use crate::api::types::LogIndex;

/// Entries without gaps, held in the pieces in which they came, so that they can be handed on
/// without being copied. How they are cut into pieces is nobody's business: windows with the same
/// entries are equal. Only what leaves memory leaves it by pieces, so after that they may differ.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogCache {
    sealed: VecDeque<Segment>,
    /// The entries after those, which nobody else has seen.
    open: Vec<Entry>,
    own_bytes: usize,
    bytes: usize,
}

/// Some entries, and what is asked so often that they should not be looked at for it.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) first: LogIndex,
    pub(crate) bytes: usize,
    pub(crate) entries: Entries,
}

impl LogCache {
    /// The position of the first entry.
    pub(crate) fn first(&self) -> Option<LogIndex> {
        match self.sealed.front() {
            Some(piece) => Some(piece.first),
            None => self.open.first().map(|entry| entry.id.index),
        }
    }

    /// The size of what nobody else has seen.
    pub(crate) fn open_bytes(&self) -> usize {
        self.own_bytes
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        let bytes = entry.bytes();
        self.bytes += bytes;
        self.own_bytes += bytes;
        self.open.push(entry);
    }

    #[inline(always)]
    pub(crate) fn push_segment(&mut self, piece: Entries) {
        self.seal();
        if let Some(piece) = Segment::new(piece) {
            self.bytes += piece.bytes;
            self.sealed.push_back(piece);
        }
    }

    /// Makes all entries ready to be handed on.
    #[inline]
    pub(crate) fn seal(&mut self) {
        if let Some(first) = self.open.first() {
            self.seal_open(first.id.index);
        }
    }

    fn seal_open(&mut self, first: LogIndex) {
        self.sealed.push_back(Segment {
            first,
            bytes: core::mem::take(&mut self.own_bytes),
            entries: self.open.drain(..).collect(),
        });
    }

    /// Removes the entries after `keep`.
    pub(crate) fn truncate(&mut self, keep: LogIndex) {
        self.seal();
        while let Some(piece) = self.sealed.pop_back() {
            self.bytes -= piece.bytes;
            let kept = piece.before(keep.next());
            if kept > 0 {
                return self.push_segment(piece.entries.iter().take(kept).cloned().collect());
            }
        }
    }

    /// Removes the entries up to `through`.
    pub(crate) fn remove_through(&mut self, through: LogIndex) {
        self.seal();
        self.evict(through, 0);
        if let Some(piece) = self.sealed.front_mut() {
            let gone = piece.before(through.next());
            let left = piece.entries.iter().skip(gone).cloned().collect();
            if let Some(left) = Segment::new(left) {
                self.bytes -= piece.bytes - left.bytes;
                *piece = left;
            }
        }
    }

    /// Removes whole pieces that end at or before `through`, until what is left fits into
    /// `bytes_max`.
    pub(crate) fn evict(&mut self, through: LogIndex, bytes_max: usize) {
        while self.bytes > bytes_max {
            let is_over = |piece: &mut Segment| piece.last() <= through;
            let Some(piece) = self.sealed.pop_front_if(is_over) else { return };
            self.bytes -= piece.bytes;
        }
    }

    /// The entries from `from` on.
    pub(crate) fn iter_from(&self, from: LogIndex) -> impl Iterator<Item = &Entry> {
        let shared = self.sealed.range(self.position(from)..);
        let shared = shared.flat_map(move |piece| &piece.entries[piece.before(from)..]);
        shared.chain(&self.open[before(&self.open, from)..])
    }

    /// The entry at `from`, and those up to `through` that are in one piece with it, if they are
    /// ready to be handed on.
    #[inline]
    pub(crate) fn segment(&self, from: LogIndex, through: LogIndex) -> Option<Entries> {
        let piece = self.sealed.get(self.position(from))?;
        let part = piece.before(from)..piece.before(through.next());
        (piece.first <= from && !part.is_empty()).then(|| piece.entries.slice(part))
    }

    /// The size of the entries after `from`, up to `to`, that are ready to be handed on.
    pub(crate) fn bytes_between(&self, from: LogIndex, to: LogIndex) -> usize {
        let (from, to) = (from.next(), to.next());
        let mut size = 0;
        for position in self.position(from)..self.sealed.len() {
            let piece = &self.sealed[position];
            match piece.before(from)..piece.before(to) {
                none if none.is_empty() => break,
                all if all.len() == piece.entries.len() => size += piece.bytes,
                some => size += bytes(&piece.entries[some]),
            }
        }
        size
    }

    /// The piece that came last.
    pub(crate) fn newest(&self) -> Option<&Segment> {
        self.sealed.back()
    }

    /// The piece in which `from` is, or the nearest one.
    fn position(&self, from: LogIndex) -> usize {
        // Mostly it is asked for what came last.
        const RECENT: usize = 4;
        let mut position = self.sealed.len();
        for _ in 0..RECENT.min(position) {
            position -= 1;
            if self.sealed[position].first <= from {
                return position;
            }
        }
        let after = self.sealed.partition_point(|piece| piece.first <= from);
        after.saturating_sub(1)
    }
}

impl Segment {
    #[inline(always)]
    pub(crate) fn new(entries: Entries) -> Option<Self> {
        Some(Self { first: entries.first()?.id.index, bytes: bytes(&entries), entries })
    }

    pub(crate) fn last(&self) -> LogIndex {
        LogIndex(self.first.0 + (self.entries.len() as u64 - 1))
    }

    /// How many of the entries come before `index`.
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

/// How many of the entries of a piece come before `index`.
fn before(piece: &[Entry], index: LogIndex) -> usize {
    let first = piece.first().map_or(index, |first| first.id.index);
    (index - first).min(piece.len() as u64) as usize
}

fn bytes(entries: &[Entry]) -> usize {
    entries.iter().map(Entry::bytes).sum()
}
