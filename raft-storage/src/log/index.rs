//! Where the entries of the log are, and their terms.

use std::collections::VecDeque;

use raft_core::{LogId, LogIndex, Term};

use super::batch::{Batch, LogStart};

/// A place in the files from which entries can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// The first entry of the batch at this place.
    pub(super) first: LogIndex,
    pub(super) segment: u64,
    pub(super) sector: u64,
    pub(super) batch: u64,
}

/// A sparse index: one place for many batches.
///
/// The batches of a place contain its entries in order, up to the first entry of the next place.
/// A batch that replaces entries therefore begins a new place.
#[derive(Clone, Debug, Default)]
pub(super) struct LogPlaces {
    start: LogId,
    last: LogId,
    places: VecDeque<Place>,
    /// The first entry of each term.
    terms: VecDeque<LogId>,
    /// The first entry that the files contain.
    available: LogIndex,
}

/// Sectors of batches that share a place.
const PLACE_SECTORS: u64 = 64;

impl LogPlaces {
    /// The places of a log whose older segments were removed.
    pub(super) fn new(start: LogId, last: LogId) -> Self {
        let last = if last.index < start.index { start } else { last };
        Self { start, last, available: last.index.next(), ..Self::default() }
    }

    pub(super) fn start(&self) -> LogId {
        self.start
    }

    pub(super) fn last(&self) -> LogId {
        self.last
    }

    /// Returns true if the log contains the entry, or starts at it.
    pub(super) fn holds(&self, id: LogId) -> bool {
        let is_within = id.index >= self.start.index && id.index <= self.last.index;
        is_within && self.term_at(id.index) == Some(id.term)
    }

    /// The first segment that contains an entry of the log.
    pub(super) fn first_segment(&self) -> Option<u64> {
        self.places.front().map(|place| place.segment)
    }

    /// Returns true if the files contain all entries of the log.
    pub(super) fn is_complete(&self) -> bool {
        self.last.index == self.start.index || self.available <= self.start.index.next()
    }

    /// Adds a batch that was written at a place. Returns false if the batch cannot be the next one.
    pub(super) fn add(&mut self, batch: &Batch, segment: u64, sector: u64) -> bool {
        if let Some(LogStart { id, discards }) = batch.log_start {
            self.start_at(id, discards);
        }
        let Some(first) = batch.entries.first() else { return true };
        let first = first.id.index;
        if first > self.last.index.next() || first.0 == 0 {
            return false;
        }
        let replaces = first <= self.last.index;
        if replaces {
            self.truncate(first);
        }
        let shares = self.places.back().is_some_and(|place| {
            !replaces && place.segment == segment && sector - place.sector < PLACE_SECTORS
        });
        if !shares {
            self.places.push_back(Place { first, segment, sector, batch: batch.number });
        }
        for entry in &batch.entries {
            if self.terms.back().is_none_or(|known| known.term != entry.id.term) {
                self.terms.push_back(entry.id);
            }
            self.last = entry.id;
        }
        self.discard_places();
        true
    }

    /// Removes the entries from `first` on.
    fn truncate(&mut self, first: LogIndex) {
        while self.places.pop_back_if(|place| place.first >= first).is_some() {}
        while self.terms.pop_back_if(|id| id.index >= first).is_some() {}
        self.available = self.available.min(first);
        let previous = first.previous();
        self.last = LogId::new(self.term_at(previous).unwrap_or_default(), previous);
    }

    /// A snapshot includes everything up to `start`.
    fn start_at(&mut self, start: LogId, discards: bool) {
        self.start = start;
        if !discards {
            while self.terms.len() > 1 && self.terms[1].index <= start.index {
                self.terms.pop_front();
            }
        } else {
            self.places.clear();
            self.terms.clear();
            self.last = start;
            self.available = start.index.next();
        }
        self.discard_places();
    }

    /// Removes the places of which no entry is in the log.
    fn discard_places(&mut self) {
        while self.places.get(1).is_some_and(|next| next.first <= self.start.index.next()) {
            self.places.pop_front();
        }
        if self.last.index == self.start.index {
            self.places.clear();
        }
    }

    /// The term of an entry. `None` if the files do not contain the entry.
    fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        let after = self.terms.partition_point(|id| id.index <= index);
        Some(self.terms.get(after.checked_sub(1)?)?.term)
    }

    /// The place from which to read an entry, and the first entry that is elsewhere.
    pub(super) fn find(&self, index: LogIndex) -> Option<(Place, LogIndex)> {
        if index <= self.start.index || index > self.last.index {
            return None;
        }
        let after = self.places.partition_point(|place| place.first <= index);
        let place = *self.places.get(after.checked_sub(1)?)?;
        let end = self.places.get(after).map_or(self.last.index.next(), |next| next.first);
        Some((place, end))
    }
}
