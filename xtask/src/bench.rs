//! Benchmarks, which have command lines and lock files of their own.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::setup::{self, Need};
use crate::step::Step;
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
}

/// Builds and runs a benchmark, and ends as it does.
pub fn run(workspace: &Workspace, bench: &Bench) -> Result<ExitCode> {
    let Bench::Core { arguments } = bench;
    setup::ensure(workspace, &[Need::Toolchain, Need::Protoc])?;
    // Cores of others are built for nothing else, so what they are built to stays apart, too.
    let target = workspace.target("bench-core");
    Step::cargo(
        workspace,
        "build --quiet --release --locked --manifest-path tests/bench-core/Cargo.toml",
    )?
    .env("CARGO_TARGET_DIR", &target)
    .run()?;
    let status = Step::new(workspace, target.join("release/bench-core"))?
        .args(arguments)
        .into_command()
        .status()
        .context("cannot start bench-core")?;
    if status.code().is_none() {
        bail!("bench-core was ended: {status}");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
