//! Programs that come with the operating system.

use anyhow::{Result, bail};

use crate::step::{Step, announce};
use crate::workspace::Workspace;

/// A program, and the Debian package it is in.
type Program = (&'static str, &'static str);

/// A browser and its WebDriver server, which must be of one version: Debian's are.
pub const CHROMIUM: &[Program] = &[("chromium", "chromium"), ("chromedriver", "chromium-driver")];

/// Node.js and its package manager.
pub const NODE: &[Program] = &[("node", "nodejs"), ("npm", "npm")];

/// The checker of metrics that comes with Prometheus.
pub const PROMTOOL: &[Program] = &[("promtool", "prometheus")];

/// An HTTP client for the command line.
pub const CURL: &[Program] = &[("curl", "curl")];

/// What the consensus core of TiKV generates its messages with.
pub const PROTOC: &[Program] = &[("protoc", "protobuf-compiler")];

/// Installs the packages of those programs that `PATH` doesn't find.
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
        bail!("please install what Debian calls {names}, and run this again");
    }
    let Some(root) = become_root(workspace)? else {
        bail!("please run `apt-get install {names}` as root, and this again");
    };
    announce(&format!("installing {names}"));
    let apt = || -> Result<Step> {
        let mut words =
            root.iter().copied().chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        let program = words.next().unwrap_or("env");
        Ok(Step::new(workspace, program)?.args(words))
    };
    apt()?.args(["update", "--quiet"]).run()?;
    apt()?.args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(&missing).run()?;
    Ok(Some(names))
}

/// The words that make a command run as root: none for root itself, `None` for one who may not
/// without a password.
fn become_root(workspace: &Workspace) -> Result<Option<&'static [&'static str]>> {
    if Step::new(workspace, "id")?.arg("-u").output()?.trim() == "0" {
        return Ok(Some(&[]));
    }
    let sudo = workspace.which("sudo").is_some()
        && Step::new(workspace, "sudo")?.args(["-n", "true"]).output().is_ok();
    Ok(sudo.then_some(&["sudo", "-n"]))
}
