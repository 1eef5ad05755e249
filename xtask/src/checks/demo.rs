//! `cargo xtask demo`: it starts, serves both pages, and stops without leaving a process.

use std::env;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Note;
use super::background_process::{BackgroundProcess, Receiver};
use crate::build::node;
use crate::workspace::{Workspace, create_directory};

/// The longest time until the demo serves requests, and until it has stopped.
const TIMEOUT: Duration = Duration::from_secs(180);
/// The number of nodes. Their ports are consecutive.
const NODES: u16 = 3;

pub fn run(workspace: &Workspace) -> Result<Note> {
    for receiver in [Receiver::Program, Receiver::Group] {
        let port = free_ports()?;
        let mut demo = start(workspace, port)?;
        demo.wait_for_output("http://", TIMEOUT)?;
        for path in ["/", "/playground/"] {
            let page = get(port, path)?;
            ensure!(
                page.to_ascii_lowercase().contains("<!doctype html>"),
                "{path} is not an HTML page:\n{page}"
            );
        }
        check_port_in_use(workspace, port)?;
        demo.interrupt(receiver, TIMEOUT)?;
    }
    Ok(None)
}

fn start(workspace: &Workspace, port: u16) -> Result<BackgroundProcess> {
    let program = env::current_exe().context("cannot find the program file of xtask")?;
    let mut command = Command::new(program);
    command.args(["demo", "--port", &port.to_string()]);
    BackgroundProcess::start(command, &log(workspace, port)?)
}

fn log(workspace: &Workspace, port: u16) -> Result<PathBuf> {
    let directory = workspace.target("demo");
    create_directory(&directory)?;
    Ok(directory.join(format!("{port}.log")))
}

/// Checks that a second demo on the same ports prints one line that names the port.
fn check_port_in_use(workspace: &Workspace, port: u16) -> Result<()> {
    let binary = node::binary(workspace);
    let output = Command::new(&binary)
        .args(["demo", "--port", &port.to_string()])
        .env("RUST_BACKTRACE", "1")
        .output()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2)
            && error.trim().lines().count() == 1
            && error.contains(&port.to_string()),
        "a demo on a used port must end with exit status 2 and one line that names the port; it \
         ended with {} and printed:\n{error}",
        output.status
    );
    Ok(())
}

/// The first of [`NODES`] consecutive ports that are free in TCP and UDP.
fn free_ports() -> Result<u16> {
    let is_free = |port: u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    };
    // These ports are below the range of outgoing connections. The offset differs between
    // processes, so that two checkouts on one machine rarely try the same ports.
    let offset = (std::process::id() % 1_000) as u16 * 10;
    (0..1_000)
        .map(|row| 20_000 + (offset + row * 10) % 10_000)
        .find(|first| (*first..first + NODES).all(is_free))
        .context("no three consecutive free ports between 20000 and 30000")
}

fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("cannot connect to the demo on port {port}"))?;
    stream.set_read_timeout(Some(TIMEOUT)).context("cannot set a timeout")?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(|| format!("cannot request {path}"))?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).with_context(|| format!("no response for {path}"))?;
    let response = String::from_utf8_lossy(&response).into_owned();
    if !response.starts_with("HTTP/1.1 200 ") {
        bail!("unexpected response for {path}: {response}");
    }
    Ok(response)
}
