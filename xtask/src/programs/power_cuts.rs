//! The power cuts of raft-storage.

use std::process::ExitCode;

use anyhow::Result;

use super::Arguments;
use crate::step::Step;
use crate::workspace::Workspace;

/// Builds the program, and replaces this process by it.
pub fn run(workspace: &Workspace, args: &Arguments) -> Result<ExitCode> {
    let step = Step::cargo(
        workspace,
        "run --quiet --release --package raft-storage --example power-cuts --",
    )?;
    Err(step.args(&args.arguments).exec())
}
