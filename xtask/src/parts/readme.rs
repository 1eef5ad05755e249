//! The commands of README.md.

use anyhow::{Result, bail};

use super::Note;
use crate::workspace::Workspace;

pub fn run(_workspace: &Workspace) -> Result<Note> {
    bail!("there is no README.md")
}
