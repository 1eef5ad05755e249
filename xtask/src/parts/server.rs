//! A program that runs until it is told to stop, as if in a terminal of its own.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a condition is looked at while it is awaited.
const POLL: Duration = Duration::from_millis(50);

/// A running program with all that it started.
pub struct Server {
    child: Child,
    /// What it says on both outputs.
    log: PathBuf,
    stopped: bool,
}

/// Whom a signal is sent to.
#[derive(Clone, Copy)]
pub enum To {
    /// The program alone, as a supervisor does.
    Program,
    /// All that runs in its terminal, as Ctrl-C does.
    Group,
}

impl Server {
    /// Starts it in a process group of its own, saying what it has to say to a file.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("cannot share the log")?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, log: log.to_path_buf(), stopped: false })
    }

    /// What it has said.
    pub fn said(&self) -> String {
        // What a program says may be cut within a character while it says it.
        std::fs::read(&self.log)
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until it has said something.
    pub fn wait_until_said(&mut self, what: &str, deadline: Duration) -> Result<String> {
        let end = Instant::now() + deadline;
        loop {
            let said = self.said();
            if said.contains(what) {
                return Ok(said);
            }
            if let Some(status) = self.child.try_wait().context("lost a program")? {
                bail!("it ended ({status}) before it said {what:?}:\n{said}");
            }
            if Instant::now() > end {
                bail!("it did not say {what:?} within {deadline:?}:\n{said}");
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait().context("lost a program")? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("it did not end within {deadline:?}:\n{}", self.said());
            }
            thread::sleep(POLL);
        }
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("lost a program")?.is_none())
    }

    /// Sends SIGINT, and expects that it ends with success and leaves nothing behind.
    pub fn interrupt(mut self, to: To, deadline: Duration) -> Result<()> {
        signal("INT", &self.child, to)?;
        let status = self.wait(deadline)?;
        if !status.success() {
            bail!("it ended on SIGINT with {status}:\n{}", self.said());
        }
        if signal("0", &self.child, To::Group).is_ok() {
            bail!("it ended on SIGINT, but a process that it started did not");
        }
        self.stopped = true;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.stopped {
            // On the way out of a failure; there is nobody left to tell if this fails as well.
            let _ = signal("KILL", &self.child, To::Group);
            let _ = self.child.wait();
        }
    }
}

/// By the shell's own `kill`: the standard library sends no signals, and a bare Debian has no
/// other.
fn signal(name: &str, child: &Child, to: To) -> Result<()> {
    let sign = match to {
        To::Program => "",
        To::Group => "-",
    };
    let status = Command::new("sh")
        .args(["-c", &format!("kill -s {name} -- {sign}{}", child.id())])
        .stderr(Stdio::null())
        .status()
        .context("cannot start a shell")?;
    if !status.success() {
        bail!("no process to send SIG{name} to");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(120);

    fn shell(script: &str, name: &str) -> Server {
        let log = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        // A shell that was started with a signal ignored, as in the background, sets no trap for
        // it.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", "sh", "-c", script]);
        Server::start(command, &log).unwrap()
    }

    #[test]
    fn clean_exit_is_accepted() {
        let mut server =
            shell("trap 'exit 0' INT; echo ready; while :; do sleep 0.1; done", "orderly");
        server.wait_until_said("ready", SOON).unwrap();
        server.interrupt(To::Group, SOON).unwrap();
    }

    #[test]
    fn error_exit_is_rejected() {
        let mut server =
            shell("trap 'exit 3' INT; echo ready; while :; do sleep 0.1; done", "error");
        server.wait_until_said("ready", SOON).unwrap();
        let error = server.interrupt(To::Group, SOON).unwrap_err();
        assert!(error.to_string().contains('3'), "{error}");
    }

    #[test]
    fn leaked_process_is_detected() {
        let script = "trap 'exit 0' INT; sh -c 'trap \"\" INT; echo ready; sleep 60' & wait";
        let mut server = shell(script, "orphan");
        server.wait_until_said("ready", SOON).unwrap();
        let error = server.interrupt(To::Program, SOON).unwrap_err();
        assert!(error.to_string().contains("did not"), "{error}");
    }

    #[test]
    fn early_exit_is_detected() {
        let mut server = shell("echo no; exit 1", "early");
        assert!(server.wait_until_said("ready", SOON).is_err());
    }
}
