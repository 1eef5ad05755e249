//! A node that was killed and starts again is one of the cluster again.

use anyhow::Result;
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, NODES, PATIENCE};
use raft_tests::kv::Client;
use raft_tests::wait::until;

#[tokio::test]
async fn restarted_node_is_one_of_the_cluster_again() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    // Each node once: of each pair, one calls and the other is called.
    for node in 0..NODES {
        cluster.kill(node).await?;
        // The others write meanwhile, so they have something to say to it.
        let mut client = Client::Rest(cluster.rest((node + 1) % NODES));
        let key = format!("without-{node}");
        until("a write without the node", PATIENCE, async || {
            Ok(client.put(&key, "x").await.done().ok())
        })
        .await?;
        cluster.start_node(node)?;
        until("the node is one of the cluster again", PATIENCE, async || {
            let answer = cluster.rest(node).ask(Method::GET, "/v1/kv/nothing", b"").await?;
            Ok((answer.status == StatusCode::NOT_FOUND).then_some(()))
        })
        .await?;
    }
    cluster.finish().await
}
