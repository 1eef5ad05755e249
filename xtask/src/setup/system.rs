//! Programs from packages of Debian.

use anyhow::{Result, bail};

use crate::step::{Step, announce};
use crate::workspace::Workspace;

/// The name of a program, and the Debian package that contains it.
type Program = (&'static str, &'static str);

/// A browser and its WebDriver server. In Debian both have the same version, as they must.
pub const CHROMIUM: &[Program] = &[("chromium", "chromium"), ("chromedriver", "chromium-driver")];

/// Node.js and its package manager.
pub const NODE: &[Program] = &[("node", "nodejs"), ("npm", "npm")];

/// The checker for metrics of Prometheus.
pub const PROMTOOL: &[Program] = &[("promtool", "prometheus")];

/// An HTTP client.
pub const CURL: &[Program] = &[("curl", "curl")];

/// The compiler for the messages of TiKV's consensus core.
pub const PROTOC: &[Program] = &[("protoc", "protobuf-compiler")];

/// Installs the packages of the programs that are not in `PATH`.
pub fn ensure(workspace: &Workspace, programs: &[Program]) -> Result<Option<String>> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| workspace.which(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let names = missing.join(" ");
    if workspace.which("apt-get").is_none() {
        bail!("missing packages, by their names in Debian: {names}; install them and try again");
    }
    let Some(prefix) = sudo_prefix(workspace)? else {
        bail!("missing packages: {names}; run `apt-get install {names}` as root and try again");
    };
    announce(&format!("installing {names}"));
    let apt = || -> Result<Step> {
        let mut words =
            prefix.iter().copied().chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        let program = words.next().unwrap_or("env");
        Ok(Step::new(workspace, program)?.args(words))
    };
    apt()?.args(["update", "--quiet"]).run()?;
    apt()?.args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(&missing).run()?;
    Ok(Some(names))
}

/// The words in front of a command that run it as root; empty if this process runs as root. Returns
/// `None` if a password would be required.
fn sudo_prefix(workspace: &Workspace) -> Result<Option<&'static [&'static str]>> {
    if Step::new(workspace, "id")?.arg("-u").output()?.trim() == "0" {
        return Ok(Some(&[]));
    }
    let sudo = workspace.which("sudo").is_some()
        && Step::new(workspace, "sudo")?.args(["-n", "true"]).output().is_ok();
    Ok(sudo.then_some(&["sudo", "-n"]))
}
