//! The history of client operations, and its check for linearizability.

use crate::check::invariants::{Invariant, Violation};
use crate::linearizability::{
    HistoryOperation, Limits, Prefix, Verdict, check_after, first_violating_prefix,
};

/// The operations that are no longer kept one by one.
///
/// A run with an event log can last for hours. It keeps about [`OPERATIONS_MAX`] operations and an
/// exact summary of earlier operations.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The summary of the earlier operations.
    summary: Prefix,
    /// The number of kept operations at which the next half is summarized.
    summarize_at: usize,
}

/// The number of operations that a run keeps.
pub(crate) const OPERATIONS_MAX: usize = 10_000;
/// The number of operations between two attempts to summarize.
pub(crate) const OPERATIONS_BETWEEN: usize = 500;
/// The limits of the summary of one half, for each key.
const SUMMARY: Limits = Limits { steps_max: 1_000_000, bytes_max: 16 << 20 };

impl History {
    /// The number of operations in the summary.
    pub(crate) fn summarized(&self) -> usize {
        self.summary.operations()
    }

    /// Returns true if a history of this many operations should be summarized.
    pub(crate) fn is_summary_due(&self, kept: usize) -> bool {
        kept >= self.summarize_at.max(OPERATIONS_MAX)
    }

    /// The time until which operations are summarized: the median of their start times, or the
    /// start of the oldest pending operation. A pending operation can still return.
    pub(crate) fn summary_end(mut invoked: Vec<u64>, oldest_pending: Option<u64>) -> u64 {
        invoked.sort_unstable();
        let median = invoked.get(invoked.len() / 2).copied();
        oldest_pending.into_iter().chain(median).min().unwrap_or_default()
    }

    /// Adds operations that started before `until` to the summary. `kept` operations remain.
    pub(crate) fn summarize(&mut self, early: Vec<HistoryOperation>, until: u64, kept: usize) {
        self.summary.extend(early, until, SUMMARY);
        self.summarize_at = kept + OPERATIONS_BETWEEN;
    }

    /// Checks the summary and the kept operations. The search gives up at a key whose summary
    /// exceeded its limits.
    pub(crate) fn check(&self, operations: &[HistoryOperation], limits: Limits) -> Verdict {
        check_after(&self.summary, operations, limits)
    }

    /// Checks the summary and the kept operations with at most `steps_max` steps for each key. A
    /// violation has the time of the first response that no order explains.
    pub(crate) fn find_violation(
        &self,
        operations: &[HistoryOperation],
        steps_max: u64,
        now: u64,
    ) -> Option<Violation> {
        let limits = Limits { steps_max, ..Limits::default() };
        let (at, verdict) = match self.check(operations, limits) {
            Verdict::Linearizable => return None,
            Verdict::GaveUp { key } => (now, Verdict::GaveUp { key }),
            Verdict::Violation(found) => {
                let (at, found) =
                    first_violating_prefix(&self.summary, operations, found, steps_max);
                (at, Verdict::Violation(found))
            }
        };
        Some(Violation { invariant: Invariant::Linearizability, text: verdict.in_seconds(), at })
    }
}
