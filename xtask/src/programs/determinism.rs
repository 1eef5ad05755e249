//! The comparison of traces between builds: native with and without optimization, and WebAssembly.

use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::wasm_package;
use crate::step::{Step, announce};
use crate::workspace::Workspace;

/// Options of `cargo xtask determinism`.
#[derive(Args)]
pub struct DeterminismArgs {
    /// The number of seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Skip the build without optimization, which takes ten times as long as the others.
    #[arg(long)]
    optimized: bool,
}

/// The seeds that share one line of output: a line contains the hash of their traces.
const SEEDS_PER_LINE: u64 = 100;

/// One build, and the command that prints the hashes of its traces.
struct Build {
    name: &'static str,
    step: Step,
}

/// The output of a build.
struct Trace {
    name: &'static str,
    output: String,
}

/// Compares the traces of all builds. The error names the first seeds that differ.
pub fn run(workspace: &Workspace, args: &DeterminismArgs) -> Result<()> {
    let builds = build(workspace, args)?;
    announce(&format!("running {} seeds in each build", args.seeds));
    let traces = run_all(builds)?;
    let Some((first, others)) = traces.split_first() else {
        bail!("no build was run");
    };
    let lines = u64::try_from(first.output.lines().count())?;
    let expected = args.seeds.div_ceil(SEEDS_PER_LINE);
    if lines != expected {
        bail!("{} printed {lines} lines instead of {expected}", first.name);
    }
    for other in others {
        compare(first, other)?;
    }
    println!("{} seeds have the same traces in each build:", args.seeds);
    for trace in &traces {
        println!("  {}", trace.name);
    }
    Ok(())
}

fn build(workspace: &Workspace, args: &DeterminismArgs) -> Result<Vec<Build>> {
    announce("building");
    let package = workspace.target("determinism");
    wasm_package::bind(workspace, &["--features", "campaigns"], &package)?;
    let build = "build --package raft-sim --bin determinism";
    Step::cargo(workspace, build)?.arg("--release").run()?;
    if !args.optimized {
        Step::cargo(workspace, build)?.run()?;
    }
    let seeds = args.seeds.to_string();
    let native = |profile: &str| {
        let program = workspace.target(profile).join("determinism");
        Ok::<_, anyhow::Error>(Step::new(workspace, program)?.arg(&seeds))
    };
    let wasm = Step::new(workspace, "node")?
        .arg(workspace.path("tests/browser/determinism.js"))
        .arg(&package)
        .arg(&seeds);
    let mut builds = vec![
        Build { name: "native, optimized", step: native("release")? },
        Build { name: "wasm32, Node.js", step: wasm },
    ];
    if !args.optimized {
        builds.push(Build { name: "native, not optimized", step: native("debug")? });
    }
    Ok(builds)
}

/// Runs all builds at the same time.
fn run_all(builds: Vec<Build>) -> Result<Vec<Trace>> {
    thread::scope(|scope| {
        let threads: Vec<_> = builds
            .into_iter()
            .map(|Build { name, step }| (name, scope.spawn(move || step.output())))
            .collect();
        let traces = threads.into_iter().map(|(name, thread)| {
            let output = thread.join().ok().with_context(|| format!("panic while {name} ran"))?;
            Ok(Trace { name, output: output.context(name)? })
        });
        traces.collect()
    })
}

fn compare(first: &Trace, other: &Trace) -> Result<()> {
    let mut pairs = first.output.lines().zip(other.output.lines());
    if let Some((one, two)) = pairs.find(|(one, two)| one != two) {
        bail!(
            "traces differ, first in these {SEEDS_PER_LINE} seeds: {one} ({}), {two} ({})",
            first.name,
            other.name
        );
    }
    if first.output.lines().count() != other.output.lines().count() {
        bail!("{} and {} ran different numbers of seeds", first.name, other.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_differences_are_reported() {
        let trace = |output: &str| Trace { name: "build", output: output.to_owned() };
        let first = trace("0 1\n100 2\n");
        assert!(compare(&first, &trace("0 1\n100 2\n")).is_ok());
        assert!(compare(&first, &trace("0 1\n100 3\n")).is_err());
        assert!(compare(&first, &trace("0 1\n")).is_err());
    }
}
