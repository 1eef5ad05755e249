//! The text of Porcupine's key-value histories:
//! `{:process 0, :type :invoke, :f :get, :key "0", :value nil}`.
//!
//! A key that is not there and one that holds an empty text are the same there.

use std::collections::BTreeMap;

use super::edn::{self, Value};
use super::events::{CallPairing, Event, EventType, Function};
use super::{History, HistoryError};
use crate::linearizability::Call;

pub(super) fn parse(text: &str) -> Result<History, HistoryError> {
    let mut pairing = CallPairing::default();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let event = edn::map(line)
            .ok_or_else(|| "this is no map of keywords to simple values".to_owned())
            .and_then(|map| read(&map))
            .map_err(|problem| HistoryError::at(number, problem))?;
        pairing.take(number, event)?;
    }
    Ok(pairing.history(0))
}

fn read(map: &BTreeMap<String, Value>) -> Result<Event, String> {
    let word = |name: &str| match map.get(name) {
        Some(Value::Keyword(word)) => Ok(word.as_str()),
        _ => Err(format!(":{name} must be a keyword")),
    };
    let (Some(Value::Number(process)), Some(Value::Text(key))) =
        (map.get("process"), map.get("key"))
    else {
        return Err(":process must be a number, and :key a text".to_owned());
    };
    let process = u64::try_from(*process).map_err(|_| ":process must not be negative")?;
    // A text, or nil; the outer option says whether it stands there at all.
    let value = match map.get("value") {
        Some(Value::Text(text)) => Some(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(Value::Nil) => Some(None),
        None => None,
        Some(_) => return Err(":value must be a text or nil".to_owned()),
    };
    let (kind, name) = (word("type")?, word("f")?);
    let function = match name {
        "get" => Function::Read,
        "put" => Function::Write,
        "append" => Function::Append,
        "delete" => Function::Delete,
        _ => return Err(format!("there is no :{kind} of :{name}")),
    };
    let missing = || format!("an :{kind} of :{name} needs a :value");
    let what = match (kind, function) {
        ("invoke", Function::Write | Function::Append) => {
            let call = call(function, value).ok_or_else(missing)?;
            EventType::Invoke(call)
        }
        ("invoke", _) => EventType::Invoke(call(function, Some(None)).ok_or_else(missing)?),
        ("ok", Function::Read) => {
            EventType::Answer(Some(call(function, value).ok_or_else(missing)?))
        }
        ("ok", _) => EventType::Answer(call(function, value)),
        // Some repeat what was asked for, and some do not.
        ("fail", _) => EventType::Failed(call(function, value.filter(Option::is_some))),
        ("info", _) => EventType::Unknown(call(function, value.filter(Option::is_some))),
        _ => return Err(format!("there is no :{kind} of :{name}")),
    };
    Ok(Event { process, key: key.clone(), function, what })
}

/// What a line asks for, or repeats; none if it says no value.
fn call(function: Function, value: Option<Option<String>>) -> Option<Call> {
    Some(match (function, value?) {
        (Function::Read, found) => Call::Get { found },
        (Function::Append, value) => Call::Append { value: value.unwrap_or_default() },
        (Function::Write, Some(value)) => Call::Put { value },
        (Function::Write, None) | (Function::Delete | Function::Cas, _) => Call::Delete,
    })
}
