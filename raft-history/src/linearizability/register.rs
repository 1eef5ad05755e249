//! One register: its values as numbers, and the effects of calls on them.

use std::collections::HashMap;

use super::Call;

/// The number of a value. Zero means that the register has no value.
pub(super) type Value = u32;

/// The effect of a call, and the condition that its response sets on the previous value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Step {
    /// Sets the value.
    Set(Value),
    /// Appends a text to the value.
    Append(Value),
    /// Requires this value.
    Is(Value),
    /// Sets the value to `new` if it equals `expected`. `answer` is the response, if there is one.
    Swap { expected: Value, new: Value, answer: Option<bool> },
}

/// All values of a register.
#[derive(Debug, Default)]
pub(super) struct Register {
    texts: Vec<String>,
    numbers: HashMap<String, Value>,
    appended: HashMap<(Value, Value), Value>,
    bytes: usize,
}

impl Register {
    /// The step of a call. The caller omits reads without a response.
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

    /// The value after a step. Returns `None` if the response does not match.
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

    /// The value with a number.
    pub(super) fn value(&self, number: Value) -> Option<String> {
        let position = (number as usize).checked_sub(1)?;
        self.texts.get(position).cloned()
    }

    /// The approximate size of all values in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of a value. A new value gets the next number.
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
