//! One external command: printed before the start, and named in the error when it fails.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::workspace::Workspace;

/// A command that runs in the root of the source tree, with the tools of this project in `PATH`.
pub struct Step {
    command: Command,
    /// The command as a user would type it.
    line: String,
}

impl Step {
    /// A command without arguments.
    pub fn new(workspace: &Workspace, program: impl AsRef<OsStr>) -> Result<Self> {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.current_dir(workspace.root()).env("PATH", workspace.search_path()?);
        // `cargo run` sets these variables to describe xtask. Some build scripts, such as that of
        // ring, depend on them. With the variables, a build by xtask would invalidate the results
        // of a build that a user started directly.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        Ok(Self { command, line: program.to_string_lossy().into_owned() })
    }

    /// `cargo` with arguments that are separated by spaces and contain none.
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

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs the command with the input and output of the terminal.
    pub fn run(mut self) -> Result<()> {
        eprintln!("    $ {}", self.line);
        let status = self.command.status().map_err(|error| self.start_error(error))?;
        self.check(status)
    }

    /// Runs the command like [`Self::run`], and passes each line of its standard output to `read`.
    pub fn run_reading(mut self, mut read: impl FnMut(&str)) -> Result<()> {
        eprintln!("    $ {}", self.line);
        self.command.stdout(Stdio::piped());
        let mut child = self.command.spawn().map_err(|error| self.start_error(error))?;
        let output = child.stdout.take().context("standard output is not a pipe")?;
        for line in BufReader::new(output).split(b'\n') {
            let line =
                line.with_context(|| format!("cannot read the output of `{}`", self.line))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            read(&line);
        }
        let status = child.wait().with_context(|| format!("cannot wait for `{}`", self.line))?;
        self.check(status)
    }

    /// Runs the command like [`Self::run_reading`], and returns the last line that contains a text.
    pub fn run_for_line(self, text: &str) -> Result<String> {
        let command = self.line.clone();
        let mut last = None;
        self.run_reading(|line| {
            if line.contains(text) {
                last = Some(line.to_owned());
            }
        })?;
        last.with_context(|| format!("missing line in the output of `{command}`: {text:?}"))
    }

    /// Runs the command without a terminal, and returns its standard output. The error contains
    /// standard error.
    pub fn output(mut self) -> Result<String> {
        let output =
            self.command.stdin(Stdio::null()).output().map_err(|error| self.start_error(error))?;
        self.check(output.status)
            .with_context(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the command with the input and output of the terminal, and returns its exit code.
    pub fn run_for_exit_code(mut self) -> Result<ExitCode> {
        let status = self.command.status().map_err(|error| self.start_error(error))?;
        let Some(code) = status.code() else {
            bail!("`{}` failed: {status}", self.line);
        };
        Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
    }

    /// Replaces this process by the command. Signals then reach the command directly, and its exit
    /// status is that of this process. Returns only if the command cannot start.
    pub fn exec(mut self) -> Error {
        let error = self.command.exec();
        self.start_error(error)
    }

    /// The command as a value of the standard library.
    pub fn into_command(self) -> Command {
        self.command
    }

    fn start_error(&self, error: std::io::Error) -> Error {
        anyhow!("cannot start `{}`: {error}", self.line)
    }

    fn check(&self, status: ExitStatus) -> Result<()> {
        if !status.success() {
            bail!("`{}` failed: {status}", self.line);
        }
        Ok(())
    }
}

/// A duration as text, in seconds or minutes.
pub fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}

/// Prints the title of the work that starts now.
pub fn announce(title: &str) {
    eprintln!("==> {title}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(elapsed(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(elapsed(Duration::from_secs(125)), "2 min 05 s");
    }
}
