//! Benchmarks.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use super::Arguments;
use crate::build::{node, wasm_package};
use crate::step::{Step, announce};
use crate::workspace::Workspace;

/// The subject of a benchmark.
#[derive(Subcommand)]
pub enum Bench {
    /// Compare consensus cores in memory: `cargo xtask bench core --help`.
    Core(Arguments),
    /// Measure the simulator, natively and in WebAssembly: `cargo xtask bench sim --help`.
    Sim(Arguments),
    /// Compare clusters of real processes: `cargo xtask bench storage --help`.
    Storage(Arguments),
}

/// Builds and runs a benchmark, and returns its exit code.
pub fn run(workspace: &Workspace, bench: &Bench) -> Result<ExitCode> {
    match bench {
        Bench::Core(args) => core(workspace, args),
        Bench::Sim(args) => sim(workspace, args),
        Bench::Storage(args) => storage(workspace, args),
    }
}

/// The other cores have a workspace, a lock file and a target directory of their own.
fn core(workspace: &Workspace, args: &Arguments) -> Result<ExitCode> {
    let target = workspace.target("bench-core");
    Step::cargo(
        workspace,
        "build --quiet --release --locked --manifest-path tests/bench-core/Cargo.toml",
    )?
    .env("CARGO_TARGET_DIR", &target)
    .run()?;
    Step::new(workspace, target.join("release/bench-core"))?
        .args(&args.arguments)
        .run_for_exit_code()
}

/// In WebAssembly, the benchmark measures the package that the page loads.
fn sim(workspace: &Workspace, args: &Arguments) -> Result<ExitCode> {
    announce("building the WebAssembly package");
    wasm_package::build(workspace)?;
    Step::cargo(
        workspace,
        "build --quiet --release --package raft-sim --bin bench --bin checkpoint_size",
    )?
    .run()?;
    Step::new(workspace, workspace.target("release/bench"))?
        .arg("--harness")
        .arg(workspace.path("tests/browser/bench-sim.js"))
        .args(&args.arguments)
        .run_for_exit_code()
}

/// Measures the node of this workspace, and the systems in the arguments.
fn storage(workspace: &Workspace, args: &Arguments) -> Result<ExitCode> {
    node::build(workspace)?;
    let target = workspace.target("bench-node");
    Step::cargo(
        workspace,
        "build --quiet --release --locked --manifest-path tests/bench-node/Cargo.toml",
    )?
    .env("CARGO_TARGET_DIR", &target)
    .run()?;
    Step::new(workspace, target.join("release/bench-node"))?
        .arg("--raft")
        .arg(format!("raft={}", workspace.target("release/raft").display()))
        .args(&args.arguments)
        .run_for_exit_code()
}
