//! Tools that cargo installs, for this project alone, at pinned versions.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::step::{Step, announce, elapsed};
use crate::workspace::Workspace;

/// Contains the test runner that [`WASM_PACK`] starts. The test runner rejects modules of another
/// version of the library, so its version is that of the library.
pub const WASM_BINDGEN: Tool = Tool {
    package: "wasm-bindgen-cli",
    programs: &["wasm-bindgen", "wasm-bindgen-test-runner"],
    version: Version::LockedWith("wasm-bindgen"),
    // Without TLS: the test runner speaks to a driver on this machine.
    features: &["--no-default-features"],
};

/// Requires [`WASM_BINDGEN`].
pub const WASM_PACK: Tool = Tool {
    package: "wasm-pack",
    programs: &["wasm-pack"],
    version: Version::Exactly("0.15.1"),
    features: &[],
};

/// See deny.toml.
pub const CARGO_DENY: Tool = Tool {
    package: "cargo-deny",
    programs: &["cargo-deny"],
    version: Version::Exactly("0.20.2"),
    features: &[],
};

/// A package on crates.io whose programs are needed.
pub struct Tool {
    package: &'static str,
    /// The first is asked for its version.
    programs: &'static [&'static str],
    version: Version,
    features: &'static [&'static str],
}

enum Version {
    Exactly(&'static str),
    /// That of a library in Cargo.lock.
    LockedWith(&'static str),
}

/// What makes a tool quick to run makes it slow to build, and each of them runs for a second at
/// most.
const QUICK_BUILD: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_STRIP", "none"),
];

/// Installs the tools that are missing, and returns their names and versions.
pub fn ensure(workspace: &Workspace, tools: &[Tool]) -> Result<Option<String>> {
    let mut installed = Vec::new();
    for tool in tools {
        installed.extend(tool.ensure(workspace)?);
    }
    Ok((!installed.is_empty()).then(|| installed.join(", ")))
}

impl Tool {
    /// Installs it unless what `PATH` finds has the right version already.
    pub fn ensure(&self, workspace: &Workspace) -> Result<Option<String>> {
        let version = match self.version {
            Version::Exactly(version) => version.to_owned(),
            Version::LockedWith(library) => workspace.locked_version(library)?,
        };
        if self.is_present(workspace, &version) {
            return Ok(None);
        }
        let what = format!("{} {version}", self.package);
        announce(&format!("installing {what}"));
        let started = Instant::now();
        // The versions that the tool's authors tested with. A registry that lags behind may lack
        // one of them (crates are mirrored with a delay in many places); then what it has must do.
        self.install(workspace, &version, &["--locked"])
            .or_else(|error| {
                eprintln!("warning: {error:#}; trying other versions of its dependencies");
                self.install(workspace, &version, &[])
            })
            .with_context(|| format!("cannot install {what}"))?;
        eprintln!("    installed {what} in {}", elapsed(started.elapsed()));
        Ok(Some(what))
    }

    fn is_present(&self, workspace: &Workspace, version: &str) -> bool {
        let answers = |program: &str| {
            Step::new(workspace, program)
                .and_then(|step| step.arg("--version").output())
                .is_ok_and(|answer| is_version(&answer, version))
        };
        let (first, others) = self.programs.split_first().unwrap_or((&self.package, &[]));
        answers(first) && others.iter().all(|program| workspace.which(program).is_some())
    }

    fn install(&self, workspace: &Workspace, version: &str, lock: &[&str]) -> Result<()> {
        let root = workspace.tools();
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        let mut step = Step::cargo(workspace, "install")?
            .arg(self.package)
            .args(["--version", &format!("={version}")])
            .args(lock)
            .args(self.features)
            .arg("--root")
            .arg(&root)
            // One place for all, so that what they have in common is compiled once.
            .arg("--target-dir")
            .arg(root.join("build"));
        for program in self.programs {
            step = step.args(["--bin", program]);
        }
        for (name, value) in QUICK_BUILD {
            step = step.env(name, value);
        }
        step.run()
    }
}

/// Whether `wasm-pack 0.15.1` or `cargo-deny 0.20.2 (…)` is that version.
fn is_version(answer: &str, version: &str) -> bool {
    answer.split_whitespace().nth(1) == Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_whole() {
        assert!(is_version("wasm-bindgen 0.2.130\n", "0.2.130"));
        assert!(is_version("wasm-bindgen 0.2.130 (abcdef 2026-01-01)\n", "0.2.130"));
        assert!(!is_version("wasm-bindgen 0.2.1300\n", "0.2.130"));
        assert!(!is_version("", "0.2.130"));
    }
}
