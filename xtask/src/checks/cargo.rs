//! The checks that run cargo.
//!
//! The dependencies of raft-native take most of the time. They are compiled twice. The release
//! build is for the node, which all tests with processes, browsers and README.md start. The dev
//! build is for unit tests. One command builds all packages of the workspace, because another
//! selection of packages could enable other features and compile the dependencies again.

use anyhow::{Result, bail};

use super::Note;
use crate::build::node;
use crate::step::Step;
use crate::workspace::Workspace;

/// The number of seeds for each disabled rule. The protocol tests run for rules that are not
/// detected by these seeds.
const SABOTAGE_SEEDS: u32 = 400;
/// The number of seeds of the simulation campaign.
const CAMPAIGN_SEEDS: u32 = 1_000;

pub fn fmt(workspace: &Workspace) -> Result<Note> {
    Step::cargo(workspace, "fmt --all --check")?.run()?;
    Ok(None)
}

/// The second command checks the code of raft-wasm that exists only for WebAssembly.
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

/// The process tests start the release binary, which the check `build` has built.
pub fn test(workspace: &Workspace) -> Result<Note> {
    let step = Step::cargo(workspace, "test --workspace --no-fail-fast")?
        .env("RAFT_BIN", node::binary(workspace));
    let passed = run_tests(step)?;
    Ok(Some(format!("{passed} passed")))
}

/// The first target has no standard library. The second target also has no compare-and-swap. The
/// third target is that of the page.
pub fn no_std(workspace: &Workspace) -> Result<Note> {
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

/// Checks the golden trace in a release build. [`test()`] checks the same trace in a dev build, and
/// the tests of raft-wasm check the trace in a browser.
pub fn golden(workspace: &Workspace) -> Result<Note> {
    let passed =
        run_tests(Step::cargo(workspace, "test --package raft-sim --lib --release golden")?)?;
    Ok(Some(format!("{passed} passed")))
}

pub fn campaign(workspace: &Workspace) -> Result<Note> {
    let text = format!("{CAMPAIGN_SEEDS} seeds, ");
    Step::cargo(workspace, "run --package raft-sim --bin simulate --release -- --seeds")?
        .arg(CAMPAIGN_SEEDS.to_string())
        .run_for_line(&text)
        .map(Some)
}

/// Runs the scenarios with disabled rules, and searches a violation for each disabled rule.
pub fn sabotage(workspace: &Workspace) -> Result<Note> {
    run_tests(Step::cargo(
        workspace,
        "test --package raft-sim --release --features sabotage --test scenario_library",
    )?)?;
    run_tests(Step::cargo(
        workspace,
        "test --package raft-storage --release --features sabotage --test power_cuts",
    )?)?;
    Step::cargo(
        workspace,
        "run --package raft-sim --bin sabotage --features sabotage --release -- --seeds",
    )?
    .arg(SABOTAGE_SEEDS.to_string())
    .run_for_line(" disabled rules: ")
    .map(Some)
}

/// Runs a command that prints the output of Rust's test harness, and counts the passed tests.
/// Returns an error if no test was run.
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
        let line = "test result: ok. 37 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out";
        assert_eq!(tests_passed(line), 37);
        assert_eq!(tests_passed("test result: FAILED. 36 passed; 1 failed"), 0);
        assert_eq!(tests_passed("running 37 tests"), 0);
    }
}
