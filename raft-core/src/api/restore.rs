//! What a server brings along from its disk.

use crate::api::entry::{Entry, HardState, Payload, Snapshot};
use crate::api::types::{LogId, LogIndex};
use crate::log::Log;
use crate::macros::{described_enum, ensure};
use crate::raft::membership_change::MembershipHistory;
use crate::state::membership::Membership;

/// The durable state that a server starts from. A server that starts for the first time pushes no
/// entries and has the default [`HardState`].
///
/// The log may be larger than memory: push its entries one by one, the oldest payloads are dropped
/// on the way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RestoredState {
    pub(crate) boot: u64,
    pub(crate) memberships: MembershipHistory,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) hard_state: HardState,
    pub(crate) applied: LogIndex,
    pub(crate) log: Log,
    window_bytes_max: usize,
    /// Whether the snapshot came after entries, which it made forgotten.
    pub(crate) is_misordered: bool,
}

described_enum! {
    /// The durable log is damaged.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum RestoreError: core::error::Error {
        /// An entry does not follow the one before it.
        Gap {
            /// The entry before.
            last: LogId,
            /// The entry that does not follow.
            found: LogId,
        } =>
            "the stored log is damaged: after entry {} of term {} comes entry {} of term {}",
                last.index, last.term, found.index, found.term;
    }
}

impl RestoredState {
    /// Begins with everything but the log and the snapshot.
    ///
    /// `boot` must differ from that of every earlier start of this server that is still in
    /// somebody's memory. `membership` is the one that the cluster was founded with, the same on
    /// all founders; a server that is to be added later starts with none (`Membership::default()`)
    /// and learns it. `applied` is the last index that the durable state machine has applied, which
    /// is 0 if it lives in memory; it is known to be committed. `log_cache_bytes_max` is that of
    /// the [`Config`](crate::Config). See the [guide](crate::guide::disk).
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
            memberships: MembershipHistory::new(membership),
            snapshot: None,
            hard_state,
            applied,
            log: Log::default(),
            window_bytes_max,
            is_misordered: false,
        }
    }

    /// Adds the latest durable snapshot, and where the durable log begins:
    /// [`Write::log_start`](crate::Write::log_start), as it was written last. Comes before the
    /// entries; otherwise [`Raft::new`](crate::Raft::new) refuses.
    #[must_use]
    pub fn with_snapshot(mut self, snapshot: Snapshot, log_start: LogId) -> Self {
        self.memberships.restart(snapshot.last.index, snapshot.membership.clone());
        self.snapshot = Some(snapshot);
        self.is_misordered = self.log.last() != self.log.start();
        self.log.reset_to(log_start);
        self
    }

    /// Adds what one [`Write`](crate::Write) said, in the order in which the writes were stored:
    /// for a journal to which each write is appended as it is. Entries replace those that were
    /// added before from the position of the first of them on.
    ///
    /// A journal says itself where the log begins. So give
    /// [`with_snapshot`](Self::with_snapshot) the default as `log_start`, before the first write.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Gap`] if an entry follows none of those before: the journal is damaged, and
    /// the server must not start with what is left of it.
    pub fn replay(
        &mut self,
        hard_state: Option<HardState>,
        log_start: Option<LogId>,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), RestoreError> {
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        if let Some(start) = log_start {
            if start.index > self.log.start().index && !self.log.contains(start) {
                // The snapshot replaced the log. Without this, the server would use a membership
                // of an entry that the log does not have.
                self.memberships.truncate(start.index.next());
            }
            self.log.compact(start);
            // The next write need not say so again.
            self.log.take_start();
        }
        let mut entries = entries.into_iter().peekable();
        if let Some(first) = entries.peek().map(|entry| entry.id.index)
            && first <= self.log.last().index
        {
            let first = first.max(self.log.start().index.next());
            self.log.truncate(first);
            self.memberships.truncate(first);
        }
        entries.try_for_each(|entry| self.push(entry))
    }

    /// Adds the next entry of the durable log.
    /// Entries before the start of the log are not needed, and are passed over.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Gap`] if the entry cannot come next: the log on disk is damaged, and the
    /// server must not start with what is left of it.
    pub fn push(&mut self, entry: Entry) -> Result<(), RestoreError> {
        let last = self.log.last();
        if entry.id.index <= self.log.start().index && last == self.log.start() {
            return Ok(());
        }
        let found = entry.id;
        let is_next = found.index == last.index.next();
        let is_no_older = found.term >= last.term && found.term.0 > 0;
        ensure!(is_next && is_no_older, RestoreError::Gap { last, found });
        if let Payload::Membership(membership) = &entry.payload {
            self.memberships.append(entry.id.index, (**membership).clone());
        }
        self.log.restore(entry, self.window_bytes_max);
        Ok(())
    }
}
