//! The parts that need a browser, or the tools of the browser's world.

use anyhow::{Context, Result};

use super::Note;
use super::rust::run_tests;
use crate::node;
use crate::step::Step;
use crate::workspace::Workspace;

/// wasm-pack finds wasm-bindgen's test runner on `PATH`, and is given the driver, so that it downloads nothing.
pub fn wasm(workspace: &Workspace) -> Result<Note> {
    let driver = workspace
        .which("chromedriver")
        .context("set-up found no chromedriver")?;
    let step = Step::new(workspace, "wasm-pack")?
        .args([
            "test",
            "--headless",
            "--chrome",
            "--mode",
            "no-install",
            "--chromedriver",
        ])
        .arg(driver)
        .arg("raft-wasm");
    let passed = run_tests(step)?;
    Ok(Some(format!("{passed} passed")))
}

pub fn types(workspace: &Workspace) -> Result<Note> {
    npm(workspace, "types")?.run()?;
    Ok(None)
}

pub fn browser(workspace: &Workspace) -> Result<Note> {
    let chromium = workspace
        .which("chromium")
        .context("set-up found no chromium")?;
    npm(workspace, "test")?
        .env("CHROMIUM", chromium)
        .env("RAFT_BIN", node::binary(workspace))
        .run()?;
    Ok(None)
}

/// A script of tests/browser/package.json.
fn npm(workspace: &Workspace, script: &str) -> Result<Step> {
    Ok(Step::new(workspace, "npm")?
        .args(["run", "--silent", script])
        .directory(&workspace.path("tests/browser")))
}
