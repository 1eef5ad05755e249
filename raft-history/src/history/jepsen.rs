//! Jepsen's log of a test of etcd: one register with read, write and compare-and-set operations.
//!
//! A compare-and-set that `:fail`s was rejected, because the register had another value. The
//! rejection is a response. After `:info`, the result of the operation is unknown.

use super::pairing::{CallPairing, Event, EventType, Function};
use super::{History, HistoryError};
use crate::linearizability::Call;

/// The text in front of each operation.
pub(super) const MARK: &str = "jepsen.util - ";
/// The words that only lines with operations contain.
const KINDS: [&str; 4] = [":invoke", ":ok", ":fail", ":info"];

pub(super) fn parse(text: &str) -> Result<History, HistoryError> {
    let mut pairing = CallPairing::default();
    let (mut read, mut skipped) = (0, 0);
    for (number, line) in (1..).zip(text.lines()) {
        let Some((_, event)) = line.split_once(MARK) else {
            // A skipped operation would change the history that is checked.
            if line.split_whitespace().any(|word| KINDS.contains(&word)) {
                let problem = format!("operation without {MARK:?}; correct the line");
                return Err(HistoryError::at(number, problem));
            }
            skipped += usize::from(!line.trim().is_empty());
            continue;
        };
        let event = parse_event(event)
            .ok_or_else(|| HistoryError::at(number, "invalid operation on a register; expected a process, a type, a function and a value"))?;
        pairing.add(number, event)?;
        read += 1;
    }
    if skipped > read {
        return Err(HistoryError::of_file(&format!(
            "more lines without operations than with operations: {skipped} and {read}; remove the lines \
             without {MARK:?}"
        )));
    }
    Ok(pairing.history(skipped))
}

fn parse_event(event: &str) -> Option<Event> {
    // Fields are separated by tabs or spaces.
    let (process, rest) = event.trim().split_once(char::is_whitespace)?;
    let (kind, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    let (name, value) = rest.trim_start().split_once(char::is_whitespace)?;
    let value = value.trim();
    let function = match name {
        ":read" => Function::Read,
        ":write" => Function::Write,
        ":cas" => Function::Cas,
        _ => return None,
    };
    // A keyword in place of the arguments gives the reason why the result is unknown.
    let request = || {
        if value.starts_with(':') { Some(None) } else { call(function, value, false).map(Some) }
    };
    let kind = match (kind, function) {
        (":invoke", Function::Read) => EventType::Invoke(Call::Get { found: None }),
        (":invoke", _) => EventType::Invoke(call(function, value, false)?),
        (":ok", _) => EventType::Response(Some(call(function, value, true)?)),
        (":fail", Function::Cas) if value != ":timed-out" => {
            EventType::Response(Some(call(function, value, false)?))
        }
        // A failed read has no effect. A write that timed out may have taken effect.
        (":fail" | ":info", Function::Read) => EventType::Unknown(None),
        (":fail", _) if value == ":timed-out" => EventType::Unknown(None),
        (":fail", _) => EventType::Failed(request()?),
        (":info", _) => EventType::Unknown(request()?),
        _ => return None,
    };
    Some(Event { process: process.parse().ok()?, key: "register".to_owned(), function, kind })
}

fn call(function: Function, value: &str, succeeded: bool) -> Option<Call> {
    Some(match function {
        Function::Read if value == "nil" => Call::Get { found: None },
        Function::Read => Call::Get { found: Some(number(value)?) },
        Function::Write => Call::Put { value: number(value)? },
        Function::Cas => {
            let pair = value.strip_prefix('[')?.strip_suffix(']')?;
            let (expected, new) = pair.split_once(' ')?;
            Call::Cas { expected: Some(number(expected)?), value: number(new)?, succeeded }
        }
        Function::Append | Function::Delete => return None,
    })
}

fn number(text: &str) -> Option<String> {
    let text = text.trim();
    text.parse::<i64>().ok().map(|_| text.to_owned())
}
