//! Three processes of one system on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// The measured system.
#[derive(Clone)]
pub enum System {
    Raft { name: String, program: PathBuf },
    Etcd { program: PathBuf },
}

impl System {
    pub fn name(&self) -> &str {
        match self {
            Self::Raft { name, .. } => name,
            Self::Etcd { .. } => "etcd",
        }
    }

    /// The gRPC method that writes a key.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Raft { .. } => "/raft.KeyValueService/Put",
            Self::Etcd { .. } => "/etcdserverpb.KV/Put",
        }
    }

    /// The metric that is 1 on the leader.
    fn leader_metric(&self) -> &'static str {
        match self {
            Self::Raft { .. } => "raft_is_leader 1",
            Self::Etcd { .. } => "etcd_server_is_leader 1",
        }
    }

    fn command(&self, node: u16, port: u16, directory: &Path) -> Command {
        let data = directory.join(format!("node{node}"));
        match self {
            Self::Raft { program, .. } => {
                let peers = (0..3).filter(|peer| *peer != node);
                let peers: Vec<_> = peers.map(|peer| format!("localhost:{}", port + peer)).collect();
                let mut command = Command::new(program);
                command
                    .args(["--node-id", &format!("node{node}")])
                    .args(["--port", &(port + node).to_string()])
                    .args(["--peers", &peers.join(",")])
                    .arg("--data-dir")
                    .arg(data);
                command
            }
            Self::Etcd { program } => {
                let client = format!("http://127.0.0.1:{}", port + node);
                let peer = |node: u16| format!("http://127.0.0.1:{}", port + 3 + node);
                let cluster: Vec<_> = (0..3).map(|node| format!("node{node}={}", peer(node))).collect();
                let mut command = Command::new(program);
                command
                    .args(["--name", &format!("node{node}")])
                    .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                    .args(["--listen-peer-urls", &peer(node)])
                    .args(["--initial-advertise-peer-urls", &peer(node)])
                    .args(["--initial-cluster", &cluster.join(",")])
                    .args(["--quota-backend-bytes", "8000000000"])
                    .arg("--data-dir")
                    .arg(data);
                command
            }
        }
    }
}

/// Three running processes. Dropping it kills them.
pub struct Cluster {
    system: System,
    processes: Vec<Child>,
    port: u16,
    directory: TempDir,
}

/// A cluster has a leader within this time.
const PATIENCE: Duration = Duration::from_secs(30);

impl Cluster {
    pub async fn start(system: &System, port: u16) -> Result<Self> {
        let directory = TempDir::new()?;
        let mut processes = Vec::new();
        for node in 0..3 {
            let process = system
                .command(node, port, directory.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn();
            processes.push(process.with_context(|| format!("cannot start {}", system.name()))?);
        }
        let cluster = Self { system: system.clone(), processes, port, directory };
        cluster.leader().await?;
        Ok(cluster)
    }

    /// The client port of the leader.
    pub async fn leader(&self) -> Result<u16> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            for node in 0..3 {
                let port = self.port + node;
                let metrics = get(port, "/metrics").await.unwrap_or_default();
                if metrics.lines().any(|line| line.starts_with(self.system.leader_metric())) {
                    return Ok(port);
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{} has no leader", self.system.name())
    }

    /// The resident memory of the largest process.
    pub fn resident_mb(&self) -> Result<u64> {
        let mut largest = 0;
        for process in &self.processes {
            let id = process.id().context("a process has ended")?;
            let status = fs::read_to_string(format!("/proc/{id}/status"))?;
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kilobytes = resident.and_then(|text| text.split_whitespace().next());
            largest = largest.max(kilobytes.context("no VmRSS")?.parse::<u64>()? / 1024);
        }
        Ok(largest)
    }

    /// The disk space of one node.
    pub fn disk_mb(&self) -> Result<u64> {
        Ok(disk_bytes(&self.directory.path().join("node0"))? >> 20)
    }

    pub async fn stop(mut self) -> Result<()> {
        for process in &mut self.processes {
            process.kill().await?;
        }
        Ok(())
    }
}

fn disk_bytes(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            metadata.blocks() * 512
        };
    }
    Ok(bytes)
}

/// Returns the body of a page.
async fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}
