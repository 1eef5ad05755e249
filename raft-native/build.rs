//! Compiles the gRPC interface, without protoc.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    // The page is embedded; see src/api/page.rs.
    println!("cargo::rerun-if-changed=../www");
    let descriptors = protox::compile(["raft.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("raft.descriptors"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().build_client(false).compile_fds(descriptors)?;
    Ok(())
}
