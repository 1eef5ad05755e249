//! The node: the release binary, and the demo cluster in one process.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Error, Result};
use clap::Args;

use crate::step::{Step, elapsed};
use crate::workspace::Workspace;

/// Options of `cargo xtask demo`, passed to `raft demo`.
#[derive(Args)]
pub struct DemoArgs {
    /// The number of nodes.
    #[arg(long)]
    nodes: Option<u8>,
    /// The port of the first node. The other nodes use the next ports.
    #[arg(long)]
    port: Option<u16>,
}

/// Builds the release binary. The page must be built before, because the binary contains it.
pub fn build(workspace: &Workspace) -> Result<()> {
    let started = Instant::now();
    Step::cargo(workspace, "build --package raft-native --bin raft --release")?.run()?;
    eprintln!("    built the node in {}", elapsed(started.elapsed()));
    Ok(())
}

/// The path of the binary that [`build`] creates.
pub fn binary(workspace: &Workspace) -> PathBuf {
    workspace.target("release/raft")
}

/// Replaces this process by `raft demo`. Returns the error if that fails.
pub fn demo(workspace: &Workspace, args: &DemoArgs) -> Result<Error> {
    let mut step = Step::new(workspace, binary(workspace))?.arg("demo");
    if let Some(nodes) = args.nodes {
        step = step.arg("--nodes").arg(nodes.to_string());
    }
    if let Some(port) = args.port {
        step = step.arg("--port").arg(port.to_string());
    }
    Ok(step.exec())
}
