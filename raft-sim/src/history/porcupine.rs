//! The text of Porcupine's key-value histories: `{:process 0, :type :invoke, :f :get, :key "0", :value nil}`.
//!
//! A key that is not there and one that holds an empty text are the same there.

use std::collections::BTreeMap;

use super::edn::{self, Value};
use super::events::{Answer, Event, Pairing};
use super::{History, HistoryError};
use crate::linearizability::Call;

pub(super) fn parse(text: &str) -> Result<History, HistoryError> {
    let mut pairing = Pairing::default();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let problem = |problem: &str| HistoryError::at(number, problem);
        let map =
            edn::map(line).ok_or_else(|| problem("this is no map of keywords to simple values"))?;
        let event = read(&map).map_err(|text| problem(&text))?;
        let (Some(Value::Number(process)), Some(Value::Text(key))) =
            (map.get("process"), map.get("key"))
        else {
            return Err(problem(":process must be a number, and :key a text"));
        };
        let process =
            u64::try_from(*process).map_err(|_| problem(":process must not be negative"))?;
        pairing.take(number, process, key, event)?;
    }
    Ok(pairing.history(0))
}

fn read(map: &BTreeMap<String, Value>) -> Result<Event, String> {
    let word = |name: &str| match map.get(name) {
        Some(Value::Keyword(word)) => Ok(word.as_str()),
        _ => Err(format!(":{name} must be a keyword")),
    };
    let value = || match map.get("value") {
        Some(Value::Text(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(Value::Nil) | None => Ok(None),
        Some(_) => Err(":value must be a text or nil".to_owned()),
    };
    Ok(match (word("type")?, word("f")?) {
        ("invoke", "get") => Event::Invoke(Call::Get { found: None }),
        ("invoke", "put") => Event::Invoke(match value()? {
            Some(value) => Call::Put { value },
            None => Call::Delete,
        }),
        ("invoke", "append") => Event::Invoke(Call::Append {
            value: value()?.unwrap_or_default(),
        }),
        ("invoke", "delete") => Event::Invoke(Call::Delete),
        ("ok", "get") => Event::Answer(Answer::Found(value()?)),
        ("ok", "put" | "append" | "delete") => Event::Answer(Answer::Done),
        ("fail", "get" | "put" | "append" | "delete") => Event::Failed,
        ("info", "get" | "put" | "append" | "delete") => Event::Unknown,
        (kind, function) => return Err(format!("there is no :{kind} of :{function}")),
    })
}
