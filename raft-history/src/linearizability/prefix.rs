//! The beginning of a history, summarised exactly, so that its operations need not be kept.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::register::{Register, Step, Value};
use super::{Call, Contradiction, HistoryOperation, Limits, Verdict, check_key};

/// All operations before a moment, as far as later operations can tell: for each key, every value
/// that it can have at that moment, and for each such value the operations that have not taken
/// effect yet.
#[derive(Clone, Debug, Default)]
pub struct Prefix {
    keys: BTreeMap<String, Summary>,
    /// The moment.
    until: u64,
    /// How many operations there were before it.
    operations: usize,
}

#[derive(Clone, Debug)]
enum Summary {
    Known {
        /// Operations that may take effect after the moment: those that returned later, and those
        /// that never returned.
        open: Vec<HistoryOperation>,
        /// In what states the register can be at the moment.
        states: Vec<State<Option<String>>>,
    },
    /// The limits were too narrow for the states of this key.
    GaveUp,
    /// The operations before the moment contradict each other already.
    Violation(Box<Contradiction>),
}

/// A possible state of a register: its value, and which of the open operations have taken effect.
/// Operations are named by their positions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct State<V> {
    value: V,
    placed: BTreeSet<usize>,
}

impl Prefix {
    /// How many operations it summarises.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// Adds all operations that were invoked from the previous moment on and before `until`, which
    /// is the moment from now on. Operations that can still return must not be among them.
    pub fn extend(&mut self, operations: Vec<HistoryOperation>, until: u64, limits: Limits) {
        self.operations += operations.len();
        let mut by_key: BTreeMap<String, Vec<HistoryOperation>> = BTreeMap::new();
        for operation in operations {
            by_key.entry(operation.key.clone()).or_default().push(operation);
        }
        // What was open at the previous moment may have to be placed by now.
        for key in self.keys.keys() {
            by_key.entry(key.clone()).or_default();
        }
        for (key, new) in by_key {
            let summary = match self.keys.get(&key) {
                None => {
                    let empty = State { value: None, placed: BTreeSet::new() };
                    summarise(&[], &[empty], &new, until, limits)
                }
                Some(Summary::Known { open, states }) => {
                    summarise(open, states, &new, until, limits)
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

    /// Judges operations on one key that were invoked after those of the prefix.
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
                // The one that explains the most is shown.
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

    /// The shortest history that leads to a state: a write of the value, and the operations that
    /// are open.
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

/// All states at the moment `until`, after `new` operations that follow on `states`. None if there
/// is no such state, or too many of them.
fn summarise(
    open: &[HistoryOperation],
    states: &[State<Option<String>>],
    new: &[HistoryOperation],
    until: u64,
    limits: Limits,
) -> Option<Summary> {
    // A read that never returned says nothing.
    let counts =
        |it: &&HistoryOperation| it.returned.is_some() || !matches!(it.call, Call::Get { .. });
    let mut new: Vec<&HistoryOperation> = new.iter().filter(counts).collect();
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
    // An operation that has taken effect in every state is over.
    let is_open = |index: &usize| !after.iter().all(|state| state.placed.contains(index));
    let left: Vec<usize> = left.into_iter().filter(is_open).collect();
    let states = after.iter().map(|state| State {
        value: register.value(state.value),
        placed: state.placed.iter().filter_map(|index| left.binary_search(index).ok()).collect(),
    });
    let states = states.collect();
    Some(Summary::Known { open: left.iter().map(|index| all[*index].clone()).collect(), states })
}

/// All ways forward through operations, in order of their returns: an operation is placed when it
/// has to be, after any others that can come before it.
struct Forward<'a> {
    all: Vec<&'a HistoryOperation>,
    steps: Vec<Step>,
    register: Register,
    limits: Limits,
    /// How many steps were taken so far.
    taken: u64,
}

/// About how many bytes a state occupies without the operations that it has placed, and with each
/// of these.
const STATE_BYTES: usize = 100;
const PLACED_BYTES: usize = 16;

impl Forward<'_> {
    /// The states at the moment `until`, and the operations that may still be placed in some of
    /// them, in order.
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
        let mut under_way = BTreeSet::new();
        for (at, operation) in due {
            // At the same moment, calls come before returns: the operations may be concurrent.
            while let Some((_, call)) = calls.next_if(|(invoked, _)| *invoked <= at) {
                under_way.insert(call);
            }
            states = self.place(states, operation, &under_way)?;
            // It has taken effect in every state.
            under_way.remove(&operation);
            for state in &mut states {
                state.placed.remove(&operation);
            }
        }
        under_way.extend(calls.map(|(_, call)| call));
        (!states.is_empty()).then(|| (states, under_way.into_iter().collect()))
    }

    /// The states in which an operation has taken effect that returns now.
    fn place(
        &mut self,
        states: Vec<State<Value>>,
        due: usize,
        under_way: &BTreeSet<usize>,
    ) -> Option<Vec<State<Value>>> {
        let (mut reached, mut seen) = (Minimal::default(), Minimal::default());
        let wanted = Wanted::of(under_way.iter().map(|index| self.steps[*index]));
        let mut next = states;
        while !next.is_empty() {
            let mut further = Vec::new();
            for mut state in next {
                self.observe(&mut state, under_way);
                if state.placed.contains(&due) {
                    reached.insert(&self.all, state);
                } else if seen.insert(&self.all, state.clone()) {
                    self.writes(&state, under_way, &wanted, &mut further)?;
                }
            }
            if reached.bytes + seen.bytes + self.register.bytes() > self.limits.bytes_max {
                return None;
            }
            next = further;
        }
        Some(reached.into_states())
    }

    /// Places answers that fit and whose operations changed nothing: they can never fit better.
    fn observe(&mut self, state: &mut State<Value>, under_way: &BTreeSet<usize>) {
        for index in under_way {
            let step = self.steps[*index];
            if is_observation(step) && self.register.apply(step, state.value).is_some() {
                state.placed.insert(*index);
            }
        }
    }

    /// Adds the states that one more write leads to.
    fn writes(
        &mut self,
        state: &State<Value>,
        under_way: &BTreeSet<usize>,
        wanted: &Wanted,
        after: &mut Vec<State<Value>>,
    ) -> Option<()> {
        let mut tried = HashSet::new();
        for index in under_way {
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
            // An operation that never returned need not take effect, unless another one wants it
            // to. Of those that do the same, the first one can always take the place of another.
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

/// Which values operations must meet, or must not meet.
#[derive(Default)]
struct Wanted {
    met: HashSet<Value>,
    not_met: HashSet<Value>,
    /// Where a text is appended, every value can become part of another.
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

    /// Whether an operation may want the value to change in this way.
    fn change(&self, from: Value, to: Value) -> bool {
        from != to && (self.all || self.met.contains(&to) || self.not_met.contains(&from))
    }
}

/// Whether an answer says that the operation changed nothing.
fn is_observation(step: Step) -> bool {
    matches!(step, Step::Is(_) | Step::Swap { answer: Some(false), .. })
}

/// States of which none makes another one superfluous. An operation that never returned need not
/// take effect: a state that differs from another one only in that more of these have done so leads
/// to nothing that the other does not.
#[derive(Default)]
struct Minimal {
    /// By value and answered operations: the unanswered ones that have taken effect.
    states: BTreeMap<State<Value>, Vec<BTreeSet<usize>>>,
    bytes: usize,
}

impl Minimal {
    /// Returns false if the state is superfluous.
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
