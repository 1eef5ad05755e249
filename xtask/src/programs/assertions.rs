//! Programs that search for errors in raft-core. The profile `assertions` optimizes them and keeps
//! all assertions.

use std::process::ExitCode;

use anyhow::Result;

use super::Arguments;
use crate::step::Step;
use crate::workspace::Workspace;

/// A package of the workspace with one program.
#[derive(Clone, Copy)]
pub struct Program {
    package: &'static str,
    name: &'static str,
}

/// The model checker.
pub const MODEL: Program = Program { package: "raft-model", name: "model" };

/// The fuzzer.
pub const FUZZ: Program = Program { package: "raft-fuzz", name: "fuzz" };

impl Program {
    /// The command that builds and runs the program, without arguments of the program.
    pub fn step(self, workspace: &Workspace) -> Result<Step> {
        let step = Step::cargo(workspace, "run --quiet --profile assertions --package")?;
        Ok(step.arg(self.package).arg("--bin").arg(self.name).arg("--"))
    }
}

/// Builds and runs a program, and returns its exit code.
pub fn run(workspace: &Workspace, program: Program, args: &Arguments) -> Result<ExitCode> {
    program.step(workspace)?.args(&args.arguments).run_for_exit_code()
}
