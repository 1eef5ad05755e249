//! `cargo xtask demo`, as a newcomer meets it.

use anyhow::{Result, bail};

use super::Note;
use crate::workspace::Workspace;

pub fn run(_workspace: &Workspace) -> Result<Note> {
    bail!("the node has no demo")
}
