//! The builds that users run: the page and the node that contains the page.

pub mod node;
pub mod page_size;
pub mod wasm_package;

use std::process::ExitCode;

use anyhow::Result;

use crate::step::announce;
use crate::workspace::Workspace;

/// Builds the WebAssembly package, and prints the sizes of the page.
pub fn page(workspace: &Workspace) -> Result<()> {
    announce("building the page");
    wasm_package::build(workspace)?;
    eprintln!("    {}", page_size::measure(workspace)?);
    Ok(())
}

/// Builds the page, then the node, which embeds the page.
pub fn page_and_node(workspace: &Workspace) -> Result<()> {
    announce("building the page: the simulator as WebAssembly (step 1 of 2)");
    wasm_package::build(workspace)?;
    announce("building the node, optimized, with the page inside (step 2 of 2)");
    node::build(workspace)
}

/// Builds the page and the node, and replaces this process by a demo cluster.
pub fn demo(workspace: &Workspace, args: &node::DemoArgs) -> Result<ExitCode> {
    page_and_node(workspace)?;
    announce("starting the demo cluster");
    Err(node::demo(workspace, args)?)
}
