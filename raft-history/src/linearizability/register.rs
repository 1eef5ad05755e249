//! One register: its values as numbers, and what each call does to them.

use std::collections::HashMap;

use super::Call;

/// The number of a value. Zero is no value.
pub(super) type Value = u32;

/// What a call does, and what its answer says about the value before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Step {
    /// The value becomes this one.
    Set(Value),
    /// This text is put behind the value.
    Append(Value),
    /// The value is this one.
    Is(Value),
    /// The value becomes `new` if it is `expected`; whether it was, if that is known.
    Swap { expected: Value, new: Value, answer: Option<bool> },
}

/// All values that the register can have.
#[derive(Debug, Default)]
pub(super) struct Register {
    texts: Vec<String>,
    numbers: HashMap<String, Value>,
    appended: HashMap<(Value, Value), Value>,
    bytes: usize,
}

impl Register {
    /// What a call does. A read without an answer does not belong here.
    pub(super) fn step(&mut self, call: &Call, answered: bool) -> Step {
        match call {
            Call::Put { value } => Step::Set(self.number(Some(value))),
            Call::Append { value } => Step::Append(self.number(Some(value))),
            Call::Delete => Step::Set(0),
            Call::Get { found } => Step::Is(self.number(found.as_deref())),
            Call::Cas { expected, value, succeeded } => Step::Swap {
                expected: self.number(expected.as_deref()),
                new: self.number(Some(value)),
                answer: answered.then_some(*succeeded),
            },
        }
    }

    /// The value after a step, if the answer fits.
    pub(super) fn apply(&mut self, step: Step, value: Value) -> Option<Value> {
        match step {
            Step::Set(new) => Some(new),
            Step::Is(found) => (found == value).then_some(value),
            Step::Append(text) => Some(self.append(value, text)),
            Step::Swap { expected, new, answer } => {
                let matches = expected == value;
                let fits = answer.is_none_or(|answer| answer == matches);
                fits.then_some(if matches { new } else { value })
            }
        }
    }

    /// The value of a number.
    pub(super) fn value(&self, number: Value) -> Option<String> {
        let position = (number as usize).checked_sub(1)?;
        self.texts.get(position).cloned()
    }

    /// About how many bytes the values occupy.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn number(&mut self, text: Option<&str>) -> Value {
        let Some(text) = text else { return 0 };
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.texts.push(text.to_owned());
        let number = Value::try_from(self.texts.len()).unwrap_or(Value::MAX);
        self.numbers.insert(text.to_owned(), number);
        self.bytes += 2 * text.len() + 100;
        number
    }

    fn append(&mut self, value: Value, text: Value) -> Value {
        if let Some(number) = self.appended.get(&(value, text)) {
            return *number;
        }
        let tail = self.value(text).unwrap_or_default();
        let number = if tail.is_empty() {
            value
        } else {
            let whole = self.value(value).unwrap_or_default() + &tail;
            self.number(Some(&whole))
        };
        self.appended.insert((value, text), number);
        number
    }
}
