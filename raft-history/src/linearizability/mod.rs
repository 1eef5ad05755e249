//! Decides whether a history of concurrent operations is linearizable: whether one register that
//! executes one operation after the other could have produced it.
//!
//! The algorithm is that of Wing and Gong with Lowe's cache of visited states. Each key is checked
//! separately: a history of independent registers is linearizable if the history of each register
//! is (Herlihy and Wing, locality). A search that exceeds its limits on steps or memory is
//! undecided.
//!
//! A history without an end is checked in parts. [`Prefix`] is an exact summary of its beginning,
//! and [`check_after`] checks the rest.

mod html;
mod prefix;
mod register;
mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use html::html_report;
pub use prefix::Prefix;
use register::Register;
use search::{Found, Search};

/// One operation on one key, as its client observed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryOperation {
    /// The client. It is shown to readers and has no influence on the verdict.
    pub client: u64,
    /// The key.
    pub key: String,
    /// The request and its response.
    pub call: Call,
    /// The time of the request, on a clock that all clients share.
    pub invoked: u64,
    /// The time of the response. An operation without a response takes effect at any later time, or
    /// never. An operation that certainly failed does not belong in a history.
    pub returned: Option<u64>,
}

/// A request to a register and its response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// Sets the value.
    Put {
        /// The value.
        value: String,
    },
    /// Appends a text to the value. A register without a value is set to the text. An empty text
    /// changes nothing.
    Append {
        /// The text.
        value: String,
    },
    /// Removes the value.
    Delete,
    /// Reads the value.
    Get {
        /// The value that was read. Ignored without a response.
        found: Option<String>,
    },
    /// Sets the value if the register has the expected value.
    Cas {
        /// The expected value.
        expected: Option<String>,
        /// The value.
        value: String,
        /// True if the value was set. Ignored without a response.
        succeeded: bool,
    },
}

/// The result of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// An order exists that explains every response.
    Linearizable,
    /// No order explains the responses at one key.
    Violation(Box<Contradiction>),
    /// The search reached its limits at one key. No contradiction was found at the other keys.
    GaveUp {
        /// The key.
        key: String,
    },
}

/// Responses at one key that no order explains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// The key.
    pub key: String,
    /// The longest order that was found for a prefix of the history.
    pub order: Vec<HistoryOperation>,
    /// The value after each operation of the order.
    pub values: Vec<Option<String>>,
    /// The operations that were in progress when `culprit` returned, in order of invocation. None
    /// of them can come next.
    pub stuck: Vec<HistoryOperation>,
    /// The first operation of `stuck` that returned. It must come next, but it cannot.
    pub culprit: HistoryOperation,
    /// The operations that were requested later.
    pub later: Vec<HistoryOperation>,
}

/// The limits of a search for each key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The largest number of steps.
    pub steps_max: u64,
    /// The largest size of the visited states in bytes.
    pub bytes_max: usize,
}

impl Default for Limits {
    /// Limits of some minutes and 512 MiB.
    fn default() -> Self {
        Self { steps_max: 1_000_000_000, bytes_max: 512 << 20 }
    }
}

/// Checks a history with at most `steps_max` steps for each key and the default limit on memory.
///
/// A history in which a response precedes its request is a violation.
#[must_use]
pub fn check(history: &[HistoryOperation], steps_max: u64) -> Verdict {
    let limits = Limits { steps_max, ..Limits::default() };
    check_within(history, limits)
}

/// Checks a history within limits.
///
/// All keys are first checked with a small share of the limits. Undecided keys are then checked
/// with larger shares. A difficult key therefore does not delay a contradiction at another key.
#[must_use]
pub fn check_within(history: &[HistoryOperation], limits: Limits) -> Verdict {
    check_after(&Prefix::default(), history, limits)
}

/// Checks a history that begins with a [`Prefix`] within limits. All operations of `history` were
/// requested at or after the end of the prefix.
#[must_use]
pub fn check_after(prefix: &Prefix, history: &[HistoryOperation], limits: Limits) -> Verdict {
    let mut by_key: BTreeMap<&str, Vec<&HistoryOperation>> = BTreeMap::new();
    for key in prefix.keys() {
        by_key.entry(key).or_default();
    }
    for operation in history {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    for share in [64, 8, 1] {
        let limits = Limits {
            steps_max: limits.steps_max / share,
            bytes_max: limits.bytes_max / share as usize,
        };
        let mut undecided = BTreeMap::new();
        for (key, operations) in by_key {
            match prefix.check_key(key, &operations, limits) {
                Verdict::Linearizable => {}
                Verdict::GaveUp { .. } => {
                    undecided.insert(key, operations);
                }
                violation @ Verdict::Violation(_) => return violation,
            }
        }
        by_key = undecided;
    }
    match by_key.keys().next() {
        None => Verdict::Linearizable,
        Some(key) => Verdict::GaveUp { key: (*key).to_owned() },
    }
}

/// Returns the time of the first response that violates linearizability, and its contradiction.
///
/// The history up to that response is not linearizable. In that history, later responses are
/// unknown. No shorter history was found to be a violation.
#[must_use]
pub fn first_violating_prefix(
    prefix: &Prefix,
    history: &[HistoryOperation],
    found: Box<Contradiction>,
    steps_max: u64,
) -> (u64, Box<Contradiction>) {
    let key = found.key.clone();
    let at_key = || history.iter().filter(|operation| operation.key == key);
    let mut responses: Vec<_> = at_key().filter_map(|operation| operation.returned).collect();
    responses.sort_unstable();
    let (mut first, mut last) = (0, responses.len().saturating_sub(1));
    let mut earliest = found;
    // Each prefix of a linearizable history is linearizable, so a binary search finds the time.
    while first < last {
        let middle = usize::midpoint(first, last);
        let until = responses[middle];
        let prefix_of_key: Vec<_> = at_key()
            .filter(|operation| {
                operation.invoked.min(operation.returned.unwrap_or(u64::MAX)) <= until
            })
            .cloned()
            .map(|mut operation| {
                operation.returned = operation.returned.filter(|returned| *returned <= until);
                operation
            })
            .collect();
        let limits = Limits { steps_max, ..Limits::default() };
        match check_after(prefix, &prefix_of_key, limits) {
            Verdict::Violation(found) => (earliest, last) = (found, middle),
            Verdict::Linearizable | Verdict::GaveUp { .. } => first = middle + 1,
        }
    }
    let at = responses.get(last).copied().or(earliest.culprit.returned);
    (at.unwrap_or_default(), earliest)
}

fn check_key(key: &str, operations: &[&HistoryOperation], limits: Limits) -> Verdict {
    let is_unobservable = unobservable(operations);
    let mut operations: Vec<_> =
        operations.iter().copied().filter(|operation| !is_unobservable(operation)).collect();
    // Operations with a response come first. Each group is in order of invocation.
    operations.sort_by_key(|operation| (operation.returned.is_none(), operation.invoked));
    let mut register = Register::default();
    let steps: Vec<_> = operations
        .iter()
        .map(|operation| register.step(&operation.call, operation.returned.is_some()))
        .collect();
    let stuck = match Search::new(&operations, &steps).run(&mut register, limits) {
        Found::Order => return Verdict::Linearizable,
        Found::Nothing => {
            return Verdict::GaveUp { key: key.to_owned() };
        }
        Found::NoOrder(stuck) => stuck,
    };
    let shown = Search::new(&operations, &steps).explain(&mut register);
    let stuck = shown.filter(|shown| shown.order.len() >= stuck.order.len()).unwrap_or(stuck);
    let mut placed = vec![false; operations.len()];
    let named = |indexes: &[usize]| -> Vec<HistoryOperation> {
        indexes.iter().map(|index| operations[*index].clone()).collect()
    };
    let order: Vec<_> = stuck.order.iter().map(|(index, _)| *index).collect();
    for index in order.iter().chain(&stuck.waiting) {
        placed[*index] = true;
    }
    let mut later: Vec<_> = (0..operations.len()).filter(|index| !placed[*index]).collect();
    later.sort_by_key(|index| operations[*index].invoked);
    Verdict::Violation(Box::new(Contradiction {
        key: key.to_owned(),
        order: named(&order),
        values: stuck.order.iter().map(|(_, value)| register.value(*value)).collect(),
        stuck: named(&stuck.waiting),
        culprit: operations[stuck.culprit].clone(),
        later: named(&later),
    }))
}

/// Returns a function that recognizes operations that the search can omit.
///
/// Such an operation has no response, and an order without it exists if an order with it exists. It
/// is a read, or a write of a value that no response mentions. If a compare-and-set was rejected,
/// any value can be the reason, so no write is omitted.
fn unobservable(operations: &[&HistoryOperation]) -> impl Fn(&HistoryOperation) -> bool + use<> {
    let mut observed = BTreeSet::new();
    let mut any_value_matters = false;
    for operation in operations {
        match (&operation.call, operation.returned) {
            (Call::Get { found: Some(found) }, Some(_)) => {
                observed.insert(found.clone());
            }
            (Call::Cas { expected, succeeded, .. }, returned) => {
                observed.extend(expected.clone());
                any_value_matters |= returned.is_some() && !succeeded;
            }
            (Call::Append { .. }, _) => any_value_matters = true,
            _ => {}
        }
    }
    move |operation| {
        operation.returned.is_none()
            && match &operation.call {
                Call::Get { .. } => true,
                Call::Put { value } | Call::Cas { value, .. } => {
                    !any_value_matters && !observed.contains(value)
                }
                Call::Append { .. } | Call::Delete => false,
            }
    }
}

/// The request, with the response if there is one.
impl fmt::Display for HistoryOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_nothing = |value: &Option<String>| match value {
            Some(value) => format!("{value:?}"),
            None => "nothing".to_owned(),
        };
        let has_response = self.returned.is_some();
        match &self.call {
            Call::Put { value } => write!(f, "put {value:?}"),
            Call::Append { value } => write!(f, "append {value:?}"),
            Call::Delete => f.write_str("delete"),
            Call::Get { found } if has_response => write!(f, "get: {}", or_nothing(found)),
            Call::Get { .. } => f.write_str("get"),
            Call::Cas { expected, value, succeeded } => {
                let response = match (has_response, succeeded) {
                    (true, true) => ": done",
                    (true, false) => ": rejected",
                    (false, _) => "",
                };
                write!(f, "put {value:?} if {}{response}", or_nothing(expected))
            }
        }
    }
}

/// A time in microseconds, as `1.250 s`.
fn seconds(micros: u64) -> String {
    let millis = micros / 1_000;
    format!("{}.{:03} s", millis / 1_000, millis % 1_000)
}

impl Verdict {
    /// The verdict as text, for a history whose times are in microseconds.
    #[must_use]
    pub fn in_seconds(&self) -> String {
        struct InSeconds<'a>(&'a Verdict);
        impl fmt::Display for InSeconds<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(f, seconds)
            }
        }
        InSeconds(self).to_string()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, time: impl Fn(u64) -> String) -> fmt::Result {
        match self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::GaveUp { key } => {
                write!(f, "undecided: the search at key {key:?} reached its limits")
            }
            Self::Violation(contradiction) => {
                let Contradiction { key, stuck, values, .. } = &**contradiction;
                let value = values.last().cloned().flatten();
                let value = value.map_or("no value".to_owned(), |value| format!("{value:?}"));
                writeln!(f, "not linearizable: no order explains these responses at key {key:?}:")?;
                for operation in stuck {
                    let HistoryOperation { client, invoked, returned, .. } = operation;
                    let (invoked, returned) = (time(*invoked), returned.map(&time));
                    let returned = returned.unwrap_or("never".into());
                    writeln!(f, "  client {client}, {invoked} to {returned}: {operation}")?;
                }
                write!(f, "  the value before them is {value} in the longest order")
            }
        }
    }
}

/// The verdict as text, with the times of the history.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |time| time.to_string())
    }
}
