//! The files in `raft-native/proto/generated` equal the output of the generator.
//!
//! The generated code is committed. Otherwise, each first build of the node would compile the
//! generator, which has about 50 dependencies. Run this command after a change of a `.proto` file:
//!
//! ```text
//! RAFT_REWRITE=1 cargo test -p raft-tests --test proto
//! ```
//!
//! The compiler of the `.proto` files is `protox`, so `protoc` is not required.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use prost::Message as _;
use tonic_prost_build::{Builder, configure};

/// The interface for clients. Reflection needs its descriptors.
#[test]
fn generated_code_equals_interface() -> Result<()> {
    let out = tempfile::tempdir()?;
    let descriptors = generate(configure().build_client(false), "raft.proto", out.path())?;
    fs::write(out.path().join("raft.descriptors"), descriptors)?;
    compare(out.path(), &["raft.rs", "raft.descriptors"])
}

/// The messages between nodes. A payload shares the bytes of the frame that contains it.
#[test]
fn generated_code_equals_peer_messages() -> Result<()> {
    let out = tempfile::tempdir()?;
    generate(configure().bytes("."), "peer.proto", out.path())?;
    compare(out.path(), &["raft.peer.rs"])
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../raft-native/proto")
}

/// Generates the code of a `.proto` file, and returns the encoded descriptors.
fn generate(builder: Builder, file: &str, out: &Path) -> Result<Vec<u8>> {
    let descriptors = protox::compile([file], [directory()])?;
    let encoded = descriptors.encode_to_vec();
    builder.out_dir(out).compile_fds(descriptors)?;
    Ok(encoded)
}

/// Compares generated files with the committed ones, or replaces the committed ones.
fn compare(out: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        let generated = fs::read(out.join(name))?;
        let committed = directory().join("generated").join(name);
        if std::env::var_os("RAFT_REWRITE").is_some() {
            fs::write(&committed, generated)?;
            continue;
        }
        let known = fs::read(&committed).with_context(|| format!("cannot read {name}"))?;
        ensure!(
            known == generated,
            "generated code is out of date: proto/generated/{name}; run \
             `RAFT_REWRITE=1 cargo test -p raft-tests --test proto`"
        );
    }
    Ok(())
}
