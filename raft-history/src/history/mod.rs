//! Histories in files: what clients of any system saw, to be judged by
//! [`linearizability::check`](crate::linearizability::check).
//!
//! Three formats are read: our own, with one JSON object a line ([`Format::Json`]), the text that
//! Porcupine's key-value histories are written in ([`Format::Porcupine`]), and Jepsen's log of an
//! etcd register ([`Format::Jepsen`]). `docs/verification/linearizability.md` describes them.

mod edn;
mod events;
mod jepsen;
mod json;
mod porcupine;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::linearizability::HistoryOperation;

/// How a history is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// One JSON object a line, one line an operation.
    Json,
    /// One EDN map a line, two lines an operation.
    Porcupine,
    /// Lines of Jepsen's log, two an operation, on one register.
    Jepsen,
}

/// A history, and what of its file was not part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// What clients asked for and saw, without operations that certainly did not happen.
    pub operations: Vec<HistoryOperation>,
    /// Operations that certainly did not happen.
    pub failed: usize,
    /// Lines that are about something else.
    pub skipped: usize,
}

/// Why a file is no history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryError {
    /// The line, counted from 1; none if it is about the whole file.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
}

/// Reads a history. Without a format, the first line that says something decides.
///
/// # Errors
///
/// [`HistoryError`] at the first line that can't be understood, and if no operation was answered:
/// nothing would have been judged.
pub fn parse(text: &str, format: Option<Format>) -> Result<History, HistoryError> {
    let format = format.or_else(|| guess(text)).ok_or_else(|| {
        HistoryError::of_file(
            "the format is not known: no line begins like JSON, Porcupine or Jepsen",
        )
    })?;
    let history = match format {
        Format::Json => json::parse(text),
        Format::Porcupine => porcupine::parse(text),
        Format::Jepsen => jepsen::parse(text),
    }?;
    let mut answers = history.operations.iter();
    if answers.any(|operation| operation.returned.is_some()) {
        return Ok(history);
    }
    Err(HistoryError::of_file(match history.failed {
        0 if history.operations.is_empty() => "there is no operation in it",
        _ => "no operation in it was answered, so there is nothing to judge",
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
