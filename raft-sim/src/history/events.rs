//! Histories written as events: a process asks for something, and is answered later.

use std::collections::BTreeMap;

use super::{History, HistoryError};
use crate::linearizability::{Call, Operation};

/// What an event says of its process's operation.
pub(super) enum Event {
    /// The process asks for this.
    Invoke(Call),
    /// It is answered. What is new is what a read found, or whether a compare-and-set was done.
    Answer(Answer),
    /// It certainly did not happen.
    Failed,
    /// Nobody knows.
    Unknown,
}

pub(super) enum Answer {
    Done,
    Found(Option<String>),
    Refused,
}

/// Puts operations together from their two events. The number of the line is the time.
#[derive(Default)]
pub(super) struct Pairing {
    operations: Vec<Operation>,
    open: BTreeMap<u64, usize>,
    failed: Vec<usize>,
}

impl Pairing {
    pub(super) fn take(
        &mut self,
        line: usize,
        process: u64,
        key: &str,
        event: Event,
    ) -> Result<(), HistoryError> {
        let call = match event {
            Event::Invoke(call) => {
                if self.open.insert(process, self.operations.len()).is_some() {
                    let text = format!("process {process} asks again before it was answered");
                    return Err(HistoryError::at(line, text));
                }
                self.operations.push(Operation {
                    client: process,
                    key: key.to_owned(),
                    call,
                    invoked: line as u64,
                    returned: None,
                });
                return Ok(());
            }
            other => other,
        };
        let Some(index) = self.open.remove(&process) else {
            let text = format!("process {process} is answered, and has asked for nothing");
            return Err(HistoryError::at(line, text));
        };
        let operation = &mut self.operations[index];
        if operation.key != key {
            let text = format!("process {process} asked about key {:?}", operation.key);
            return Err(HistoryError::at(line, text));
        }
        let answer = match call {
            Event::Answer(answer) => answer,
            Event::Failed => {
                self.failed.push(index);
                return Ok(());
            }
            Event::Unknown | Event::Invoke(_) => return Ok(()),
        };
        operation.returned = Some(line as u64);
        match (&mut operation.call, answer) {
            (Call::Get { found }, Answer::Found(value)) => *found = value,
            (Call::Cas { succeeded, .. }, Answer::Done) => *succeeded = true,
            (Call::Cas { succeeded, .. }, Answer::Refused) => *succeeded = false,
            (Call::Put { .. } | Call::Append { .. } | Call::Delete, Answer::Done) => {}
            _ => {
                return Err(HistoryError::at(
                    line,
                    "the answer is not one to what was asked",
                ));
            }
        }
        Ok(())
    }

    pub(super) fn history(mut self, skipped: usize) -> History {
        let failed = self.failed.len();
        self.failed.sort_unstable();
        for index in self.failed.into_iter().rev() {
            self.operations.remove(index);
        }
        History {
            operations: self.operations,
            failed,
            skipped,
        }
    }
}
