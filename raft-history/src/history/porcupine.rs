//! The text format of Porcupine's key-value histories:
//! `{:process 0, :type :invoke, :f :get, :key "0", :value nil}`.
//!
//! The format does not distinguish a missing key from a key with an empty value.

use std::collections::BTreeMap;

use super::edn::{self, Value};
use super::pairing::{CallPairing, Event, EventType, Function};
use super::{History, HistoryError};
use crate::linearizability::Call;

pub(super) fn parse(text: &str) -> Result<History, HistoryError> {
    let mut pairing = CallPairing::default();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let event = edn::map(line)
            .ok_or_else(|| "invalid line; expected a map of keywords to simple values".to_owned())
            .and_then(|map| parse_event(&map))
            .map_err(|problem| HistoryError::at(number, problem))?;
        pairing.add(number, event)?;
    }
    Ok(pairing.history(0))
}

fn parse_event(map: &BTreeMap<String, Value>) -> Result<Event, String> {
    let word = |name: &str| match map.get(name) {
        Some(Value::Keyword(word)) => Ok(word.as_str()),
        _ => Err(format!("invalid :{name}; expected a keyword")),
    };
    let (Some(Value::Number(process)), Some(Value::Text(key))) =
        (map.get("process"), map.get("key"))
    else {
        return Err("invalid :process or :key; expected a number and a string".to_owned());
    };
    let process = u64::try_from(*process)
        .map_err(|_| "invalid :process; expected a number that is not negative")?;
    // `None` if the line has no value, `Some(None)` for nil and for an empty string.
    let value = match map.get("value") {
        Some(Value::Text(text)) => Some(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(Value::Nil) => Some(None),
        None => None,
        Some(_) => return Err("invalid :value; expected a string or nil".to_owned()),
    };
    let (kind, name) = (word("type")?, word("f")?);
    let function = match name {
        "get" => Function::Read,
        "put" => Function::Write,
        "append" => Function::Append,
        "delete" => Function::Delete,
        _ => return Err(format!("unknown operation: :{kind} of :{name}")),
    };
    let missing = || format!("missing :value for :{kind} of :{name}");
    let kind = match (kind, function) {
        ("invoke", Function::Write | Function::Append) => {
            let call = call(function, value).ok_or_else(missing)?;
            EventType::Invoke(call)
        }
        ("invoke", _) => EventType::Invoke(call(function, Some(None)).ok_or_else(missing)?),
        ("ok", Function::Read) => {
            EventType::Response(Some(call(function, value).ok_or_else(missing)?))
        }
        ("ok", _) => EventType::Response(call(function, value)),
        // The arguments of the request may be repeated or omitted.
        ("fail", _) => EventType::Failed(call(function, value.filter(Option::is_some))),
        ("info", _) => EventType::Unknown(call(function, value.filter(Option::is_some))),
        _ => return Err(format!("unknown operation: :{kind} of :{name}")),
    };
    Ok(Event { process, key: key.clone(), function, kind })
}

/// The call of a request, or the call that a response repeats. Returns `None` without a value.
fn call(function: Function, value: Option<Option<String>>) -> Option<Call> {
    Some(match (function, value?) {
        (Function::Read, found) => Call::Get { found },
        (Function::Append, value) => Call::Append { value: value.unwrap_or_default() },
        (Function::Write, Some(value)) => Call::Put { value },
        (Function::Write, None) | (Function::Delete | Function::Cas, _) => Call::Delete,
    })
}
