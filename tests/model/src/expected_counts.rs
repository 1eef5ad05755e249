//! The expected counts of the small models.
//!
//! A different count means that the core behaves differently. Such a change can be intended, but it
//! must be noticed. The counts are stored only in `docs/verification/model-checking.md`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use raft_model::Report;

/// The head of the table. The length of paths and the time depend on the timing of threads, so the
/// table does not contain them.
const HEAD: &str = "| model | states | steps | states of a server | messages |\n\
                    | --- | ---: | ---: | ---: | ---: |\n";

/// The page of the documentation with the table.
pub struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    /// Reads the page.
    pub fn read() -> Result<Self> {
        let path = PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/verification/model-checking.md"
        ));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path, text })
    }

    /// The differences between the page and `rows`. If `rows` are complete, further rows of the
    /// page are differences.
    pub fn differences(&self, rows: &[String], are_all: bool) -> Result<Vec<String>> {
        let (_, table, _) = parts(&self.text)?;
        let known: Vec<&str> = table.lines().collect();
        let mut found = Vec::new();
        for row in rows.iter().filter(|row| !known.contains(&row.as_str())) {
            let is_it = |line: &&&str| name(line) == name(row);
            let line = known.iter().find(is_it).unwrap_or(&"none");
            found.push(format!("counted: {row}\nexpected: {line}"));
        }
        let counted = |line: &&&str| rows.iter().any(|row| name(row) == name(line));
        for line in known.iter().filter(|line| are_all && !counted(line)) {
            found.push(format!("counted: none\nexpected: {line}"));
        }
        Ok(found)
    }

    /// Replaces the rows of the page.
    pub fn renew(&self, rows: &[String]) -> Result<()> {
        std::fs::write(&self.path, renewed(&self.text, rows)?)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The row of a model.
pub fn row(name: &str, report: &Report) -> String {
    let counts = [report.states, report.steps, report.servers, report.messages].map(grouped);
    format!("| {name} | {} |", counts.join(" | "))
}

/// A number with separators between groups of three digits.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn name(row: &str) -> Option<&str> {
    row.split('|').nth(1)
}

fn renewed(text: &str, rows: &[String]) -> Result<String> {
    let (before, _, after) = parts(text)?;
    Ok(format!("{before}{}\n{after}", rows.join("\n")))
}

/// The text before the rows, the rows, and the text after them.
fn parts(text: &str) -> Result<(&str, &str, &str)> {
    let head = text
        .find(HEAD)
        .context("docs/verification/model-checking.md contains no table of the small models")?;
    let (before, rest) = text.split_at(head + HEAD.len());
    let lines = rest.split_inclusive('\n').take_while(|line| line.starts_with('|'));
    let (table, after) = rest.split_at(lines.map(str::len).sum());
    Ok((before, table, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &str) -> Page {
        Page { path: PathBuf::new(), text: format!("before\n\n{HEAD}{rows}\nafter\n") }
    }

    fn rows(counts: &[&str]) -> Vec<String> {
        counts.iter().map(|row| (*row).to_owned()).collect()
    }

    #[test]
    fn changed_count_is_reported() -> Result<()> {
        let page = page("| one | 1,000 | 2 | 3 | 4 |\n| two | 5 | 6 | 7 | 8 |\n");
        let (one, two) = ("| one | 1,000 | 2 | 3 | 4 |", "| two | 5 | 6 | 7 | 8 |");
        assert!(page.differences(&rows(&[one, two]), true)?.is_empty());
        assert!(page.differences(&rows(&[two]), false)?.is_empty());
        let changed = "| two | 5 | 9 | 7 | 8 |";
        let found = page.differences(&rows(&[one, changed]), true)?;
        assert_eq!(found, [format!("counted: {changed}\nexpected: {two}")]);
        let found = page.differences(&rows(&[one]), true)?;
        assert_eq!(found, [format!("counted: none\nexpected: {two}")]);
        let three = "| three | 1 | 1 | 1 | 1 |";
        let found = page.differences(&rows(&[three]), false)?;
        assert_eq!(found, [format!("counted: {three}\nexpected: none")]);
        Ok(())
    }

    #[test]
    fn rewriting_table_keeps_surrounding_text() -> Result<()> {
        let old = page("| one | 1 | 2 | 3 | 4 |\n| two | 5 | 6 | 7 | 8 |\n");
        let new = "| three | 1 | 1 | 1 | 1 |";
        let text = renewed(&old.text, &rows(&[new]))?;
        assert_eq!(text, page(&format!("{new}\n")).text);
        assert!(parts("| model | seconds |").is_err());
        Ok(())
    }
}
