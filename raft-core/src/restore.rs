//! What a server brings along from its disk.

use core::fmt;

use crate::entry::{Entry, HardState};
use crate::id::{LogId, LogIndex};
use crate::log::Log;
use crate::quorum::Membership;

/// The durable state that a server starts from. A server that starts for the first time pushes no
/// entries and has the default [`HardState`].
///
/// The log may be larger than memory: push its entries one by one, the oldest payloads are dropped
/// on the way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Restored {
    pub(crate) boot: u64,
    pub(crate) membership: Membership,
    pub(crate) hard_state: HardState,
    pub(crate) applied: LogIndex,
    pub(crate) log: Log,
    window_bytes_max: usize,
}

/// The durable log is damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RestoreError {
    /// An entry does not follow the one before it.
    Gap {
        /// The entry before.
        last: LogId,
        /// The entry that does not follow.
        found: LogId,
    },
}

impl Restored {
    /// Begins with everything but the log.
    ///
    /// `boot` must differ from that of every earlier start of this server that is still in
    /// somebody's memory. `applied` is the last index that the durable state machine has applied;
    /// it is known to be committed.
    #[must_use]
    pub fn new(
        boot: u64,
        membership: Membership,
        hard_state: HardState,
        applied: LogIndex,
        window_bytes_max: usize,
    ) -> Self {
        Self {
            boot,
            membership,
            hard_state,
            applied,
            log: Log::default(),
            window_bytes_max,
        }
    }

    /// Adds the next entry of the durable log.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Gap`] if the entry cannot come next: the log on disk is damaged, and the
    /// server must not start with what is left of it.
    pub fn push(&mut self, entry: Entry) -> Result<(), RestoreError> {
        let last = self.log.last();
        if entry.id.index != last.index.next() || entry.id.term < last.term || entry.id.term.0 == 0
        {
            return Err(RestoreError::Gap {
                last,
                found: entry.id,
            });
        }
        self.log.restore(entry, self.window_bytes_max);
        Ok(())
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { last, found } => write!(
                f,
                "the stored log is damaged: after entry {} of term {} comes entry {} of term {}",
                last.index, last.term, found.index, found.term
            ),
        }
    }
}

impl core::error::Error for RestoreError {}
