//! The npm packages of tests/browser: a browser driver and a type checker. The page contains none
//! of them.

use std::fs;

use anyhow::{Context, Result};

use super::system;
use crate::step::{Step, announce};
use crate::workspace::Workspace;

/// Installs the versions of package-lock.json unless they are installed.
pub fn ensure(workspace: &Workspace) -> Result<Option<String>> {
    let node = system::ensure(workspace, system::NODE)?;
    let directory = workspace.path("tests/browser");
    let lock = directory.join("package-lock.json");
    let wanted = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    // `npm ci` deletes node_modules first. The copy therefore exists only after a successful
    // installation with this lock file.
    let copy = directory.join("node_modules/.installed-package-lock.json");
    if fs::read(&copy).is_ok_and(|installed| installed == wanted) {
        return Ok(node);
    }
    announce("installing the npm packages of tests/browser");
    Step::new(workspace, "npm")?
        .args(["ci", "--no-audit", "--no-fund"])
        .directory(&directory)
        .run()?;
    fs::write(&copy, &wanted).with_context(|| format!("cannot write {}", copy.display()))?;
    let packages = "npm packages".to_owned();
    Ok(Some(node.map_or(packages.clone(), |node| format!("{node}, {packages}"))))
}
