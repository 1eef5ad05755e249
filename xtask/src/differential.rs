//! raft-core beside raft 0.7.0. The other core is built for nothing else, so it has a workspace, a
//! lock file and a target directory of its own, and is built with little optimization: that takes
//! longer than the comparison.

use anyhow::Result;

use crate::step::Step;
use crate::workspace::Workspace;

const MANIFEST: &str = "tests/differential/Cargo.toml";

/// How much is compared.
#[derive(clap::Args)]
pub struct Args {
    /// How many schedules both are given.
    #[arg(long, default_value_t = 20_000)]
    pub schedules: u64,
    /// How many configurations decide and change.
    #[arg(long, default_value_t = 1_000_000)]
    pub configurations: u64,
    /// What decides everything.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Runs a comparison, and returns what it says.
pub fn compare(workspace: &Workspace, args: &Args) -> Result<String> {
    let mut last = String::new();
    cargo(workspace, "run --quiet")?
        .arg("--")
        .arg(args.schedules.to_string())
        .arg(args.configurations.to_string())
        .arg(args.seed.to_string())
        .run_reading(|line| line.clone_into(&mut last))?;
    Ok(last)
}

/// A cargo command for this workspace apart.
pub fn cargo(workspace: &Workspace, command: &str) -> Result<Step> {
    let step = Step::cargo(workspace, command)?;
    Ok(step
        .args(["--locked", "--manifest-path", MANIFEST])
        .env("CARGO_TARGET_DIR", workspace.target("differential")))
}
