//! Writes that are not durable yet.

use alloc::collections::VecDeque;

use crate::api::effects::Durable;
use crate::api::entries::Entries;
use crate::api::entry::HardState;
use crate::api::types::{Instant, LogId, LogIndex, NodeId};

/// The writes that the caller has received and has not reported as durable, and the hard state
/// before and after them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PendingWrites {
    /// This server; tokens of other servers are void.
    server: NodeId,
    /// The current start of this server; tokens of earlier starts are void.
    boot: u64,
    /// The number of the next write. Numbers start at 1 with each boot.
    next_sequence: u64,
    /// The pending writes, oldest first, with consecutive numbers.
    pending: VecDeque<PendingWrite>,
    /// The hard state of the latest write.
    written: HardState,
    /// The hard state that survives a crash.
    durable: HardState,
}

/// A write that the caller has received.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct PendingWrite {
    /// The hard state on disk after this write.
    hard_state: HardState,
    /// The last entry of the write. It is removed when the entry is truncated from the log.
    last: Option<LogId>,
    /// The write started at this time, for the detection of a stalled disk.
    started_at: Instant,
    /// The caller has reported the write, and may not have reported an earlier one.
    is_reported: bool,
}

impl PendingWrites {
    /// No pending writes, with `hard_state` on disk.
    pub(crate) fn new(server: NodeId, boot: u64, hard_state: HardState) -> Self {
        Self {
            server,
            boot,
            next_sequence: 1,
            pending: VecDeque::new(),
            written: hard_state,
            durable: hard_state,
        }
    }

    /// The number of the current start of this server.
    pub(crate) fn boot(&self) -> u64 {
        self.boot
    }

    /// The hard state of the latest write, durable or not.
    pub(crate) fn written(&self) -> HardState {
        self.written
    }

    /// The hard state that survives a crash.
    pub(crate) fn durable(&self) -> HardState {
        self.durable
    }

    /// Starts a write of `entries`, the last of which is `last`, and returns its token.
    pub(crate) fn start(
        &mut self,
        hard_state: HardState,
        last: Option<LogId>,
        entries: Entries,
        now: Instant,
    ) -> Durable {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.written = hard_state;
        let write = PendingWrite { hard_state, last, started_at: now, is_reported: false };
        self.pending.push_back(write);
        Durable { server: self.server, boot: self.boot, sequence, entries }
    }

    /// Records that the write of `token` is durable. Tokens of other servers, of earlier boots and
    /// of writes that are already durable change nothing.
    pub(crate) fn report(&mut self, token: &Durable) {
        if let Some(write) =
            self.position(token).and_then(|position| self.pending.get_mut(position))
        {
            write.is_reported = true;
        }
    }

    /// Records all writes up to that of `token` as durable.
    #[cfg(feature = "sabotage")]
    pub(crate) fn report_with_earlier(&mut self, token: &Durable) {
        if let Some(position) = self.position(token).filter(|at| *at < self.pending.len()) {
            self.pending.range_mut(..=position).for_each(|write| write.is_reported = true);
        }
    }

    /// The position of a token's write in `pending`, or one past the end.
    fn position(&self, token: &Durable) -> Option<usize> {
        if (token.server, token.boot) != (self.server, self.boot) {
            return None;
        }
        token.sequence.checked_sub(self.first_sequence())?.try_into().ok()
    }

    /// Removes the oldest write if it is reported. Returns the last entry of that write.
    ///
    /// Writes become durable in their order: a reported write behind an unreported one waits.
    #[inline]
    pub(crate) fn pop_durable(&mut self) -> Option<Option<LogId>> {
        let write = self.pending.front().filter(|write| write.is_reported)?;
        let last = write.last;
        self.durable = write.hard_state;
        self.pending.pop_front();
        Some(last)
    }

    /// Removes the entries from `first` on from all pending writes, because the log truncates them.
    ///
    /// If the same entries are appended again, another write contains them. Without this, the
    /// pending write would make the server acknowledge entries that the later write replaces.
    pub(crate) fn void_from(&mut self, first: LogIndex) {
        for write in &mut self.pending {
            write.last.take_if(|last| last.index >= first);
        }
    }

    /// Makes all pending writes start at `now`, because the full disk has space again.
    pub(crate) fn restart_stall_clock(&mut self, now: Instant) {
        for write in &mut self.pending {
            write.started_at = now;
        }
    }

    /// The start of the oldest pending write.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.pending.front().map(|write| write.started_at)
    }

    /// The number of the oldest pending write, or of the next one.
    fn first_sequence(&self) -> u64 {
        self.next_sequence - self.pending.len() as u64
    }

    /// Makes all pending writes start at `now`, and numbers them from 1. Returns the difference to
    /// their former numbers.
    #[cfg(feature = "model")]
    pub(crate) fn canonicalize(&mut self, now: Instant) -> u64 {
        let earlier = self.first_sequence() - 1;
        self.next_sequence -= earlier;
        self.restart_stall_clock(now);
        earlier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Term;

    const OLD: HardState = HardState { term: Term(1), vote: None };
    const NEW: HardState = HardState { term: Term(2), vote: None };

    fn last(index: u64) -> Option<LogId> {
        Some(LogId::new(Term(1), LogIndex(index)))
    }

    fn two_writes() -> (PendingWrites, [Durable; 2]) {
        let mut writes = PendingWrites::new(NodeId(1), 7, OLD);
        let first = writes.start(OLD, last(1), Entries::default(), Instant(10));
        let second = writes.start(NEW, last(2), Entries::default(), Instant(20));
        (writes, [first, second])
    }

    #[test]
    fn write_is_durable_after_all_earlier_writes() {
        let (mut writes, [first, second]) = two_writes();
        writes.report(&second);
        assert_eq!(writes.pop_durable(), None);
        assert_eq!((writes.durable(), writes.written()), (OLD, NEW));
        writes.report(&first);
        assert_eq!([writes.pop_durable(), writes.pop_durable()], [Some(last(1)), Some(last(2))]);
        assert_eq!((writes.pop_durable(), writes.durable()), (None, NEW));
    }

    #[test]
    fn foreign_and_repeated_tokens_are_void() {
        let (mut writes, [first, _]) = two_writes();
        writes.report(&Durable { server: NodeId(2), ..first.clone() });
        writes.report(&Durable { boot: 6, ..first.clone() });
        writes.report(&Durable { sequence: 3, ..first.clone() });
        assert_eq!(writes.pop_durable(), None);
        writes.report(&first);
        assert_eq!(writes.pop_durable(), Some(last(1)));
        writes.report(&first);
        assert_eq!(writes.pop_durable(), None);
    }

    #[test]
    fn truncated_entries_are_removed_from_pending_writes() {
        let (mut writes, [first, second]) = two_writes();
        writes.void_from(LogIndex(2));
        writes.report(&first);
        writes.report(&second);
        assert_eq!([writes.pop_durable(), writes.pop_durable()], [Some(last(1)), Some(None)]);
    }

    #[test]
    fn stall_clock_starts_with_oldest_write() {
        let (mut writes, [first, _]) = two_writes();
        assert_eq!(writes.oldest(), Some(Instant(10)));
        writes.report(&first);
        writes.pop_durable();
        assert_eq!(writes.oldest(), Some(Instant(20)));
        writes.restart_stall_clock(Instant(30));
        assert_eq!(writes.oldest(), Some(Instant(30)));
    }
}
