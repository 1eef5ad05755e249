//! Disks that fail or hang under one node of a cluster.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, NODES, TIMEOUT};
use raft_tests::kv::Client;
use raft_tests::wait::until;
use rustix::process::{Resource, Rlimit, prlimit};

/// N18: the kernel sends SIGXFSZ for a write beyond the limit on file sizes, which killed the node
/// without a message.
#[tokio::test]
async fn file_size_limit_stops_node_with_reason_as_last_line() -> Result<()> {
    const LIMIT: u64 = 1 << 20;
    let mut cluster = Cluster::start(&[]).await?;
    let leader = cluster.leader().await?;
    let victim = (leader + 1) % NODES;
    let limit = Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
    prlimit(Some(cluster.pid(victim)?), Resource::Fsize, limit).context("no limit is set")?;
    // The two other nodes are a quorum.
    let mut rest = cluster.http(leader);
    // The storage engine would compress other bytes.
    let mut value = vec![0; 500_000];
    fs::File::open("/dev/urandom")?.read_exact(&mut value)?;
    for number in 0..8 {
        let path = format!("/v1/kv/key-{number}");
        let answer = rest.ask(Method::PUT, &path, &value).await?;
        ensure!(answer.status == StatusCode::NO_CONTENT, "{}", answer.text());
    }
    let status = cluster.ended(victim).await?;
    ensure!(status.code() == Some(1), "{status}");
    let log = cluster.output(victim);
    let last = log.lines().last().context("an empty log")?;
    ensure!(last.contains("the node stopped") && last.contains("File too large"), "{last}");
    cluster.finish().await
}

/// N18: readiness falls while the disk does not finish a write, and no other node is affected.
///
/// The test needs the right to mount a file system, and does nothing without it.
#[tokio::test]
async fn hanging_disk_makes_only_its_node_unready() -> Result<()> {
    let mut cluster = Cluster::prepare(&[])?;
    let disk = match Disk::mount(&cluster.directory().join("image"), cluster.data(0)) {
        Ok(disk) => disk,
        Err(error) => {
            eprintln!("skipped: cannot mount a file system: {error:#}");
            return Ok(());
        }
    };
    for node in 0..NODES {
        cluster.start_node(node)?;
    }
    cluster.leader().await?;
    Client::Http(cluster.http(1)).put("before", "value").await.done()?;
    cluster.settled().await?;

    let frozen = disk.freeze()?;
    Client::Http(cluster.http(1)).put("meanwhile", "value").await.done()?;
    until("the node with the hanging disk is unready", TIMEOUT, async || {
        let answer = cluster.http(0).ask(Method::GET, "/readyz", b"").await?;
        let is_unready = answer.status == StatusCode::SERVICE_UNAVAILABLE;
        Ok((is_unready && answer.text().contains("the disk")).then_some(()))
    })
    .await?;
    for node in 1..NODES {
        let answer = cluster.http(node).ask(Method::GET, "/readyz", b"").await?;
        ensure!(answer.status == StatusCode::OK, "{}", answer.text());
    }
    drop(frozen);
    until("the node is ready again", TIMEOUT, async || {
        let answer = cluster.http(0).ask(Method::GET, "/readyz", b"").await?;
        Ok((answer.status == StatusCode::OK).then_some(()))
    })
    .await?;
    cluster.settled().await?;
    cluster.stop().await?;
    disk.unmount()?;
    cluster.finish().await
}

/// A file system in a file, mounted at a directory.
struct Disk(PathBuf);

/// Thaws a frozen file system when it is dropped.
struct Frozen<'a>(&'a Disk);

impl Disk {
    fn mount(image: &Path, directory: &Path) -> Result<Self> {
        fs::File::create(image)?.set_len(256 << 20)?;
        run("mkfs.ext4", &["-q".as_ref(), image])?;
        fs::create_dir_all(directory)?;
        run("mount", &["-o".as_ref(), "loop".as_ref(), image, directory])?;
        let disk = Self(directory.to_owned());
        fs::remove_dir(directory.join("lost+found"))?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        Ok(disk)
    }

    /// Makes all writes wait.
    fn freeze(&self) -> Result<Frozen<'_>> {
        run("fsfreeze", &["--freeze".as_ref(), &self.0])?;
        Ok(Frozen(self))
    }

    fn unmount(self) -> Result<()> {
        run("umount", &[&self.0])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // After a failed test, the node may still use the file system.
        let _ = run("umount", &["--lazy".as_ref(), &self.0]);
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Err(error) = run("fsfreeze", &["--unfreeze".as_ref(), &self.0.0]) {
            eprintln!("{error:#}");
        }
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
