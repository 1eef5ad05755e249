//! A node that was killed and starts again is one of the cluster at once.

use std::time::Duration;

use anyhow::Result;
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, NODES};
use raft_tests::kv::Client;
use raft_tests::wait::until;

/// The others' connections to its earlier life are given up after five seconds without a word. It must not have to wait
/// for that.
const WELL_BEFORE_CONNECTIONS_TIME_OUT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn its_peers_need_not_wait_for_their_connections_to_time_out() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    // Each node once: of each pair, one calls and the other is called.
    for node in 0..NODES {
        cluster.kill(node).await?;
        // The others write meanwhile, so they have something to say to it.
        let mut client = Client::Rest(cluster.rest((node + 1) % NODES));
        let key = format!("without-{node}");
        until("a write without the node", Duration::from_secs(10), async || {
            Ok(client.put(&key, "x").await.done().ok())
        })
        .await?;
        cluster.start_node(node)?;
        until(
            "the node is one of the cluster again",
            WELL_BEFORE_CONNECTIONS_TIME_OUT,
            async || {
                let answer = cluster.rest(node).ask(Method::GET, "/v1/kv/nothing", b"").await?;
                Ok((answer.status == StatusCode::NOT_FOUND).then_some(()))
            },
        )
        .await?;
    }
    cluster.finish().await
}
