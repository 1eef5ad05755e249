//! The start, readiness and stop of a node.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, NODES, TIMEOUT};
use raft_tests::kv::Client;
use raft_tests::wait::until;
use rustix::process::Signal;

/// Election timeouts that are long enough for a busy machine. Only a transfer causes an election.
const LONG_TIMEOUTS: [&str; 4] =
    ["--election-timeout-min-ms", "5000", "--election-timeout-max-ms", "10000"];

#[tokio::test]
async fn sigterm_of_leader_transfers_leadership() -> Result<()> {
    let mut cluster = Cluster::start(&LONG_TIMEOUTS).await?;
    let leader = cluster.leader().await?;
    Client::Http(cluster.http(leader)).put("key", "value").await.done()?;
    let before = cluster.status(leader).await?;

    cluster.signal(leader, Signal::TERM)?;
    let status = cluster.ended(leader).await?;
    ensure!(status.success(), "the leader ended with {status}");

    let successor = cluster.leader().await?;
    let after = cluster.status(successor).await?;
    ensure!(after.term == before.term + 1, "one election: {before:?}, {after:?}");
    let log = cluster.output(successor);
    ensure!(
        log.contains("starts a campaign at once"),
        "the leader asked the successor to campaign:\n{log}"
    );
    Client::Http(cluster.http(successor)).put("key", "later").await.done()?;
    cluster.finish().await
}

#[tokio::test]
async fn readiness_falls_while_node_still_serves() -> Result<()> {
    let mut cluster = Cluster::start(&["--drain-ms", "600000"]).await?;
    let mut http = cluster.http(0);
    let ready = async |path: &str| cluster.http(0).ask(Method::GET, path, b"").await;
    until("the node is ready", TIMEOUT, async || {
        Ok((ready("/readyz").await?.status == StatusCode::OK).then_some(()))
    })
    .await?;
    cluster.signal(0, Signal::TERM)?;
    until("the node is not ready", TIMEOUT, async || {
        let answer = ready("/readyz").await?;
        let is_unready = answer.status == StatusCode::SERVICE_UNAVAILABLE;
        Ok((is_unready && answer.text().contains("stopping")).then_some(()))
    })
    .await?;
    let answer = http.ask(Method::PUT, "/v1/kv/key", b"value").await?;
    ensure!(answer.status == StatusCode::NO_CONTENT, "{}", answer.text());
    // A second signal ends the drain time.
    cluster.signal(0, Signal::TERM)?;
    let status = cluster.ended(0).await?;
    ensure!(status.success(), "{status}");
    for node in 1..NODES {
        cluster.signal(node, Signal::TERM)?;
        cluster.signal(node, Signal::INT)?;
    }
    cluster.finish().await
}

#[tokio::test]
async fn last_line_says_why_node_stopped() -> Result<()> {
    for level in ["info", "off"] {
        let mut cluster = Cluster::start(&[]).await?;
        let leader = cluster.leader().await?;
        Client::Http(cluster.http(leader)).put("key", "value").await.done()?;
        cluster.settled().await?;
        let victim = (leader + 1) % NODES;
        cluster.kill(victim).await?;
        fs::remove_dir_all(cluster.data(victim))?;
        cluster.start_node_with(victim, &[("RAFT_LOG", OsStr::new(level))])?;
        let status = cluster.ended(victim).await?;
        ensure!(status.code() == Some(1), "{status}");
        let log = cluster.output(victim);
        let last = log.lines().last().context("empty log")?;
        ensure!(last.contains("the disk lost data"), "the last line has no reason: {last}");
        let is_error = |line: &str| line.contains("ERROR") && line.contains("the disk lost data");
        ensure!(log.lines().any(is_error) == (level == "info"), "unexpected error lines:\n{log}");
        cluster.finish().await?;
    }
    Ok(())
}

#[tokio::test]
async fn other_users_cannot_read_data() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    Client::Http(cluster.http(0)).put("key", "value").await.done()?;
    cluster.settled().await?;
    check_private(cluster.data(0))?;
    // Earlier versions created directories with wider modes.
    cluster.kill(0).await?;
    for path in [cluster.data(0).to_owned(), cluster.data(0).join("store")] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    cluster.start_node(0)?;
    cluster.leader().await?;
    check_private(cluster.data(0))?;
    cluster.finish().await
}

fn check_private(path: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let mode = metadata.permissions().mode();
    ensure!(mode & 0o077 == 0, "{} has mode {mode:o}", path.display());
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            check_private(&entry?.path())?;
        }
    }
    Ok(())
}
