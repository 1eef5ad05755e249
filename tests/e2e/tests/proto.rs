//! `raft-native/proto/generated` equals what the generator makes of `raft-native/proto/raft.proto`.
//!
//! The generated code is committed. Otherwise, each first build of the node would compile the
//! generator, which has about 50 dependencies. Run this command after a change of the interface:
//!
//! ```text
//! RAFT_REWRITE=1 cargo test -p raft-tests --test proto
//! ```
//!
//! The compiler of the interface is `protox`, so `protoc` is not required.

use std::fs;
use std::path::Path;

use prost::Message as _;

#[test]
fn generated_code_equals_interface() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../raft-native/proto");
    let out = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(["raft.proto"], [&proto]).unwrap();
    fs::write(out.path().join("raft.descriptors"), descriptors.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .build_client(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();

    for name in ["raft.rs", "raft.descriptors"] {
        let generated = fs::read(out.path().join(name)).unwrap();
        let committed = proto.join("generated").join(name);
        if std::env::var_os("RAFT_REWRITE").is_some() {
            fs::create_dir_all(committed.parent().unwrap()).unwrap();
            fs::write(&committed, generated).unwrap();
        } else {
            assert!(
                fs::read(&committed).is_ok_and(|committed| committed == generated),
                "generated code is out of date: proto/generated/{name}; run \
                 `RAFT_REWRITE=1 cargo test -p raft-tests --test proto`"
            );
        }
    }
}
