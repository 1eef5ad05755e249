//! The dependency tree: licenses, bans and sources.

use anyhow::{Result, bail};

use super::Note;
use crate::step::Step;
use crate::workspace::{Workspace, read};

/// The public registry of npm. A package in a lock file may also have no address.
const NPM_REGISTRY: &str = "https://registry.npmjs.org/";

/// Checks everything except `advisories`. That check fetches a database from GitHub, and a new
/// advisory would fail a tree without a change. Run `cargo deny check advisories` by hand.
pub fn run(workspace: &Workspace) -> Result<Note> {
    Step::cargo(workspace, "deny --workspace check bans licenses sources")?.run()?;
    // This workspace is part of a run of all checks. It needs fewer license exceptions.
    Step::cargo(
        workspace,
        "deny --manifest-path tests/differential/Cargo.toml --config deny.toml \
         check -A license-exception-not-encountered bans licenses sources",
    )?
    .run()?;
    let path = workspace.path("tests/browser/package-lock.json");
    if let Some(address) = foreign_address(&read(&path)?) {
        bail!("package from another registry: {address}; remove it from {}", path.display());
    }
    Ok(None)
}

/// The first address in a package-lock.json that is not in the public registry.
fn foreign_address(lock: &str) -> Option<&str> {
    lock.lines()
        .filter_map(|line| line.trim().strip_prefix("\"resolved\": \""))
        .find(|address| !address.starts_with(NPM_REGISTRY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_from_other_registry_is_detected() {
        let public =
            r#"  "resolved": "https://registry.npmjs.org/typescript/-/typescript-1.0.0.tgz","#;
        assert_eq!(foreign_address(public), None);
        let private = r#"  "resolved": "https://mirror.example/typescript-1.0.0.tgz","#;
        assert!(foreign_address(&format!("{public}\n{private}")).is_some());
    }
}
