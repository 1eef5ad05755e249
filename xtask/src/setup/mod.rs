//! Installs the programs that this machine lacks.

mod npm;
mod system;
mod tool;
mod toolchain;

use anyhow::Result;

use crate::workspace::Workspace;

/// Something that must be installed before a command can run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Prerequisite {
    /// The toolchain, components and targets of rust-toolchain.toml.
    Toolchain,
    /// wasm-pack and the test runner of wasm-bindgen. They run the tests of raft-wasm in a browser.
    WasmPack,
    /// cargo-deny, which checks the dependency tree.
    CargoDeny,
    /// A browser and its WebDriver server.
    Chromium,
    /// Node.js, npm, and the packages of tests/browser.
    NodePackages,
    /// promtool, which checks the metrics of a node.
    Promtool,
    /// curl, which README.md uses.
    Curl,
    /// protoc, which builds one of the cores in the benchmark `core`.
    Protoc,
}

impl Prerequisite {
    /// The prerequisites of `demo` and `test`.
    pub const ALL: &[Self] = &[
        Self::Toolchain,
        Self::WasmPack,
        Self::CargoDeny,
        Self::Chromium,
        Self::NodePackages,
        Self::Promtool,
        Self::Curl,
    ];

    /// Installs the prerequisite if it is missing. Returns the names of what was installed.
    pub fn ensure(self, workspace: &Workspace) -> Result<Option<String>> {
        match self {
            Self::Toolchain => toolchain::ensure(workspace),
            Self::WasmPack => tool::ensure(workspace, &[tool::WASM_BINDGEN, tool::WASM_PACK]),
            Self::CargoDeny => tool::ensure(workspace, &[tool::CARGO_DENY]),
            Self::Chromium => system::ensure(workspace, system::CHROMIUM),
            Self::NodePackages => npm::ensure(workspace),
            Self::Promtool => system::ensure(workspace, system::PROMTOOL),
            Self::Curl => system::ensure(workspace, system::CURL),
            Self::Protoc => system::ensure(workspace, system::PROTOC),
        }
    }
}

/// Installs the missing prerequisites. Returns the first error.
pub fn ensure(workspace: &Workspace, prerequisites: &[Prerequisite]) -> Result<()> {
    prerequisites.iter().try_for_each(|prerequisite| prerequisite.ensure(workspace).map(drop))
}
