//! Installs what is missing on this machine, and nothing that is there.

mod npm;
mod system;
mod tool;
mod toolchain;

use anyhow::Result;

use crate::workspace::Workspace;

/// Something that has to be on the machine before a part can run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// What rust-toolchain.toml names.
    Toolchain,
    /// wasm-pack and the test runner of wasm-bindgen, which run the tests of raft-wasm in a
    /// browser.
    WasmPack,
    /// Judges the dependency tree.
    CargoDeny,
    /// A browser and its WebDriver server.
    Chromium,
    /// Node.js with npm, and the packages of tests/browser.
    NodePackages,
    /// Checks the metrics of a node.
    Promtool,
    /// README.md's client, on a machine that got rustup in another way.
    Curl,
    /// Builds one of the cores that ours is compared with.
    Protoc,
}

impl Need {
    /// What building page and node needs.
    pub const TO_BUILD: &[Self] = &[Self::Toolchain];

    /// Everything that `demo` and `test` need.
    pub const ALL: &[Self] = &[
        Self::Toolchain,
        Self::WasmPack,
        Self::CargoDeny,
        Self::Chromium,
        Self::NodePackages,
        Self::Promtool,
        Self::Curl,
    ];

    /// Installs it unless it is there; says what was installed, if anything.
    pub fn ensure(self, workspace: &Workspace) -> Result<Option<String>> {
        match self {
            Self::Toolchain => toolchain::ensure(workspace),
            Self::WasmPack => tool::ensure(workspace, &[tool::WASM_BINDGEN, tool::WASM_PACK]),
            Self::CargoDeny => tool::CARGO_DENY.ensure(workspace),
            Self::Chromium => system::ensure(workspace, system::CHROMIUM),
            Self::NodePackages => npm::ensure(workspace),
            Self::Promtool => system::ensure(workspace, system::PROMTOOL),
            Self::Curl => system::ensure(workspace, system::CURL),
            Self::Protoc => system::ensure(workspace, system::PROTOC),
        }
    }
}

/// Ensures several needs; the first that cannot be met is the error.
pub fn ensure(workspace: &Workspace, needs: &[Need]) -> Result<()> {
    needs.iter().try_for_each(|need| need.ensure(workspace).map(drop))
}
