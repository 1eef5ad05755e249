//! An exact summary of the beginning of a history. The summarized operations need not be kept.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::register::{Register, Step, Value};
use super::{Call, Contradiction, HistoryOperation, Limits, Verdict, check_key};

/// A summary of all operations that were requested before a time.
///
/// For each key, the summary contains each value that the key can have at that time. For each
/// value, it contains the operations that have not taken effect yet.
#[derive(Clone, Debug, Default)]
pub struct Prefix {
    keys: BTreeMap<String, Summary>,
    /// The end of the prefix. Later operations are not part of it.
    until: u64,
    /// The number of summarized operations.
    operations: usize,
}

#[derive(Clone, Debug)]
enum Summary {
    Known {
        /// Operations that may take effect after the end. They returned later or never.
        open: Vec<HistoryOperation>,
        /// The states that the register can have at the end.
        states: Vec<State<Option<String>>>,
    },
    /// The states of this key exceed the limits.
    GaveUp,
    /// The summarized operations are not linearizable.
    Violation(Box<Contradiction>),
}

/// A possible state of a register: its value, and the indexes of the open operations that have
/// taken effect.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct State<V> {
    value: V,
    placed: BTreeSet<usize>,
}

impl Prefix {
    /// The number of summarized operations.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// Extends the prefix to the time `until`.
    ///
    /// `operations` are all operations that were requested since the previous end. None of them may
    /// receive a response later.
    pub fn extend(&mut self, operations: Vec<HistoryOperation>, until: u64, limits: Limits) {
        self.operations += operations.len();
        let mut by_key: BTreeMap<String, Vec<HistoryOperation>> = BTreeMap::new();
        for operation in operations {
            by_key.entry(operation.key.clone()).or_default().push(operation);
        }
        // Open operations of these keys can return before the new end.
        for key in self.keys.keys() {
            by_key.entry(key.clone()).or_default();
        }
        for (key, new) in by_key {
            let summary = match self.keys.get(&key) {
                None => {
                    let empty = State { value: None, placed: BTreeSet::new() };
                    summarize(&[], &[empty], &new, until, limits)
                }
                Some(Summary::Known { open, states }) => {
                    summarize(open, states, &new, until, limits)
                }
                Some(Summary::GaveUp | Summary::Violation(_)) => continue,
            };
            let summary = summary.unwrap_or_else(|| {
                let new: Vec<_> = new.iter().collect();
                match self.check_key(&key, &new, limits) {
                    Verdict::Violation(found) => Summary::Violation(found),
                    Verdict::Linearizable | Verdict::GaveUp { .. } => Summary::GaveUp,
                }
            });
            self.keys.insert(key, summary);
        }
        self.until = until;
    }

    /// The keys of the operations.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Checks operations on one key that were requested after the prefix.
    pub(super) fn check_key(
        &self,
        key: &str,
        later: &[&HistoryOperation],
        limits: Limits,
    ) -> Verdict {
        let gave_up = Verdict::GaveUp { key: key.to_owned() };
        let (open, states) = match self.keys.get(key) {
            None => return check_key(key, later, limits),
            Some(Summary::GaveUp) => return gave_up,
            Some(Summary::Violation(found)) => return Verdict::Violation(found.clone()),
            Some(Summary::Known { open, states }) => (open, states),
        };
        let mut verdict: Option<Verdict> = None;
        for state in states {
            let begin = self.begin(key, open, state);
            let operations: Vec<_> = begin.iter().chain(later.iter().copied()).collect();
            verdict = match (check_key(key, &operations, limits), verdict) {
                (Verdict::Linearizable, _) => return Verdict::Linearizable,
                (Verdict::GaveUp { .. }, _) | (_, Some(Verdict::GaveUp { .. })) => {
                    Some(gave_up.clone())
                }
                // The contradiction with the longest order explains most.
                (Verdict::Violation(found), Some(Verdict::Violation(known)))
                    if found.order.len() <= known.order.len() =>
                {
                    Some(Verdict::Violation(known))
                }
                (found, _) => Some(found),
            };
        }
        verdict.unwrap_or(gave_up)
    }

    /// The shortest history that leads to a state: a write of the value, and the open operations.
    fn begin(
        &self,
        key: &str,
        open: &[HistoryOperation],
        state: &State<Option<String>>,
    ) -> Vec<HistoryOperation> {
        let at = self.until.saturating_sub(1);
        let value = state.value.clone().map(|value| HistoryOperation {
            client: 0,
            key: key.to_owned(),
            call: Call::Put { value },
            invoked: at,
            returned: Some(at),
        });
        let open = open.iter().enumerate();
        let left = open.filter(|(index, _)| !state.placed.contains(index));
        let left = left.map(|(_, operation)| HistoryOperation {
            invoked: operation.invoked.max(self.until),
            ..operation.clone()
        });
        value.into_iter().chain(left).collect()
    }
}

/// Computes all states at the time `until`, after `states` and the `new` operations. Returns `None`
/// if there is no state, or if the states exceed the limits.
fn summarize(
    open: &[HistoryOperation],
    states: &[State<Option<String>>],
    new: &[HistoryOperation],
    until: u64,
    limits: Limits,
) -> Option<Summary> {
    // A read without a response has no effect and no observer.
    let is_relevant =
        |it: &&HistoryOperation| it.returned.is_some() || !matches!(it.call, Call::Get { .. });
    let mut new: Vec<&HistoryOperation> = new.iter().filter(is_relevant).collect();
    new.sort_by_key(|operation| operation.invoked);
    let all: Vec<&HistoryOperation> = open.iter().chain(new).collect();
    let mut register = Register::default();
    let before: Vec<_> = states
        .iter()
        .map(|state| {
            let value = state.value.as_ref().map_or(0, |value| register.number(Some(value)));
            State { value, placed: state.placed.clone() }
        })
        .collect();
    let steps = all.iter().map(|it| register.step(&it.call, it.returned.is_some())).collect();
    let mut forward = Forward { all, steps, register, limits, taken: 0 };
    let (after, left) = forward.run(before, until)?;
    let Forward { all, register, .. } = forward;
    // An operation that has taken effect in each state is complete.
    let is_open = |index: &usize| !after.iter().all(|state| state.placed.contains(index));
    let left: Vec<usize> = left.into_iter().filter(is_open).collect();
    let states = after.iter().map(|state| State {
        value: register.value(state.value),
        placed: state.placed.iter().filter_map(|index| left.binary_search(index).ok()).collect(),
    });
    let states = states.collect();
    Some(Summary::Known { open: left.iter().map(|index| all[*index].clone()).collect(), states })
}

/// A search of all reachable states, in order of the returns of the operations.
///
/// An operation is placed when it returns. Any other operations in progress may be placed before.
struct Forward<'a> {
    all: Vec<&'a HistoryOperation>,
    steps: Vec<Step>,
    register: Register,
    limits: Limits,
    /// The number of steps so far.
    taken: u64,
}

/// The approximate size of a state without placed operations, and of each placed operation, in
/// bytes.
const STATE_BYTES: usize = 100;
const PLACED_BYTES: usize = 16;

impl Forward<'_> {
    /// The states at the time `until`, and the operations that are not placed in all states, in
    /// order.
    fn run(
        &mut self,
        mut states: Vec<State<Value>>,
        until: u64,
    ) -> Option<(Vec<State<Value>>, Vec<usize>)> {
        let returned = |index: usize| self.all[index].returned.filter(|at| *at < until);
        let indexes = 0..self.all.len();
        let mut due: Vec<_> = indexes.clone().filter_map(|it| Some((returned(it)?, it))).collect();
        due.sort_unstable();
        let mut calls: Vec<_> = indexes.map(|it| (self.all[it].invoked, it)).collect();
        calls.sort_unstable();
        let mut calls = calls.into_iter().peekable();
        let mut in_progress = BTreeSet::new();
        for (at, operation) in due {
            // At the same time, calls come before returns: the operations may be concurrent.
            while let Some((_, call)) = calls.next_if(|(invoked, _)| *invoked <= at) {
                in_progress.insert(call);
            }
            states = self.place(states, operation, &in_progress)?;
            // The operation has taken effect in each state.
            in_progress.remove(&operation);
            for state in &mut states {
                state.placed.remove(&operation);
            }
        }
        in_progress.extend(calls.map(|(_, call)| call));
        (!states.is_empty()).then(|| (states, in_progress.into_iter().collect()))
    }

    /// The states in which the operation `due`, which returns now, has taken effect.
    fn place(
        &mut self,
        states: Vec<State<Value>>,
        due: usize,
        in_progress: &BTreeSet<usize>,
    ) -> Option<Vec<State<Value>>> {
        let (mut reached, mut seen) = (Minimal::default(), Minimal::default());
        let wanted = Wanted::of(in_progress.iter().map(|index| self.steps[*index]));
        let mut next = states;
        while !next.is_empty() {
            let mut further = Vec::new();
            for mut state in next {
                self.observe(&mut state, in_progress);
                if state.placed.contains(&due) {
                    reached.insert(&self.all, state);
                } else if seen.insert(&self.all, state.clone()) {
                    self.writes(&state, in_progress, &wanted, &mut further)?;
                }
            }
            if reached.bytes + seen.bytes + self.register.bytes() > self.limits.bytes_max {
                return None;
            }
            next = further;
        }
        Some(reached.into_states())
    }

    /// Places operations without an effect whose responses match. A later place is never better.
    fn observe(&mut self, state: &mut State<Value>, in_progress: &BTreeSet<usize>) {
        for index in in_progress {
            let step = self.steps[*index];
            if is_observation(step) && self.register.apply(step, state.value).is_some() {
                state.placed.insert(*index);
            }
        }
    }

    /// Adds the states after one more write.
    fn writes(
        &mut self,
        state: &State<Value>,
        in_progress: &BTreeSet<usize>,
        wanted: &Wanted,
        after: &mut Vec<State<Value>>,
    ) -> Option<()> {
        let mut tried = HashSet::new();
        for index in in_progress {
            let step = self.steps[*index];
            if is_observation(step) || state.placed.contains(index) {
                continue;
            }
            self.taken += 1;
            if self.taken > self.limits.steps_max {
                return None;
            }
            let Some(value) = self.register.apply(step, state.value) else {
                continue;
            };
            // An operation without a response takes effect only if another operation needs its
            // effect. Of operations with equal steps, the first one is sufficient.
            let is_useful = self.all[*index].returned.is_some()
                || (wanted.change(state.value, value) && tried.insert(step));
            if is_useful {
                let mut placed = state.placed.clone();
                placed.insert(*index);
                after.push(State { value, placed });
            }
        }
        Some(())
    }
}

/// The values that the responses of operations require or exclude.
#[derive(Default)]
struct Wanted {
    met: HashSet<Value>,
    not_met: HashSet<Value>,
    /// True with append operations, because each value can become part of another value.
    all: bool,
}

impl Wanted {
    fn of(steps: impl Iterator<Item = Step>) -> Self {
        let mut wanted = Self::default();
        for step in steps {
            match step {
                Step::Set(_) => false,
                Step::Append(_) => std::mem::replace(&mut wanted.all, true),
                Step::Swap { expected, answer: Some(false), .. } => wanted.not_met.insert(expected),
                Step::Is(value) | Step::Swap { expected: value, .. } => wanted.met.insert(value),
            };
        }
        wanted
    }

    /// Returns true if a response can require this change of the value.
    fn change(&self, from: Value, to: Value) -> bool {
        from != to && (self.all || self.met.contains(&to) || self.not_met.contains(&from))
    }
}

/// Returns true if the response shows that the operation changed nothing.
fn is_observation(step: Step) -> bool {
    matches!(step, Step::Is(_) | Step::Swap { answer: Some(false), .. })
}

/// A set of states without redundant ones.
///
/// An operation without a response need not take effect. A state is redundant if another state has
/// the same value and the same answered operations, and a subset of its unanswered operations.
#[derive(Default)]
struct Minimal {
    /// The unanswered operations that have taken effect, by value and answered operations.
    states: BTreeMap<State<Value>, Vec<BTreeSet<usize>>>,
    bytes: usize,
}

impl Minimal {
    /// Adds a state. Returns false if the state is redundant.
    fn insert(&mut self, all: &[&HistoryOperation], state: State<Value>) -> bool {
        let size = |placed: usize| STATE_BYTES + PLACED_BYTES * placed;
        let answered = |index: &usize| all[*index].returned.is_some();
        let placed = state.placed.len();
        let (answered, unanswered) = state.placed.into_iter().partition(answered);
        let known = self.states.entry(State { value: state.value, placed: answered }).or_default();
        if known.iter().any(|it: &BTreeSet<usize>| it.is_subset(&unanswered)) {
            return false;
        }
        known.retain(|it| !it.is_superset(&unanswered));
        known.push(unanswered);
        self.bytes += size(placed);
        true
    }

    fn into_states(self) -> Vec<State<Value>> {
        let states = self.states.into_iter().flat_map(|(state, unanswered)| {
            unanswered.into_iter().map(move |more| State {
                value: state.value,
                placed: state.placed.iter().copied().chain(more).collect(),
            })
        });
        states.collect()
    }
}
