//! The short forms of what looks for mistakes in raft-core with every assertion on.

use anyhow::{Result, bail};

use super::Note;
use super::rust::run_tests;
use crate::checked::{FUZZ, MODEL, Program};
use crate::differential::{self, Args};
use crate::step::Step;
use crate::workspace::Workspace;

/// How many steps a run of all checks takes.
const FUZZ_STEPS: &str = "2000000";

/// All states of the small models, of servers as they ship; and that broken rules are noticed, by
/// the fuzzer, too.
pub fn model(workspace: &Workspace) -> Result<Note> {
    let held = last_line(workspace, MODEL, &["--short"], " models hold, ")?;
    run_tests(Step::cargo(
        workspace,
        "test --profile checked --package raft-model --package raft-fuzz --features raft-model/sabotage,raft-fuzz/sabotage",
    )?)?;
    Ok(Some(held))
}

/// The first steps of the fuzzer.
pub fn fuzz(workspace: &Workspace) -> Result<Note> {
    let steps = ["--steps", FUZZ_STEPS];
    last_line(workspace, FUZZ, &steps, " nothing fell, ").map(Some)
}

/// Some schedules and configurations; and that broken rules are noticed.
pub fn differential(workspace: &Workspace) -> Result<Note> {
    Step::cargo(workspace, "fmt --check --manifest-path tests/differential/Cargo.toml")?.run()?;
    let same = differential::compare(
        workspace,
        &Args { schedules: 500, configurations: 100_000, seed: 0 },
    )?;
    if !same.ends_with(": the same") {
        bail!("the program doesn't say what it has compared");
    }
    run_tests(differential::cargo(workspace, "test --features sabotage")?)?;
    Ok(Some(same))
}

/// Runs a program, and returns the last line that says this.
fn last_line(
    workspace: &Workspace,
    program: Program,
    arguments: &[&str],
    says: &str,
) -> Result<String> {
    let mut last = String::new();
    let step = program.step(workspace)?.args(arguments);
    step.run_reading(|line| {
        if line.contains(says) {
            last = line.to_owned();
        }
    })?;
    if last.is_empty() {
        bail!("the program doesn't say what it has done");
    }
    Ok(last)
}
