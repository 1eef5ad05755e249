//! The path of the `raft` binary.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

/// The path of the `raft` binary. It is the value of `RAFT_BIN`. Without that variable, cargo
/// builds the binary in the profile of the tests.
///
/// # Errors
///
/// Returns an error if the binary cannot be built.
pub fn raft() -> Result<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            match env::var_os("RAFT_BIN") {
                Some(path) => given(PathBuf::from(path)),
                None => build(),
            }
            .map_err(|error| format!("{error:#}"))
        })
        .as_deref()
        .map_err(|error| anyhow!("{error}"))
}

fn given(path: PathBuf) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("missing file: RAFT_BIN={}", path.display());
    }
    path.canonicalize().with_context(|| format!("cannot resolve RAFT_BIN={}", path.display()))
}

/// Builds the binary. Cargo locks the target directory, so parallel tests do not build in parallel.
fn build() -> Result<PathBuf> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .arg("build")
        .args(["--package", "raft-native", "--bin", "raft"])
        .arg("--message-format=json-render-diagnostics")
        .args(["--profile", &profile()?])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .stderr(Stdio::inherit());
    // `cargo test` sets these variables to describe this package. Some build scripts, such as that
    // of ring, depend on them, so half of the dependencies would be compiled again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo cannot build raft: {}", output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "raft")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("missing path of raft in the output of cargo")
}

/// The profile of this test. Its program is `target/<profile>/deps/<name>`, and the directory of
/// the dev profile is `debug`.
fn profile() -> Result<String> {
    let this = env::current_exe().context("cannot tell where this program is")?;
    let directory = this
        .ancestors()
        .find(|path| path.file_name().is_some_and(|name| name == "deps"))
        .and_then(Path::parent)
        .and_then(Path::file_name)
        .with_context(|| format!("{} is in no target directory", this.display()))?
        .to_string_lossy();
    Ok(match &*directory {
        "debug" => "dev".to_owned(),
        other => other.to_owned(),
    })
}
