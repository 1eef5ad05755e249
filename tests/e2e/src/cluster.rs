//! A cluster of three processes, and faults for its nodes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::grpc::Grpc;
use crate::http::HttpClient;
use crate::port::Port;
use crate::process::Process;
use crate::wait::until;

/// The number of nodes of a cluster.
pub const NODES: usize = 3;

/// The longest time to wait for a condition. It is long enough for a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// The flag that limits the time of a request.
const REQUEST_TIMEOUT: &str = "--request-timeout-ms";

/// The number of lines at the end of each log that a failed test prints.
const LOG_LINES_SHOWN: usize = 120;

/// A cluster of three processes. Dropping it kills them, and prints their logs unless
/// [`Cluster::finish`] was called.
pub struct Cluster {
    nodes: Vec<Node>,
    flags: Vec<String>,
    directory: TempDir,
    finished: bool,
}

/// A node of the cluster: its process, and the data that survives the process.
struct Node {
    name: String,
    port: Port,
    data: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

/// The status that a node reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The name of the node.
    pub node_id: String,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub role: String,
    /// The term.
    pub term: u64,
    /// The name of the leader, if the node knows one.
    pub leader: Option<String>,
    /// The commit index.
    pub commit_index: u64,
    /// The last applied index.
    pub applied_index: u64,
    /// The last index of the log.
    pub last_index: u64,
}

impl Cluster {
    /// Starts all nodes with additional flags, and waits until they agree on a leader.
    ///
    /// # Errors
    ///
    /// Returns an error if a node cannot start, or if the nodes do not agree in time.
    pub async fn start(flags: &[&str]) -> Result<Self> {
        let mut cluster = Self::prepare(flags)?;
        for node in 0..NODES {
            cluster.start_node(node)?;
        }
        cluster.leader().await?;
        Ok(cluster)
    }

    /// Prepares ports, names and directories without starting a process.
    ///
    /// # Errors
    ///
    /// Returns an error if no ports or no directory are available.
    pub fn prepare(flags: &[&str]) -> Result<Self> {
        let directory =
            TempDir::with_prefix("raft-tests-").context("cannot create a temporary directory")?;
        let node = |number: usize| -> Result<Node> {
            let name = format!("node{number}");
            Ok(Node {
                port: Port::reserve()?,
                data: directory.path().join(&name),
                log: directory.path().join(format!("{name}.log")),
                process: None,
                name,
            })
        };
        Ok(Self {
            nodes: (1..=NODES).map(node).collect::<Result<_>>()?,
            flags: flags.iter().map(ToString::to_string).collect(),
            directory,
            finished: false,
        })
    }

    /// The temporary directory of the cluster. It is removed with the cluster.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The data directory of a node.
    #[must_use]
    pub fn data(&self, node: usize) -> &Path {
        &self.nodes[node].data
    }

    /// The name of a node.
    #[must_use]
    pub fn name(&self, node: usize) -> &str {
        &self.nodes[node].name
    }

    /// The port of a node.
    #[must_use]
    pub fn port(&self, node: usize) -> u16 {
        self.nodes[node].port.number()
    }

    /// The ports of all nodes.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        (0..NODES).map(|node| self.port(node)).collect()
    }

    /// The value of `--endpoints` with all nodes.
    #[must_use]
    pub fn endpoints(&self) -> String {
        let endpoints: Vec<_> = self.ports().iter().map(address).collect();
        endpoints.join(",")
    }

    /// The arguments of `raft` that start a node.
    #[must_use]
    pub fn arguments(&self, node: usize) -> Vec<String> {
        let others: Vec<_> = (0..NODES).filter(|&other| other != node).collect();
        self.arguments_with_peers(node, &others)
    }

    fn arguments_with_peers(&self, node: usize, others: &[usize]) -> Vec<String> {
        let peers: Vec<_> = others.iter().map(|&other| address(&self.port(other))).collect();
        let mut arguments: Vec<String> = [
            ("--node-id", self.name(node).to_owned()),
            ("--port", self.port(node).to_string()),
            ("--peers", peers.join(",")),
            ("--data-dir", self.data(node).display().to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        // On a busy machine, late heartbeats can cause an election, and a request takes longer.
        if !self.flags.iter().any(|flag| flag == REQUEST_TIMEOUT) {
            let timeout_ms = TIMEOUT.as_millis() / 2;
            arguments.extend([REQUEST_TIMEOUT.to_owned(), timeout_ms.to_string()]);
        }
        arguments.extend(self.flags.iter().cloned());
        arguments
    }

    /// Starts a node.
    ///
    /// # Errors
    ///
    /// Returns an error if the node is running or cannot be started.
    pub fn start_node(&mut self, node: usize) -> Result<()> {
        self.start_node_with(node, &[])
    }

    /// Starts a node with additional environment variables.
    ///
    /// # Errors
    ///
    /// Returns an error if the node is running or cannot be started.
    pub fn start_node_with(&mut self, node: usize, variables: &[(&str, &OsStr)]) -> Result<()> {
        let arguments = self.arguments(node);
        let node = &mut self.nodes[node];
        ensure!(node.process.is_none(), "{} is running", node.name);
        node.process = Some(Process::start(&node.name, arguments, variables, &node.log)?);
        Ok(())
    }

    /// Starts a node that isn't running, with only some of the other nodes in its `--peers`.
    ///
    /// # Errors
    ///
    /// If it is running, or can't be started.
    pub fn start_node_with_peers(&mut self, node: usize, others: &[usize]) -> Result<()> {
        let arguments = self.arguments_with_peers(node, others);
        let node = &mut self.nodes[node];
        ensure!(node.process.is_none(), "{} is running", node.name);
        node.process = Some(Process::start(&node.name, arguments, &[], &node.log)?);
        Ok(())
    }

    /// Starts a node with a limit on its open files.
    ///
    /// # Errors
    ///
    /// Returns an error if the node is running or cannot be started.
    pub fn start_node_limited(&mut self, node: usize, files_max: u32) -> Result<()> {
        let arguments = self.arguments(node);
        let node = &mut self.nodes[node];
        ensure!(node.process.is_none(), "{} is running", node.name);
        let process = Process::start_limited(&node.name, arguments, files_max, &node.log)?;
        node.process = Some(process);
        Ok(())
    }

    /// Starts a node whose standard error is a pipe without a reader.
    ///
    /// # Errors
    ///
    /// Returns an error if the node is running or cannot be started.
    pub fn start_node_unread(&mut self, node: usize, variables: &[(&str, &OsStr)]) -> Result<()> {
        let arguments = self.arguments(node);
        let node = &mut self.nodes[node];
        ensure!(node.process.is_none(), "{} is running", node.name);
        let process = Process::start_unread(&node.name, arguments, variables, &node.log)?;
        node.process = Some(process);
        Ok(())
    }

    /// The resident memory of a node in bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the node is not running.
    pub fn resident_bytes(&self, node: usize) -> Result<u64> {
        let node = &self.nodes[node];
        let process = node.process.as_ref();
        process.with_context(|| format!("{} is not running", node.name))?.resident_bytes()
    }

    /// The process id of a node.
    ///
    /// # Errors
    ///
    /// If the node isn't running.
    pub fn pid(&self, node: usize) -> Result<Pid> {
        let node = &self.nodes[node];
        let process = node.process.as_ref();
        Ok(process.with_context(|| format!("{} isn't running", node.name))?.pid())
    }

    /// Waits until a node ends, and returns its exit status.
    ///
    /// # Errors
    ///
    /// Returns an error if the node is not running, or does not end in time.
    pub async fn ended(&mut self, node: usize) -> Result<ExitStatus> {
        let node = &mut self.nodes[node];
        let process = node.process.take();
        process.with_context(|| format!("{} is not running", node.name))?.ended(TIMEOUT).await
    }

    /// Kills a node with SIGKILL.
    ///
    /// # Errors
    ///
    /// Returns an error if the node is not running, or has ended before.
    pub async fn kill(&mut self, node: usize) -> Result<()> {
        let node = &mut self.nodes[node];
        let process = node.process.take();
        process.with_context(|| format!("{} is not running", node.name))?.kill().await
    }

    /// Kills all nodes at once with SIGKILL.
    ///
    /// # Errors
    ///
    /// Returns an error if a node has ended before.
    pub async fn kill_all(&mut self) -> Result<()> {
        for node in 0..NODES {
            self.signal(node, Signal::KILL)?;
        }
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                process.ended(TIMEOUT).await?;
            }
        }
        Ok(())
    }

    /// Sends a signal to a node.
    ///
    /// # Errors
    ///
    /// Returns an error if the node is not running.
    pub fn signal(&self, node: usize, signal: Signal) -> Result<()> {
        let node = &self.nodes[node];
        let process = node.process.as_ref();
        process.with_context(|| format!("{} is not running", node.name))?.signal(signal)
    }

    /// An HTTP client of a node.
    #[must_use]
    pub fn http(&self, node: usize) -> HttpClient {
        HttpClient::new(self.port(node), TIMEOUT)
    }

    /// A gRPC client of a node.
    ///
    /// # Errors
    ///
    /// Returns an error if the node does not respond.
    pub async fn grpc(&self, node: usize) -> Result<Grpc> {
        Grpc::connect(self.port(node), TIMEOUT).await
    }

    /// The status of a node.
    ///
    /// # Errors
    ///
    /// Returns an error if the node does not respond with a status.
    pub async fn status(&self, node: usize) -> Result<Status> {
        let answer = self
            .http(node)
            .json("/v1/status")
            .await
            .with_context(|| format!("cannot read the status of {}", self.name(node)))?;
        Status::from_json(&answer).with_context(|| format!("invalid status: {answer}"))
    }

    /// Waits until all running nodes agree on the leader and its term. Returns the leader.
    ///
    /// # Errors
    ///
    /// Returns an error if the nodes do not agree in time, or a node has ended.
    pub async fn leader(&mut self) -> Result<usize> {
        self.check_running()?;
        let this = &*self;
        let agreed = until("all nodes agree on a leader", TIMEOUT, async || {
            let mut said = BTreeSet::new();
            let mut leads = None;
            for node in (0..NODES).filter(|&node| this.nodes[node].process.is_some()) {
                let status = this.status(node).await?;
                if status.role == "leader" {
                    leads = Some(node);
                }
                said.insert((status.term, status.leader));
            }
            let agreed = match (said.len(), said.first(), leads) {
                (1, Some((_, Some(name))), Some(leader)) if name == this.name(leader) => leads,
                _ => None,
            };
            Ok(agreed)
        });
        match agreed.await {
            Ok(leader) => Ok(leader),
            Err(error) => {
                self.check_running()?;
                Err(error)
            }
        }
    }

    /// Waits until all nodes have applied all entries of the log. Returns the last index.
    ///
    /// # Errors
    ///
    /// Returns an error if this takes too long.
    pub async fn settled(&self) -> Result<u64> {
        until("all nodes have applied all", TIMEOUT, async || {
            let mut indexes = BTreeSet::new();
            for node in 0..NODES {
                let status = self.status(node).await?;
                indexes.extend([status.applied_index, status.last_index]);
            }
            Ok(indexes.first().copied().filter(|_| indexes.len() == 1))
        })
        .await
    }

    /// Checks that all started processes are running.
    ///
    /// # Errors
    ///
    /// Returns an error with the last output of a process that has ended.
    pub fn check_running(&mut self) -> Result<()> {
        self.nodes
            .iter_mut()
            .filter_map(|node| node.process.as_mut())
            .try_for_each(Process::check_running)
    }

    /// The standard output and standard error of a node since the start of the test.
    #[must_use]
    pub fn output(&self, node: usize) -> String {
        std::fs::read(&self.nodes[node].log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Ends the test: stops all nodes like [`Cluster::stop`], and does not print their logs.
    ///
    /// # Errors
    ///
    /// Returns an error if a node does not end with success in time.
    pub async fn finish(mut self) -> Result<()> {
        self.stop().await?;
        self.finished = true;
        Ok(())
    }

    /// Sends SIGTERM to all running nodes, and waits until they end with success.
    ///
    /// # Errors
    ///
    /// Returns an error if a node does not end with success in time.
    pub async fn stop(&mut self) -> Result<()> {
        self.check_running()?;
        for node in &self.nodes {
            if let Some(process) = &node.process {
                process.signal(Signal::TERM)?;
            }
        }
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                let status = process.ended(TIMEOUT).await?;
                if !status.success() {
                    bail!("{} ended on SIGTERM with {status}", node.name);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for node in &self.nodes {
            let said = std::fs::read(&node.log).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            let lines: Vec<&str> = said.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!(
                "--- end of the output of {} on port {}:\n{}",
                node.name,
                node.port.number(),
                shown.join("\n")
            );
        }
    }
}

fn address(port: &u16) -> String {
    format!("localhost:{port}")
}

impl Status {
    fn from_json(json: &Value) -> Option<Self> {
        Some(Self {
            node_id: json["node_id"].as_str()?.to_owned(),
            role: json["role"].as_str()?.to_owned(),
            term: json["term"].as_u64()?,
            leader: json["leader"].as_str().map(str::to_owned),
            commit_index: json["commit_index"].as_u64()?,
            applied_index: json["applied_index"].as_u64()?,
            last_index: json["last_index"].as_u64()?,
        })
    }
}
