//! Programs that look for mistakes in raft-core, built with every assertion, and with command lines
//! of their own.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::step::Step;
use crate::workspace::Workspace;

/// A package of the workspace with one program.
#[derive(Clone, Copy)]
pub struct Program {
    package: &'static str,
    name: &'static str,
}

/// Goes through every state within bounds.
pub const MODEL: Program = Program { package: "raft-model", name: "model" };

/// Tells servers whatever comes to its mind.
pub const FUZZ: Program = Program { package: "raft-fuzz", name: "fuzz" };

/// What is handed on.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Arguments of the program.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Program {
    /// The command that builds and runs it; its arguments are still missing.
    pub fn step(self, workspace: &Workspace) -> Result<Step> {
        let step = Step::cargo(workspace, "run --quiet --profile checked --package")?;
        Ok(step.arg(self.package).arg("--bin").arg(self.name).arg("--"))
    }
}

/// Builds and runs a program, and ends as it does.
pub fn run(workspace: &Workspace, program: Program, args: &Args) -> Result<ExitCode> {
    let mut command = program.step(workspace)?.args(&args.arguments).into_command();
    let status = command.status().with_context(|| format!("cannot start {}", program.name))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
