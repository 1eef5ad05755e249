//! The parts that need a browser, or the tools of the browser's world.

use anyhow::{Context, Result, ensure};

use super::Note;
use super::rust::run_tests;
use crate::node;
use crate::step::Step;
use crate::workspace::Workspace;

/// wasm-pack finds wasm-bindgen's test runner on `PATH`, and is given the driver, so that it
/// downloads nothing.
pub fn wasm(workspace: &Workspace) -> Result<Note> {
    let driver = workspace.which("chromedriver").context("set-up found no chromedriver")?;
    let step = Step::new(workspace, "wasm-pack")?
        .args(["test", "--headless", "--chrome", "--mode", "no-install", "--chromedriver"])
        .arg(driver)
        .arg("raft-wasm")
        // In seconds; the code is not optimized, and 200 worlds full of faults are among the tests.
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300");
    let passed = run_tests(step)?;
    Ok(Some(format!("{passed} passed")))
}

/// The page is checked by the compiler that the tests have: it has no packages of its own.
pub fn types(workspace: &Workspace) -> Result<Note> {
    npm(workspace, "types")?.run()?;
    Step::new(workspace, workspace.path("tests/browser/node_modules/.bin/tsc"))?
        .arg("--project")
        .arg(workspace.path("www"))
        .run()?;
    Ok(None)
}

pub fn browser(workspace: &Workspace) -> Result<Note> {
    let chromium = workspace.which("chromium").context("set-up found no chromium")?;
    let mut passed = 0;
    npm(workspace, "test")?
        .env("CHROMIUM", chromium)
        .env("RAFT_BIN", node::binary(workspace))
        .run_reading(|line| passed += tests_passed(line))?;
    ensure!(passed > 0, "no test was run");
    Ok(Some(format!("{passed} passed")))
}

/// Reads the summary of Node's test runner: `ℹ pass 12`, or `# pass 12` where it isn't asked for
/// looks.
fn tests_passed(line: &str) -> u32 {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["ℹ" | "#", "pass", count] => count.parse().unwrap_or(0),
        _ => 0,
    }
}

/// A script of tests/browser/package.json.
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
