//! Tools that cargo installs at pinned versions into the target directory.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::step::{Step, announce, elapsed};
use crate::workspace::{Workspace, create_directory};

/// Contains the test runner that [`WASM_PACK`] starts. The test runner rejects modules of another
/// version of the library, so its version is that of the library.
pub const WASM_BINDGEN: Tool = Tool {
    package: "wasm-bindgen-cli",
    programs: &["wasm-bindgen", "wasm-bindgen-test-runner"],
    version: Version::LockedWith("wasm-bindgen"),
    // TLS is not required: the test runner connects to a driver on this machine.
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

/// A package of crates.io and its programs.
pub struct Tool {
    package: &'static str,
    /// The programs. The first one prints the version of the package with `--version`.
    programs: &'static [&'static str],
    version: Version,
    features: &'static [&'static str],
}

enum Version {
    Exactly(&'static str),
    /// The version of a library in Cargo.lock.
    LockedWith(&'static str),
}

/// Settings for a fast build. Each tool runs for about a second, so optimization costs more time
/// than it saves.
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
    /// Installs the tool unless this version is in `PATH`. Returns the name and version.
    fn ensure(&self, workspace: &Workspace) -> Result<Option<String>> {
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
        // `--locked` selects the dependencies that the authors of the tool tested. A mirror of the
        // registry can lack one of them, so the second attempt accepts other versions.
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
        let has_version = |program: &str| {
            Step::new(workspace, program)
                .and_then(|step| step.arg("--version").output())
                .is_ok_and(|output| is_version(&output, version))
        };
        let (first, others) = self.programs.split_first().unwrap_or((&self.package, &[]));
        has_version(first) && others.iter().all(|program| workspace.which(program).is_some())
    }

    fn install(&self, workspace: &Workspace, version: &str, lock: &[&str]) -> Result<()> {
        let root = workspace.tools();
        create_directory(&root)?;
        let mut step = Step::cargo(workspace, "install")?
            .arg(self.package)
            .args(["--version", &format!("={version}")])
            .args(lock)
            .args(self.features)
            .arg("--root")
            .arg(&root)
            // The tools share a directory, so that common dependencies are compiled once.
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

/// Returns true if an output such as `cargo-deny 0.20.2 (…)` contains this version.
fn is_version(output: &str, version: &str) -> bool {
    output.split_whitespace().nth(1) == Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_requires_whole_number() {
        assert!(is_version("wasm-bindgen 0.2.130\n", "0.2.130"));
        assert!(is_version("wasm-bindgen 0.2.130 (abcdef 2026-01-01)\n", "0.2.130"));
        assert!(!is_version("wasm-bindgen 0.2.1300\n", "0.2.130"));
        assert!(!is_version("", "0.2.130"));
    }
}
