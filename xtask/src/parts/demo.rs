//! `cargo xtask demo`, as a newcomer meets it: it starts, shows both pages, and stops without a
//! trace.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Note;
use super::server::{Server, To};
use crate::node;
use crate::workspace::Workspace;

/// For starting, when all is built, and for stopping.
const DEADLINE: Duration = Duration::from_secs(180);
/// The demo's nodes have ports in a row.
const NODES: u16 = 3;

pub fn run(workspace: &Workspace) -> Result<Note> {
    for to in [To::Program, To::Group] {
        let port = free_ports()?;
        let mut demo = start(workspace, port)?;
        demo.wait_until_said("http://", DEADLINE)?;
        for path in ["/", "/playground/"] {
            let page = get(port, path)?;
            ensure!(
                page.to_ascii_lowercase().contains("<!doctype html>"),
                "{path} is no page:\n{page}"
            );
        }
        port_in_use(workspace, port)?;
        demo.interrupt(to, DEADLINE)?;
    }
    Ok(None)
}

fn start(workspace: &Workspace, port: u16) -> Result<Server> {
    let log = log(workspace, port)?;
    let mut command =
        Command::new(env::current_exe().context("cannot tell where xtask itself is")?);
    command.args(["demo", "--port", &port.to_string()]);
    Server::start(command, &log)
}

fn log(workspace: &Workspace, port: u16) -> Result<PathBuf> {
    let directory = workspace.target("demo");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory.join(format!("{port}.log")))
}

/// A second demo on the same ports ends with one line that names the port.
fn port_in_use(workspace: &Workspace, port: u16) -> Result<()> {
    let binary = node::binary(workspace);
    let output = Command::new(&binary)
        .args(["demo", "--port", &port.to_string()])
        .env("RUST_BACKTRACE", "1")
        .output()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2)
            && said.trim().lines().count() == 1
            && said.contains(&port.to_string()),
        "a port in use is to be told in one line, with exit status 2; instead ({}):\n{said}",
        output.status
    );
    Ok(())
}

/// The first of [`NODES`] ports in a row that nobody has, in TCP and UDP.
fn free_ports() -> Result<u16> {
    let is_free = |port: u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    };
    // Below the range that systems hand out by themselves; not always the same, for two checkouts
    // on one machine.
    let offset = (std::process::id() % 1_000) as u16 * 10;
    (0..1_000)
        .map(|row| 20_000 + (offset + row * 10) % 10_000)
        .find(|first| (*first..first + NODES).all(is_free))
        .context("no three free ports in a row")
}

fn get(port: u16, path: &str) -> Result<String> {
    let mut stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("the demo does not listen")?;
    stream.set_read_timeout(Some(DEADLINE)).context("no timeout can be set")?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(|| format!("cannot ask for {path}"))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("no answer for {path}"))?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if !answer.starts_with("HTTP/1.1 200 ") {
        bail!("{path}: {answer}");
    }
    Ok(answer)
}
