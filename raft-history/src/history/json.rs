//! The format of this project: one JSON object per line, one line per operation.

use serde::{Deserialize, Deserializer};

use super::{History, HistoryError};
use crate::linearizability::{Call, HistoryOperation};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    client: u64,
    op: Op,
    key: String,
    value: Option<String>,
    expected: Option<String>,
    call: u64,
    #[serde(rename = "return")]
    returned: Option<u64>,
    /// `None` if the line has no result, `Some(None)` for null.
    #[serde(default, deserialize_with = "present")]
    result: Option<Option<Answer>>,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Get,
    Put,
    Append,
    Delete,
    Cas,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Failed,
    Unknown,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    /// The condition of a compare-and-set held, or not.
    Held(bool),
    /// The value that a read found.
    Value(String),
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Answer>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub(super) fn parse(text: &str) -> Result<History, HistoryError> {
    let mut history = History { operations: Vec::new(), failed: 0, skipped: 0 };
    for (number, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(text)
            .map_err(|error| HistoryError::at(number, error.to_string()))?;
        match operation(line).map_err(|problem| HistoryError::at(number, problem))? {
            Some(operation) => history.operations.push(operation),
            None => history.failed += 1,
        }
    }
    Ok(history)
}

/// Returns `None` if the operation failed.
fn operation(line: Line) -> Result<Option<HistoryOperation>, &'static str> {
    let answered = line.outcome == Outcome::Ok;
    if line.returned.is_some_and(|returned| returned < line.call) {
        return Err("invalid times: \"return\" is less than \"call\"");
    }
    if answered && line.returned.is_none() {
        return Err("missing \"return\" of an operation with the outcome ok");
    }
    if line.value.is_some() && matches!(line.op, Op::Get | Op::Delete) {
        return Err(
            "\"value\" is not allowed for get and delete; use \"result\" for the value of a get",
        );
    }
    if line.expected.is_some() && line.op != Op::Cas {
        return Err("\"expected\" is allowed only for cas");
    }
    let value = line.value.ok_or("missing \"value\" of a put, append or cas");
    let call = match (line.op, line.result) {
        (Op::Put, None | Some(None)) => Call::Put { value: value? },
        (Op::Append, None | Some(None)) => Call::Append { value: value? },
        (Op::Delete, None | Some(None)) => Call::Delete,
        (Op::Get, Some(None)) => Call::Get { found: None },
        (Op::Get, Some(Some(Answer::Value(found)))) => Call::Get { found: Some(found) },
        (Op::Get, None) if !answered => Call::Get { found: None },
        (Op::Get, _) => {
            return Err(
                "missing or invalid \"result\" of a get with the outcome ok; use a string, or null for a \
                 missing key",
            );
        }
        (Op::Cas, result) => Call::Cas {
            expected: line.expected,
            value: value?,
            succeeded: match result {
                Some(Some(Answer::Held(held))) => held,
                None | Some(None) if !answered => false,
                _ => {
                    return Err(
                        "missing or invalid \"result\" of a cas with the outcome ok; use true or false",
                    );
                }
            },
        },
        (Op::Put | Op::Append | Op::Delete, _) => {
            return Err("\"result\" is not allowed for put, append and delete");
        }
    };
    Ok((line.outcome != Outcome::Failed).then_some(HistoryOperation {
        client: line.client,
        key: line.key,
        call,
        invoked: line.call,
        returned: line.returned.filter(|_| answered),
    }))
}
