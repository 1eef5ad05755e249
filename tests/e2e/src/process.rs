//! One process of the `raft` binary.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::cluster::TIMEOUT;
use crate::program;

/// A running process. Dropping it kills the process.
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts `raft` with arguments and environment variables. Its standard output and standard
    /// error are appended to the log.
    ///
    /// # Errors
    ///
    /// Returns an error if the process cannot be started.
    pub fn start(
        name: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: &[(&str, &OsStr)],
        log: &Path,
    ) -> Result<Self> {
        Self::spawn(raft()?, name, arguments, variables, log, false)
    }

    /// Starts `raft` like [`Process::start`], with a limit on its open files.
    ///
    /// # Errors
    ///
    /// Returns an error if the process cannot be started.
    pub fn start_limited(
        name: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        files_max: u32,
        log: &Path,
    ) -> Result<Self> {
        Self::spawn(limited(files_max)?, name, arguments, &[], log, false)
    }

    /// Starts `raft` like [`Process::start`], with a pipe without a reader as standard error.
    ///
    /// # Errors
    ///
    /// Returns an error if the process cannot be started.
    pub fn start_unread(
        name: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: &[(&str, &OsStr)],
        log: &Path,
    ) -> Result<Self> {
        Self::spawn(raft()?, name, arguments, variables, log, true)
    }

    fn spawn(
        mut command: Command,
        name: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: &[(&str, &OsStr)],
        log: &Path,
        is_unread: bool,
    ) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let errors = output.try_clone().context("cannot share the log")?;
        let child = command
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(output)
            .stderr(if is_unread { Stdio::piped() } else { Stdio::from(errors) })
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .with_context(|| format!("{name} has no process id"))?;
        Ok(Self { name: name.to_owned(), child, pid, log: log.to_owned() })
    }

    /// The resident memory of the process in bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let status = std::fs::read_to_string(&path).with_context(|| format!("no {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: u64 = kib.with_context(|| format!("no VmRSS in {path}"))?.parse()?;
        Ok(kib * 1024)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // After the process has been waited for, its id can belong to another process.
        ensure!(self.child.id().is_some(), "{} has ended", self.name);
        kill_process(self.pid, signal)
            .with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// Kills the process with SIGKILL, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// Returns an error if the process had ended before.
    pub async fn kill(mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let status = self.ended(TIMEOUT).await?;
        ensure!(status.code().is_none(), "{} ended before SIGKILL: {status}", self.name);
        Ok(())
    }

    /// Waits for the end of the process, and returns its exit status.
    ///
    /// # Errors
    ///
    /// Returns an error if the process does not end in time.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        timeout(within, self.child.wait())
            .await
            .with_context(|| format!("{} still runs after {within:?}", self.name))?
            .with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Checks that the process is running.
    ///
    /// # Errors
    ///
    /// Returns an error with the last output of the process if it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("cannot look at a process")? {
            bail!("{} ended with {status}:\n{}", self.name, self.output());
        }
        Ok(())
    }

    /// The output of this process and of earlier processes with the same log.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_else(|error| format!("(no log: {error})"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL also ends a process that was stopped with SIGSTOP. Its files are removed next, so
        // this waits until the process has ended.
        if self.child.start_kill().is_err() {
            return;
        }
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(5)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Runs `raft` with arguments until it ends.
///
/// # Errors
///
/// Returns an error if the process does not end in time. It is then killed.
pub async fn run(
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    within: Duration,
) -> Result<Output> {
    run_with_input(arguments, b"", within).await
}

/// Runs `raft` like [`run`], with a text as standard input.
///
/// # Errors
///
/// Returns the errors of [`run`].
pub async fn run_with_input(
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    input: &[u8],
    within: Duration,
) -> Result<Output> {
    finish(raft()?, arguments, input, within).await
}

/// Runs `raft` like [`run`], with a limit on its open files.
///
/// # Errors
///
/// Returns the errors of [`run`].
pub async fn run_limited(
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    files_max: u32,
    within: Duration,
) -> Result<Output> {
    finish(limited(files_max)?, arguments, b"", within).await
}

async fn finish(
    mut command: Command,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    input: &[u8],
    within: Duration,
) -> Result<Output> {
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let exchange = async {
        if !input.is_empty() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input).await?;
        }
        child.wait_with_output().await
    };
    timeout(within, exchange)
        .await
        .with_context(|| format!("`raft` hangs: still there after {within:?}"))?
        .context("cannot run raft")
}

fn limited(files_max: u32) -> Result<Command> {
    let mut command = clean(Command::new("sh"));
    command.args(["-c", &format!("ulimit -n {files_max}; exec \"$0\" \"$@\"")]);
    command.arg(program::raft()?);
    Ok(command)
}

fn raft() -> Result<Command> {
    Ok(clean(Command::new(program::raft()?)))
}

fn clean(mut command: Command) -> Command {
    command.stdin(Stdio::null()).kill_on_drop(true);
    // The user who runs the tests may have set variables for another cluster.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RAFT_") {
            command.env_remove(&name);
        }
    }
    command
}
