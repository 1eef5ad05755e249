//! One command that is run as a step of something larger: shown, timed, and named when it fails.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// A command in the root of the source tree, with this project's tools on its `PATH`.
pub struct Step {
    command: Command,
    /// What a person would have typed; said before it runs and when it fails.
    line: String,
}

impl Step {
    /// A command without arguments.
    pub fn new(workspace: &Workspace, program: impl AsRef<OsStr>) -> Result<Self> {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.current_dir(workspace.root()).env("PATH", workspace.search_path()?);
        // `cargo run` describes xtask's own package in these. Build scripts that watch them (ring's
        // does) would otherwise run anew whenever a build is started by xtask after one that was
        // started by hand.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        Ok(Self { command, line: program.to_string_lossy().into_owned() })
    }

    /// `cargo` with a line of arguments that hold no spaces themselves.
    pub fn cargo(workspace: &Workspace, arguments: &str) -> Result<Self> {
        Ok(Self::new(workspace, "cargo")?.args(arguments.split_whitespace()))
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.line.push(' ');
        self.line.push_str(&argument.as_ref().to_string_lossy());
        self.command.arg(argument);
        self
    }

    /// Adds several arguments.
    pub fn args(self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in another directory than the root.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs it with the terminal's input and output.
    pub fn run(mut self) -> Result<()> {
        eprintln!("    $ {}", self.line);
        let status =
            self.command.status().with_context(|| format!("cannot start `{}`", self.line))?;
        self.judge(status)
    }

    /// Runs it like [`Self::run`], and shows each line of standard output to `read` as well.
    pub fn run_reading(mut self, mut read: impl FnMut(&str)) -> Result<()> {
        eprintln!("    $ {}", self.line);
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        let output = child.stdout.take().context("standard output was piped")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = line.with_context(|| format!("cannot read what `{}` says", self.line))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            read(&line);
        }
        let status = child.wait().with_context(|| format!("lost `{}`", self.line))?;
        self.judge(status)
    }

    /// Runs it unseen and returns its standard output; standard error is part of the error if it
    /// fails.
    pub fn output(mut self) -> Result<String> {
        let output = self
            .command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        self.judge(output.status)
            .with_context(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The command itself, for those who need more than a step.
    pub fn into_command(self) -> Command {
        self.command
    }

    fn judge(&self, status: ExitStatus) -> Result<()> {
        if !status.success() {
            bail!("`{}` failed: {status}", self.line);
        }
        Ok(())
    }
}

/// A duration as a person says it.
pub fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}

/// Says what begins.
pub fn announce(what: &str) {
    eprintln!("==> {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_naturally() {
        assert_eq!(elapsed(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(elapsed(Duration::from_secs(125)), "2 min 05 s");
    }
}
