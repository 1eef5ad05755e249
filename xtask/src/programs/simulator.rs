//! The programs of raft-sim.

use std::process::ExitCode;

use anyhow::Result;

use super::Arguments;
use crate::step::Step;
use crate::workspace::Workspace;

/// Builds a program of raft-sim, and replaces this process by it. The program handles Ctrl-C: it
/// prints its results before it ends.
pub fn run(workspace: &Workspace, program: &str, args: &Arguments) -> Result<ExitCode> {
    let mut step = Step::cargo(workspace, "run --quiet --release --package raft-sim")?;
    // The feature makes servers slightly slower, so it is enabled only for disabled rules.
    let disables = args.arguments.iter().any(|argument| argument.starts_with(DISABLE_RULE));
    if disables || ["sabotage", "scenario"].contains(&program) {
        step = step.args(["--features", "sabotage"]);
    }
    Err(step.args(["--bin", program, "--"]).args(&args.arguments).exec())
}

/// The option of `simulate` that disables a rule.
const DISABLE_RULE: &str = "--disable";
