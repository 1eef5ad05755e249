//! Whether a history of concurrent operations could have happened one after the other.
//!
//! The algorithm is that of Wing and Gong with Lowe's memory of visited configurations, applied to
//! each key by itself: a history of independent registers is linearizable if that of each register
//! is (Herlihy and Wing's locality). Steps and memory are bounded; a search that exceeds them says
//! that it knows nothing.
//!
//! A history that grows without end is judged in parts: [`Prefix`] summarises its beginning
//! exactly, and [`check_after`] judges what follows.

mod picture;
mod prefix;
mod register;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

pub use picture::picture;
pub use prefix::Prefix;
use register::Register;
use search::{Found, Search};

/// One operation on one key, as its client saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryOperation {
    /// Who did it; for people who read the verdict.
    pub client: u64,
    /// The key.
    pub key: String,
    /// What was done, and what came back.
    pub call: Call,
    /// When it was asked for, on a clock that all clients share.
    pub invoked: u64,
    /// When the answer came. None if none came: the operation may take effect at any later time,
    /// or never. An operation that certainly failed does not belong into a history.
    pub returned: Option<u64>,
}

/// What was done to a register, and what came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// Set a value.
    Put {
        /// The value.
        value: String,
    },
    /// Put a text behind the value. A register without a value gets the text as its value, and an
    /// empty text changes nothing.
    Append {
        /// The text.
        value: String,
    },
    /// Remove the value.
    Delete,
    /// Read the value.
    Get {
        /// What was read: no value, or one. Ignored if the operation did not return.
        found: Option<String>,
    },
    /// Set a value if the register holds what is expected.
    Cas {
        /// What is expected.
        expected: Option<String>,
        /// The value.
        value: String,
        /// Whether it was set. Ignored if the operation did not return.
        succeeded: bool,
    },
}

/// What the checker found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// There is an order that explains every answer.
    Linearizable,
    /// No order explains the answers about this key.
    Violation(Box<Contradiction>),
    /// The search was given up at its limits. Nothing is known of this key, and no other key
    /// contradicts itself.
    GaveUp {
        /// The key at which that happened.
        key: String,
    },
}

/// Answers about one key that no order explains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// The key.
    pub key: String,
    /// The longest order that was found for a beginning of the history.
    pub order: Vec<HistoryOperation>,
    /// The value after each operation of the order.
    pub values: Vec<Option<String>>,
    /// The operations that can't come next: those under way when the first of them was answered,
    /// in order of invocation.
    pub stuck: Vec<HistoryOperation>,
    /// The one of `stuck` that was answered first: it would have to be placed, and cannot.
    pub culprit: HistoryOperation,
    /// What was asked for later.
    pub later: Vec<HistoryOperation>,
}

/// How much a search may take, for each key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Steps.
    pub steps_max: u64,
    /// Bytes that the visited configurations may occupy.
    pub bytes_max: usize,
}

impl Default for Limits {
    /// Some minutes, and half a gibibyte.
    fn default() -> Self {
        Self { steps_max: 1_000_000_000, bytes_max: 512 << 20 }
    }
}

/// Judges a history, with at most `steps_max` steps for each key, and the default memory.
///
/// # Panics
///
/// Never; a history that contradicts itself (an answer before its question) is a violation.
#[must_use]
pub fn check(history: &[HistoryOperation], steps_max: u64) -> Verdict {
    let limits = Limits { steps_max, ..Limits::default() };
    check_within(history, limits)
}

/// Judges a history within limits.
///
/// Every key is tried with little first, and then with more those that are not decided yet: a
/// contradiction is often found at one key in no time while another would take for ever.
#[must_use]
pub fn check_within(history: &[HistoryOperation], limits: Limits) -> Verdict {
    check_after(&Prefix::default(), history, limits)
}

/// Judges a history that begins with a [`Prefix`], within limits. The operations of `history` were
/// invoked from the moment of the prefix on.
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

/// When a history that contradicts itself does so first, and how: the beginning of it up to that
/// answer, in which later answers are not known yet, is not linearizable, and no shorter one is
/// found not to be.
#[must_use]
pub fn first_violating_prefix(
    prefix: &Prefix,
    history: &[HistoryOperation],
    found: Box<Contradiction>,
    steps_max: u64,
) -> (u64, Box<Contradiction>) {
    let key = found.key.clone();
    let at_key = || history.iter().filter(|operation| operation.key == key);
    let mut answers: Vec<_> = at_key().filter_map(|operation| operation.returned).collect();
    answers.sort_unstable();
    let (mut first, mut last) = (0, answers.len().saturating_sub(1));
    let mut earliest = found;
    // A beginning of a linearizable history is linearizable, so that the moment can be found by
    // halving.
    while first < last {
        let middle = usize::midpoint(first, last);
        let until = answers[middle];
        let beginning: Vec<_> = at_key()
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
        match check_after(prefix, &beginning, limits) {
            Verdict::Violation(found) => (earliest, last) = (found, middle),
            Verdict::Linearizable | Verdict::GaveUp { .. } => first = middle + 1,
        }
    }
    let at = answers.get(last).copied().or(earliest.culprit.returned);
    (at.unwrap_or_default(), earliest)
}

fn check_key(key: &str, operations: &[&HistoryOperation], limits: Limits) -> Verdict {
    let silent = unobservable_values(operations);
    let mut operations: Vec<_> =
        operations.iter().copied().filter(|operation| !silent(operation)).collect();
    // In order of invocation, those that were not answered last.
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

/// Which operations without an answer can be left out, because an order with them is an order
/// without them: reads, and writes of a value that no answer tells of. Where a compare-and-set was
/// refused, any value may be the reason.
fn unobservable_values(
    operations: &[&HistoryOperation],
) -> impl Fn(&HistoryOperation) -> bool + use<> {
    let mut told = std::collections::BTreeSet::new();
    let mut any_may_matter = false;
    for operation in operations {
        match (&operation.call, operation.returned) {
            (Call::Get { found: Some(found) }, Some(_)) => {
                told.insert(found.clone());
            }
            (Call::Cas { expected, succeeded, .. }, answered) => {
                told.extend(expected.clone());
                any_may_matter |= answered.is_some() && !succeeded;
            }
            (Call::Append { .. }, _) => any_may_matter = true,
            _ => {}
        }
    }
    move |operation| {
        operation.returned.is_none()
            && match &operation.call {
                Call::Get { .. } => true,
                Call::Put { value } | Call::Cas { value, .. } => {
                    !any_may_matter && !told.contains(value)
                }
                Call::Append { .. } | Call::Delete => false,
            }
    }
}

/// What was done, and what came back if something did.
impl fmt::Display for HistoryOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_nothing = |value: &Option<String>| match value {
            Some(value) => format!("{value:?}"),
            None => "nothing".to_owned(),
        };
        let answered = self.returned.is_some();
        match &self.call {
            Call::Put { value } => write!(f, "put {value:?}"),
            Call::Append { value } => write!(f, "append {value:?}"),
            Call::Delete => f.write_str("delete"),
            Call::Get { found } if answered => write!(f, "get: {}", or_nothing(found)),
            Call::Get { .. } => f.write_str("get"),
            Call::Cas { expected, value, succeeded } => {
                let answer = match (answered, succeeded) {
                    (true, true) => ": done",
                    (true, false) => ": refused",
                    (false, _) => "",
                };
                write!(f, "put {value:?} if {}{answer}", or_nothing(expected))
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
    /// The verdict in words, for a history whose times are microseconds.
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
                write!(f, "not decided: the search at key {key:?} was given up")
            }
            Self::Violation(contradiction) => {
                let Contradiction { key, stuck, values, .. } = &**contradiction;
                let value = values.last().cloned().flatten();
                let value = value.map_or("no value".to_owned(), |value| format!("{value:?}"));
                writeln!(f, "not linearizable: at key {key:?} no order explains these answers:")?;
                for operation in stuck {
                    let HistoryOperation { client, invoked, returned, .. } = operation;
                    let (invoked, returned) = (time(*invoked), returned.map(&time));
                    let returned = returned.unwrap_or("never".into());
                    writeln!(f, "  client {client}, {invoked} to {returned}: {operation}")?;
                }
                write!(f, "  in the longest order the key has {value} before them")
            }
        }
    }
}

/// Times are as in the history.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |time| time.to_string())
    }
}
