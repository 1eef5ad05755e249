//! The node: built with the page inside, and started as a whole cluster for a first look.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::step::{Step, elapsed};
use crate::workspace::Workspace;

/// Options of `cargo xtask demo`, handed on to `raft demo`.
#[derive(Args)]
pub struct DemoArgs {
    /// How many nodes the cluster has.
    #[arg(long)]
    nodes: Option<u8>,
    /// The first node's port; the others follow it.
    #[arg(long)]
    port: Option<u16>,
}

/// Builds the release binary. It embeds the page, so the page must be built.
pub fn build(workspace: &Workspace) -> Result<()> {
    let started = Instant::now();
    Step::cargo(workspace, "build --package raft-native --bin raft --release")?.run()?;
    eprintln!("    built the node in {}", elapsed(started.elapsed()));
    Ok(())
}

/// What [`build`] makes.
pub fn binary(workspace: &Workspace) -> PathBuf {
    workspace.target("release/raft")
}

/// Runs `raft demo` in the place of this process: a signal then reaches the node whoever it is sent
/// to, there is nobody to wait for it, and the exit status is the node's own.
pub fn demo(workspace: &Workspace, args: &DemoArgs) -> Result<Infallible> {
    let mut step = Step::new(workspace, binary(workspace))?.arg("demo");
    if let Some(nodes) = args.nodes {
        step = step.arg("--nodes").arg(nodes.to_string());
    }
    if let Some(port) = args.port {
        step = step.arg("--port").arg(port.to_string());
    }
    let error = step.into_command().exec();
    bail!("cannot start the node: {error}");
}
