//! The search for an order.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::register::{Register, Step, Value};
use super::{HistoryOperation, Limits};

/// What a search found.
pub(super) enum Found {
    Order,
    NoOrder(DeadEnd),
    Nothing,
}

/// Where the search came furthest. Operations are named by their positions.
pub(super) struct DeadEnd {
    /// The order so far, and the value after each operation.
    pub(super) order: Vec<(usize, Value)>,
    /// The operations that are under way, none of which can come next.
    pub(super) waiting: Vec<usize>,
    /// The one of them that was answered first.
    pub(super) culprit: usize,
}

/// Calls and returns in order of time, as a doubly linked list from which operations are lifted.
/// The returns of operations that were not answered are left out: nothing must come before them.
pub(super) struct Search<'a> {
    steps: &'a [Step],
    /// How many operations were answered; they are the first ones.
    answered: usize,
    /// Position 0 is the head.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    operation: u32,
    /// Where the return of a call stands; [`NEVER`] if it has none, [`RETURN`] if this is a return.
    mate: u32,
    previous: u32,
    next: u32,
}

const HEAD: u32 = 0;
const END: u32 = u32::MAX;
const NEVER: u32 = u32::MAX;
const RETURN: u32 = u32::MAX - 1;
/// Stands for all values that no operation left tells of.
const UNOBSERVED: Value = Value::MAX;

/// How many steps may be spent on showing what is known.
const EXPLANATION_STEPS: u64 = 300_000;

/// A step taken, to be taken back.
struct LinearizedOp {
    position: u32,
    before: Value,
    highest: usize,
    /// Whether every order from here can begin with it, so that no other way has to be tried.
    forced: bool,
}

/// What the search has placed, and what follows from it.
struct State {
    done: LinearizedSet,
    value: Value,
    /// What is left about each value. None where texts are appended: there every value can
    /// become part of another.
    left: Option<Vec<RemainingUses>>,
    /// How many refusals are left whose expected value can still be written.
    threats: u32,
    /// Values that were read, or met by a swap, and that nobody writes.
    invented: Vec<Value>,
}

/// What the operations that are not placed say and do about one value.
#[derive(Clone, Copy, Default)]
struct RemainingUses {
    /// Those that can tell this value from others.
    told: u32,
    /// Those of them that were answered, so that they must meet this value.
    needed: u32,
    /// Those of them that must not meet it.
    refused: u32,
    /// Those that can write it.
    writers: u32,
}

impl<'a> Search<'a> {
    /// The operations, those that were answered first, and what they do.
    pub(super) fn new(operations: &[&HistoryOperation], steps: &'a [Step]) -> Self {
        let answered = operations.partition_point(|operation| operation.returned.is_some());
        let mut moments = Vec::with_capacity(2 * operations.len());
        for (index, operation) in operations.iter().enumerate() {
            // At the same moment, calls come before returns: the operations may be concurrent.
            moments.push((operation.invoked, 0, index as u32));
            if let Some(returned) = operation.returned {
                moments.push((returned, 1, index as u32));
            }
        }
        moments.sort_unstable();
        let head = Entry { operation: 0, mate: NEVER, previous: END, next: END };
        let mut entries = vec![head];
        let mut calls = vec![END; operations.len()];
        for (_, kind, operation) in moments {
            let position = entries.len() as u32;
            entries[position as usize - 1].next = position;
            let mate = if kind == 0 {
                calls[operation as usize] = position;
                NEVER
            } else {
                // An answer before its question leaves the call without a mate; the search then
                // meets a return that it can't explain, and says so.
                if let Some(call) = entries.get_mut(calls[operation as usize] as usize) {
                    call.mate = position;
                }
                RETURN
            };
            entries.push(Entry { operation, mate, previous: position - 1, next: END });
        }
        Self { steps, answered, entries }
    }

    /// Looks for an order.
    pub(super) fn run(self, register: &mut Register, limits: Limits) -> Found {
        let state = State::new(self.steps, self.answered);
        self.search(register, limits, state).0
    }

    /// Shows how far one gets, when it is known that there is no order. [`run`](Self::run) gives up
    /// beginnings of which it can tell that they lead nowhere; a person wants to see the
    /// contradiction itself.
    pub(super) fn explain(self, register: &mut Register) -> Option<DeadEnd> {
        let mut state = State::new(self.steps, self.answered);
        state.left = None;
        state.invented.clear();
        let limits = Limits { steps_max: EXPLANATION_STEPS, ..Limits::default() };
        let (found, stuck) = self.search(register, limits, state);
        match found {
            Found::NoOrder(stuck) => Some(stuck),
            Found::Nothing => stuck,
            Found::Order => {
                debug_assert!(false, "two searches of one history disagree");
                None
            }
        }
    }

    fn search(
        mut self,
        register: &mut Register,
        limits: Limits,
        mut state: State,
    ) -> (Found, Option<DeadEnd>) {
        let mut seen = VisitedStates::default();
        let mut order: Vec<LinearizedOp> = Vec::new();
        let mut left = self.answered;
        let mut position = self.entry(HEAD).next;
        let mut steps = 0_u64;
        let mut stuck: Option<DeadEnd> = None;
        while left > 0 {
            steps += 1;
            if steps > limits.steps_max || seen.bytes + register.bytes() > limits.bytes_max {
                return (Found::Nothing, stuck);
            }
            if position == END || self.entry(position).mate == RETURN {
                // An answer is due whose operation has no place, and no other way is left from
                // here.
                let further = |stuck: &DeadEnd| order.len() > stuck.order.len();
                if stuck.as_ref().is_none_or(further) {
                    stuck = Some(self.stuck(&order, state.value, position));
                }
                let due = self.entries.get(position as usize);
                if due.is_some_and(|due| state.is_invented(self.steps[due.operation as usize])) {
                    // Whatever is placed otherwise, this answer stays.
                    let stuck = self.stuck(&order, state.value, position);
                    return (Found::NoOrder(stuck), None);
                }
                loop {
                    let Some(last) = order.pop() else {
                        return (stuck.map_or(Found::Nothing, Found::NoOrder), None);
                    };
                    let operation = self.entry(last.position).operation as usize;
                    left += usize::from(operation < self.answered);
                    state.take_back(operation, self.steps[operation], &last);
                    self.unlift(last.position);
                    if !last.forced {
                        position = self.entry(last.position).next;
                        break;
                    }
                }
                continue;
            }
            let here = position;
            let entry = self.entry(here);
            let operation = entry.operation as usize;
            let step = self.steps[operation];
            position = entry.next;
            let Some(after) = register.apply(step, state.value) else {
                continue;
            };
            let Some(taken) = state.take(operation, step, after, here) else {
                continue;
            };
            // Without an answer, what has no effect here need not happen here.
            let useful = operation < self.answered || state.is_useful(&taken);
            if useful && (taken.forced || seen.insert(state.key())) {
                left -= usize::from(operation < self.answered);
                order.push(taken);
                self.lift(here);
                position = self.entry(HEAD).next;
            } else {
                state.take_back(operation, step, &taken);
            }
        }
        (Found::Order, None)
    }

    fn stuck(&self, order: &[LinearizedOp], value: Value, at: u32) -> DeadEnd {
        let operation = |taken: &LinearizedOp| self.entry(taken.position).operation as usize;
        let afterwards = order.iter().skip(1).map(|taken| taken.before).chain([value]);
        let mut waiting = Vec::new();
        let mut position = self.entry(HEAD).next;
        while position != at && position != END {
            waiting.push(self.entry(position).operation as usize);
            position = self.entry(position).next;
        }
        DeadEnd {
            order: order.iter().map(operation).zip(afterwards).collect(),
            waiting,
            culprit: self.entries.get(at as usize).map_or(0, |entry| entry.operation as usize),
        }
    }

    fn entry(&self, position: u32) -> Entry {
        self.entries[position as usize]
    }

    fn unlink(&mut self, position: u32) {
        let Entry { previous, next, .. } = self.entry(position);
        self.entries[previous as usize].next = next;
        if next != END {
            self.entries[next as usize].previous = previous;
        }
    }

    fn relink(&mut self, position: u32) {
        let Entry { previous, next, .. } = self.entry(position);
        self.entries[previous as usize].next = position;
        if next != END {
            self.entries[next as usize].previous = position;
        }
    }

    fn lift(&mut self, call: u32) {
        self.unlink(call);
        let mate = self.entry(call).mate;
        if mate != NEVER {
            self.unlink(mate);
        }
    }

    fn unlift(&mut self, call: u32) {
        let mate = self.entry(call).mate;
        if mate != NEVER {
            self.relink(mate);
        }
        self.relink(call);
    }
}

impl State {
    fn new(steps: &[Step], answered: usize) -> Self {
        let appends = steps.iter().any(|step| matches!(step, Step::Append(_)));
        let mut state = Self {
            done: LinearizedSet::new(answered, steps.len() - answered),
            value: 0,
            left: (!appends).then(Vec::new),
            threats: 0,
            invented: Vec::new(),
        };
        for step in steps {
            state.count(*step, 1);
        }
        let values = 1..state.left.as_ref().map_or(0, Vec::len) as Value;
        state.invented = values.filter(|value| state.is_last_chance(*value)).collect();
        state
    }

    /// Notes that an operation is left (1), or is not any more (-1).
    fn count(&mut self, step: Step, change: i32) {
        match step {
            Step::Append(_) => {}
            Step::Set(new) => self.change(new, |left| add(&mut left.writers, change)),
            Step::Is(value) => self.change(value, |left| {
                add(&mut left.told, change);
                add(&mut left.needed, change);
            }),
            Step::Swap { expected, new, answer } => {
                self.change(expected, |left| {
                    add(&mut left.told, change);
                    match answer {
                        Some(true) => add(&mut left.needed, change),
                        Some(false) => add(&mut left.refused, change),
                        None => {}
                    }
                });
                if answer != Some(false) {
                    self.change(new, |left| add(&mut left.writers, change));
                }
            }
        }
    }

    fn change(&mut self, value: Value, change: impl FnOnce(&mut RemainingUses)) {
        let Some(all) = &mut self.left else { return };
        let value = value as usize;
        if all.len() <= value {
            all.resize(value + 1, RemainingUses::default());
        }
        let left = &mut all[value];
        let threats = |left: &RemainingUses| if left.writers > 0 { left.refused } else { 0 };
        self.threats -= threats(left);
        change(left);
        self.threats += threats(left);
    }

    fn left(&self, value: Value) -> Option<RemainingUses> {
        let left = self.left.as_ref()?;
        Some(left.get(value as usize).copied().unwrap_or_default())
    }

    /// The value as far as what is left can tell: all values that nobody tells of are the same.
    fn meaning(&self, value: Value) -> Value {
        let untold = self.left(value).is_some_and(|left| left.told == 0);
        if untold { UNOBSERVED } else { value }
    }

    /// Whether the value is still needed, and gone for ever once it is replaced.
    fn is_last_chance(&self, value: Value) -> bool {
        self.left(value).is_some_and(|left| left.needed > 0 && left.writers == 0)
    }

    /// Whether something without an answer can be of use where it was placed: it makes a value that
    /// somebody tells of, or it ends one that a refusal must not meet.
    fn is_useful(&self, taken: &LinearizedOp) -> bool {
        let (before, after) = (self.meaning(taken.before), self.meaning(self.value));
        before != after
            && (after != UNOBSERVED || self.left(before).is_none_or(|left| left.refused > 0))
    }

    /// Whether nobody wrote the value that the answer of this operation tells.
    fn is_invented(&self, step: Step) -> bool {
        let (Step::Is(value) | Step::Swap { expected: value, .. }) = step else {
            return false;
        };
        self.invented.contains(&value)
    }

    /// Places an operation, unless what is left can have no order then.
    fn take(
        &mut self,
        operation: usize,
        step: Step,
        after: Value,
        position: u32,
    ) -> Option<LinearizedOp> {
        let before = self.value;
        self.count(step, -1);
        if before != after && self.is_last_chance(before) {
            self.count(step, 1);
            return None;
        }
        self.value = after;
        // What has no effect can as well come first, and so can a value that nobody tells of where
        // another such value stands, unless a refusal could tell where it came.
        let forced = match step {
            Step::Is(_) => true,
            Step::Swap { answer, .. } => answer == Some(false),
            Step::Set(_) => {
                let untold = |value| self.meaning(value) == UNOBSERVED;
                operation < self.done.answered
                    && self.threats == 0
                    && untold(before)
                    && untold(after)
            }
            Step::Append(_) => false,
        };
        Some(LinearizedOp { position, before, highest: self.done.set(operation), forced })
    }

    fn take_back(&mut self, operation: usize, step: Step, taken: &LinearizedOp) {
        self.value = taken.before;
        self.count(step, 1);
        self.done.clear(operation, taken.highest);
    }

    /// All that the rest of the search depends on.
    fn key(&self) -> Box<[u64]> {
        self.done.key(self.meaning(self.value))
    }
}

fn add(count: &mut u32, change: i32) {
    *count = count.wrapping_add_signed(change);
}

/// Which operations have been placed. Those that were answered are placed almost in order of their
/// invocation, so that only a short stretch of their bits says anything.
struct LinearizedSet {
    bits: Vec<u64>,
    answered: usize,
    /// The first word that is not full, of those for answered operations.
    lowest: usize,
    /// The last such word that holds a bit.
    highest: usize,
}

impl LinearizedSet {
    fn new(answered: usize, unanswered: usize) -> Self {
        Self {
            bits: vec![0; answered.div_ceil(64) + unanswered.div_ceil(64)],
            answered,
            lowest: 0,
            highest: 0,
        }
    }

    /// The first word for operations that were not answered.
    fn tail(&self) -> usize {
        self.answered.div_ceil(64)
    }

    fn place(&self, operation: usize) -> (usize, u64) {
        match operation.checked_sub(self.answered) {
            None => (operation / 64, 1 << (operation % 64)),
            Some(rest) => (self.tail() + rest / 64, 1 << (rest % 64)),
        }
    }

    /// Returns what [`clear`](Self::clear) needs to take it back.
    fn set(&mut self, operation: usize) -> usize {
        let (word, bit) = self.place(operation);
        self.bits[word] |= bit;
        let highest = self.highest;
        if operation < self.answered {
            self.highest = highest.max(word);
            while self.lowest < self.tail() && self.bits[self.lowest] == u64::MAX {
                self.lowest += 1;
            }
        }
        highest
    }

    fn clear(&mut self, operation: usize, highest: usize) {
        let (word, bit) = self.place(operation);
        self.bits[word] &= !bit;
        self.highest = highest;
        if operation < self.answered {
            self.lowest = self.lowest.min(word);
        }
    }

    fn key(&self, value: Value) -> Box<[u64]> {
        let window = &self.bits[self.lowest..(self.highest + 1).min(self.tail())];
        let tail = &self.bits[self.tail()..];
        let zeros = tail.iter().rev().take_while(|word| **word == 0).count();
        let mut key = Vec::with_capacity(2 + window.len() + tail.len() - zeros);
        key.push(u64::from(value));
        key.push((self.lowest as u64) << 32 | window.len() as u64);
        key.extend_from_slice(window);
        key.extend_from_slice(&tail[..tail.len() - zeros]);
        key.into_boxed_slice()
    }
}

/// The configurations that were visited: which operations were placed, and the value.
#[derive(Default)]
struct VisitedStates {
    keys: HashSet<Box<[u64]>, BuildHasherDefault<WordHasher>>,
    bytes: usize,
}

impl VisitedStates {
    fn insert(&mut self, key: Box<[u64]>) -> bool {
        let bytes = 40 + 8 * key.len();
        let new = self.keys.insert(key);
        self.bytes += if new { bytes } else { 0 };
        new
    }
}

/// Mixes whole words: keys come from a search, and nobody chooses them to collide.
#[derive(Default)]
struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}
