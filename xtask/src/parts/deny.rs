//! What the project is made of: licenses, and where things come from.

use std::fs;

use anyhow::{Context, Result, bail};

use super::Note;
use crate::step::Step;
use crate::workspace::Workspace;

/// Where npm packages come from unless someone says otherwise; a lock file may also name no place
/// at all.
const NPM_REGISTRY: &str = "https://registry.npmjs.org/";

/// Without `advisories`: that check fetches a database from GitHub, which a build machine need not
/// reach, and a new advisory would fail a tree in which nothing changed. Run
/// `cargo deny check advisories` by hand.
pub fn run(workspace: &Workspace) -> Result<Note> {
    Step::cargo(workspace, "deny --workspace check bans licenses sources")?.run()?;
    // A run of all checks builds this one, too. It needs fewer exceptions than the rest.
    Step::cargo(
        workspace,
        "deny --manifest-path tests/differential/Cargo.toml --config deny.toml \
         check -A license-exception-not-encountered bans licenses sources",
    )?
    .run()?;
    let path = workspace.path("tests/browser/package-lock.json");
    let lock =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if let Some(place) = foreign_place(&lock) {
        bail!("{} has a package from {place}", path.display());
    }
    Ok(None)
}

/// The first address in a package-lock.json that is not the public registry's.
fn foreign_place(lock: &str) -> Option<&str> {
    lock.lines()
        .filter_map(|line| line.trim().strip_prefix("\"resolved\": \""))
        .find(|place| !place.starts_with(NPM_REGISTRY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_from_other_registry_is_detected() {
        let public =
            r#"  "resolved": "https://registry.npmjs.org/typescript/-/typescript-1.0.0.tgz","#;
        assert_eq!(foreign_place(public), None);
        let private = r#"  "resolved": "https://mirror.example/typescript-1.0.0.tgz","#;
        assert!(foreign_place(&format!("{public}\n{private}")).is_some());
    }
}
