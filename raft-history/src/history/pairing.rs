//! The pairing of requests and responses into operations, for formats with one event per line.

use std::collections::{BTreeMap, BTreeSet};

use super::{History, HistoryError};
use crate::linearizability::{Call, HistoryOperation};

/// The kind of an operation. Request and response of an operation have the same function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Function {
    Read,
    Write,
    Append,
    Delete,
    Cas,
}

/// One line: an event of the current operation of a process.
pub(super) struct Event {
    pub(super) process: u64,
    pub(super) key: String,
    pub(super) function: Function,
    pub(super) kind: EventType,
}

/// The kind of an event. Responses can repeat the call of the request.
pub(super) enum EventType {
    /// The process sends a request.
    Invoke(Call),
    /// The process receives a response. The call contains the value of a read or the result of a
    /// compare-and-set.
    Response(Option<Call>),
    /// The operation certainly did not take effect.
    Failed(Option<Call>),
    /// The result of the operation is unknown.
    Unknown(Option<Call>),
}

/// An operation without a response yet.
struct PendingCall {
    index: usize,
    function: Function,
}

/// Builds operations from pairs of events. The number of the line is the time.
#[derive(Default)]
pub(super) struct CallPairing {
    operations: Vec<HistoryOperation>,
    open: BTreeMap<u64, PendingCall>,
    failed: BTreeSet<usize>,
}

impl CallPairing {
    /// Adds the event of a line.
    pub(super) fn add(&mut self, line: usize, event: Event) -> Result<(), HistoryError> {
        let Event { process, key, function, kind } = event;
        let invalid = |text: String| Err(HistoryError::at(line, text));
        let repeated = match kind {
            EventType::Invoke(call) => {
                let index = self.operations.len();
                let open = PendingCall { index, function };
                if self.open.insert(process, open).is_some() {
                    return invalid(format!(
                        "second request without a response: process {process}"
                    ));
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
            EventType::Response(ref call)
            | EventType::Failed(ref call)
            | EventType::Unknown(ref call) => call,
        };
        let Some(open) = self.open.remove(&process) else {
            return invalid(format!("response without a request: process {process}"));
        };
        let operation = &mut self.operations[open.index];
        let is_same = repeated.as_ref().is_none_or(|call| is_same_call(call, &operation.call));
        if operation.key != key || open.function != function || !is_same {
            return invalid(format!(
                "response does not match the request of process {process} in line {}: {operation} \
                 of key {:?}",
                operation.invoked, operation.key
            ));
        }
        match kind {
            EventType::Response(call) => {
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

    /// The history of all events.
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

/// Returns true if both calls have the same arguments. Their responses may differ.
fn is_same_call(one: &Call, other: &Call) -> bool {
    match (one, other) {
        (Call::Get { .. }, Call::Get { .. }) => true,
        (Call::Cas { expected, value, .. }, Call::Cas { expected: other, value: another, .. }) => {
            (expected, value) == (other, another)
        }
        _ => one == other,
    }
}
