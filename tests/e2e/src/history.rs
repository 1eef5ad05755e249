//! The record of what clients saw, and its judgement.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use raft_sim::linearizability::{Call, HistoryOperation, Verdict, check};

/// The search for an order takes about two steps an operation when there is little to choose from.
/// This many are only taken by a history that is full of unanswered writes to one key.
const STEPS_MAX: u64 = 50_000_000;

/// A record that many clients write at once.
#[derive(Debug)]
pub struct History {
    started: Instant,
    operations: Mutex<Vec<HistoryOperation>>,
}

/// How often something happened that makes a history worth judging.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Answered writes.
    pub puts: usize,
    /// Answered removals.
    pub deletes: usize,
    /// Reads that found a value.
    pub found: usize,
    /// Reads that found none.
    pub absent: usize,
    /// Conditional writes that took place.
    pub swapped: usize,
    /// Conditional writes that found something else.
    pub refused: usize,
    /// Writes of all kinds that were not answered.
    pub unknown: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { started: Instant::now(), operations: Mutex::default() }
    }
}

impl History {
    /// Now, on the record's clock, in microseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Adds an operation.
    pub fn record(&self, operation: HistoryOperation) {
        self.with(|operations| operations.push(operation));
    }

    /// How many operations were answered so far.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.with(|operations| {
            let answered = |operation: &&HistoryOperation| operation.returned.is_some();
            operations.iter().filter(answered).count()
        })
    }

    /// When the first write was acknowledged of those that were sent at `since` or later.
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

    /// All that was recorded so far.
    #[must_use]
    pub fn operations(&self) -> Vec<HistoryOperation> {
        self.with(|operations| operations.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<HistoryOperation>) -> T) -> T {
        // A client that panicked while it wrote has at most left its own operation out.
        act(&mut self.operations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Fails unless some order of these operations explains every answer.
///
/// # Errors
///
/// If there is none, or none was found with a reasonable effort.
pub fn judge(operations: &[HistoryOperation]) -> Result<()> {
    match verdict(operations) {
        Verdict::Linearizable => Ok(()),
        verdict => bail!("{verdict}"),
    }
}

/// Fails unless a history with an answer that cannot be is called what it is.
///
/// # Errors
///
/// If it is not, or if there was no place to plant the answer.
pub fn check_caught(planted: Option<Vec<HistoryOperation>>) -> Result<()> {
    let planted = planted.context("there is no place to plant a wrong answer")?;
    match verdict(&planted) {
        Verdict::Violation { .. } => Ok(()),
        verdict => bail!("a planted wrong answer is not caught: {verdict}"),
    }
}

fn verdict(operations: &[HistoryOperation]) -> Verdict {
    check(operations, STEPS_MAX)
}

/// Counts what makes a history worth judging.
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
    /// Fails if there is too little of any kind for a verdict to mean something.
    ///
    /// # Errors
    ///
    /// If so.
    pub fn check_each_at_least(self, least: usize) -> Result<()> {
        let Self { puts, deletes, found, absent, swapped, refused, unknown: _ } = self;
        ensure!(
            [puts, deletes, found, absent, swapped, refused]
                .into_iter()
                .all(|count| count >= least),
            "fewer than {least} of some kind: {self:?}"
        );
        Ok(())
    }
}

/// The last value of each key that was written once, with an answer, and never touched otherwise:
/// it must be there.
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

/// Plants a stale read: one that finds a value of which it is certain that it was overwritten
/// before. None if this history offers no place for one.
#[must_use]
pub fn with_stale_read(operations: &[HistoryOperation]) -> Option<Vec<HistoryOperation>> {
    operations.iter().enumerate().find_map(|(place, read)| {
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
        let mut planted = operations.to_vec();
        planted[place].call = Call::Get { found: Some(stale) };
        Some(planted)
    })
}

/// Plants a lost write: the last read of a key that was written once finds nothing.
#[must_use]
pub fn with_lost_write(operations: &[HistoryOperation]) -> Option<Vec<HistoryOperation>> {
    let kept = written_once(operations);
    let place = operations.iter().rposition(|read| {
        matches!(read.call, Call::Get { found: Some(_) }) && kept.contains_key(read.key.as_str())
    })?;
    let mut planted = operations.to_vec();
    planted[place].call = Call::Get { found: None };
    Some(planted)
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

    /// Two writes of one key, one of another, one that nobody answered, and reads.
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
        judge(&example).unwrap();
        let stale = with_stale_read(&example).unwrap();
        assert_eq!(stale[2].call, get(Some("1")));
        assert!(judge(&stale).is_err());
        check_caught(Some(stale)).unwrap();
        let lost = with_lost_write(&example).unwrap();
        assert_eq!(lost[4].call, get(None));
        check_caught(Some(lost)).unwrap();
        assert!(check_caught(Some(example)).is_err());
        assert!(check_caught(None).is_err());
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
