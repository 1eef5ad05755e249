//! Packs the page for embedding: each file plain, compressed with brotli and compressed with gzip.
//!
//! The path of each file except `index.html` contains a hash of all of them, so that browsers can
//! cache the files forever. The modules refer to each other by relative paths, so one hash is for
//! the whole set.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::comments::without_comments;

/// The document, which browsers revalidate on each visit.
const INDEX: &str = "index.html";
/// The module that only declares types: no other module loads it.
const TYPES: &str = "model/types.js";
/// The extensions of the files of the page. Type declarations and settings are not part of it.
const EXTENSIONS: [&str; 5] = ["html", "css", "js", "svg", "wasm"];
/// A compressed form is kept only if it saves at least this part of the file.
const SAVING_MIN: f64 = 0.05;

/// A file of the page.
struct Asset {
    /// The path below `www`, with `/` as separator.
    name: String,
    bytes: Vec<u8>,
}

/// Writes `page.rs`, which is included by `src/api/http/static_files.rs`, and the files it refers
/// to.
///
/// # Errors
///
/// [`io::Error`] if a file cannot be read or written.
pub fn pack(www: &Path, out: &Path) -> io::Result<()> {
    let mut assets = Vec::new();
    collect(www, "", &mut assets)?;
    assets.sort_by(|a, b| a.name.cmp(&b.name));

    let mut hasher = Sha256::new();
    for asset in assets.iter().filter(|asset| asset.name != INDEX) {
        hasher.update((asset.name.len() as u64).to_le_bytes());
        hasher.update(&asset.name);
        hasher.update((asset.bytes.len() as u64).to_le_bytes());
        hasher.update(&asset.bytes);
    }
    let version = hex(&hasher.finalize(), 16);
    let names: Vec<String> = assets.iter().map(|asset| asset.name.clone()).collect();
    for asset in assets.iter_mut().filter(|asset| asset.name == INDEX) {
        asset.bytes = with_versioned_paths(&asset.bytes, &names, &version);
        asset.bytes = with_preloads(&asset.bytes, &names, &version);
    }

    let packed = out.join("page");
    fs::create_dir_all(&packed)?;
    let mut code = format!("const VERSION: &str = {version:?};\n\nstatic ASSETS: &[Asset] = &[\n");
    let mut current = Vec::new();
    for asset in &assets {
        let hash = hex(&Sha256::digest(&asset.bytes), 32);
        let plain = keep(&packed, &hash, "", || Ok(asset.bytes.clone()), &mut current)?;
        let brotli = keep(&packed, &hash, ".br", || brotli(&asset.bytes), &mut current)?;
        let gzip = keep(&packed, &hash, ".gz", || gzip(&asset.bytes), &mut current)?;
        let largest = (asset.bytes.len() as f64 * (1.0 - SAVING_MIN)) as u64;
        let include = |path: &PathBuf| -> io::Result<String> {
            Ok(if fs::metadata(path)?.len() <= largest {
                format!("Some(include_bytes!({path:?}))")
            } else {
                "None".to_owned()
            })
        };
        let _ = writeln!(
            code,
            "    Asset {{ name: {:?}, hash: {hash:?}, plain: include_bytes!({plain:?}), brotli: {}, \
             gzip: {} }},",
            asset.name,
            include(&brotli)?,
            include(&gzip)?,
        );
    }
    code.push_str("];\n");
    fs::write(out.join("page.rs"), code)?;
    remove_others(&packed, &current)
}

fn collect(directory: &Path, prefix: &str, assets: &mut Vec<Asset>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = format!("{prefix}{file}");
        if entry.file_type()?.is_dir() {
            if file != "node_modules" {
                collect(&entry.path(), &format!("{name}/"), assets)?;
            }
        } else if EXTENSIONS
            .iter()
            .any(|extension| Path::new(&file).extension() == Some(extension.as_ref()))
        {
            let bytes = without_comments(&name, &fs::read(entry.path())?);
            assets.push(Asset { name, bytes });
        }
    }
    Ok(())
}

/// Replaces the paths in `href` and `src` attributes of the document.
fn with_versioned_paths(html: &[u8], names: &[String], version: &str) -> Vec<u8> {
    let mut html = String::from_utf8_lossy(html).into_owned();
    for name in names {
        for attribute in ["href", "src"] {
            html = html.replace(
                &format!("{attribute}=\"{name}\""),
                &format!("{attribute}=\"/assets/{version}/{name}\""),
            );
        }
    }
    html.into_bytes()
}

/// Adds preload links for the modules to the document. Without them, a browser loads each level of
/// imports only after the level above.
fn with_preloads(html: &[u8], names: &[String], version: &str) -> Vec<u8> {
    let is_of_page = |name: &&String| {
        // The worker loads its own modules.
        name.ends_with(".js") && !name.starts_with("pkg/") && *name != "worker.js" && *name != TYPES
    };
    let mut links = String::new();
    for name in names.iter().filter(is_of_page) {
        let _ = writeln!(links, "  <link rel=\"modulepreload\" href=\"/assets/{version}/{name}\">");
    }
    String::from_utf8_lossy(html).replace("</head>", &format!("{links}</head>")).into_bytes()
}

/// Stores a form of a file under its hash. A form that an earlier build stored is reused, because
/// the best compression of the module takes seconds.
fn keep(
    packed: &Path,
    hash: &str,
    suffix: &str,
    make: impl FnOnce() -> io::Result<Vec<u8>>,
    current: &mut Vec<PathBuf>,
) -> io::Result<PathBuf> {
    let path = packed.join(format!("{hash}{suffix}"));
    if !path.is_file() {
        // An interrupted build must not leave an incomplete file with the final name.
        let unfinished = packed.join(format!("{hash}{suffix}.unfinished"));
        fs::write(&unfinished, make()?)?;
        fs::rename(&unfinished, &path)?;
    }
    current.push(path.clone());
    Ok(path)
}

fn remove_others(packed: &Path, current: &[PathBuf]) -> io::Result<()> {
    for entry in fs::read_dir(packed)? {
        let path = entry?.path();
        if !current.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn brotli(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: 11,
        lgwin: 22,
        size_hint: bytes.len(),
        ..Default::default()
    };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut &bytes[..], &mut compressed, &parameters)?;
    Ok(compressed)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn hex(hash: &[u8], digits: usize) -> String {
    hash.iter().take(digits / 2).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
