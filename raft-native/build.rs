//! Packs the page.

#[path = "build/comments.rs"]
mod comments;
#[path = "build/page.rs"]
mod page;

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=../www");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    page::pack(Path::new("../www"), &out)?;
    Ok(())
}
