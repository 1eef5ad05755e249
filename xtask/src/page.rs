//! The page's package: raft-wasm compiled, bound to JavaScript and put into www/pkg.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::step::{Step, elapsed};
use crate::workspace::Workspace;

/// The limit for the module as browsers receive it, compressed with brotli. A visitor waits for the
/// module before anything moves: at 1 Mbit/s, a slow phone, this many bytes take two seconds.
/// `wasm-opt` is not used: it makes the module smaller, but the compressed module larger.
const MODULE_BROTLI_BYTES_MAX: u64 = 256 * 1024;
/// The limit for the rest of the page, compressed with brotli file by file.
const REST_BROTLI_BYTES_MAX: u64 = 64 * 1024;

/// The name wasm-bindgen gives to the module of a crate named `raft_wasm`.
const MODULE: &str = "raft_wasm_bg.wasm";
/// A JavaScript module that exports the size of [`MODULE`]. A browser that receives a compressed
/// file does not learn the size from the headers, and cannot show progress without it.
const MODULE_SIZE: &str = "module_size.js";

/// The sizes of what a visitor loads.
pub struct Sizes {
    module: Size,
    /// Everything except the module.
    rest: Size,
}

/// The size of one file or of several, compressed each by itself.
#[derive(Clone, Copy, Default)]
struct Size {
    raw: u64,
    brotli: u64,
}

/// Builds the package; www/pkg holds it, and nothing else, afterwards.
pub fn build(workspace: &Workspace) -> Result<()> {
    let started = Instant::now();
    // Not `page`: cargo keeps what it builds for the profile of that name there.
    let staged = workspace.target("package");
    bind(workspace, &[], &staged)?;
    write_module_size(&staged)?;
    publish(&staged, &workspace.path("www/pkg"))?;
    eprintln!("    built the page in {}", elapsed(started.elapsed()));
    Ok(())
}

/// Measures what a visitor loads of the page that was built.
pub fn measure(workspace: &Workspace) -> Result<Sizes> {
    sizes(&workspace.path("www"))
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

    eprintln!("    binding the module to JavaScript");
    remove_directory(staged)?;
    Bindgen::new()
        .input_path(&module)
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false)
        // The names of functions are a tenth of the module, and only a debugger reads them.
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(staged)
        .with_context(|| format!("cannot bind {} to JavaScript", module.display()))
}

impl Sizes {
    /// Fails if a visitor would wait too long.
    pub fn check(&self) -> Result<()> {
        let parts = [
            (MODULE, self.module, MODULE_BROTLI_BYTES_MAX),
            ("the page without its module", self.rest, REST_BROTLI_BYTES_MAX),
        ];
        for (name, size, limit) in parts {
            if size.brotli > limit {
                bail!(
                    "{name} is too large: {} compressed, over the limit of {}; make it smaller, or \
                     raise the limit in xtask/src/page.rs and say why",
                    kib(size.brotli),
                    kib(limit)
                );
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "module {}, the rest of the page {}", self.module, self.rest)
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} compressed)", kib(self.raw), kib(self.brotli))
    }
}

fn kib(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

fn write_module_size(package: &Path) -> Result<()> {
    let module = package.join(MODULE);
    let size = fs::metadata(&module)
        .with_context(|| format!("wasm-bindgen made no {}", module.display()))?
        .len();
    let path = package.join(MODULE_SIZE);
    let code =
        format!("/** The size of the module in bytes. */\nexport const MODULE_BYTES = {size};\n");
    fs::write(&path, code).with_context(|| format!("cannot write {}", path.display()))
}

/// Measures the files that the node embeds. The node compresses them in the same way.
fn sizes(www: &Path) -> Result<Sizes> {
    let mut sizes = Sizes { module: Size::default(), rest: Size::default() };
    for name in files(www)? {
        let path = www.join(&name);
        let is_module = path.ends_with(MODULE);
        let is_loaded = is_module
            || (path.extension().is_some_and(|extension| {
                ["html", "css", "js", "svg"].iter().any(|loaded| extension == *loaded)
            }) && !Path::new(&name).starts_with("node_modules"));
        if !is_loaded {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let size = if is_module { &mut sizes.module } else { &mut sizes.rest };
        size.raw += bytes.len() as u64;
        size.brotli += brotli_size(&bytes)?;
    }
    Ok(sizes)
}

fn brotli_size(bytes: &[u8]) -> Result<u64> {
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: 11,
        lgwin: 22,
        size_hint: bytes.len(),
        ..Default::default()
    };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut &bytes[..], &mut compressed, &parameters)
        .context("cannot compress a file of the page")?;
    Ok(compressed.len() as u64)
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
    fn part_over_its_limit_is_refused() {
        let fits = Size { raw: u64::MAX, brotli: REST_BROTLI_BYTES_MAX };
        let too_large = Size { raw: 0, brotli: MODULE_BROTLI_BYTES_MAX + 1 };
        assert!(Sizes { module: fits, rest: fits }.check().is_ok());
        let error = Sizes { module: too_large, rest: fits }.check().unwrap_err().to_string();
        assert!(error.starts_with(MODULE), "{error}");
        assert!(Sizes { module: fits, rest: too_large }.check().is_err());
    }

    #[test]
    fn measured_page_has_module_and_rest() {
        let www = std::env::temp_dir().join(format!("xtask-measure-{}", std::process::id()));
        fs::create_dir_all(www.join("pkg")).unwrap();
        fs::write(www.join("pkg").join(MODULE), [7; 1000]).unwrap();
        fs::write(www.join("index.html"), "x".repeat(100)).unwrap();
        fs::write(www.join("tsconfig.json"), "{}").unwrap();

        let sizes = sizes(&www).unwrap();

        assert_eq!((sizes.module.raw, sizes.rest.raw), (1000, 100));
        assert!(sizes.module.brotli < 100 && sizes.rest.brotli < 50);
        fs::remove_dir_all(www).unwrap();
    }

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
