//! Jepsen's log of a test of etcd: one register that is read, written, and compared and set.
//!
//! A compare-and-set that `:fail`s was refused, because the register held something else: that is an
//! answer. Whoever gets `:info` never learns what became of the operation.

use super::events::{Answer, Event, Pairing};
use super::{History, HistoryError};
use crate::linearizability::Call;

/// What the lines that matter have in common.
pub(super) const MARK: &str = "jepsen.util - ";

pub(super) fn parse(text: &str) -> Result<History, HistoryError> {
    let mut pairing = Pairing::default();
    let mut skipped = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let Some((_, event)) = line.split_once(MARK) else {
            skipped += usize::from(!line.trim().is_empty());
            continue;
        };
        let (process, event) = read(event)
            .ok_or_else(|| HistoryError::at(number, "this is no operation on a register"))?;
        pairing.take(number, process, "register", event)?;
    }
    Ok(pairing.history(skipped))
}

fn read(event: &str) -> Option<(u64, Event)> {
    // Some logs have tabs between the fields, and some have spaces.
    let (process, rest) = event.trim().split_once(char::is_whitespace)?;
    let (kind, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    let (function, value) = rest.trim_start().split_once(char::is_whitespace)?;
    let (process, value) = (process.parse().ok()?, value.trim());
    let event = match (kind, function) {
        (":invoke", ":read") => Event::Invoke(Call::Get { found: None }),
        (":invoke", ":write") => Event::Invoke(Call::Put {
            value: number(value)?,
        }),
        (":invoke", ":cas") => {
            let pair = value.strip_prefix('[')?.strip_suffix(']')?;
            let (expected, new) = pair.split_once(' ')?;
            Event::Invoke(Call::Cas {
                expected: Some(number(expected)?),
                value: number(new)?,
                succeeded: false,
            })
        }
        (":ok", ":read") if value == "nil" => Event::Answer(Answer::Found(None)),
        (":ok", ":read") => Event::Answer(Answer::Found(Some(number(value)?))),
        (":ok", ":write" | ":cas") => Event::Answer(Answer::Done),
        (":fail", ":cas") if value != ":timed-out" => Event::Answer(Answer::Refused),
        // A read that failed says nothing. A write that timed out may have happened all the same.
        (":fail", ":read") | (":info", _) => Event::Unknown,
        (":fail", ":write" | ":cas") if value == ":timed-out" => Event::Unknown,
        (":fail", ":write") => Event::Failed,
        _ => return None,
    };
    Some((process, event))
}

fn number(text: &str) -> Option<String> {
    let text = text.trim();
    text.parse::<i64>().ok().map(|_| text.to_owned())
}
