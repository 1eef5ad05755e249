//! Nodes whose disks have little or no free space.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, NODES, TIMEOUT};
use raft_tests::wait::until;

#[tokio::test]
async fn low_space_rejects_writes_and_accepts_reads_and_deletions() -> Result<()> {
    // No disk has that much free space.
    let cluster = Cluster::start(&["--disk-reserve", "1000PiB"]).await?;
    for node in 0..NODES {
        let mut rest = cluster.http(node);
        let put = rest.ask(Method::PUT, "/v1/kv/key", b"value").await?;
        ensure!(put.status == StatusCode::INSUFFICIENT_STORAGE, "{}", put.text());
        ensure!(put.problem_type().as_deref() == Some("/problems/no-space"), "{}", put.text());
        let txn = br#"{"success": [{"put": {"key": "key", "value": "value"}}]}"#;
        let txn = raft_tests::http::request(Method::POST, "/v1/txn", txn)?;
        let (mut parts, body) = txn.into_parts();
        parts.headers.insert("content-type", "application/json".parse()?);
        let txn = rest.send(hyper::Request::from_parts(parts, body)).await;
        let txn = txn.map_err(|_| anyhow::anyhow!("no response"))?;
        ensure!(txn.status == StatusCode::INSUFFICIENT_STORAGE, "{}", txn.text());
        let delete = rest.ask(Method::DELETE, "/v1/kv/key", b"").await?;
        ensure!(delete.status != StatusCode::INSUFFICIENT_STORAGE, "{}", delete.text());
        let get = rest.ask(Method::GET, "/v1/kv/key", b"").await?;
        ensure!(get.status == StatusCode::NOT_FOUND, "{}", get.text());
        let status = rest.json("/v1/status").await?;
        ensure!(status["alarms"] == serde_json::json!(["low-space"]), "{status}");
        let metrics = rest.ask(Method::GET, "/metrics", b"").await?.text();
        ensure!(metrics.contains("raft_disk_alarm 1"), "{metrics}");
        let ready = rest.ask(Method::GET, "/readyz", b"").await?;
        ensure!(ready.status == StatusCode::OK, "{}", ready.text());
    }
    cluster.finish().await
}

#[tokio::test]
async fn exceeded_quota_rejects_writes() -> Result<()> {
    let mut cluster = Cluster::start(&["--quota", "1B"]).await?;
    let leader = cluster.leader().await?;
    until("the quota is exceeded", TIMEOUT, async || {
        let put = cluster.http(leader).ask(Method::PUT, "/v1/kv/key", b"value").await?;
        Ok((put.status == StatusCode::INSUFFICIENT_STORAGE).then_some(()))
    })
    .await?;
    let status = cluster.http(leader).json("/v1/status").await?;
    ensure!(status["alarms"] == serde_json::json!(["quota-exceeded"]), "{status}");
    cluster.finish().await
}

/// A small file system for the data of one node.
struct SmallDisk(PathBuf);

const DISK_MIB: usize = 96;

impl SmallDisk {
    /// Returns `None` if this user must not mount file systems.
    fn mount(path: &Path) -> Result<Option<Self>> {
        fs::create_dir_all(path)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_MIB}m,mode=700"), "tmpfs"])
            .arg(path)
            .output()
            .context("no command mount")?;
        if !mounted.status.success() {
            println!("skipped: {}", String::from_utf8_lossy(&mounted.stderr));
            return Ok(None);
        }
        Ok(Some(Self(path.to_owned())))
    }

    /// Leaves so many mebibytes free.
    fn fill(&self, free_mib: u64) -> Result<()> {
        let space = rustix::fs::statvfs(&self.0)?;
        let free = space.f_bavail * space.f_frsize;
        let ballast = vec![0; usize::try_from(free.saturating_sub(free_mib << 20))?];
        Ok(fs::write(self.0.join("ballast"), ballast)?)
    }

    fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.0.join("ballast"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn service_returns_when_full_disks_have_space_again() -> Result<()> {
    let mut cluster = Cluster::prepare(&["--disk-reserve", "8MiB"])?;
    let mut disks = Vec::new();
    for node in 0..NODES {
        let Some(disk) = SmallDisk::mount(cluster.data(node))? else { return Ok(()) };
        disks.push(disk);
    }
    for node in 0..NODES {
        cluster.start_node(node)?;
    }
    let leader = cluster.leader().await?;
    let put = async |cluster: &Cluster, key: &str| {
        let path = format!("/v1/kv/{key}");
        Ok::<_, anyhow::Error>(cluster.http(leader).ask(Method::PUT, &path, b"v").await?.status)
    };
    ensure!(put(&cluster, "before").await? == StatusCode::NO_CONTENT);
    let followers: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
    // One and two followers without space for the next segment or table.
    for follower in &followers {
        disks[*follower].fill(0)?;
        ensure!(put(&cluster, "with-full-follower").await? == StatusCode::NO_CONTENT);
    }
    // The leader has less than its reserve.
    disks[leader].fill(4)?;
    until("the leader rejects writes", TIMEOUT, async || {
        Ok((put(&cluster, "rejected").await? == StatusCode::INSUFFICIENT_STORAGE).then_some(()))
    })
    .await?;
    let get = cluster.http(leader).ask(Method::GET, "/v1/kv/before", b"").await?;
    ensure!(get.status == StatusCode::OK, "{}", get.text());
    let delete = cluster.http(leader).ask(Method::DELETE, "/v1/kv/before", b"").await?;
    ensure!(delete.status == StatusCode::NO_CONTENT, "{}", delete.text());
    ensure!(cluster.leader().await? == leader, "the leadership has changed");
    for disk in &disks {
        disk.empty()?;
    }
    until("writes are accepted again", TIMEOUT, async || {
        Ok((put(&cluster, "after").await? == StatusCode::NO_CONTENT).then_some(()))
    })
    .await?;
    cluster.settled().await?;
    cluster.finish().await
}
