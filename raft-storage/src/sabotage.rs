//! Rules that the verification can disable, to see that a violation is found.
//!
//! Without the feature `sabotage` no rule can be disabled, and the compiler removes the checks.

/// A rule of the storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// A batch is synced before it is acknowledged.
    SyncBatch,
    /// The first sector of a segment is synced before a batch is written.
    SyncSegmentHead,
    /// The name of a segment is synced before a batch is acknowledged.
    SyncSegmentName,
    /// A torn batch is erased before another batch is written in its place.
    EraseTornBatch,
    /// The checksums of sectors are compared.
    CheckSectors,
    /// The last batch of the log is compared with the mark.
    CompareMark,
    /// A table is synced before it gets its name.
    SyncTable,
    /// The name of a table is synced before the tables that it replaces are removed.
    SyncTableName,
    /// The checksums of the parts of tables are compared.
    CheckParts,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 9] = [
        Self::SyncBatch,
        Self::SyncSegmentHead,
        Self::SyncSegmentName,
        Self::EraseTornBatch,
        Self::CheckSectors,
        Self::CompareMark,
        Self::SyncTable,
        Self::SyncTableName,
        Self::CheckParts,
    ];

    /// Returns true unless this thread has disabled the rule.
    #[cfg(feature = "sabotage")]
    pub(crate) fn holds(self) -> bool {
        disabled::RULE.get() != Some(self)
    }

    #[cfg(not(feature = "sabotage"))]
    #[inline(always)]
    pub(crate) fn holds(self) -> bool {
        true
    }
}

#[cfg(feature = "sabotage")]
mod disabled {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        pub(super) static RULE: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Disables one rule on this thread, or none.
    pub fn disable(rule: Option<Rule>) {
        RULE.set(rule);
    }
}

#[cfg(feature = "sabotage")]
pub use disabled::disable;
