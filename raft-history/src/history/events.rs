//! Histories written as events: a process asks for something, and is answered later.

use std::collections::{BTreeMap, BTreeSet};

use super::{History, HistoryError};
use crate::linearizability::{Call, HistoryOperation};

/// What a process does, as its lines call it. Both lines of an operation must say the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Function {
    Read,
    Write,
    Append,
    Delete,
    Cas,
}

/// What a line says of its process's operation.
pub(super) struct Event {
    pub(super) process: u64,
    pub(super) key: String,
    pub(super) function: Function,
    pub(super) what: EventType,
}

pub(super) enum EventType {
    /// The process asks for this.
    Invoke(Call),
    /// It is answered. The call is what was asked for, as the answer repeats it (none, if it leaves
    /// that out), with what a read found, or whether a compare-and-set was done.
    Answer(Option<Call>),
    /// It certainly did not happen.
    Failed(Option<Call>),
    /// Nobody knows.
    Unknown(Option<Call>),
}

/// An operation that waits for its answer.
struct PendingCall {
    index: usize,
    function: Function,
}

/// Puts operations together from their two events. The number of the line is the time.
#[derive(Default)]
pub(super) struct CallPairing {
    operations: Vec<HistoryOperation>,
    open: BTreeMap<u64, PendingCall>,
    failed: BTreeSet<usize>,
}

impl CallPairing {
    pub(super) fn take(&mut self, line: usize, event: Event) -> Result<(), HistoryError> {
        let Event { process, key, function, what } = event;
        let bad = |text: String| Err(HistoryError::at(line, text));
        let said = match what {
            EventType::Invoke(call) => {
                let index = self.operations.len();
                let open = PendingCall { index, function };
                if self.open.insert(process, open).is_some() {
                    return bad(format!("process {process} asks again before it was answered"));
                }
                self.operations.push(HistoryOperation {
                    client: process,
                    key,
                    call,
                    invoked: line as u64,
                    returned: None,
                });
                return Ok(());
            }
            EventType::Answer(ref call)
            | EventType::Failed(ref call)
            | EventType::Unknown(ref call) => call,
        };
        let Some(open) = self.open.remove(&process) else {
            return bad(format!("process {process} is answered, and has asked for nothing"));
        };
        let operation = &mut self.operations[open.index];
        if operation.key != key {
            return bad(format!("process {process} asked about key {:?}", operation.key));
        }
        let repeats = said.as_ref().is_none_or(|said| is_same_call(said, &operation.call));
        if open.function != function || !repeats {
            return bad(format!(
                "the answer is not one to what process {process} asked for in line {}: {operation}",
                operation.invoked
            ));
        }
        match what {
            EventType::Answer(call) => {
                operation.call = call.unwrap_or_else(|| operation.call.clone());
                operation.returned = Some(line as u64);
            }
            EventType::Failed(_) => {
                self.failed.insert(open.index);
            }
            EventType::Unknown(_) | EventType::Invoke(_) => {}
        }
        Ok(())
    }

    pub(super) fn history(mut self, skipped: usize) -> History {
        let failed = self.failed;
        let mut index = 0;
        self.operations.retain(|_| {
            index += 1;
            !failed.contains(&(index - 1))
        });
        History { operations: self.operations, failed: failed.len(), skipped }
    }
}

/// Whether both ask for the same, whatever came back.
fn is_same_call(one: &Call, other: &Call) -> bool {
    match (one, other) {
        (Call::Get { .. }, Call::Get { .. }) => true,
        (Call::Cas { expected, value, .. }, Call::Cas { expected: other, value: another, .. }) => {
            (expected, value) == (other, another)
        }
        _ => one == other,
    }
}
