//! The search for an order of operations that explains all responses.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::register::{Register, Step, Value};
use super::{HistoryOperation, Limits};

/// The result of a search.
pub(super) enum Found {
    /// An order exists.
    Order,
    /// No order exists.
    NoOrder(DeadEnd),
    /// The search reached its limits.
    Nothing,
}

/// The longest order that the search found. Operations are given by their indexes.
pub(super) struct DeadEnd {
    /// The order, with the value after each operation.
    pub(super) order: Vec<(usize, Value)>,
    /// The operations in progress. None of them can come next.
    pub(super) waiting: Vec<usize>,
    /// The first of them that returned.
    pub(super) culprit: usize,
}

/// Calls and returns in order of time, in a doubly linked list. An operation that is placed is
/// removed from the list. Operations without a response have no return, because no operation must
/// come before it.
pub(super) struct Search<'a> {
    steps: &'a [Step],
    /// The number of operations with a response. They come first.
    answered: usize,
    /// The list. Position 0 is its head.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    operation: u32,
    /// The position of the return of a call; [`NEVER`] if there is none. [`RETURN`] if this entry
    /// is a return.
    mate: u32,
    previous: u32,
    next: u32,
}

const HEAD: u32 = 0;
const END: u32 = u32::MAX;
const NEVER: u32 = u32::MAX;
const RETURN: u32 = u32::MAX - 1;
/// Represents all values that no remaining operation observes.
const UNOBSERVED: Value = Value::MAX;

/// The largest number of steps for an explanation of a known violation.
const EXPLANATION_STEPS: u64 = 300_000;

/// An operation in the current order, with the data to take it back.
struct LinearizedOp {
    position: u32,
    before: Value,
    highest: usize,
    /// True if each order from here can begin with this operation. No alternative is tried.
    forced: bool,
}

/// The placed operations, and facts about the remaining operations.
struct State {
    done: LinearizedSet,
    value: Value,
    /// The remaining uses of each value. `None` with append operations, because each value can
    /// become part of another value.
    left: Option<Vec<RemainingUses>>,
    /// The number of remaining rejections whose expected value can still be written.
    threats: u32,
    /// Values that a response contains and that no operation writes.
    invented: Vec<Value>,
}

/// The uses of one value by operations that are not placed.
#[derive(Clone, Copy, Default)]
struct RemainingUses {
    /// Operations that can distinguish this value from others.
    observers: u32,
    /// Observers with a response that requires this value.
    needed: u32,
    /// Observers with a response that excludes this value.
    refused: u32,
    /// Operations that can write this value.
    writers: u32,
}

impl<'a> Search<'a> {
    /// A search over operations and their steps. Operations with a response come first.
    pub(super) fn new(operations: &[&HistoryOperation], steps: &'a [Step]) -> Self {
        let answered = operations.partition_point(|operation| operation.returned.is_some());
        let mut moments = Vec::with_capacity(2 * operations.len());
        for (index, operation) in operations.iter().enumerate() {
            // At the same time, calls come before returns: the operations may be concurrent.
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
                // A response before its request leaves the call without a mate. The search then
                // reaches a return that no order explains.
                if let Some(call) = entries.get_mut(calls[operation as usize] as usize) {
                    call.mate = position;
                }
                RETURN
            };
            entries.push(Entry { operation, mate, previous: position - 1, next: END });
        }
        Self { steps, answered, entries }
    }

    /// Searches an order.
    pub(super) fn run(self, register: &mut Register, limits: Limits) -> Found {
        let state = State::new(self.steps, self.answered);
        self.search(register, limits, state).0
    }

    /// Searches a longer dead end after [`run`](Self::run) has found that no order exists. `run`
    /// abandons an order early if the remaining operations rule it out. Without this, a report
    /// would not show the contradicting operation itself.
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
                debug_assert!(false, "two searches of one history have different results");
                None
            }
        }
    }

    /// Tries orders depth-first. The second result is the best dead end of a search that reached
    /// its limits.
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
            if position != END && self.entry(position).mate != RETURN {
                let call = self.entry(position);
                let placed = self.place(position, register, &mut state, &mut seen);
                if let Some(placed) = placed {
                    left -= usize::from((call.operation as usize) < self.answered);
                    order.push(placed);
                    self.lift(position);
                    position = self.entry(HEAD).next;
                } else {
                    position = call.next;
                }
                continue;
            }
            // The operation that returns here is not placed, or the list has no further call.
            if stuck.as_ref().is_none_or(|stuck| order.len() > stuck.order.len()) {
                stuck = Some(self.stuck(&order, state.value, position));
            }
            let due = self.entries.get(position as usize);
            if due.is_some_and(|due| state.is_invented(self.steps[due.operation as usize])) {
                // No order of the other operations can explain this response.
                return (Found::NoOrder(self.stuck(&order, state.value, position)), None);
            }
            match self.backtrack(&mut order, &mut state, &mut left) {
                Some(next) => position = next,
                None => return (stuck.map_or(Found::Nothing, Found::NoOrder), None),
            }
        }
        (Found::Order, None)
    }

    /// Places the operation of a call next, if its response matches and the resulting state is new.
    fn place(
        &self,
        position: u32,
        register: &mut Register,
        state: &mut State,
        seen: &mut VisitedStates,
    ) -> Option<LinearizedOp> {
        let operation = self.entry(position).operation as usize;
        let step = self.steps[operation];
        let after = register.apply(step, state.value)?;
        let placed = state.place(operation, step, after, position)?;
        // An operation without a response and without an effect need not take place.
        let is_useful = operation < self.answered || state.is_useful(&placed);
        if is_useful && (placed.forced || seen.insert(state.key())) {
            return Some(placed);
        }
        state.take_back(operation, step, &placed);
        None
    }

    /// Takes operations back until another operation can be tried, and returns the position of that
    /// operation.
    fn backtrack(
        &mut self,
        order: &mut Vec<LinearizedOp>,
        state: &mut State,
        left: &mut usize,
    ) -> Option<u32> {
        while let Some(last) = order.pop() {
            let operation = self.entry(last.position).operation as usize;
            *left += usize::from(operation < self.answered);
            state.take_back(operation, self.steps[operation], &last);
            self.unlift(last.position);
            if !last.forced {
                return Some(self.entry(last.position).next);
            }
        }
        None
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

    /// Adds (1) or removes (-1) a remaining operation.
    fn count(&mut self, step: Step, change: i32) {
        match step {
            Step::Append(_) => {}
            Step::Set(new) => self.change(new, |left| add(&mut left.writers, change)),
            Step::Is(value) => self.change(value, |left| {
                add(&mut left.observers, change);
                add(&mut left.needed, change);
            }),
            Step::Swap { expected, new, answer } => {
                self.change(expected, |left| {
                    add(&mut left.observers, change);
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

    /// The value, or [`UNOBSERVED`] if no remaining operation can distinguish it from others.
    fn observed(&self, value: Value) -> Value {
        let is_unobserved = self.left(value).is_some_and(|left| left.observers == 0);
        if is_unobserved { UNOBSERVED } else { value }
    }

    /// Returns true if a response requires the value and no remaining operation writes it.
    fn is_last_chance(&self, value: Value) -> bool {
        self.left(value).is_some_and(|left| left.needed > 0 && left.writers == 0)
    }

    /// Returns true if an operation without a response has an observable effect at its place. It
    /// writes a value that another operation observes, or it replaces a value that a rejection
    /// excludes.
    fn is_useful(&self, taken: &LinearizedOp) -> bool {
        let (before, after) = (self.observed(taken.before), self.observed(self.value));
        before != after
            && (after != UNOBSERVED || self.left(before).is_none_or(|left| left.refused > 0))
    }

    /// Returns true if the response contains a value that no operation writes.
    fn is_invented(&self, step: Step) -> bool {
        let (Step::Is(value) | Step::Swap { expected: value, .. }) = step else {
            return false;
        };
        self.invented.contains(&value)
    }

    /// Places an operation. Returns `None` if the remaining operations then have no order.
    fn place(
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
        // An operation without an effect can come first. A write of an unobserved value over
        // another unobserved value can also come first, unless a rejection depends on its place.
        let forced = match step {
            Step::Is(_) => true,
            Step::Swap { answer, .. } => answer == Some(false),
            Step::Set(_) => {
                let is_unobserved = |value| self.observed(value) == UNOBSERVED;
                operation < self.done.answered
                    && self.threats == 0
                    && is_unobserved(before)
                    && is_unobserved(after)
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

    /// The part of the state that determines the rest of the search.
    fn key(&self) -> Box<[u64]> {
        self.done.key(self.observed(self.value))
    }
}

fn add(count: &mut u32, change: i32) {
    *count = count.wrapping_add_signed(change);
}

/// The set of placed operations. Operations with a response are placed almost in order of their
/// invocation. The words before and after a short window are therefore full or empty.
struct LinearizedSet {
    bits: Vec<u64>,
    answered: usize,
    /// The first word for operations with a response that is not full.
    lowest: usize,
    /// The last word for operations with a response that is not empty.
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

    /// The first word for operations without a response.
    fn tail(&self) -> usize {
        self.answered.div_ceil(64)
    }

    fn word_and_bit(&self, operation: usize) -> (usize, u64) {
        match operation.checked_sub(self.answered) {
            None => (operation / 64, 1 << (operation % 64)),
            Some(rest) => (self.tail() + rest / 64, 1 << (rest % 64)),
        }
    }

    /// Adds an operation. Returns the argument with which [`clear`](Self::clear) removes it.
    fn set(&mut self, operation: usize) -> usize {
        let (word, bit) = self.word_and_bit(operation);
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
        let (word, bit) = self.word_and_bit(operation);
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

/// The visited states: the placed operations and the value.
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

/// A hash of whole words. The keys come from the search itself, so no input can choose them to
/// collide.
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
