//! Three processes that form a cluster, and what may befall them.

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
use crate::port::Port;
use crate::process::Process;
use crate::rest::Rest;
use crate::wait::until;

/// How many nodes a cluster of these tests has.
pub const NODES: usize = 3;

/// How long a test waits for a condition. Only something broken takes as long, however busy the
/// machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The flag that says how long a node tries to serve a request.
const REQUEST_TIMEOUT: &str = "--request-timeout-ms";

/// How much of a failed test's logs is printed, from the end of each.
const LOG_LINES_SHOWN: usize = 120;

/// A cluster of three processes. When it is dropped they are killed; unless [`Cluster::finish`] was
/// called, their logs are printed.
pub struct Cluster {
    nodes: Vec<Node>,
    flags: Vec<String>,
    directory: TempDir,
    finished: bool,
}

/// One place in the cluster: what stays when its process goes.
struct Node {
    name: String,
    port: Port,
    data: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Its name.
    pub node_id: String,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub role: String,
    /// Its term.
    pub term: u64,
    /// Whom it takes for the leader.
    pub leader: Option<String>,
    /// The last index it knows to be committed.
    pub commit_index: u64,
    /// The last index its state machine has applied.
    pub applied_index: u64,
    /// The last index of its log.
    pub last_index: u64,
}

impl Cluster {
    /// Starts the nodes, with these flags besides those that make a cluster, and waits until they
    /// agree on a leader.
    ///
    /// # Errors
    ///
    /// If they don't.
    pub async fn start(flags: &[&str]) -> Result<Self> {
        let mut cluster = Self::prepare(flags)?;
        for node in 0..NODES {
            cluster.start_node(node)?;
        }
        cluster.leader().await?;
        Ok(cluster)
    }

    /// Ports, names and directories; no process yet.
    ///
    /// # Errors
    ///
    /// If these can't be had.
    pub fn prepare(flags: &[&str]) -> Result<Self> {
        let directory = TempDir::with_prefix("raft-tests-").context("no temporary directory")?;
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

    /// A directory that is removed with the cluster.
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

    /// All nodes' ports.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        (0..NODES).map(|node| self.port(node)).collect()
    }

    /// What the command line calls `--endpoints`: all nodes.
    #[must_use]
    pub fn endpoints(&self) -> String {
        let endpoints: Vec<_> = self.ports().iter().map(address).collect();
        endpoints.join(",")
    }

    /// What a person would type after `raft` to start this node.
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
        // On a busy machine a leader may be late with its heartbeats, and another one be elected.
        if !self.flags.iter().any(|flag| flag == REQUEST_TIMEOUT) {
            let timeout_ms = PATIENCE.as_millis() / 2;
            arguments.extend([REQUEST_TIMEOUT.to_owned(), timeout_ms.to_string()]);
        }
        arguments.extend(self.flags.iter().cloned());
        arguments
    }

    /// Starts a node that isn't running.
    ///
    /// # Errors
    ///
    /// If it is running, or can't be started.
    pub fn start_node(&mut self, node: usize) -> Result<()> {
        self.start_node_with(node, &[])
    }

    /// Starts a node that isn't running, with these variables in its environment.
    ///
    /// # Errors
    ///
    /// If it is running, or can't be started.
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

    /// Starts a node that isn't running, with a limit on its open files.
    ///
    /// # Errors
    ///
    /// If it is running, or can't be started.
    pub fn start_node_limited(&mut self, node: usize, files_max: u32) -> Result<()> {
        let arguments = self.arguments(node);
        let node = &mut self.nodes[node];
        ensure!(node.process.is_none(), "{} is running", node.name);
        let process = Process::start_limited(&node.name, arguments, files_max, &node.log)?;
        node.process = Some(process);
        Ok(())
    }

    /// Starts a node whose standard error is a pipe that nobody reads.
    ///
    /// # Errors
    ///
    /// If the node is running, or cannot be started.
    pub fn start_node_unread(&mut self, node: usize, variables: &[(&str, &OsStr)]) -> Result<()> {
        let arguments = self.arguments(node);
        let node = &mut self.nodes[node];
        ensure!(node.process.is_none(), "{} is running", node.name);
        let process = Process::start_unread(&node.name, arguments, variables, &node.log)?;
        node.process = Some(process);
        Ok(())
    }

    /// The memory of a node that is in RAM, in bytes.
    ///
    /// # Errors
    ///
    /// If the node isn't running.
    pub fn resident_bytes(&self, node: usize) -> Result<u64> {
        let node = &self.nodes[node];
        let process = node.process.as_ref();
        process.with_context(|| format!("{} isn't running", node.name))?.resident_bytes()
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

    /// Waits for the end of a node's process and returns its status.
    ///
    /// # Errors
    ///
    /// If the node is not running, or does not end.
    pub async fn ended(&mut self, node: usize) -> Result<ExitStatus> {
        let node = &mut self.nodes[node];
        let process = node.process.take();
        process.with_context(|| format!("{} is not running", node.name))?.ended(PATIENCE).await
    }

    /// `kill -9`.
    ///
    /// # Errors
    ///
    /// If the node isn't running, or had ended by itself.
    pub async fn kill(&mut self, node: usize) -> Result<()> {
        let node = &mut self.nodes[node];
        let process = node.process.take();
        process.with_context(|| format!("{} isn't running", node.name))?.kill().await
    }

    /// `kill -9` of all nodes at once.
    ///
    /// # Errors
    ///
    /// If one of them had ended by itself.
    pub async fn kill_all(&mut self) -> Result<()> {
        for node in 0..NODES {
            self.signal(node, Signal::KILL)?;
        }
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                process.ended(PATIENCE).await?;
            }
        }
        Ok(())
    }

    /// Sends a signal to a node.
    ///
    /// # Errors
    ///
    /// If the node isn't running.
    pub fn signal(&self, node: usize, signal: Signal) -> Result<()> {
        let node = &self.nodes[node];
        let process = node.process.as_ref();
        process.with_context(|| format!("{} isn't running", node.name))?.signal(signal)
    }

    /// An HTTP client of a node.
    #[must_use]
    pub fn rest(&self, node: usize) -> Rest {
        Rest::new(self.port(node), PATIENCE)
    }

    /// A gRPC client of a node.
    ///
    /// # Errors
    ///
    /// If the node does not answer.
    pub async fn grpc(&self, node: usize) -> Result<Grpc> {
        Grpc::connect(self.port(node), PATIENCE).await
    }

    /// What a node says of itself.
    ///
    /// # Errors
    ///
    /// If it does not answer, or answers something else.
    pub async fn status(&self, node: usize) -> Result<Status> {
        let answer = self
            .rest(node)
            .json("/v1/status")
            .await
            .with_context(|| format!("no status of {}", self.name(node)))?;
        Status::from_json(&answer).with_context(|| format!("this is no status: {answer}"))
    }

    /// Waits until all nodes that run agree on the leader and its term, and says which it is.
    ///
    /// # Errors
    ///
    /// If that takes too long, or a node has ended.
    pub async fn leader(&mut self) -> Result<usize> {
        self.check_running()?;
        let this = &*self;
        let agreed = until("all nodes agree on a leader", PATIENCE, async || {
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

    /// Waits until all nodes have applied the same, and the same as what the leader has in its log.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub async fn settled(&self) -> Result<u64> {
        until("all nodes have applied all", PATIENCE, async || {
            let mut indexes = BTreeSet::new();
            for node in 0..NODES {
                let status = self.status(node).await?;
                indexes.extend([status.applied_index, status.last_index]);
            }
            Ok(indexes.first().copied().filter(|_| indexes.len() == 1))
        })
        .await
    }

    /// Fails if a process that was started has ended.
    ///
    /// # Errors
    ///
    /// If so; with what it said last.
    pub fn check_running(&mut self) -> Result<()> {
        self.nodes
            .iter_mut()
            .filter_map(|node| node.process.as_mut())
            .try_for_each(Process::check_running)
    }

    /// What a node has said, on both outputs, since the test began.
    #[must_use]
    pub fn said(&self, node: usize) -> String {
        std::fs::read(&self.nodes[node].log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The end of a test: all nodes that run are asked to stop (SIGTERM), and must, with success.
    ///
    /// # Errors
    ///
    /// If one of them doesn't.
    pub async fn finish(mut self) -> Result<()> {
        self.stop().await?;
        self.finished = true;
        Ok(())
    }

    /// Asks all nodes that run to stop (SIGTERM), and waits until they have, with success.
    ///
    /// # Errors
    ///
    /// If one of them doesn't.
    pub async fn stop(&mut self) -> Result<()> {
        self.check_running()?;
        for node in &self.nodes {
            if let Some(process) = &node.process {
                process.signal(Signal::TERM)?;
            }
        }
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                let status = process.ended(PATIENCE).await?;
                if !status.success() {
                    bail!("{} was asked to stop, and ended with {status}", node.name);
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
                "--- {} on port {} said, in the end:\n{}",
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
