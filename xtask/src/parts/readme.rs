//! The commands of README.md, run as a reader would type them.
//!
//! The language of a fenced block says what it is. The lines of `sh` are run one by one and must
//! succeed. Each line of `sh server` is started in a terminal of its own, must say its address,
//! stays until the next such block or the end, and must then stop on Ctrl-C with success. Blocks of
//! other languages are not run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Note;
use super::server::{Server, To};
use crate::step::Step;
use crate::workspace::Workspace;

/// What a server says when it is there: its address.
const READY: &str = "http://";
/// For servers to be there; cargo may have something to build first.
const STARTING: Duration = Duration::from_secs(600);
/// What the node says of a port that it cannot have.
const IN_USE: &str = "is in use";
/// A reader looks at what a server says before typing the next command; here it is tried again
/// until this has passed.
const PATIENCE: Duration = Duration::from_secs(90);
/// For servers to stop.
const DEADLINE: Duration = Duration::from_secs(60);

/// All checks: what is running now.
const THIS: &str = "cargo xtask test";

pub fn run(workspace: &Workspace) -> Result<Note> {
    let path = workspace.path("README.md");
    let readme =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let blocks = blocks(&readme);
    ensure!(!blocks.is_empty(), "README.md shows no commands");

    // Below the root, where cargo finds the workspace, and where what the commands leave behind is
    // in nobody's way.
    let scratch = workspace.path("target/readme");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?;
    }
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;

    let mut count = 0;
    let mut servers = Vec::new();
    for block in &blocks {
        let commands: Vec<&str> =
            block.commands.iter().map(String::as_str).filter(|line| *line != THIS).collect();
        count += commands.len();
        if block.is_server {
            stop(&mut servers)?;
            servers = start(workspace, &scratch, &commands)?;
        } else {
            for line in commands {
                eprintln!("    $ {line}");
                succeed(workspace, &scratch, line, &mut servers)?;
            }
        }
    }
    stop(&mut servers)?;
    Ok(Some(format!("{count} commands")))
}

/// Starts servers, and waits until they are there.
///
/// The node's usual ports lie in the range from which Linux takes the ports of outgoing
/// connections. For a minute after such a connection its port cannot be listened on; then a reader,
/// too, would try again.
fn start(workspace: &Workspace, scratch: &Path, commands: &[&str]) -> Result<Vec<Server>> {
    let end = Instant::now() + PATIENCE;
    loop {
        match start_once(workspace, scratch, commands) {
            Err(error) if error.to_string().contains(IN_USE) && Instant::now() < end => {
                eprintln!("warning: a port {IN_USE}; trying again");
                thread::sleep(Duration::from_secs(5));
            }
            result => return result,
        }
    }
}

fn start_once(workspace: &Workspace, scratch: &Path, commands: &[&str]) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for (index, line) in commands.iter().enumerate() {
        eprintln!("    $ {line}");
        let log = scratch.join(format!("{index}.log"));
        servers.push(Server::start(shell(workspace, scratch, line)?, &log)?);
    }
    for server in &mut servers {
        server.wait_until_said(READY, STARTING)?;
    }
    Ok(servers)
}

fn shell(workspace: &Workspace, directory: &Path, line: &str) -> Result<Command> {
    // `exec`: a signal is meant for the command, not for the shell around it.
    Ok(Step::new(workspace, "bash")?
        .directory(directory)
        .args(["-c", &format!("exec {line}")])
        .into_command())
}

fn succeed(
    workspace: &Workspace,
    directory: &Path,
    line: &str,
    servers: &mut [Server],
) -> Result<()> {
    let end = Instant::now() + PATIENCE;
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
            ensure!(server.is_running()?, "a server ended:\n{}", server.said());
        }
        if servers.is_empty() || Instant::now() > end {
            bail!(
                "`{line}` failed: {}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn stop(servers: &mut Vec<Server>) -> Result<()> {
    servers.drain(..).try_for_each(|server| server.interrupt(To::Group, DEADLINE))
}

/// A fenced block whose commands are run.
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

/// Lines without comments; a backslash at the end of a line continues it.
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
        let readme = "Text\n```sh server\nraft demo\n```\n```json\n{}\n```\n\n```sh\n# write\nraft put a 1 \\\n  --output json\nraft get a\n```\n";
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
