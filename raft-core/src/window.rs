//! The newest entries of a log, which are in memory.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use crate::entries::Entries;
use crate::entry::Entry;
use crate::id::LogIndex;

/// Entries without gaps, held in the pieces in which they came, so that they can be handed on
/// without being copied. How they are cut into pieces is nobody's business: windows with the same
/// entries are equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    shared: VecDeque<Entries>,
    /// The entries after those, which nobody else has seen.
    own: Vec<Entry>,
    own_bytes: usize,
    bytes: usize,
}

impl Window {
    /// The position of the first entry.
    pub(crate) fn first(&self) -> Option<LogIndex> {
        let first = match self.shared.front() {
            Some(piece) => piece.first(),
            None => self.own.first(),
        };
        first.map(|entry| entry.id.index)
    }

    /// The size of what nobody else has seen.
    pub(crate) fn own_bytes(&self) -> usize {
        self.own_bytes
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        let bytes = entry.bytes();
        self.bytes += bytes;
        self.own_bytes += bytes;
        self.own.push(entry);
    }

    pub(crate) fn push_piece(&mut self, piece: Entries) {
        self.share();
        self.bytes += bytes(&piece);
        self.shared.push_back(piece);
    }

    /// Makes all entries ready to be handed on.
    pub(crate) fn share(&mut self) {
        if !self.own.is_empty() {
            self.shared.push_back(self.own.drain(..).collect());
            self.own_bytes = 0;
        }
    }

    /// Removes the entries after `keep`.
    pub(crate) fn truncate(&mut self, keep: LogIndex) {
        self.share();
        while let Some(piece) = self.shared.back_mut() {
            let kept = before(piece, keep.next());
            self.bytes -= bytes(&piece[kept..]);
            if kept > 0 {
                *piece = piece.slice(0..kept);
                break;
            }
            self.shared.pop_back();
        }
    }

    /// Removes the entries up to `through`.
    pub(crate) fn remove_through(&mut self, through: LogIndex) {
        self.share();
        while let Some(piece) = self.shared.front_mut() {
            let gone = before(piece, through.next());
            self.bytes -= bytes(&piece[..gone]);
            if gone < piece.len() {
                *piece = piece.slice(gone..piece.len());
                break;
            }
            self.shared.pop_front();
        }
    }

    /// Removes whole pieces that end at or before `through`, until what is left fits into
    /// `bytes_max`.
    pub(crate) fn evict(&mut self, through: LogIndex, bytes_max: usize) {
        while self.bytes > bytes_max {
            let is_over = |piece: &mut Entries| {
                let last = piece.last();
                last.is_none_or(|last| last.id.index <= through)
            };
            let Some(piece) = self.shared.pop_front_if(is_over) else {
                return;
            };
            self.bytes -= bytes(&piece);
        }
    }

    /// The entries from `from` on.
    pub(crate) fn iter_from(&self, from: LogIndex) -> impl Iterator<Item = &Entry> {
        let pieces = self.shared.range(self.position(from)..);
        let pieces = pieces.map(|piece| &**piece).chain([&*self.own]);
        pieces.flat_map(move |piece| &piece[before(piece, from)..])
    }

    /// The entries from `from` to `through` that are ready to be handed on, in pieces.
    pub(crate) fn pieces(
        &self,
        from: LogIndex,
        through: LogIndex,
    ) -> impl Iterator<Item = Entries> {
        let pieces = self.shared.range(self.position(from)..);
        pieces.map_while(move |piece| {
            let part = before(piece, from)..before(piece, through.next());
            (!part.is_empty()).then(|| piece.slice(part))
        })
    }

    /// The piece that came last.
    pub(crate) fn newest(&self) -> Option<&Entries> {
        self.shared.back()
    }

    /// The size of the entries after `from`, up to `to`.
    pub(crate) fn bytes_between(&self, from: LogIndex, to: LogIndex) -> usize {
        let size =
            |piece: &[Entry]| bytes(&piece[before(piece, from.next())..before(piece, to.next())]);
        let pieces = self.shared.range(self.position(from.next())..);
        let shared: usize = pieces.map(|piece| size(piece)).sum();
        shared + size(&self.own)
    }

    /// The piece in which `from` is, or the first one if `from` is before it.
    fn position(&self, from: LogIndex) -> usize {
        // Mostly it is asked for what came last.
        const RECENT: usize = 4;
        let is_before = |piece: &Entries| {
            let last = piece.last();
            last.is_some_and(|last| last.id.index < from)
        };
        let mut position = self.shared.len();
        let far = position.saturating_sub(RECENT);
        while position > far && !is_before(&self.shared[position - 1]) {
            position -= 1;
        }
        if position > far || far == 0 {
            position
        } else {
            self.shared.partition_point(is_before)
        }
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.iter_from(LogIndex(0)).eq(other.iter_from(LogIndex(0)))
    }
}

impl Eq for Window {}

impl Hash for Window {
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
