//! One process of the program under test.

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

use crate::cluster::PATIENCE;
use crate::program;

/// A process that was started and is to be ended.
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts `raft` with these arguments and variables. What it says, on both outputs, is appended
    /// to the log.
    ///
    /// # Errors
    ///
    /// If it can't be started.
    pub fn start(
        name: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: &[(&str, &OsStr)],
        log: &Path,
    ) -> Result<Self> {
        Self::spawn(raft()?, name, arguments, variables, log, false)
    }

    /// Starts `raft` in the same way, with a limit on its open files.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start_limited(
        name: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        files_max: u32,
        log: &Path,
    ) -> Result<Self> {
        Self::spawn(limited(files_max)?, name, arguments, &[], log, false)
    }

    /// Starts `raft` like [`Process::start`], with a pipe as standard error that nothing reads.
    ///
    /// # Errors
    ///
    /// If the process cannot be started.
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

    /// The memory of the process that is in RAM, in bytes.
    ///
    /// # Errors
    ///
    /// If the process has ended.
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
    /// If the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Not after it was waited for: the id may be somebody else's by then.
        ensure!(self.child.id().is_some(), "{} has ended", self.name);
        kill_process(self.pid, signal)
            .with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// `kill -9`, and waits until the process is gone.
    ///
    /// # Errors
    ///
    /// If it had ended already: then it was not this that ended it.
    pub async fn kill(mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let status = self.ended(PATIENCE).await?;
        ensure!(
            status.code().is_none(),
            "{} ended by itself, with {status}, before it was killed",
            self.name
        );
        Ok(())
    }

    /// The status with which it ended.
    ///
    /// # Errors
    ///
    /// If it is still running after that long.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        timeout(within, self.child.wait())
            .await
            .with_context(|| format!("{} still runs after {within:?}", self.name))?
            .with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Fails if it has ended, with what it said last.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("cannot look at a process")? {
            bail!("{} ended with {status}:\n{}", self.name, self.said());
        }
        Ok(())
    }

    /// All that it and its predecessors with the same log said.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_else(|error| format!("(no log: {error})"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process (SIGSTOP) dies of this, too. Its files are removed next, so it has to
        // be gone.
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

/// Runs `raft` with these arguments to its end.
///
/// # Errors
///
/// If it has not ended in time; it is killed then.
pub async fn run(
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    within: Duration,
) -> Result<Output> {
    run_with_input(arguments, b"", within).await
}

/// Runs `raft` with these arguments to its end, with this on its standard input.
///
/// # Errors
///
/// As [`run`].
pub async fn run_with_input(
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    input: &[u8],
    within: Duration,
) -> Result<Output> {
    finish(raft()?, arguments, input, within).await
}

/// Runs `raft` to its end, as [`run`] does, with a limit on its open files.
///
/// # Errors
///
/// As [`run`].
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
    // Whoever runs the tests may have a cluster of their own.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RAFT_") {
            command.env_remove(&name);
        }
    }
    command
}
