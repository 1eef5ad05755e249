//! The checks that require a browser or Node.js.

use anyhow::{Context, Result, ensure};

use super::Note;
use super::cargo::run_tests;
use crate::build::node;
use crate::step::Step;
use crate::workspace::Workspace;

/// Runs wasm-pack. It finds the test runner of wasm-bindgen in `PATH`, and the driver is an
/// argument, so it downloads nothing.
pub fn wasm(workspace: &Workspace) -> Result<Note> {
    let driver = workspace.which("chromedriver").context("missing program: chromedriver")?;
    let step = Step::new(workspace, "wasm-pack")?
        .args(["test", "--headless", "--chrome", "--mode", "no-install", "--chromedriver"])
        .arg(driver)
        .arg("raft-wasm")
        // In seconds. The build is not optimized, and the tests simulate 200 seeds with faults.
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300");
    let passed = run_tests(step)?;
    Ok(Some(format!("{passed} passed")))
}

/// Checks the types of the tests and of the page. Both use the compiler in tests/browser, because
/// the page has no npm packages.
pub fn types(workspace: &Workspace) -> Result<Note> {
    npm(workspace, "types")?.run()?;
    Step::new(workspace, workspace.path("tests/browser/node_modules/.bin/tsc"))?
        .arg("--project")
        .arg(workspace.path("www"))
        .run()?;
    Ok(None)
}

pub fn browser(workspace: &Workspace) -> Result<Note> {
    let chromium = workspace.which("chromium").context("missing program: chromium")?;
    let mut passed = 0;
    npm(workspace, "test")?
        .env("CHROMIUM", chromium)
        .env("RAFT_BIN", node::binary(workspace))
        .run_reading(|line| passed += tests_passed(line))?;
    ensure!(passed > 0, "no test was run");
    Ok(Some(format!("{passed} passed")))
}

/// Parses the summary of the test runner of Node.js: `ℹ pass 12` from the reporter for terminals,
/// `# pass 12` from other reporters.
fn tests_passed(line: &str) -> u32 {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["ℹ" | "#", "pass", count] => count.parse().unwrap_or(0),
        _ => 0,
    }
}

/// A command that runs a script of tests/browser/package.json.
fn npm(workspace: &Workspace, script: &str) -> Result<Step> {
    Ok(Step::new(workspace, "npm")?
        .args(["run", "--silent", script])
        .directory(&workspace.path("tests/browser")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted() {
        assert_eq!(tests_passed("ℹ pass 12"), 12);
        assert_eq!(tests_passed("# pass 3"), 3);
        assert_eq!(tests_passed("ℹ fail 1"), 0);
        assert_eq!(tests_passed("✔ pass 1 key (3 ms)"), 0);
    }
}
