//! The WebAssembly package: raft-wasm, compiled and bound to JavaScript, in `www/pkg`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::step::{Step, elapsed};
use crate::workspace::{Workspace, create_directory};

/// The name that wasm-bindgen gives to the module of the crate `raft_wasm`.
pub const MODULE: &str = "raft_wasm_bg.wasm";
/// A JavaScript module that exports the size of [`MODULE`]. A browser that receives a compressed
/// file does not learn the size from the headers, so it could not show progress without this file.
const MODULE_SIZE: &str = "module_size.js";

/// The directory of the package with the module that can disable rules.
pub const LAB: &str = "lab";
/// The directory of the package with the lessons and the scenarios.
pub const COURSE: &str = "course";

/// Builds the package. Afterwards `www/pkg` contains the package and no other file.
pub fn build(workspace: &Workspace) -> Result<()> {
    let started = Instant::now();
    // Cargo uses the directory `page` for the results of the profile of that name.
    let staged = workspace.target("package");
    bind(workspace, &[], &staged)?;
    write_module_size(&staged)?;
    // The lab and the lessons load a module of their own.
    let lab = workspace.target("package-lab");
    bind(workspace, &["--features", "sabotage,campaigns,lessons"], &lab)?;
    write_module_size(&lab)?;
    publish(&lab, &staged.join(LAB))?;
    Step::cargo(workspace, "run --package raft-sim --bin course --")?
        .arg(staged.join(COURSE))
        .run()?;
    publish(&staged, &workspace.path("www/pkg"))?;
    eprintln!("    built the page in {}", elapsed(started.elapsed()));
    Ok(())
}

/// Compiles the package with additional arguments for cargo, and writes it to a directory.
pub fn bind(workspace: &Workspace, arguments: &[&str], staged: &Path) -> Result<()> {
    Step::cargo(
        workspace,
        "build --package raft-wasm --target wasm32-unknown-unknown --profile page",
    )?
    .args(arguments)
    .run()?;
    let module = workspace.target("wasm32-unknown-unknown/page/raft_wasm.wasm");
    if !module.is_file() {
        bail!("missing module: {}; raft-wasm must have the crate type cdylib", module.display());
    }

    eprintln!("    binding the module to JavaScript");
    remove_directory(staged)?;
    Bindgen::new()
        .input_path(&module)
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false)
        // The names of functions are a tenth of the module. Only a debugger reads them.
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(staged)
        .with_context(|| format!("cannot bind {} to JavaScript", module.display()))
}

fn write_module_size(package: &Path) -> Result<()> {
    let module = package.join(MODULE);
    let size = fs::metadata(&module)
        .with_context(|| format!("missing output of wasm-bindgen: {}", module.display()))?
        .len();
    let path = package.join(MODULE_SIZE);
    let code =
        format!("/** The size of the module in bytes. */\nexport const MODULE_BYTES = {size};\n");
    fs::write(&path, code).with_context(|| format!("cannot write {}", path.display()))
}

/// Makes `to` equal to `from`. Equal files keep their modification times, because a newer file
/// would rebuild the node that embeds the page.
fn publish(from: &Path, to: &Path) -> Result<()> {
    create_directory(to)?;
    let wanted = files(from)?;
    for name in &wanted {
        let (source, destination) = (from.join(name), to.join(name));
        create_directory(destination.parent().context("a published file has no directory")?)?;
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
pub fn files(directory: &Path) -> Result<BTreeSet<OsString>> {
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
    fn publish_updates_only_changed_files() {
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
