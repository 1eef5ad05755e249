//! The cluster secret: its format, and its replacement.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use raft_tests::cluster::{Cluster, NODES, TIMEOUT};
use raft_tests::kv::Client;
use raft_tests::process;
use rustix::process::Signal;
use tempfile::TempDir;

async fn new_secret() -> Result<String> {
    let output = process::run(["secret", "new"], TIMEOUT).await?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

#[tokio::test]
async fn guessable_secret_is_rejected() -> Result<()> {
    let directory = TempDir::new().context("no temporary directory")?;
    let file = directory.path().join("secret");
    let node = ["--node-id", "node1", "--port", "1", "--peers", "localhost:2"];
    let refused = async |flags: &[&str], part: &str| -> Result<()> {
        let output = process::run(node.iter().chain(flags), TIMEOUT).await?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2), "{flags:?}: {}: {text}", output.status);
        ensure!(text.lines().count() == 1 && text.contains(part), "{flags:?}: {text}");
        Ok(())
    };
    let path = file.display().to_string();
    for guessable in ["correcthorsebattery", "passwordpassword", &"0".repeat(64)] {
        refused(&["--cluster-secret", guessable], "raft secret new").await?;
        write_private(&file, guessable)?;
        refused(&["--cluster-secret-file", &path], "raft secret new").await?;
    }
    let secret = new_secret().await?;
    ensure!(secret.len() == 64 && secret != new_secret().await?, "{secret}");
    write_private(&file, &secret)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    refused(&["--cluster-secret-file", &path], "chmod 600").await?;
    refused(&["--listen", "0.0.0.0"], "--cluster-secret-file").await
}

#[tokio::test]
async fn secret_new_creates_private_file_and_replaces_none() -> Result<()> {
    let directory = TempDir::new().context("no temporary directory")?;
    let file = directory.path().join("secret");
    let path = file.display().to_string();
    let output = process::run(["secret", "new", &path], TIMEOUT).await?;
    ensure!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600);
    let secret = fs::read(&file)?;
    let output = process::run(["secret", "new", &path], TIMEOUT).await?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(fs::read(&file)? == secret, "the secret was replaced");
    Ok(())
}

#[tokio::test]
async fn secret_is_replaced_without_full_stop() -> Result<()> {
    let (old, new) = (new_secret().await?, new_secret().await?);
    let directory = TempDir::new().context("no temporary directory")?;
    let file = directory.path().join("secret");
    let variables = [("RAFT_CLUSTER_SECRET_FILE", file.as_os_str())];
    let mut cluster = Cluster::prepare(&[])?;
    write_private(&file, &old)?;
    for node in 0..NODES {
        cluster.start_node_with(node, &variables)?;
    }
    cluster.leader().await?;
    // Rolling restarts: trust the new secret, use it, and remove the old one.
    for (step, text) in [format!("{old}\n{new}"), format!("{new}\n{old}"), new].iter().enumerate() {
        write_private(&file, text)?;
        for node in 0..NODES {
            cluster.signal(node, Signal::TERM)?;
            let status = cluster.ended(node).await?;
            ensure!(status.success(), "{status}");
            cluster.start_node_with(node, &variables)?;
            cluster.leader().await?;
            let key = format!("{step}-{node}");
            Client::Http(cluster.http(node)).put(&key, "value").await.done()?;
        }
    }
    cluster.settled().await?;
    ensure!(!cluster.output(0).contains("another cluster"), "a peer was refused");
    // A node with the old secret is rejected.
    write_private(&file, &old)?;
    cluster.kill(0).await?;
    cluster.start_node_with(0, &[(variables[0].0, OsStr::new(&file))])?;
    raft_tests::wait::until("the node is refused", TIMEOUT, async || {
        Ok(cluster.output(0).contains("another cluster").then_some(()))
    })
    .await?;
    cluster.finish().await
}
