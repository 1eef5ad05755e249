//! The paths of the project: the source tree, the target directory and the tools in it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The source tree and the target directory. All other paths are relative to one of them.
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the source tree and the target directory of this program.
    pub fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("xtask has no parent directory")?;
        // Settings and variables can move the target directory. In any case, this program is
        // `<target>/<profile>/xtask`.
        let program = env::current_exe().context("cannot find the program file of xtask")?;
        let target = program.ancestors().nth(2).with_context(|| {
            format!(
                "xtask is not in a target directory: {}; start it with `cargo xtask`",
                program.display()
            )
        })?;
        Ok(Self { root: root.to_path_buf(), target: target.to_path_buf() })
    }

    /// The root of the source tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the source tree.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A path in the target directory.
    pub fn target(&self, relative: &str) -> PathBuf {
        self.target.join(relative)
    }

    /// The directory that `cargo install` installs the tools of this project into.
    pub fn tools(&self) -> PathBuf {
        self.target("tools")
    }

    /// `PATH` with the tools of this project in front.
    pub fn search_path(&self) -> Result<OsString> {
        let tools = self.tools().join("bin");
        let inherited = env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(tools.clone()).chain(env::split_paths(&inherited));
        env::join_paths(paths).with_context(|| {
            format!(
                "invalid directory for PATH: {}; use a target directory without `:`",
                tools.display()
            )
        })
    }

    /// The first program of this name in [`Self::search_path`].
    pub fn which(&self, program: &str) -> Option<PathBuf> {
        env::split_paths(&self.search_path().ok()?)
            .map(|directory| directory.join(program))
            .find(|candidate| candidate.is_file())
    }

    /// The version of a package in Cargo.lock.
    pub fn locked_version(&self, package: &str) -> Result<String> {
        let lock = read(&self.path("Cargo.lock"))?;
        locked_version(&lock, package)
            .with_context(|| format!("missing package in Cargo.lock: {package}"))
    }
}

/// Reads a text file; the error names the file.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Creates a directory and its parents; the error names the directory.
pub fn create_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

fn locked_version(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.next()?;
    let version = lines.next()?.strip_prefix("version = \"")?;
    version.strip_suffix('"').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"wasm-bindgen-shared\"\nversion = \"9.9.9\"\n\n\
                        [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";

    #[test]
    fn locked_version_requires_whole_name() {
        assert_eq!(locked_version(LOCK, "wasm-bindgen").as_deref(), Some("0.2.130"));
        assert_eq!(locked_version(LOCK, "wasm"), None);
    }
}
