//! Plays the transcripts in `paper/`, `interaction/` and `additional/`. Each is a file of commands,
//! with the resulting trace below each command. `docs/verification/transcripts.md` describes the
//! format and lists the behaviours.
//!
//! `RAFT_REWRITE=1 cargo test -p raft-core --test transcripts` updates the traces. It never updates
//! expectations (`expect …`, `refused …`), so a new trace cannot reverse a behaviour unnoticed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod commands;
#[path = "../disk/mod.rs"]
mod disk;
mod expectations;
mod format;
mod parse;
mod sample;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use parse::{Failure, Transcript};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

fn documentation() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verification/transcripts.md")
}

/// The files of all transcripts, sorted.
fn files() -> Vec<PathBuf> {
    let in_part = |part: &str| fs::read_dir(directory().join(part)).unwrap();
    let mut files: Vec<_> = ["paper", "interaction", "additional"]
        .into_iter()
        .flat_map(in_part)
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

fn name(file: &Path) -> String {
    let name = file.strip_prefix(directory()).unwrap();
    name.to_string_lossy().replace('\\', "/")
}

#[test]
fn transcripts_match_recorded_traces() {
    let rewrite = std::env::var_os("RAFT_REWRITE").is_some();
    let mut failures = String::new();
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let (played, failure) = match Transcript::read(&text) {
            Ok(transcript) => transcript.play(None),
            Err(failure) => (text.clone(), Some(failure)),
        };
        if let Some(Failure { line, why }) = failure {
            let last: Vec<_> = played.lines().rev().take(12).collect();
            let last: String = last.iter().rev().map(|line| format!("  | {line}\n")).collect();
            writeln!(failures, "{}:{line}: {why}, after\n{last}", name(&file)).unwrap();
        } else if played != text && rewrite {
            fs::write(&file, played).unwrap();
        } else if played != text {
            let difference = parse::first_difference(&text, &played);
            writeln!(failures, "{}:{difference}", name(&file)).unwrap();
        }
    }
    assert!(
        failures.is_empty(),
        "{failures}\nIf the traces are to change: RAFT_REWRITE=1 cargo test -p raft-core --test transcripts"
    );
}

/// The documentation lists each transcript, and each listed transcript exists.
#[test]
fn documentation_lists_every_transcript() {
    let text = fs::read_to_string(documentation()).unwrap();
    for file in files() {
        let link = format!("(../../raft-core/tests/transcripts/{})", name(&file));
        assert!(text.contains(&link), "docs/verification/transcripts.md lacks {link}");
    }
    for link in text.split("](../../").skip(1) {
        let target = link.split(')').next().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(target);
        assert!(path.exists(), "docs/verification/transcripts.md names {target}");
    }
}

/// With a rule disabled, expectations of some transcripts fail. The documentation lists them.
#[cfg(feature = "sabotage")]
#[test]
fn documentation_lists_detected_disabled_rules() {
    use raft_core::Rule;

    let play =
        |text: &str, broken| Transcript::read(text).map(|transcript| transcript.play(broken));
    let texts: Vec<_> = files()
        .iter()
        .map(|file| (name(file), fs::read_to_string(file).unwrap()))
        // Transcripts that only sample timeouts depend on no rule.
        .filter(|(_, text)| text.contains("\ncluster "))
        .map(|(name, text)| match play(&text, None) {
            Ok((played, _)) => (name, played),
            Err(_) => (name, text),
        })
        .collect();
    let mut table = String::from(
        "| disabled rule | an expectation fails in | only the trace differs in |\n| --- | --- | --- |\n",
    );
    let mut noticed = 0;
    // Disabled rules may cause panics, whose messages are not printed.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for rule in Rule::ALL {
        let (mut expected, mut traced) = (Vec::new(), Vec::new());
        for (name, text) in &texts {
            match std::panic::catch_unwind(|| play(text, Some(*rule))) {
                Ok(Ok((played, None))) if played == *text => {}
                Ok(Ok((_, None))) => traced.push(name),
                Ok(Ok((_, Some(_))) | Err(_)) | Err(_) => expected.push(name),
            }
        }
        noticed += usize::from(!expected.is_empty());
        let cell = |names: &[&String]| match names {
            [] => "–".to_owned(),
            [first] => first.trim_end_matches(".txt").to_owned(),
            [first, others @ ..] => {
                format!("{} and {} more", first.trim_end_matches(".txt"), others.len())
            }
        };
        let row = format!("| {} | {} | {} |", rule.name(), cell(&expected), cell(&traced));
        table.push_str(&row);
        table.push('\n');
    }
    std::panic::set_hook(hook);
    let summary = format!(
        "Of {} rules, {noticed} are detected by an expectation of a transcript.\n\n",
        Rule::ALL.len()
    );
    let text = fs::read_to_string(documentation()).unwrap();
    let (before, rest) = text.split_once("<!-- noticed -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->\n").unwrap();
    let renewed = format!("{before}<!-- noticed -->\n{summary}{table}<!-- end -->\n{after}");
    if std::env::var_os("RAFT_REWRITE").is_some() {
        fs::write(documentation(), &renewed).unwrap();
    } else {
        assert!(renewed == text, "docs/verification/transcripts.md is to say:\n{summary}{table}");
    }
}
