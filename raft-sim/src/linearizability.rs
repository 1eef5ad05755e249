//! Whether a history of concurrent operations could have happened one after the other.
//!
//! The algorithm is that of Wing and Gong with Lowe's memory of visited configurations, applied to
//! each key by itself: a history of independent registers is linearizable if that of each register
//! is (Herlihy and Wing's locality).

use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// One operation on one key, as its client saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
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
    Violation {
        /// The key.
        key: String,
        /// The operations that can't be explained after those before them, in order of invocation.
        stuck: Vec<Operation>,
    },
    /// The search was given up after its limit of steps. Nothing is known.
    GaveUp {
        /// The key at which that happened.
        key: String,
    },
}

/// Judges a history, with at most `steps_max` steps for each key.
///
/// # Panics
///
/// Never; a history that contradicts itself (an answer before its question) is a violation.
#[must_use]
pub fn check(history: &[Operation], steps_max: u64) -> Verdict {
    let mut by_key: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    for (key, mut operations) in by_key {
        // A read that did not return says nothing.
        let silent = |op: &&Operation| op.returned.is_none() && matches!(op.call, Call::Get { .. });
        operations.retain(|operation| !silent(operation));
        operations.sort_by_key(|operation| operation.invoked);
        match Search::new(&operations).run(steps_max) {
            Found::Order => {}
            Found::NoOrder { stuck } => {
                let stuck = stuck
                    .into_iter()
                    .map(|index| operations[index].clone())
                    .collect();
                return Verdict::Violation {
                    key: key.to_owned(),
                    stuck,
                };
            }
            Found::Nothing => {
                return Verdict::GaveUp {
                    key: key.to_owned(),
                };
            }
        }
    }
    Verdict::Linearizable
}

enum Found {
    Order,
    NoOrder { stuck: Vec<usize> },
    Nothing,
}

type Value<'a> = Option<&'a str>;

/// Calls and returns in order of time, as a doubly linked list from which operations are lifted.
struct Search<'a> {
    operations: &'a [&'a Operation],
    /// Position 0 is the head. Position `calls[i]` is the call of operation i.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    operation: usize,
    is_call: bool,
    /// Where the return of a call stands.
    mate: usize,
    previous: usize,
    next: usize,
}

const HEAD: usize = 0;
const END: usize = usize::MAX;

impl<'a> Search<'a> {
    fn new(operations: &'a [&'a Operation]) -> Self {
        let mut moments = Vec::with_capacity(2 * operations.len());
        for (index, operation) in operations.iter().enumerate() {
            // At the same moment, calls come before returns: the operations may be concurrent.
            moments.push((operation.invoked, 0, index));
            moments.push((operation.returned.unwrap_or(u64::MAX), 1, index));
        }
        moments.sort_unstable();
        let mut entries = vec![Entry {
            operation: 0,
            is_call: false,
            mate: 0,
            previous: END,
            next: END,
        }];
        let mut calls = vec![END; operations.len()];
        for (_, kind, operation) in moments {
            let position = entries.len();
            entries[position - 1].next = position;
            let is_call = kind == 0;
            if is_call {
                calls[operation] = position;
            } else if calls[operation] != END {
                entries[calls[operation]].mate = position;
            }
            entries.push(Entry {
                operation,
                is_call,
                mate: END,
                previous: position - 1,
                next: END,
            });
        }
        Self {
            operations,
            entries,
        }
    }

    fn run(mut self, steps_max: u64) -> Found {
        let mut linearized = BitSet::new(self.operations.len());
        let mut seen: HashSet<(BitSet, Value<'a>)> = HashSet::new();
        let mut order: Vec<(usize, Value<'a>)> = Vec::new();
        let mut value: Value<'a> = None;
        let mut position = self.entries[HEAD].next;
        let mut steps = 0;
        let mut longest = (0, Vec::new());
        while self.entries[HEAD].next != END {
            steps += 1;
            if steps > steps_max {
                return Found::Nothing;
            }
            let entry = self.entries[position];
            if !entry.is_call || entry.mate == END {
                // A return whose call is not linearized, with no candidate left before it.
                if order.len() >= longest.0 {
                    longest = (order.len(), self.waiting());
                }
                let Some((last, before)) = order.pop() else {
                    return Found::NoOrder { stuck: longest.1 };
                };
                linearized.clear(self.entries[last].operation);
                value = before;
                self.unlift(last);
                position = self.entries[last].next;
                continue;
            }
            if let Some(after) = apply(self.operations[entry.operation], value) {
                let mut with = linearized.clone();
                with.set(entry.operation);
                if seen.insert((with.clone(), after)) {
                    order.push((position, value));
                    linearized = with;
                    value = after;
                    self.lift(position);
                    position = self.entries[HEAD].next;
                    continue;
                }
            }
            position = entry.next;
        }
        Found::Order
    }

    /// The operations that are under way where the search is stuck.
    fn waiting(&self) -> Vec<usize> {
        let mut waiting = Vec::new();
        let mut position = self.entries[HEAD].next;
        while position != END && self.entries[position].is_call {
            waiting.push(self.entries[position].operation);
            position = self.entries[position].next;
        }
        waiting
    }

    fn unlink(&mut self, position: usize) {
        let Entry { previous, next, .. } = self.entries[position];
        self.entries[previous].next = next;
        if next != END {
            self.entries[next].previous = previous;
        }
    }

    fn relink(&mut self, position: usize) {
        let Entry { previous, next, .. } = self.entries[position];
        self.entries[previous].next = position;
        if next != END {
            self.entries[next].previous = position;
        }
    }

    fn lift(&mut self, call: usize) {
        self.unlink(call);
        self.unlink(self.entries[call].mate);
    }

    fn unlift(&mut self, call: usize) {
        self.relink(self.entries[call].mate);
        self.relink(call);
    }
}

/// The register after the operation, if the answer fits.
fn apply<'a>(operation: &'a Operation, value: Value<'a>) -> Option<Value<'a>> {
    let answered = operation.returned.is_some();
    match &operation.call {
        Call::Put { value } => Some(Some(value)),
        Call::Delete => Some(None),
        Call::Get { found } => (!answered || found.as_deref() == value).then_some(value),
        Call::Cas {
            expected,
            value: new,
            succeeded,
        } => {
            let matches = expected.as_deref() == value;
            let fits = !answered || *succeeded == matches;
            fits.then_some(if matches { Some(new.as_str()) } else { value })
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct BitSet(Vec<u64>);

impl BitSet {
    fn new(bits: usize) -> Self {
        Self(vec![0; bits.div_ceil(64)])
    }

    fn set(&mut self, bit: usize) {
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn clear(&mut self, bit: usize) {
        self.0[bit / 64] &= !(1 << (bit % 64));
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::GaveUp { key } => {
                write!(f, "not decided: the search at key {key:?} was given up")
            }
            Self::Violation { key, stuck } => {
                writeln!(
                    f,
                    "not linearizable: at key {key:?} no order explains these answers:"
                )?;
                for operation in stuck {
                    let Operation {
                        client,
                        call,
                        invoked,
                        returned,
                        ..
                    } = operation;
                    let returned = returned.map_or("never".into(), |at| at.to_string());
                    writeln!(f, "  client {client}, {invoked} to {returned}: {call:?}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(client: u64, call: Call, invoked: u64, returned: Option<u64>) -> Operation {
        Operation {
            client,
            key: "k".into(),
            call,
            invoked,
            returned,
        }
    }

    fn put(value: &str) -> Call {
        Call::Put {
            value: value.into(),
        }
    }

    fn get(found: Option<&str>) -> Call {
        Call::Get {
            found: found.map(Into::into),
        }
    }

    fn cas(expected: Option<&str>, value: &str, succeeded: bool) -> Call {
        Call::Cas {
            expected: expected.map(Into::into),
            value: value.into(),
            succeeded,
        }
    }

    fn is_ok(history: &[Operation]) -> bool {
        match check(history, 1_000_000) {
            Verdict::Linearizable => true,
            Verdict::Violation { .. } => false,
            Verdict::GaveUp { .. } => panic!("gave up"),
        }
    }

    #[test]
    fn one_after_the_other() {
        assert!(is_ok(&[]));
        assert!(is_ok(&[
            op(1, put("a"), 0, Some(1)),
            op(1, get(Some("a")), 2, Some(3))
        ]));
        assert!(!is_ok(&[
            op(1, put("a"), 0, Some(1)),
            op(1, get(None), 2, Some(3))
        ]));
        assert!(!is_ok(&[
            op(1, get(Some("a")), 0, Some(1)),
            op(1, put("a"), 2, Some(3))
        ]));
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [
            op(1, put("a"), 0, Some(1)),
            op(1, put("b"), 2, Some(3)),
            op(2, get(Some("b")), 4, Some(5)),
            op(3, get(Some("a")), 6, Some(7)),
        ];
        assert!(!is_ok(&history));
        assert!(is_ok(&history[..3]));
    }

    #[test]
    fn concurrent_operations_may_take_either_order() {
        for last in ["a", "b"] {
            let history = [
                op(1, put("a"), 0, Some(10)),
                op(2, put("b"), 0, Some(10)),
                op(3, get(Some(last)), 11, Some(12)),
            ];
            assert!(is_ok(&history));
        }
    }

    #[test]
    fn two_readers_must_agree_on_the_order() {
        let history = [
            op(1, put("a"), 0, Some(100)),
            op(2, put("b"), 0, Some(100)),
            op(3, get(Some("a")), 10, Some(20)),
            op(3, get(Some("b")), 30, Some(40)),
            op(4, get(Some("b")), 10, Some(20)),
            op(4, get(Some("a")), 30, Some(40)),
        ];
        assert!(!is_ok(&history));
    }

    #[test]
    fn an_unanswered_write_may_happen_late_or_never() {
        let unanswered = op(1, put("a"), 0, None);
        assert!(is_ok(&[unanswered.clone(), op(2, get(None), 5, Some(6))]));
        assert!(is_ok(&[
            unanswered.clone(),
            op(2, get(None), 5, Some(6)),
            op(2, get(Some("a")), 7, Some(8)),
        ]));
        assert!(!is_ok(&[
            unanswered,
            op(2, get(Some("a")), 5, Some(6)),
            op(2, get(None), 7, Some(8)),
        ]));
    }

    #[test]
    fn compare_and_set() {
        assert!(is_ok(&[
            op(1, cas(None, "a", true), 0, Some(1)),
            op(1, cas(Some("a"), "b", true), 2, Some(3))
        ]));
        assert!(!is_ok(&[
            op(1, cas(None, "a", true), 0, Some(1)),
            op(2, cas(None, "b", true), 2, Some(3))
        ]));
        assert!(is_ok(&[
            op(1, cas(None, "a", true), 0, Some(9)),
            op(2, cas(None, "b", false), 2, Some(3))
        ]));
        assert!(!is_ok(&[op(1, cas(None, "b", false), 2, Some(3))]));
    }

    #[test]
    fn keys_are_judged_apart() {
        let mut other = op(2, get(None), 2, Some(3));
        other.key = "other".into();
        assert!(is_ok(&[op(1, put("a"), 0, Some(1)), other]));
    }

    #[test]
    fn a_search_without_steps_says_that_it_gave_up() {
        let history = [op(1, put("a"), 0, Some(1))];
        assert_eq!(check(&history, 0), Verdict::GaveUp { key: "k".into() });
    }

    /// Every history of up to three overlapping operations agrees with trying all orders.
    #[test]
    fn agrees_with_trying_every_order() {
        let calls = [
            put("a"),
            put("b"),
            get(None),
            get(Some("a")),
            cas(Some("a"), "b", true),
            Call::Delete,
        ];
        let windows = [(0, 3), (1, 2), (2, 5), (4, 6)];
        let mut histories = vec![Vec::new()];
        for client in 0..3 {
            let mut longer = Vec::new();
            for history in &histories {
                for call in &calls {
                    for (invoked, returned) in windows {
                        let mut history: Vec<Operation> = history.clone();
                        history.push(op(client, call.clone(), invoked, Some(returned)));
                        longer.push(history);
                    }
                }
            }
            for history in &longer {
                assert_eq!(
                    is_ok(history),
                    some_order_explains(history, None),
                    "{history:?}"
                );
            }
            histories = longer;
        }
    }

    fn some_order_explains(left: &[Operation], value: Value<'_>) -> bool {
        left.is_empty()
            || (0..left.len()).any(|first| {
                let candidate = &left[first];
                let in_time = left
                    .iter()
                    .all(|other| candidate.invoked <= other.returned.unwrap());
                let rest: Vec<_> = left
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| *i != first)
                    .map(|(_, o)| o.clone())
                    .collect();
                in_time
                    && apply(candidate, value)
                        .is_some_and(|after| some_order_explains(&rest, after))
            })
    }
}
