//! The comparison of raft-core with raft 0.7.0.
//!
//! No other package uses raft 0.7.0, so the comparison has a workspace, a lock file and a target
//! directory of its own. It is built with little optimization, because a full optimization takes
//! longer than the comparison.

use anyhow::Result;

use crate::step::Step;
use crate::workspace::Workspace;

const MANIFEST: &str = "tests/differential/Cargo.toml";

/// The extent of a comparison.
#[derive(clap::Args)]
pub struct DifferentialArgs {
    /// The number of schedules that both implementations run.
    #[arg(long, default_value_t = 20_000)]
    pub schedules: u64,
    /// The number of memberships whose quorums and changes are compared.
    #[arg(long, default_value_t = 1_000_000)]
    pub configurations: u64,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Runs a comparison, and returns the last line of its output.
pub fn compare(workspace: &Workspace, args: &DifferentialArgs) -> Result<String> {
    let mut last = String::new();
    cargo(workspace, "run --quiet")?
        .arg("--")
        .args([args.schedules, args.configurations, args.seed].map(|number| number.to_string()))
        .run_reading(|line| line.clone_into(&mut last))?;
    Ok(last)
}

/// A cargo command for the workspace of the comparison.
pub fn cargo(workspace: &Workspace, command: &str) -> Result<Step> {
    let step = Step::cargo(workspace, command)?;
    Ok(step
        .args(["--locked", "--manifest-path", MANIFEST])
        .env("CARGO_TARGET_DIR", workspace.target("differential")))
}
