//! The simulator's programs, which have command lines of their own.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;

use anyhow::{Result, bail};
use clap::Args;

use crate::step::Step;
use crate::workspace::Workspace;

/// What is handed on.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct SimulatorArgs {
    /// Arguments of the program.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds a program of raft-sim, and runs it in the place of this process: who interrupts it waits
/// for what it has to say, and the exit status is its own.
pub fn run(workspace: &Workspace, program: &str, args: &SimulatorArgs) -> Result<Infallible> {
    let mut step = Step::cargo(workspace, "run --quiet --release --package raft-sim")?;
    // Servers whose rules can be broken are a little slower.
    let breaks = args.arguments.iter().any(|argument| argument.starts_with("--broken"));
    if breaks || ["sabotage", "scenario"].contains(&program) {
        step = step.arg("--features").arg("sabotage");
    }
    let step = step.arg("--bin").arg(program).arg("--");
    let error = step.args(&args.arguments).into_command().exec();
    bail!("cannot start {program}: {error}");
}
