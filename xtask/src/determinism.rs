//! The same seeds in three builds: natively with and without optimization, and in WebAssembly.

use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::page;
use crate::step::{Step, announce};
use crate::workspace::Workspace;

/// Options of `cargo xtask determinism`.
#[derive(Args)]
pub struct DeterminismArgs {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Leave out the build that is not optimized, which takes ten times as long as the others.
    #[arg(long)]
    optimized: bool,
}

/// Compares the hashes of all traces; what differs is an error that names the seeds.
pub fn run(workspace: &Workspace, args: &DeterminismArgs) -> Result<()> {
    let seeds = args.seeds.to_string();
    announce("building");
    let package = workspace.target("determinism");
    page::bind(workspace, &["--features", "campaigns"], &package)?;
    let build = "build --package raft-sim --bin determinism";
    Step::cargo(workspace, build)?.arg("--release").run()?;
    if !args.optimized {
        Step::cargo(workspace, build)?.run()?;
    }
    announce(&format!("running {seeds} seeds in each build"));
    let native = |profile: &str| {
        let program = workspace.target(profile).join("determinism");
        Ok::<_, anyhow::Error>(Step::new(workspace, program)?.arg(&seeds))
    };
    let wasm = Step::new(workspace, "node")?
        .arg(workspace.path("tests/browser/determinism.js"))
        .arg(&package)
        .arg(&seeds);
    let mut builds = vec![("native, optimized", native("release")?), ("wasm32, Node.js", wasm)];
    if !args.optimized {
        builds.push(("native, not optimized", native("debug")?));
    }
    let printed: Vec<_> = thread::scope(|scope| {
        let running = builds.into_iter();
        let running = running.map(|(name, step)| (name, scope.spawn(|| step.output())));
        // All of them run before the first is waited for.
        let running: Vec<_> = running.collect();
        let ended = running.into_iter();
        ended.map(|(name, thread)| (name, thread.join())).collect()
    });
    let mut all = Vec::new();
    for (name, output) in printed {
        let output = output.ok().with_context(|| format!("lost {name}"))?;
        all.push((name, output.with_context(|| name)?));
    }
    let Some(((first, expected), others)) = all.split_first() else {
        bail!("nothing was run");
    };
    let blocks = u64::try_from(expected.lines().count())?;
    if blocks != args.seeds.div_ceil(100) {
        bail!("{first} ran {blocks} hundreds of seeds");
    }
    for (name, output) in others {
        compare(first, expected, name, output)?;
    }
    println!("{seeds} seeds have the same traces in each build:");
    for (name, _) in &all {
        println!("  {name}");
    }
    Ok(())
}

fn compare(first: &str, expected: &str, name: &str, output: &str) -> Result<()> {
    let pairs = expected.lines().zip(output.lines());
    if let Some((one, other)) = { pairs }.find(|(one, other)| one != other) {
        bail!(
            "hundreds of seeds differ, the first of them here: {one} ({first}), {other} ({name})"
        );
    }
    if expected.lines().count() != output.lines().count() {
        bail!("{first} and {name} did not run equally many seeds");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_differences_are_reported() {
        assert!(compare("a", "0 1\n100 2\n", "b", "0 1\n100 2\n").is_ok());
        assert!(compare("a", "0 1\n100 2\n", "b", "0 1\n100 3\n").is_err());
        assert!(compare("a", "0 1\n100 2\n", "b", "0 1\n").is_err());
    }
}
