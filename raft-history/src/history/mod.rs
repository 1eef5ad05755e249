//! Parsers for files with histories of any system, for
//! [`linearizability::check`](crate::linearizability::check).
//!
//! [`Format`] lists the formats. `docs/guide/check-history.md` describes them.

mod edn;
mod jepsen;
mod json;
mod pairing;
mod porcupine;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::linearizability::HistoryOperation;

/// The format of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The format of this project: one JSON object per line, one line per operation.
    Json,
    /// Porcupine's key-value histories: one EDN map per line, two lines per operation.
    Porcupine,
    /// Jepsen's log of an etcd register, with two lines per operation.
    Jepsen,
}

/// A history, with the numbers of operations and lines that are not part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// The operations, without those that certainly failed.
    pub operations: Vec<HistoryOperation>,
    /// The number of operations that certainly failed.
    pub failed: usize,
    /// The number of lines without an operation.
    pub skipped: usize,
}

/// The reason why a file is not a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryError {
    /// The line, counted from 1. `None` if the problem concerns the whole file.
    pub line: Option<usize>,
    /// The problem.
    pub problem: String,
}

/// Parses a history. Without a format, the first line in a known format determines it.
///
/// # Errors
///
/// Returns [`HistoryError`] for the first invalid line. A history without any response is also an
/// error, because each such history is linearizable.
pub fn parse(text: &str, format: Option<Format>) -> Result<History, HistoryError> {
    let format = format.or_else(|| guess(text)).ok_or_else(|| {
        HistoryError::of_file(
            "unknown format: no line looks like JSON, Porcupine or Jepsen; use --format",
        )
    })?;
    let history = match format {
        Format::Json => json::parse(text),
        Format::Porcupine => porcupine::parse(text),
        Format::Jepsen => jepsen::parse(text),
    }?;
    let mut operations = history.operations.iter();
    if operations.any(|operation| operation.returned.is_some()) {
        return Ok(history);
    }
    Err(HistoryError::of_file(match history.failed {
        0 if history.operations.is_empty() => "the file contains no operation",
        _ => "no operation has a response, so there is nothing to check",
    }))
}

fn guess(text: &str) -> Option<Format> {
    text.lines().map(str::trim).find_map(|line| {
        if line.starts_with("{:") {
            Some(Format::Porcupine)
        } else if line.starts_with('{') {
            Some(Format::Json)
        } else if line.contains(jepsen::MARK) {
            Some(Format::Jepsen)
        } else {
            None
        }
    })
}

impl HistoryError {
    fn of_file(problem: &str) -> Self {
        Self { line: None, problem: problem.to_owned() }
    }

    fn at(line: usize, problem: impl Into<String>) -> Self {
        Self { line: Some(line), problem: problem.into() }
    }
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for HistoryError {}
