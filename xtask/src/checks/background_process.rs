//! A program that runs in the background until it receives a signal.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The interval between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A running program and all processes that it started. Dropping the value kills them.
pub struct BackgroundProcess {
    child: Child,
    /// The file that receives standard output and standard error.
    log: PathBuf,
    stopped: bool,
}

/// The receiver of a signal.
#[derive(Clone, Copy)]
pub enum Receiver {
    /// The program alone, as from a supervisor.
    Program,
    /// The whole process group, as from Ctrl-C in a terminal.
    Group,
}

impl BackgroundProcess {
    /// Starts a program in a process group of its own, with its output in a file.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().with_context(|| format!("cannot open {}", log.display()))?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, log: log.to_path_buf(), stopped: false })
    }

    /// The output so far.
    pub fn output(&self) -> String {
        // The last character can be incomplete while the program writes it.
        std::fs::read(&self.log)
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until the output contains a text, and returns the output.
    pub fn wait_for_output(&mut self, text: &str, timeout: Duration) -> Result<String> {
        let end = Instant::now() + timeout;
        loop {
            let output = self.output();
            if output.contains(text) {
                return Ok(output);
            }
            if let Some(status) = self.status()? {
                bail!("the program ended ({status}) before it printed {text:?}:\n{output}");
            }
            if Instant::now() > end {
                bail!("the program did not print {text:?} within {timeout:?}:\n{output}");
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until the program ends.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("the program did not end within {timeout:?}:\n{}", self.output());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Returns true if the program has not ended.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.status()?.is_none())
    }

    /// Sends SIGINT. Returns an error unless the program ends with success and leaves no process.
    pub fn interrupt(mut self, receiver: Receiver, timeout: Duration) -> Result<()> {
        signal("INT", &self.child, receiver)?;
        let status = self.wait(timeout)?;
        if !status.success() {
            bail!("the program ended on SIGINT with {status}:\n{}", self.output());
        }
        if signal("0", &self.child, Receiver::Group).is_ok() {
            bail!("the program ended on SIGINT, but a process that it started did not end");
        }
        self.stopped = true;
        Ok(())
    }

    fn status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot read the status of a process")
    }
}

impl Drop for BackgroundProcess {
    fn drop(&mut self) {
        if !self.stopped {
            // Another error is already being returned, so errors are ignored here.
            let _ = signal("KILL", &self.child, Receiver::Group);
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal with the `kill` of the shell. The standard library cannot send signals, and a
/// minimal Debian has no program `kill`.
fn signal(name: &str, child: &Child, receiver: Receiver) -> Result<()> {
    let sign = match receiver {
        Receiver::Program => "",
        Receiver::Group => "-",
    };
    let status = Command::new("sh")
        .args(["-c", &format!("kill -s {name} -- {sign}{}", child.id())])
        .stderr(Stdio::null())
        .status()
        .context("cannot start sh")?;
    if !status.success() {
        bail!("no process for SIG{name}: {}", child.id());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(120);

    fn shell(script: &str, name: &str) -> BackgroundProcess {
        let log = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        // A shell that starts with SIGINT ignored, as in the background, cannot set a trap for it.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", "sh", "-c", script]);
        BackgroundProcess::start(command, &log).unwrap()
    }

    #[test]
    fn clean_exit_is_accepted() {
        let mut process =
            shell("trap 'exit 0' INT; echo ready; while :; do sleep 0.1; done", "orderly");
        process.wait_for_output("ready", TIMEOUT).unwrap();
        process.interrupt(Receiver::Group, TIMEOUT).unwrap();
    }

    #[test]
    fn error_exit_is_rejected() {
        let mut process =
            shell("trap 'exit 3' INT; echo ready; while :; do sleep 0.1; done", "error");
        process.wait_for_output("ready", TIMEOUT).unwrap();
        let error = process.interrupt(Receiver::Group, TIMEOUT).unwrap_err();
        assert!(error.to_string().contains('3'), "{error}");
    }

    #[test]
    fn leaked_process_is_detected() {
        let script = "trap 'exit 0' INT; sh -c 'trap \"\" INT; echo ready; sleep 60' & wait";
        let mut process = shell(script, "orphan");
        process.wait_for_output("ready", TIMEOUT).unwrap();
        let error = process.interrupt(Receiver::Program, TIMEOUT).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }

    #[test]
    fn early_exit_is_detected() {
        let mut process = shell("echo no; exit 1", "early");
        assert!(process.wait_for_output("ready", TIMEOUT).is_err());
    }
}
