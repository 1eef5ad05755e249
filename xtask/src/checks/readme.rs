//! The commands of README.md, run as a reader types them.
//!
//! | language of the block | meaning |
//! | --- | --- |
//! | `sh` | each line runs once and must succeed |
//! | `sh server` | each line starts a server, which must print its address |
//! | others | the block is not run |
//!
//! Servers run until the next block of servers or the end. They must end with success on Ctrl-C.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Note;
use super::background_process::{BackgroundProcess, Receiver};
use crate::step::Step;
use crate::workspace::{Workspace, create_directory, read};

/// The text in the output of a server that is ready: the start of its address.
const READY: &str = "http://";
/// The longest time until a server is ready, including a build.
const START_TIMEOUT: Duration = Duration::from_secs(600);
/// The text in the error of a node whose port is not free.
const PORT_IN_USE: &str = "is in use";
/// The longest time for retries. A reader waits for the output of a server before the next command,
/// but this check retries the next command.
const RETRY_TIMEOUT: Duration = Duration::from_secs(90);
/// The pause before the servers are started again.
const RESTART_PAUSE: Duration = Duration::from_secs(5);
/// The pause before a command runs again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// The longest time until a server has stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The command that is running now, which must not start itself.
const THIS_COMMAND: &str = "cargo xtask test";

pub fn run(workspace: &Workspace) -> Result<Note> {
    let blocks = blocks(&read(&workspace.path("README.md"))?);
    ensure!(!blocks.is_empty(), "README.md contains no block of commands");
    let scratch = scratch(workspace)?;

    let mut count = 0;
    let mut servers = Vec::new();
    for block in &blocks {
        let commands: Vec<&str> = block
            .commands
            .iter()
            .map(String::as_str)
            .filter(|line| *line != THIS_COMMAND)
            .collect();
        count += commands.len();
        if block.is_server {
            stop(&mut servers)?;
            servers = start(workspace, &scratch, &commands)?;
        } else {
            for line in commands {
                eprintln!("    $ {line}");
                run_command(workspace, &scratch, line, &mut servers)?;
            }
        }
    }
    stop(&mut servers)?;
    Ok(Some(format!("{count} commands")))
}

/// Creates an empty directory for the data that the commands leave. It is below the root, where
/// cargo finds the workspace.
fn scratch(workspace: &Workspace) -> Result<PathBuf> {
    let scratch = workspace.path("target/readme");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?;
    }
    create_directory(&scratch)?;
    Ok(scratch)
}

/// Starts servers, and waits until they are ready.
///
/// The ports of the nodes are in the range that Linux uses for outgoing connections. After such a
/// connection, its port cannot be used for a minute. A reader would also start the nodes again.
fn start(
    workspace: &Workspace,
    scratch: &Path,
    commands: &[&str],
) -> Result<Vec<BackgroundProcess>> {
    let end = Instant::now() + RETRY_TIMEOUT;
    loop {
        match start_once(workspace, scratch, commands) {
            Err(error) if error.to_string().contains(PORT_IN_USE) && Instant::now() < end => {
                eprintln!("warning: a port {PORT_IN_USE}; starting the servers again");
                thread::sleep(RESTART_PAUSE);
            }
            result => return result,
        }
    }
}

fn start_once(
    workspace: &Workspace,
    scratch: &Path,
    commands: &[&str],
) -> Result<Vec<BackgroundProcess>> {
    let mut servers = Vec::new();
    for (index, line) in commands.iter().enumerate() {
        eprintln!("    $ {line}");
        let log = scratch.join(format!("{index}.log"));
        servers.push(BackgroundProcess::start(shell(workspace, scratch, line)?, &log)?);
    }
    for server in &mut servers {
        server.wait_for_output(READY, START_TIMEOUT)?;
    }
    Ok(servers)
}

/// A shell that replaces itself by the command. Signals then reach the command.
fn shell(workspace: &Workspace, directory: &Path, line: &str) -> Result<Command> {
    Ok(Step::new(workspace, "bash")?
        .directory(directory)
        .args(["-c", &format!("exec {line}")])
        .into_command())
}

/// Runs a command until it succeeds. Without servers, the command runs only once.
fn run_command(
    workspace: &Workspace,
    directory: &Path,
    line: &str,
    servers: &mut [BackgroundProcess],
) -> Result<()> {
    let end = Instant::now() + RETRY_TIMEOUT;
    loop {
        let output = Step::new(workspace, "bash")?
            .directory(directory)
            .args(["-c", &format!("set -o pipefail; {line}")])
            .into_command()
            .output()
            .context("cannot start bash")?;
        if output.status.success() {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            return Ok(());
        }
        for server in &mut *servers {
            ensure!(server.is_running()?, "a server ended:\n{}", server.output());
        }
        if servers.is_empty() || Instant::now() > end {
            bail!(
                "`{line}` failed: {}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        thread::sleep(RETRY_PAUSE);
    }
}

fn stop(servers: &mut Vec<BackgroundProcess>) -> Result<()> {
    servers.drain(..).try_for_each(|server| server.interrupt(Receiver::Group, STOP_TIMEOUT))
}

/// A fenced block of commands.
#[derive(PartialEq, Eq, Debug)]
struct Block {
    is_server: bool,
    commands: Vec<String>,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let is_server = language == "sh server";
        if is_server || language == "sh" {
            blocks.push(Block { is_server, commands: commands(&inside) });
        }
    }
    blocks
}

/// The commands of a block, without comments. A backslash at the end of a line continues the line.
fn commands(lines: &[&str]) -> Vec<String> {
    let mut commands = Vec::new();
    let mut unfinished = String::new();
    for line in lines {
        let line = line.trim();
        if let Some(start) = line.strip_suffix('\\') {
            unfinished.push_str(start);
        } else if !line.is_empty() && !line.starts_with('#') {
            commands.push(format!("{unfinished}{line}"));
            unfinished.clear();
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_by_block_language() {
        let readme = "Text\n```sh server\nraft demo\n```\n```json\n{}\n```\n\n\
                      ```sh\n# write\nraft put a 1 \\\n  --output json\nraft get a\n```\n";
        let block = |is_server, commands: &[&str]| Block {
            is_server,
            commands: commands.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(
            blocks(readme),
            [
                block(true, &["raft demo"]),
                block(false, &["raft put a 1 --output json", "raft get a"]),
            ]
        );
    }
}
