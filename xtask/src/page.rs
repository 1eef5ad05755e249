//! The page's package: raft-wasm compiled, bound to JavaScript and put into www/pkg.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::step::{Step, announce, elapsed};
use crate::workspace::Workspace;

/// What a visitor waits for before anything moves is the module, compressed by whoever serves it. At 1 Mbit/s, a slow
/// phone, this many bytes take three and a half seconds. It holds the whole protocol, all decisions in words, and the
/// reckoning of leases, watches and transactions against which every world is checked.
const MODULE_GZIP_BYTES_MAX: u64 = 432 * 1024;

/// The name wasm-bindgen gives to the module of a crate named `raft_wasm`.
const MODULE: &str = "raft_wasm_bg.wasm";

/// How large the module came out.
pub struct Sizes {
    raw: u64,
    gzip: u64,
}

/// Builds the package; www/pkg holds it, and nothing else, afterwards.
pub fn build(workspace: &Workspace) -> Result<Sizes> {
    announce("building the page");
    let started = Instant::now();
    // Not `page`: cargo keeps what it builds for the profile of that name there.
    let staged = workspace.target("package");
    bind(workspace, &[], &staged)?;
    optimize(workspace, &staged.join(MODULE))?;
    let sizes = measure(workspace, &staged.join(MODULE))?;
    publish(&staged, &workspace.path("www/pkg"))?;
    eprintln!("    built the page in {}: {sizes}", elapsed(started.elapsed()));
    Ok(sizes)
}

/// Compiles the package, with these arguments for cargo, and puts it into a directory.
pub fn bind(workspace: &Workspace, arguments: &[&str], staged: &Path) -> Result<()> {
    Step::cargo(
        workspace,
        "build --package raft-wasm --target wasm32-unknown-unknown --profile page",
    )?
    .args(arguments)
    .run()?;
    let module = workspace.target("wasm32-unknown-unknown/page/raft_wasm.wasm");
    if !module.is_file() {
        bail!("raft-wasm builds no {}: it must be a cdylib", module.display());
    }

    remove_directory(staged)?;
    Step::new(workspace, "wasm-bindgen")?
        .args(["--target", "web", "--out-dir"])
        .arg(staged)
        .arg(&module)
        .run()
}

impl Sizes {
    /// Fails if a visitor would wait too long.
    pub fn check(&self) -> Result<()> {
        if self.gzip > MODULE_GZIP_BYTES_MAX {
            bail!(
                "{MODULE} is {} compressed, over the limit of {}: make it smaller, or raise the limit in xtask/src/page.rs \
                 and say why",
                kib(self.gzip),
                kib(MODULE_GZIP_BYTES_MAX)
            );
        }
        Ok(())
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "module {}, {} compressed", kib(self.raw), kib(self.gzip))
    }
}

fn kib(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

/// Takes a tenth or so off the module where binaryen is installed; the page is the same without.
fn optimize(workspace: &Workspace, module: &Path) -> Result<()> {
    if workspace.which("wasm-opt").is_none() {
        return Ok(());
    }
    let optimized = module.with_extension("optimized");
    let step = Step::new(workspace, "wasm-opt")?
        // rustc uses what every browser has by now; an older binaryen wants to be told.
        .args(["-O3", "--all-features"])
        .arg(module)
        .arg("--output")
        .arg(&optimized);
    match step.run() {
        Ok(()) => fs::rename(&optimized, module)
            .with_context(|| format!("cannot replace {}", module.display())),
        Err(error) => {
            eprintln!("warning: {error:#}; the module stays as the compiler made it");
            Ok(())
        }
    }
}

fn measure(workspace: &Workspace, module: &Path) -> Result<Sizes> {
    let raw = fs::metadata(module)
        .with_context(|| format!("wasm-bindgen made no {}", module.display()))?
        .len();
    let compressed = Step::new(workspace, "gzip")?
        .args(["-9", "--stdout"])
        .arg(module)
        .into_command()
        .output()
        .context("cannot start gzip")?;
    if !compressed.status.success() {
        bail!("gzip failed: {}", compressed.status);
    }
    Ok(Sizes { raw, gzip: compressed.stdout.len() as u64 })
}

/// Copies only what differs: the node embeds the page, and is rebuilt when a file's time changes.
fn publish(from: &Path, to: &Path) -> Result<()> {
    let wanted = files(from)?;
    for name in &wanted {
        let (source, destination) = (from.join(name), to.join(name));
        let parent = destination.parent().context("a published file has a directory")?;
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        let bytes =
            fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
        if !fs::read(&destination).is_ok_and(|present| present == bytes) {
            fs::write(&destination, &bytes)
                .with_context(|| format!("cannot write {}", destination.display()))?;
        }
    }
    for stale in files(to)?.difference(&wanted) {
        let path = to.join(stale);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// The files below a directory, relative to it.
fn files(directory: &Path) -> Result<BTreeSet<OsString>> {
    fn collect(
        directory: &Path,
        prefix: &Path,
        found: &mut BTreeSet<OsString>,
    ) -> std::io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = prefix.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                collect(&entry.path(), &name, found)?;
            } else {
                found.insert(name.into_os_string());
            }
        }
        Ok(())
    }
    let mut found = BTreeSet::new();
    collect(directory, Path::new(""), &mut found)
        .with_context(|| format!("cannot list {}", directory.display()))?;
    Ok(found)
}

fn remove_directory(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_leaves_what_is_the_same_alone_and_removes_the_rest() {
        let base = std::env::temp_dir().join(format!("xtask-publish-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(from.join("snippets")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("same"), "1").unwrap();
        fs::write(from.join("snippets/new"), "2").unwrap();
        fs::write(to.join("same"), "1").unwrap();
        fs::write(to.join("stale"), "3").unwrap();
        let untouched = fs::metadata(to.join("same")).unwrap().modified().unwrap();

        publish(&from, &to).unwrap();

        assert_eq!(files(&to).unwrap(), files(&from).unwrap());
        assert_eq!(fs::metadata(to.join("same")).unwrap().modified().unwrap(), untouched);
        fs::remove_dir_all(base).unwrap();
    }
}
