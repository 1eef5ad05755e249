//! The Rust toolchain.

use anyhow::{Context, Result};

use crate::step::{Step, announce};
use crate::workspace::{Workspace, read};

/// The contents of rust-toolchain.toml.
#[derive(PartialEq, Eq, Debug)]
struct Toolchain {
    channel: String,
    components: Vec<String>,
    targets: Vec<String>,
}

/// Installs the missing parts of the toolchain.
///
/// rustup itself installs them only with `RUSTUP_AUTO_INSTALL`, and not into an installed
/// toolchain.
pub fn ensure(workspace: &Workspace) -> Result<Option<String>> {
    let path = workspace.path("rust-toolchain.toml");
    let wanted = parse(&read(&path)?).with_context(|| {
        format!(
            "invalid toolchain file: {}; write each key and its value on one line",
            path.display()
        )
    })?;

    let list = Step::new(workspace, "rustup")?
        .args(["component", "list", "--installed", "--toolchain", &wanted.channel])
        .output();
    let missing = match &list {
        Ok(list) => wanted.missing_from(list),
        // If rustup itself is missing, the next command fails and reports that.
        Err(_) => vec![format!("toolchain {}", wanted.channel)],
    };
    if missing.is_empty() {
        return Ok(None);
    }
    let missing = missing.join(", ");
    announce(&format!("installing {missing}"));
    let mut install = Step::new(workspace, "rustup")?
        .args(["toolchain", "install", &wanted.channel])
        .args(["--profile", "minimal", "--no-self-update"]);
    for component in &wanted.components {
        install = install.args(["--component", component]);
    }
    for target in &wanted.targets {
        install = install.args(["--target", target]);
    }
    install.run().context("cannot install the toolchain; install rustup from https://rustup.rs")?;
    Ok(Some(missing))
}

impl Toolchain {
    /// The components and targets that are not in the output of `rustup component list
    /// --installed`. That output lists a target as its standard library.
    fn missing_from(&self, installed: &str) -> Vec<String> {
        let has = |component: &str| {
            installed
                .lines()
                .any(|line| line == component || line.starts_with(&format!("{component}-")))
        };
        let components = self.components.iter().filter(|component| !has(component)).cloned();
        let targets =
            self.targets.iter().filter(|target| !has(&format!("rust-std-{target}"))).cloned();
        components.chain(targets).collect()
    }
}

/// Parses a file with one key and its value per line. A TOML library would make the first build
/// longer.
fn parse(text: &str) -> Option<Toolchain> {
    let value = |key: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim())
    };
    let strings = |list: &str| -> Option<Vec<String>> {
        list.strip_prefix('[')?
            .strip_suffix(']')?
            .split(',')
            .map(|item| string(item.trim()))
            .collect()
    };
    Some(Toolchain {
        channel: string(value("channel")?)?,
        components: strings(value("components")?)?,
        targets: strings(value("targets")?)?,
    })
}

fn string(value: &str) -> Option<String> {
    Some(value.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toolchain_file_is_parsed() {
        let toolchain = parse(include_str!("../../../rust-toolchain.toml")).unwrap();
        assert!(toolchain.components.iter().any(|component| component == "clippy"));
        assert!(toolchain.targets.iter().any(|target| target == "wasm32-unknown-unknown"));
    }

    #[test]
    fn missing_components_are_detected() {
        let toolchain = Toolchain {
            channel: "1.95.0".into(),
            components: vec!["clippy".into(), "rustfmt".into()],
            targets: vec!["wasm32-unknown-unknown".into(), "thumbv7em-none-eabi".into()],
        };
        let installed = "clippy-x86_64-unknown-linux-gnu\nrust-std-wasm32-unknown-unknown\n\
                         rust-std-thumbv7em-none-eabihf\n";
        let missing = toolchain.missing_from(installed);
        assert_eq!(missing, ["rustfmt", "thumbv7em-none-eabi"]);
    }
}
