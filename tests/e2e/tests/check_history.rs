//! The exit status of `raft check-history`. Status 0 requires a checked history.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use raft_tests::program::raft;
use tempfile::TempDir;

const PUT: &str = r#"{"client": 1, "op": "put", "key": "<x>", "value": "a", "call": 0, "return": 1, "outcome": "ok"}"#;
const STALE: &str = r#"{"client": 2, "op": "get", "key": "<x>", "call": 2, "return": 3, "result": null, "outcome": "ok"}"#;

fn check(directory: &Path, history: &str, more: &[&str]) -> Result<(i32, Output)> {
    fs::write(directory.join("history.jsonl"), history)?;
    let output = Command::new(raft()?)
        .current_dir(directory)
        .args(["check-history", "history.jsonl"])
        .args(more)
        .output()?;
    let code = output.status.code().context("the command was killed by a signal")?;
    Ok((code, output))
}

#[test]
fn exit_code_matches_verdict() -> Result<()> {
    let directory = TempDir::new()?;
    let path = directory.path();
    let fresh = STALE.replace("null", "\"a\"");
    for (history, more, expected) in [
        (format!("{PUT}\n{fresh}\n"), &[][..], 0),
        (format!("{PUT}\n{STALE}\n"), &[][..], 1),
        (format!("{PUT}\n{STALE}"), &["--format", "porcupine"][..], 2),
        (String::new(), &[][..], 2),
        (PUT.replace("ok", "failed"), &[][..], 2),
        (PUT.replace("ok", "unknown"), &[][..], 2),
        (format!("{PUT}\nnonsense\n"), &[][..], 2),
        (format!("{PUT}\n{STALE}\n"), &["--steps", "0"][..], 3),
    ] {
        let (code, output) = check(path, &history, more)?;
        ensure!(code == expected, "{history}{more:?}: {code}, {output:?}");
    }
    let missing =
        Command::new(raft()?).current_dir(path).args(["check-history", "missing"]).output()?;
    ensure!(missing.status.code() == Some(2), "{missing:?}");
    Ok(())
}

#[test]
fn violation_writes_html_and_json() -> Result<()> {
    let directory = TempDir::new()?;
    let history = format!("{PUT}\n{STALE}\n");
    let (_, output) = check(directory.path(), &history, &["--output", "json"])?;
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(verdict["verdict"] == "not-linearizable", "{verdict}");
    ensure!(verdict["key"] == "<x>" && verdict["operations"] == 2, "{verdict}");
    let page = verdict["page"].as_str().context("missing path of the report")?;
    let page = fs::read_to_string(directory.path().join(page))?;
    ensure!(page.contains("✗ get: nothing"), "{page}");
    ensure!(page.contains("&lt;x>") && !page.contains("<x>"), "keys are escaped");
    Ok(())
}
