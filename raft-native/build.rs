//! Compiles the gRPC interface, without protoc, and packs the page.

#[path = "build/page.rs"]
mod page;

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=../www");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    page::pack(Path::new("../www"), &out)?;
    let descriptors = protox::compile(["raft.proto"], ["proto"])?;
    std::fs::write(out.join("raft.descriptors"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().build_client(false).compile_fds(descriptors)?;
    Ok(())
}
