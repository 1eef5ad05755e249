//! Sets up, builds, runs and checks this project: `cargo xtask --help`.
//!
//! Each command first installs what it requires and this machine lacks. A second run installs
//! nothing.
//!
//! | installer | installs |
//! | --- | --- |
//! | rustup | components of the toolchain |
//! | cargo | tools at pinned versions, into the target directory |
//! | apt | browsers and Node.js |
//!
//! | module | contents |
//! | --- | --- |
//! | [`build`] | the WebAssembly package and the node |
//! | [`programs`] | commands that build and run one program |
//! | [`checks`] | the checks of `cargo xtask test` |
//! | [`setup`] | what may be installed |

mod build;
mod checks;
mod programs;
mod setup;
mod step;
mod workspace;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::checks::Check;
use crate::programs::assertions::{FUZZ, MODEL};
use crate::programs::{
    Arguments, assertions, bench, determinism, differential, power_cuts, simulator,
};
use crate::setup::Prerequisite;
use crate::workspace::Workspace;

/// Sets up, builds, runs and checks this project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the page and the node, and start a cluster in one process. Ctrl-C stops it.
    Demo(build::node::DemoArgs),
    /// Run all checks, or the named checks and those that they depend on.
    Test {
        /// The checks to run. Default: all.
        checks: Vec<Check>,
    },
    /// Install everything that `demo` and `test` require.
    Setup,
    /// Simulate clusters with faults: `cargo xtask simulate --help`.
    Simulate(Arguments),
    /// Mutation-test the protocol: disable one rule at a time and find a violation:
    /// `cargo xtask sabotage --help`.
    Sabotage(Arguments),
    /// Model-check three servers exhaustively within bounds: `cargo xtask model --help`.
    Model(Arguments),
    /// Fuzz servers with arbitrary messages and calls: `cargo xtask fuzz --help`.
    Fuzz(Arguments),
    /// Compare raft-core with raft 0.7.0 event by event.
    Differential(differential::DifferentialArgs),
    /// Cut the power of simulated disks, and check what is left: `cargo xtask power-cuts --help`.
    PowerCuts(Arguments),
    /// Run a scenario and print its events: `cargo xtask scenario --help`.
    Scenario(Arguments),
    /// Repeat a published experiment: `cargo xtask experiment election --help`.
    Experiment(Arguments),
    /// Compare the traces of the same seeds in native builds and in WebAssembly.
    Determinism(determinism::DeterminismArgs),
    /// Run a benchmark.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Build the WebAssembly package into www/pkg.
    Page,
    /// Build the page, then target/release/raft with the page inside.
    Build,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let started = Instant::now();
    match run(&cli.task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#} (after {})", step::elapsed(started.elapsed()));
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<ExitCode> {
    let workspace = &Workspace::find()?;
    setup::ensure(workspace, task.prerequisites())?;
    match task {
        Task::Demo(args) => build::demo(workspace, args),
        Task::Test { checks } => Ok(checks::run(workspace, checks)),
        Task::Setup => Ok(ExitCode::SUCCESS),
        Task::Simulate(args) => simulator::run(workspace, "simulate", args),
        Task::Sabotage(args) => simulator::run(workspace, "sabotage", args),
        Task::Scenario(args) => simulator::run(workspace, "scenario", args),
        Task::Experiment(args) => simulator::run(workspace, "experiment", args),
        Task::Model(args) => assertions::run(workspace, MODEL, args),
        Task::Fuzz(args) => assertions::run(workspace, FUZZ, args),
        Task::Differential(args) => success(differential::compare(workspace, args)),
        Task::Determinism(args) => success(determinism::run(workspace, args)),
        Task::PowerCuts(args) => power_cuts::run(workspace, args),
        Task::Bench(bench) => bench::run(workspace, bench),
        Task::Page => success(build::page(workspace)),
        Task::Build => success(build::page_and_node(workspace)),
    }
}

fn success<T>(result: Result<T>) -> Result<ExitCode> {
    result.map(|_| ExitCode::SUCCESS)
}

impl Task {
    /// What must be installed before the task starts.
    fn prerequisites(&self) -> &'static [Prerequisite] {
        use Prerequisite::{Chromium, NodePackages, Protoc, Toolchain};
        match self {
            // The summary of the checks reports what is missing.
            Self::Test { .. } => &[],
            Self::Setup => Prerequisite::ALL,
            Self::Determinism(_) => &[Toolchain, NodePackages],
            Self::Bench(bench::Bench::Core(_)) => &[Toolchain, Protoc],
            Self::Bench(bench::Bench::Sim(_)) => &[Toolchain, Chromium, NodePackages],
            _ => &[Toolchain],
        }
    }
}
