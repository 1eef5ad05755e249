//! A node that was killed and restarts takes part in the cluster again.

use anyhow::Result;
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, NODES, TIMEOUT};
use raft_tests::kv::Client;
use raft_tests::wait::until;

#[tokio::test]
async fn restarted_node_applies_new_entries() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    // Each node restarts once. Of each pair, one node opens the connection and the other accepts
    // it.
    for node in 0..NODES {
        cluster.kill(node).await?;
        // The others have new entries for the node.
        let mut client = Client::Http(cluster.http((node + 1) % NODES));
        let key = format!("without-{node}");
        until("a write without the node", TIMEOUT, async || {
            Ok(client.put(&key, "x").await.done().ok())
        })
        .await?;
        cluster.start_node(node)?;
        until("the node is one of the cluster again", TIMEOUT, async || {
            let answer = cluster.http(node).ask(Method::GET, "/v1/kv/nothing", b"").await?;
            Ok((answer.status == StatusCode::NOT_FOUND).then_some(()))
        })
        .await?;
    }
    cluster.finish().await
}
