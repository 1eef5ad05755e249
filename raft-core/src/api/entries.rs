//! Shared batches of entries.

#[cfg(not(feature = "critical-section"))]
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Deref, Range};

#[cfg(feature = "critical-section")]
use portable_atomic_util::Arc;

use crate::api::entry::Entry;

/// A batch of entries with consecutive indexes.
///
/// The entries are shared: messages, writes and state machines reference the same memory, and a
/// clone increments one counter.
#[derive(Clone, Default)]
pub struct Entries {
    /// The shared entries, of which this batch is a part.
    all: Arc<[Entry]>,
    /// The first entry of the batch in `all`.
    start: u32,
    /// One past the last entry of the batch in `all`.
    end: u32,
}

impl Entries {
    /// The number of entries, computed without access to `all`.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// The entries at these positions of the batch.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        debug_assert!(range.end <= self.len(), "a slice lies within the batch");
        Self {
            all: self.all.clone(),
            start: self.start + range.start as u32,
            end: self.start + range.end as u32,
        }
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.all[self.start as usize..self.end as usize]
    }
}

impl FromIterator<Entry> for Entries {
    /// # Panics
    ///
    /// If there are 2^32 entries or more.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let all: Arc<[Entry]> = entries.into_iter().collect();
        let end = u32::try_from(all.len()).expect("a batch has less than 2^32 entries");
        Self { all, start: 0, end }
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Self {
        entries.into_iter().collect()
    }
}

impl<const COUNT: usize> From<[Entry; COUNT]> for Entries {
    fn from(entries: [Entry; COUNT]) -> Self {
        entries.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = core::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Entries {}

impl Hash for Entries {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
