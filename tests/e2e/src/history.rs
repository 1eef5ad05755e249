//! A record of the operations of clients, and its check for linearizability.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use raft_history::linearizability::{Call, HistoryOperation, Verdict, check};

/// The largest number of steps of the checker. A search takes about two steps per operation. Only a
/// history with many unanswered writes to one key takes this many steps.
const STEPS_MAX: u64 = 50_000_000;

/// A record of operations. Many clients write to it at the same time.
#[derive(Debug)]
pub struct History {
    started: Instant,
    operations: Mutex<Vec<HistoryOperation>>,
}

/// The numbers of operations by kind and outcome.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Acknowledged writes.
    pub puts: usize,
    /// Acknowledged deletes.
    pub deletes: usize,
    /// Reads that found a value.
    pub found: usize,
    /// Reads that found no value.
    pub absent: usize,
    /// Conditional writes whose condition held.
    pub swapped: usize,
    /// Conditional writes whose condition did not hold.
    pub refused: usize,
    /// Writes of all kinds without a response.
    pub unknown: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { started: Instant::now(), operations: Mutex::default() }
    }
}

impl History {
    /// The time on the clock of the record, in microseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Adds an operation.
    pub fn record(&self, operation: HistoryOperation) {
        self.with(|operations| operations.push(operation));
    }

    /// The number of operations with a response.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.with(|operations| {
            let answered = |operation: &&HistoryOperation| operation.returned.is_some();
            operations.iter().filter(answered).count()
        })
    }

    /// The time of the first acknowledgement of a write that was sent at `since` or later.
    #[must_use]
    pub fn first_write_since(&self, since: u64) -> Option<u64> {
        self.with(|operations| {
            operations
                .iter()
                .filter(|operation| operation.invoked >= since && is_write(&operation.call))
                .filter_map(|operation| operation.returned)
                .min()
        })
    }

    /// All recorded operations.
    #[must_use]
    pub fn operations(&self) -> Vec<HistoryOperation> {
        self.with(|operations| operations.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<HistoryOperation>) -> T) -> T {
        // A client that panicked during a write has at most omitted its own operation.
        act(&mut self.operations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Checks that operations are linearizable.
///
/// # Errors
///
/// Returns an error if they are not, or if the check reached its limits.
pub fn check_linearizable(operations: &[HistoryOperation]) -> Result<()> {
    match verdict(operations) {
        Verdict::Linearizable => Ok(()),
        verdict => bail!("{verdict}"),
    }
}

/// Checks that an injected wrong response is detected.
///
/// # Errors
///
/// Returns an error if it is not detected, or if no response could be injected.
pub fn check_detected(changed: Option<Vec<HistoryOperation>>) -> Result<()> {
    let history = changed.context("the history has no place for a wrong response")?;
    match verdict(&history) {
        Verdict::Violation { .. } => Ok(()),
        verdict => bail!("an injected wrong response is not detected: {verdict}"),
    }
}

fn verdict(operations: &[HistoryOperation]) -> Verdict {
    check(operations, STEPS_MAX)
}

/// Counts operations by kind and outcome.
#[must_use]
pub fn count(operations: &[HistoryOperation]) -> Counts {
    let mut counts = Counts::default();
    for operation in operations {
        let counter = match (&operation.call, operation.returned) {
            (Call::Get { .. }, None) => continue,
            (_, None) => &mut counts.unknown,
            (Call::Put { .. } | Call::Append { .. }, _) => &mut counts.puts,
            (Call::Delete, _) => &mut counts.deletes,
            (Call::Get { found: Some(_) }, _) => &mut counts.found,
            (Call::Get { found: None }, _) => &mut counts.absent,
            (Call::Cas { succeeded, .. }, _) => {
                if *succeeded {
                    &mut counts.swapped
                } else {
                    &mut counts.refused
                }
            }
        };
        *counter += 1;
    }
    counts
}

impl Counts {
    /// Checks that a history contains enough operations of each kind for a meaningful verdict.
    ///
    /// # Errors
    ///
    /// Returns an error if a kind has fewer operations than `least`.
    pub fn check_each_at_least(self, least: usize) -> Result<()> {
        let Self { puts, deletes, found, absent, swapped, refused, unknown: _ } = self;
        ensure!(
            [puts, deletes, found, absent, swapped, refused]
                .into_iter()
                .all(|count| count >= least),
            "fewer than {least} operations of a kind: {self:?}"
        );
        Ok(())
    }
}

/// The values of the keys that were written exactly once, with an acknowledgement. Each of them
/// must exist.
#[must_use]
pub fn written_once(operations: &[HistoryOperation]) -> BTreeMap<&str, &str> {
    let mut writes: HashMap<&str, Vec<&HistoryOperation>> = HashMap::new();
    for operation in operations {
        if !matches!(operation.call, Call::Get { .. }) {
            writes.entry(&operation.key).or_default().push(operation);
        }
    }
    writes
        .into_iter()
        .filter_map(|(key, writes)| match writes.as_slice() {
            [HistoryOperation { call: Call::Put { value }, returned: Some(_), .. }] => {
                Some((key, value.as_str()))
            }
            _ => None,
        })
        .collect()
}

/// Injects a stale read: a read that returns a value that was certainly overwritten before. Returns
/// `None` if the history has no place for such a read.
#[must_use]
pub fn with_stale_read(operations: &[HistoryOperation]) -> Option<Vec<HistoryOperation>> {
    operations.iter().enumerate().find_map(|(index, read)| {
        let Call::Get { found: Some(_) } = read.call else {
            return None;
        };
        let writes =
            || operations.iter().filter(|write| write.key == read.key && write.returned.is_some());
        let last = writes()
            .filter(|write| matches!(write.call, Call::Put { .. }))
            .filter(|write| write.returned < Some(read.invoked))
            .max_by_key(|write| write.invoked)?;
        let stale = writes().find_map(|write| match &write.call {
            Call::Put { value } if write.returned < Some(last.invoked) => Some(value.clone()),
            _ => None,
        })?;
        let mut changed = operations.to_vec();
        changed[index].call = Call::Get { found: Some(stale) };
        Some(changed)
    })
}

/// Injects a lost write: the last read of a key that was written once finds no value.
#[must_use]
pub fn with_lost_write(operations: &[HistoryOperation]) -> Option<Vec<HistoryOperation>> {
    let kept = written_once(operations);
    let index = operations.iter().rposition(|read| {
        matches!(read.call, Call::Get { found: Some(_) }) && kept.contains_key(read.key.as_str())
    })?;
    let mut changed = operations.to_vec();
    changed[index].call = Call::Get { found: None };
    Some(changed)
}

fn is_write(call: &Call) -> bool {
    match call {
        Call::Put { .. } | Call::Append { .. } | Call::Delete => true,
        Call::Cas { succeeded, .. } => *succeeded,
        Call::Get { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(key: &str, call: Call, invoked: u64, returned: Option<u64>) -> HistoryOperation {
        HistoryOperation { client: 1, key: key.into(), call, invoked, returned }
    }

    fn put(value: &str) -> Call {
        Call::Put { value: value.into() }
    }

    fn get(found: Option<&str>) -> Call {
        Call::Get { found: found.map(str::to_owned) }
    }

    /// Writes to three keys, one of them without a response, and reads.
    fn example() -> Vec<HistoryOperation> {
        vec![
            operation("a", put("1"), 0, Some(1)),
            operation("a", put("2"), 2, Some(3)),
            operation("a", get(Some("2")), 4, Some(5)),
            operation("b", put("3"), 0, Some(9)),
            operation("b", get(Some("3")), 10, Some(11)),
            operation("c", put("4"), 0, None),
            operation("c", get(None), 10, Some(11)),
        ]
    }

    #[test]
    fn injected_violation_is_found() {
        let example = example();
        check_linearizable(&example).unwrap();
        let stale = with_stale_read(&example).unwrap();
        assert_eq!(stale[2].call, get(Some("1")));
        assert!(check_linearizable(&stale).is_err());
        check_detected(Some(stale)).unwrap();
        let lost = with_lost_write(&example).unwrap();
        assert_eq!(lost[4].call, get(None));
        check_detected(Some(lost)).unwrap();
        assert!(check_detected(Some(example)).is_err());
        assert!(check_detected(None).is_err());
    }

    #[test]
    fn only_acknowledged_writes_must_exist() {
        assert_eq!(written_once(&example()), BTreeMap::from([("b", "3")]));
    }

    #[test]
    fn first_write_since_was_sent_after_instant() {
        let history = History::default();
        for operation in example() {
            history.record(operation);
        }
        assert_eq!(history.first_write_since(0), Some(1));
        assert_eq!(history.first_write_since(1), Some(3));
        assert_eq!(history.first_write_since(3), None);
        assert_eq!(history.answered(), 6);
    }

    #[test]
    fn counters_distinguish_outcomes() {
        let counts = count(&example());
        assert_eq!((counts.puts, counts.found, counts.absent), (3, 2, 1));
        assert_eq!(counts.unknown, 1);
        assert!(counts.check_each_at_least(1).is_err());
    }
}
