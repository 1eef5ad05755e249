//! Sets up, builds, runs and checks this project: `cargo xtask --help`.
//!
//! Whatever a command needs and this machine lacks is installed first: toolchain parts by rustup,
//! tools by cargo (into the target directory, at pinned versions), browsers and Node.js by apt.
//! What is there already is left alone, so a second run installs nothing.
//!
//! [`parts`] is the list of what `cargo xtask test` runs; [`setup`] is the list of what may be
//! installed.

mod bench;
mod checked;
mod determinism;
mod differential;
mod node;
mod page;
mod parts;
mod setup;
mod simulator;
mod step;
mod workspace;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::parts::Part;
use crate::setup::Need;
use crate::step::announce;
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
    /// Build page and node, and start a cluster in one process; Ctrl-C stops it.
    Demo(node::DemoArgs),
    /// Run all checks, or only the parts named (and the parts these build upon).
    Test {
        /// What to run; everything by default.
        parts: Vec<Part>,
    },
    /// Install whatever `demo` and `test` need, and do nothing else.
    Setup,
    /// Simulate worlds full of faults, by seed: `cargo xtask simulate --help`.
    Simulate(simulator::SimulatorArgs),
    /// Break one rule of the protocol after the other, and see what falls:
    /// `cargo xtask sabotage --help`.
    Sabotage(simulator::SimulatorArgs),
    /// Go through every state that three servers can reach within bounds:
    /// `cargo xtask model --help`.
    Model(checked::Args),
    /// Tell servers what no server would say, a hundred million times: `cargo xtask fuzz --help`.
    Fuzz(checked::Args),
    /// Compare raft-core with raft 0.7.0, event by event.
    Differential(differential::Args),
    /// Play a scenario and tell its story: `cargo xtask scenario --help`.
    Scenario(simulator::SimulatorArgs),
    /// Repeat a published experiment: `cargo xtask experiment election --help`.
    Experiment(simulator::SimulatorArgs),
    /// Run the same seeds natively, optimized and not, and in WebAssembly, and compare their
    /// traces.
    Determinism(determinism::DeterminismArgs),
    /// Measure, and compare with others.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Build the page's package from raft-wasm into www/pkg.
    Page,
    /// Build the page, then the node with the page inside: target/release/raft.
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
    let workspace = Workspace::find()?;
    match task {
        Task::Demo(args) => {
            build(&workspace)?;
            match node::demo(&workspace, args)? {}
        }
        Task::Test { parts } => Ok(parts::run(&workspace, parts)),
        Task::Setup => {
            setup::ensure(&workspace, Need::ALL)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Simulate(args) => {
            setup::ensure(&workspace, &[Need::Toolchain])?;
            match simulator::run(&workspace, "simulate", args)? {}
        }
        Task::Sabotage(args) => {
            setup::ensure(&workspace, &[Need::Toolchain])?;
            match simulator::run(&workspace, "sabotage", args)? {}
        }
        Task::Model(args) => {
            setup::ensure(&workspace, &[Need::Toolchain])?;
            checked::run(&workspace, checked::MODEL, args)
        }
        Task::Fuzz(args) => {
            setup::ensure(&workspace, &[Need::Toolchain])?;
            checked::run(&workspace, checked::FUZZ, args)
        }
        Task::Differential(args) => {
            setup::ensure(&workspace, &[Need::Toolchain])?;
            differential::compare(&workspace, args)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Scenario(args) => {
            setup::ensure(&workspace, &[Need::Toolchain])?;
            match simulator::run(&workspace, "scenario", args)? {}
        }
        Task::Experiment(args) => {
            setup::ensure(&workspace, &[Need::Toolchain])?;
            match simulator::run(&workspace, "experiment", args)? {}
        }
        Task::Determinism(args) => {
            setup::ensure(&workspace, &[Need::Toolchain, Need::NodePackages])?;
            determinism::run(&workspace, args)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Bench(bench) => bench::run(&workspace, bench),
        Task::Page => {
            setup::ensure(&workspace, Need::TO_BUILD)?;
            announce("building the page");
            page::build(&workspace)?;
            eprintln!("    {}", page::measure(&workspace)?);
            Ok(ExitCode::SUCCESS)
        }
        Task::Build => {
            build(&workspace)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Builds the page, then the node with the page inside.
fn build(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace, Need::TO_BUILD)?;
    announce("building the page (step 1 of 2)");
    page::build(workspace)?;
    announce("building the node (step 2 of 2)");
    node::build(workspace)
}
