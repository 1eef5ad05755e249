//! Entries that several owners share.

#[cfg(not(feature = "critical-section"))]
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Deref, Range};

#[cfg(feature = "critical-section")]
use portable_atomic_util::Arc;

use crate::api::entry::Entry;

/// A piece of a log: entries without gaps, in log order.
///
/// They are shared. A leader's entries are in memory once, however many messages, writes and state
/// machines they are on their way to, and a clone costs one counter.
#[derive(Clone, Default)]
pub struct Entries {
    all: Arc<[Entry]>,
    start: u32,
    end: u32,
}

impl Entries {
    /// How many there are, without a look at them.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Some of them.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        debug_assert!(range.end <= self.len(), "a part lies within the whole");
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
    /// If there are 2^32 of them or more.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let all: Arc<[Entry]> = entries.into_iter().collect();
        let end = u32::try_from(all.len()).expect("no piece has that many entries");
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
