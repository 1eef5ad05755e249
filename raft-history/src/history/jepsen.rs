//! Jepsen's log of a test of etcd: one register that is read, written, and compared and set.
//!
//! A compare-and-set that `:fail`s was refused, because the register held something else: that is
//! an answer. Whoever gets `:info` never learns what became of the operation.

use super::events::{CallPairing, Event, EventType, Function};
use super::{History, HistoryError};
use crate::linearizability::Call;

/// What the lines that matter have in common.
pub(super) const MARK: &str = "jepsen.util - ";
/// What no line about something else has in it as a word.
const KINDS: [&str; 4] = [":invoke", ":ok", ":fail", ":info"];

pub(super) fn parse(text: &str) -> Result<History, HistoryError> {
    let mut pairing = CallPairing::default();
    let (mut taken, mut skipped) = (0, 0);
    for (number, line) in (1..).zip(text.lines()) {
        let Some((_, event)) = line.split_once(MARK) else {
            // What is not judged must not be an operation, or the verdict is one on another
            // history.
            if line.split_whitespace().any(|word| KINDS.contains(&word)) {
                let problem = format!("this looks like an operation, but lacks {MARK:?}");
                return Err(HistoryError::at(number, problem));
            }
            skipped += usize::from(!line.trim().is_empty());
            continue;
        };
        let event = read(event)
            .ok_or_else(|| HistoryError::at(number, "this is no operation on a register"))?;
        pairing.take(number, event)?;
        taken += 1;
    }
    if skipped > taken {
        return Err(HistoryError::of_file(&format!(
            "{skipped} lines are about something else, and {taken} about operations: leave out what has no {MARK:?}"
        )));
    }
    Ok(pairing.history(skipped))
}

fn read(event: &str) -> Option<Event> {
    // Some logs have tabs between the fields, and some have spaces.
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
    // Instead of what was asked for, a word may say why nothing is known.
    let asked = || match value.starts_with(':') {
        true => Some(None),
        false => call(function, value, false).map(Some),
    };
    let what = match (kind, function) {
        (":invoke", Function::Read) => EventType::Invoke(Call::Get { found: None }),
        (":invoke", _) => EventType::Invoke(call(function, value, false)?),
        (":ok", _) => EventType::Answer(Some(call(function, value, true)?)),
        (":fail", Function::Cas) if value != ":timed-out" => {
            EventType::Answer(Some(call(function, value, false)?))
        }
        // A read that failed says nothing. A write that timed out may have happened all the same.
        (":fail" | ":info", Function::Read) => EventType::Unknown(None),
        (":fail", _) if value == ":timed-out" => EventType::Unknown(None),
        (":fail", _) => EventType::Failed(asked()?),
        (":info", _) => EventType::Unknown(asked()?),
        _ => return None,
    };
    Some(Event { process: process.parse().ok()?, key: "register".to_owned(), function, what })
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
