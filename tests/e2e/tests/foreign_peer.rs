//! A node of another cluster is rejected with a log line, and the cluster continues.

use std::ffi::OsStr;

use anyhow::{Result, ensure};
use raft_tests::cluster::{Cluster, TIMEOUT};
use raft_tests::kv::Client;
use raft_tests::wait::until;

const VARIABLE: &str = "RAFT_CLUSTER_SECRET";
const OURS: &str = "8d1f0c6b5aa94e23917cf05d3be86a72440e91d8c7f35b2069ad14fe83b75c60";
const THEIRS: &str = "17e0935c4bd2f8a66c0d7e91f3582ab4d9607f1ec83a5b240de6f9738c51ab02";

/// A node that its peers do not know saw only that there is no leader.
#[tokio::test]
async fn node_missing_in_peers_of_others_logs_which_peers_refuse_it() -> Result<()> {
    let mut cluster = Cluster::prepare(&[])?;
    cluster.start_node_with_peers(0, &[1])?;
    cluster.start_node_with_peers(1, &[0])?;
    cluster.start_node(2)?;
    for peer in [0, 1] {
        let peer = format!("localhost:{}", cluster.port(peer));
        until("the log names the peer that refuses the node", TIMEOUT, async || {
            let said = cluster.output(2);
            let names_peer =
                |line: &str| line.contains(&peer) && line.contains("refuses this node");
            Ok(said.lines().any(names_peer).then_some(()))
        })
        .await?;
    }
    cluster.finish().await
}

#[tokio::test]
async fn foreign_certificate_is_rejected() -> Result<()> {
    let mut cluster = Cluster::prepare(&[])?;
    let ours = [(VARIABLE, OsStr::new(OURS))];
    let theirs = [(VARIABLE, OsStr::new(THEIRS))];
    cluster.start_node_with(0, &ours)?;
    cluster.start_node_with(1, &ours)?;
    cluster.leader().await?;
    cluster.start_node_with(2, &theirs)?;

    // The cluster and the foreign node both log the rejection.
    for node in [0, 2] {
        until("the rejection is in the log", TIMEOUT, async || {
            let said = cluster.output(node);
            Ok(said.contains("another cluster").then_some(()))
        })
        .await?;
    }
    let foreign = cluster.status(2).await?;
    ensure!(
        foreign.leader.is_none() && foreign.commit_index == 0,
        "the foreign node found members: {foreign:?}"
    );
    let leader = cluster.status(0).await?;
    ensure!(leader.leader.is_some(), "{leader:?}");
    let mut client = Client::Http(cluster.http(1));
    client.put("key", "value").await.done()?;

    // With the secret of the cluster, the same node is accepted.
    cluster.kill(2).await?;
    std::fs::remove_dir_all(cluster.data(2))?;
    cluster.start_node_with(2, &ours)?;
    cluster.leader().await?;
    cluster.settled().await?;
    let found = Client::Http(cluster.http(2)).get("key").await.done()?;
    assert_eq!(found.map(|found| found.value).as_deref(), Some("value"));
    cluster.finish().await
}
