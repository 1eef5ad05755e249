//! The sizes of the files that a visitor of the page downloads, and their limits.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use self::comments::without_comments;
use super::wasm_package::{COURSE, LAB, MODULE, files};
use crate::workspace::Workspace;

// The node removes the same comments when it embeds the page.
#[path = "../../../raft-native/build/comments.rs"]
mod comments;

/// The limit for the module, compressed with brotli. The page cannot start before the module is
/// loaded: at 1 Mbit/s, a slow phone connection, these bytes take two seconds. `wasm-opt` is not
/// used: it makes the module smaller, but the compressed module larger.
const MODULE_BROTLI_BYTES_MAX: u64 = 272 * 1024;
/// The limit for all other files together, each compressed with brotli. The playground and the live
/// page are counted together, although a visitor of one does not need all of the other. The files
/// of one of them, joined into a single file, would take 63 kB.
const REST_BROTLI_BYTES_MAX: u64 = 88 * 1024;

/// The sizes of the files that a visitor downloads.
pub struct Sizes {
    module: Size,
    /// All files except the module.
    rest: Size,
}

/// The total size of some files, each compressed by itself.
#[derive(Clone, Copy, Default)]
struct Size {
    raw: u64,
    brotli: u64,
}

/// Measures the page that was built.
pub fn measure(workspace: &Workspace) -> Result<Sizes> {
    sizes(&workspace.path("www"))
}

impl Sizes {
    /// Returns an error if a size is above its limit.
    pub fn check(&self) -> Result<()> {
        let limits = [
            (MODULE, self.module, MODULE_BROTLI_BYTES_MAX),
            ("the page without its module", self.rest, REST_BROTLI_BYTES_MAX),
        ];
        for (name, size, limit) in limits {
            if size.brotli > limit {
                bail!(
                    "{name} is too large: {} compressed, the limit is {}; make it smaller, or \
                     raise the limit in xtask/src/build/page_size.rs and give the reason",
                    kib(size.brotli),
                    kib(limit)
                );
            }
        }
        Ok(())
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "module {}, other files {}", self.module, self.rest)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} compressed)", kib(self.raw), kib(self.brotli))
    }
}

fn kib(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

/// Measures the files that the node embeds. The node compresses them in the same way.
fn sizes(www: &Path) -> Result<Sizes> {
    let mut sizes = Sizes { module: Size::default(), rest: Size::default() };
    let later = [LAB, COURSE].map(|part| Path::new("pkg").join(part));
    for name in files(www)? {
        // A visitor loads these when the lab or a lesson is opened.
        if later.iter().any(|part| Path::new(&name).starts_with(part)) {
            continue;
        }
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
        let bytes = without_comments(&name.to_string_lossy(), &bytes);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_over_limit_is_rejected() {
        let fits = Size { raw: u64::MAX, brotli: REST_BROTLI_BYTES_MAX };
        let too_large = Size { raw: 0, brotli: MODULE_BROTLI_BYTES_MAX + 1 };
        assert!(Sizes { module: fits, rest: fits }.check().is_ok());
        let error = Sizes { module: too_large, rest: fits }.check().unwrap_err().to_string();
        assert!(error.starts_with(MODULE), "{error}");
        assert!(Sizes { module: fits, rest: too_large }.check().is_err());
    }

    #[test]
    fn comments_are_removed_and_code_stays() {
        let code = "// One.\n/** @type {string} */ const a = \"// b\"; // two\n\n  /**\n   * Three.\n   */\n  f(a);\n";
        let kept = without_comments("a.js", code.as_bytes());
        assert_eq!(kept, b"const a = \"// b\"; // two\nf(a);\n");
        let style = b"/* a */\na { b: url(//c) }\n";
        assert_eq!(without_comments("a.css", style), b"a { b: url(//c) }\n");
        assert_eq!(without_comments("a.svg", b"  <svg/>"), b"  <svg/>");
    }

    #[test]
    fn module_and_other_files_are_measured_separately() {
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
}
