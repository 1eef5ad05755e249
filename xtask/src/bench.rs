//! Benchmarks, which have command lines and lock files of their own.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::page;
use crate::setup::{self, Need};
use crate::step::{Step, announce};
use crate::workspace::Workspace;

/// What is measured.
#[derive(Subcommand)]
pub enum Bench {
    /// Consensus cores side by side, in memory: `cargo xtask bench core --help`.
    #[command(disable_help_flag = true)]
    Core {
        /// Arguments of the program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The simulator, natively and in WebAssembly: `cargo xtask bench sim --help`.
    #[command(disable_help_flag = true)]
    Sim {
        /// Arguments of the program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Builds and runs a benchmark, and ends as it does.
pub fn run(workspace: &Workspace, bench: &Bench) -> Result<ExitCode> {
    match bench {
        Bench::Core { arguments } => core(workspace, arguments),
        Bench::Sim { arguments } => sim(workspace, arguments),
    }
}

fn core(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    setup::ensure(workspace, &[Need::Toolchain, Need::Protoc])?;
    // Cores of others are built for nothing else, so what they are built to stays apart, too.
    let target = workspace.target("bench-core");
    Step::cargo(
        workspace,
        "build --quiet --release --locked --manifest-path tests/bench-core/Cargo.toml",
    )?
    .env("CARGO_TARGET_DIR", &target)
    .run()?;
    let program = Step::new(workspace, target.join("release/bench-core"))?.args(arguments);
    finish(program)
}

/// The page's package is what is measured in WebAssembly.
fn sim(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    let needs = [Need::Toolchain, Need::Chromium, Need::NodePackages];
    setup::ensure(workspace, &needs)?;
    announce("building the page");
    page::build(workspace)?;
    Step::cargo(workspace, "build --quiet --release --package raft-sim --bin bench --bin weigh")?
        .run()?;
    let program = Step::new(workspace, workspace.target("release/bench"))?
        .arg("--harness")
        .arg(workspace.path("tests/browser/bench-sim.js"))
        .args(arguments);
    finish(program)
}

fn finish(program: Step) -> Result<ExitCode> {
    let status = program.into_command().status().context("cannot start the benchmark")?;
    if status.code().is_none() {
        bail!("the benchmark was ended: {status}");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
