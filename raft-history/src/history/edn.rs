//! The subset of EDN that histories use: one flat map per line.

use std::collections::BTreeMap;

/// A simple value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Nil,
    Keyword(String),
    Number(i64),
    Text(String),
}

/// Parses a map such as `{:a 1, :b "two", :c :three, :d nil}`. Returns `None` for other input.
pub(super) fn map(line: &str) -> Option<BTreeMap<String, Value>> {
    let mut rest = line.trim().strip_prefix('{')?;
    let mut map = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return after.trim().is_empty().then_some(map);
        }
        let (key, after) = value(rest)?;
        let Value::Keyword(key) = key else {
            return None;
        };
        let (value, after) = value(after.trim_start())?;
        if map.insert(key, value).is_some() {
            return None;
        }
        rest = after;
    }
}

/// Parses one value, and returns it with the remaining text.
fn value(text: &str) -> Option<(Value, &str)> {
    if let Some(rest) = text.strip_prefix('"') {
        return string(rest);
    }
    let end = text.find([' ', '\t', ',', '}']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let value = match word {
        "nil" => Value::Nil,
        _ => match word.strip_prefix(':') {
            Some(name) if !name.is_empty() => Value::Keyword(name.to_owned()),
            _ => Value::Number(word.parse().ok()?),
        },
    };
    Some((value, rest))
}

/// Parses the rest of a string after its opening quote.
fn string(text: &str) -> Option<(Value, &str)> {
    let mut content = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Value::Text(content), &text[at + 1..])),
            '\\' => content.push(match characters.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                same @ ('"' | '\\') => same,
                _ => return None,
            }),
            other => content.push(other),
        }
    }
    None
}
