//! The simulator's programs, which have command lines of their own.

use std::process::ExitCode;

use anyhow::{Context, Result};
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

/// Builds and runs a program of raft-sim, and ends as it does.
pub fn run(workspace: &Workspace, program: &str, args: &SimulatorArgs) -> Result<ExitCode> {
    let mut step = Step::cargo(workspace, "run --quiet --release --package raft-sim")?;
    // Servers whose rules can be broken are a little slower.
    let breaks = args
        .arguments
        .iter()
        .any(|argument| argument.starts_with("--broken"));
    if breaks || ["sabotage", "scenario"].contains(&program) {
        step = step.arg("--features").arg("sabotage");
    }
    let mut command = step
        .arg("--bin")
        .arg(program)
        .arg("--")
        .args(&args.arguments)
        .into_command();
    let status = command
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
