//! Where things are: the source tree, the target directory, the tools installed for this project
//! alone.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The directories everything else is found from.
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the source tree this program was compiled from and the target directory it was
    /// compiled to.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies in a directory of the workspace")?;
        // Wherever settings and variables put the target directory, this program is
        // `<target>/<profile>/xtask`.
        let program = env::current_exe().context("cannot tell where xtask itself is")?;
        let target =
            program.ancestors().nth(2).context("xtask does not lie in a target directory")?;
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

    /// The root that `cargo install` installs this project's tools under.
    pub fn tools(&self) -> PathBuf {
        self.target("tools")
    }

    /// `PATH` with this project's tools before everything else.
    pub fn search_path(&self) -> Result<OsString> {
        let tools = self.tools().join("bin");
        let inherited = env::var_os("PATH").unwrap_or_default();
        env::join_paths(std::iter::once(tools).chain(env::split_paths(&inherited)))
            .context("the target directory's name cannot stand in PATH")
    }

    /// The first program of this name on [`Self::search_path`].
    pub fn which(&self, program: &str) -> Option<PathBuf> {
        env::split_paths(&self.search_path().ok()?)
            .map(|directory| directory.join(program))
            .find(|candidate| candidate.is_file())
    }

    /// The version of a package that Cargo.lock pins.
    pub fn locked_version(&self, package: &str) -> Result<String> {
        let path = self.path("Cargo.lock");
        let lock =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        locked_version(&lock, package).with_context(|| {
            format!("Cargo.lock has no package {package}: nothing in the workspace depends on it")
        })
    }
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
    fn a_locked_version_belongs_to_the_whole_name() {
        assert_eq!(locked_version(LOCK, "wasm-bindgen").as_deref(), Some("0.2.130"));
        assert_eq!(locked_version(LOCK, "wasm"), None);
    }
}
