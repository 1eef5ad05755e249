//! Our own format: one JSON object a line, one line an operation.

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
    /// The outer option says whether it stands there at all.
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
    Held(bool),
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

/// None if it certainly did not happen.
fn operation(line: Line) -> Result<Option<HistoryOperation>, &'static str> {
    let answered = line.outcome == Outcome::Ok;
    if line.returned.is_some_and(|returned| returned < line.call) {
        return Err("it was answered before it was asked for");
    }
    if answered && line.returned.is_none() {
        return Err("an operation with the outcome ok needs \"return\", the time of its answer");
    }
    if line.value.is_some() && matches!(line.op, Op::Get | Op::Delete) {
        return Err(
            "only put, append and cas have a \"value\"; what a get found is its \"result\"",
        );
    }
    if line.expected.is_some() && line.op != Op::Cas {
        return Err("only cas has an \"expected\" value");
    }
    let value = line.value.ok_or("put, append and cas need a \"value\"");
    let call = match (line.op, line.result) {
        (Op::Put, None | Some(None)) => Call::Put { value: value? },
        (Op::Append, None | Some(None)) => Call::Append { value: value? },
        (Op::Delete, None | Some(None)) => Call::Delete,
        (Op::Get, Some(None)) => Call::Get { found: None },
        (Op::Get, Some(Some(Answer::Value(found)))) => Call::Get { found: Some(found) },
        (Op::Get, None) if !answered => Call::Get { found: None },
        (Op::Get, _) => {
            return Err(
                "a get with the outcome ok needs its \"result\": a text, or null for a key that is not there",
            );
        }
        (Op::Cas, result) => Call::Cas {
            expected: line.expected,
            value: value?,
            succeeded: match result {
                Some(Some(Answer::Held(held))) => held,
                None | Some(None) if !answered => false,
                _ => return Err("a cas with the outcome ok needs its \"result\": true or false"),
            },
        },
        (Op::Put | Op::Append | Op::Delete, _) => return Err("a write has no \"result\""),
    };
    Ok((line.outcome != Outcome::Failed).then_some(HistoryOperation {
        client: line.client,
        key: line.key,
        call,
        invoked: line.call,
        returned: line.returned.filter(|_| answered),
    }))
}
