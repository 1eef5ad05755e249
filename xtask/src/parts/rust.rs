//! The parts that are cargo's business.
//!
//! The heavy dependencies are those of raft-native. They are compiled twice: in release for the
//! node that ships, which all tests of processes, browsers and documents start; and in the dev
//! profile for its unit tests, over the whole workspace at once, because another selection of
//! packages may mean other features, and another build.

use anyhow::{Result, bail};

use super::Note;
use crate::node;
use crate::step::Step;
use crate::workspace::Workspace;

/// How many worlds are searched for each broken rule before the protocol tests have their turn.
const SABOTAGE_SEEDS: u32 = 400;
/// How many worlds a run of all checks simulates.
const CAMPAIGN_SEEDS: u32 = 1_000;

pub fn fmt(workspace: &Workspace) -> Result<Note> {
    Step::cargo(workspace, "fmt --all --check")?.run()?;
    Ok(None)
}

/// raft-wasm is linted for its own target, too: what it keeps for the browser doesn't exist
/// elsewhere.
pub fn clippy(workspace: &Workspace) -> Result<Note> {
    Step::cargo(workspace, "clippy --workspace --all-targets -- -D warnings")?.run()?;
    Step::cargo(
        workspace,
        "clippy --package raft-wasm --target wasm32-unknown-unknown --all-targets -- -D warnings",
    )?
    .run()?;
    Ok(None)
}

pub fn doc(workspace: &Workspace) -> Result<Note> {
    Step::cargo(workspace, "doc --workspace --no-deps")?
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    Ok(None)
}

/// The process tests start the node that ships, which has been built.
pub fn test(workspace: &Workspace) -> Result<Note> {
    let step = Step::cargo(workspace, "test --workspace --no-fail-fast")?
        .env("RAFT_BIN", node::binary(workspace));
    let passed = run_tests(step)?;
    Ok(Some(format!("{passed} passed")))
}

pub fn no_std(workspace: &Workspace) -> Result<Note> {
    // None has a standard library: the first shows that nothing of it is used, the second has no
    // compare-and-swap either, and the third shows that the page can have it.
    for target in [
        "thumbv7em-none-eabi",
        "thumbv6m-none-eabi --features raft-core/critical-section",
        "wasm32-unknown-unknown",
    ] {
        let build = "build --package raft-core --package raft-kv --lib --target";
        Step::cargo(workspace, &format!("{build} {target}"))?.run()?;
    }
    Ok(None)
}

/// The same trace as the dev profile's, which is among [`test()`]'s, and the browser's, which is
/// among raft-wasm's.
pub fn golden(workspace: &Workspace) -> Result<Note> {
    let passed =
        run_tests(Step::cargo(workspace, "test --package raft-sim --lib --release golden")?)?;
    Ok(Some(format!("{passed} passed")))
}

pub fn campaign(workspace: &Workspace) -> Result<Note> {
    let mut last = String::new();
    Step::cargo(workspace, "run --package raft-sim --bin simulate --release -- --seeds")?
        .arg(CAMPAIGN_SEEDS.to_string())
        .run_reading(|line| {
            if line.contains(" seeds, ") {
                last = line.to_owned();
            }
        })?;
    if !last.starts_with(&format!("{CAMPAIGN_SEEDS} seeds, ")) {
        bail!("the simulator doesn't say that it ran {CAMPAIGN_SEEDS} seeds");
    }
    Ok(Some(last))
}

/// Every rule can be switched off, and that never goes unnoticed; and the scenarios show what some
/// are for.
pub fn sabotage(workspace: &Workspace) -> Result<Note> {
    run_tests(Step::cargo(
        workspace,
        "test --package raft-sim --release --features sabotage --test library",
    )?)?;
    let mut last = String::new();
    Step::cargo(
        workspace,
        "run --package raft-sim --bin sabotage --features sabotage --release -- --seeds",
    )?
    .arg(SABOTAGE_SEEDS.to_string())
    .run_reading(|line| {
        if line.contains(" broken rules: ") {
            last = line.to_owned();
        }
    })?;
    if last.is_empty() {
        bail!("the simulator doesn't say which rules it broke");
    }
    Ok(Some(last))
}

/// Runs a command that reports as Rust's test harness does, and counts what passed: no test at all
/// is a failure.
pub fn run_tests(step: Step) -> Result<u32> {
    let mut passed = 0;
    step.run_reading(|line| passed += tests_passed(line))?;
    if passed == 0 {
        bail!("no test was run");
    }
    Ok(passed)
}

fn tests_passed(line: &str) -> u32 {
    line.trim()
        .strip_prefix("test result: ok. ")
        .and_then(|rest| rest.split_once(" passed"))
        .and_then(|(count, _)| count.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted() {
        assert_eq!(
            tests_passed(
                "test result: ok. 37 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out"
            ),
            37
        );
        assert_eq!(tests_passed("test result: FAILED. 36 passed; 1 failed"), 0);
        assert_eq!(tests_passed("running 37 tests"), 0);
    }
}
