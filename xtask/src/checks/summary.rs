//! The table at the end of `cargo xtask test`.

use std::time::Duration;

use crate::step::elapsed;

/// The result of a check.
pub enum Outcome {
    /// The check succeeded, perhaps with a note.
    Ok(Option<String>),
    /// The check failed for this reason.
    Failed(String),
    /// The check was not started for this reason.
    NotRun(String),
}

/// One row of the table.
pub struct Row {
    pub name: String,
    pub outcome: Outcome,
    pub time: Duration,
}

impl From<anyhow::Result<Option<String>>> for Outcome {
    fn from(result: anyhow::Result<Option<String>>) -> Self {
        match result {
            Ok(note) => Self::Ok(note),
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }
}

/// Prints the table to standard output.
pub fn print(rows: &[Row], total: Duration) {
    print!("\n{}", render(rows, total));
}

fn render(rows: &[Row], total: Duration) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(5);
    let mut table = String::new();
    for row in rows {
        let (result, note) = match &row.outcome {
            Outcome::Ok(note) => ("ok", note.as_deref().unwrap_or("")),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
            Outcome::NotRun(reason) => ("NOT RUN", reason.as_str()),
        };
        let time = match row.outcome {
            Outcome::NotRun(_) => "–".to_owned(),
            _ => elapsed(row.time),
        };
        // The whole reason, which can contain the output of a program, was printed before.
        let note = note.lines().next().unwrap_or("");
        let line = format!("{:width$}  {result:7}  {time:>11}  {note}", row.name);
        table.push_str(line.trim_end());
        table.push('\n');
    }
    let failures = rows.iter().filter(|row| !matches!(row.outcome, Outcome::Ok(_))).count();
    let verdict = if failures == 0 {
        "all checks passed".to_owned()
    } else {
        format!("{failures} of {} did not succeed", rows.len())
    };
    let line = format!("{:width$}  {:7}  {:>11}  {verdict}", "total", "", elapsed(total));
    table.push_str(&line);
    table.push('\n');
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_shows_result_time_and_reason() {
        let row = |name: &str, outcome| Row {
            name: name.to_owned(),
            outcome,
            time: Duration::from_secs(61),
        };
        let rows = [
            row("fmt", Outcome::Ok(None)),
            row("clippy", Outcome::Failed("`cargo clippy` failed\nand so on".to_owned())),
            row("test", Outcome::NotRun("`page` did not succeed".to_owned())),
        ];
        let expected = "\
fmt     ok        1 min 01 s
clippy  FAILED    1 min 01 s  `cargo clippy` failed
test    NOT RUN            –  `page` did not succeed
total             3 min 02 s  2 of 3 did not succeed
";
        assert_eq!(render(&rows, Duration::from_secs(182)), expected);
    }
}
