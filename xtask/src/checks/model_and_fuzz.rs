//! Model checking, fuzzing and differential testing of raft-core, in short forms.

use anyhow::{Result, bail};

use super::Note;
use super::cargo::run_tests;
use crate::programs::assertions::{FUZZ, MODEL};
use crate::programs::differential::{self, DifferentialArgs};
use crate::step::Step;
use crate::workspace::Workspace;

/// The steps of the fuzzer in a run of all checks.
const FUZZ_STEPS: &str = "2000000";

/// Checks all states of the small models. The tests then check that the model checker and the
/// fuzzer detect disabled rules.
pub fn model(workspace: &Workspace) -> Result<Note> {
    let result = MODEL.step(workspace)?.arg("--short").run_for_line(" models hold, ")?;
    run_tests(Step::cargo(
        workspace,
        "test --profile assertions --package raft-model --package raft-fuzz \
         --features raft-model/sabotage,raft-fuzz/sabotage",
    )?)?;
    Ok(Some(result))
}

/// Runs some steps of the fuzzer.
pub fn fuzz(workspace: &Workspace) -> Result<Note> {
    let step = FUZZ.step(workspace)?.args(["--steps", FUZZ_STEPS]);
    step.run_for_line(" no violation, ").map(Some)
}

/// Compares some schedules and memberships. The tests then check that the comparison detects
/// disabled rules.
pub fn differential(workspace: &Workspace) -> Result<Note> {
    Step::cargo(workspace, "fmt --check --manifest-path tests/differential/Cargo.toml")?.run()?;
    let result = differential::compare(
        workspace,
        &DifferentialArgs { schedules: 500, configurations: 100_000, seed: 0 },
    )?;
    if !result.ends_with(": no difference") {
        bail!("the last line of the comparison does not end with \": no difference\": {result}");
    }
    run_tests(differential::cargo(workspace, "test --features sabotage")?)?;
    Ok(Some(result))
}
