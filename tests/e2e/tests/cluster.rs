//! Requests through any node, over REST, gRPC and the command line.

use anyhow::{Result, ensure};
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, NODES, TIMEOUT};
use raft_tests::kv::Client;
use raft_tests::process;
use raft_tests::wait::until;
use serde_json::{Value, json};

#[tokio::test]
async fn all_nodes_agree_on_leader() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    let leader = cluster.leader().await?;
    let expected = cluster.status(leader).await?;
    ensure!(expected.term >= 1, "{expected:?}");
    for node in 0..NODES {
        let status = cluster.status(node).await?;
        let role = if node == leader { "leader" } else { "follower" };
        assert_eq!(status.node_id, cluster.name(node));
        assert_eq!(status.role, role);
        assert_eq!(status.leader.as_deref(), Some(cluster.name(leader)));
        assert_eq!(status.term, expected.term);

        let seen = cluster.http(node).json("/v1/cluster").await?;
        for other in 0..NODES {
            let text = seen.to_string();
            ensure!(text.contains(cluster.name(other)), "{other} is missing in {text}");
        }
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = cluster.http(node).ask(Method::GET, path, b"").await?;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        }
    }
    cluster.finish().await
}

#[tokio::test]
async fn write_is_readable_through_every_node() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    for writer in 0..NODES {
        for writes_over_grpc in [false, true] {
            let mut client = client(&cluster, writer, writes_over_grpc).await?;
            let key = format!("from {writer} / {writes_over_grpc} ü");
            let value = format!("value {writer}");
            client.put(&key, &value).await.done()?;
            for reader in 0..NODES {
                for reads_over_grpc in [false, true] {
                    let mut client = self::client(&cluster, reader, reads_over_grpc).await?;
                    let found = client.get(&key).await.done()?;
                    assert_eq!(
                        found.map(|found| found.value).as_deref(),
                        Some(value.as_str()),
                        "written through {writer}, read through {reader}"
                    );
                }
            }
            client.delete(&key).await.done()?;
            for reader in 0..NODES {
                let mut client = self::client(&cluster, reader, !writes_over_grpc).await?;
                assert_eq!(client.get(&key).await.done()?, None);
            }
        }
    }
    cluster.finish().await
}

#[tokio::test]
async fn if_match_is_checked_on_every_node() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let mut first = Client::Http(cluster.http(0));
    first.put("key", "1").await.done()?;
    for node in 0..NODES {
        let mut client = Client::Http(cluster.http(node));
        let Some(found) = client.get("key").await.done()? else {
            anyhow::bail!("missing key");
        };
        let mut swap = async |revision| client.put_if_unchanged("key", "2", revision).await.done();
        ensure!(!swap(found.revision + 1).await?, "a later revision does not match");
        ensure!(swap(found.revision).await?, "the current revision matches");
        ensure!(!swap(found.revision).await?, "an earlier revision does not match");
    }
    cluster.finish().await
}

#[tokio::test]
async fn values_are_bytes() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let bytes: Vec<u8> = (0..=255).collect();
    let mut writer = cluster.http(0);
    // Key and value contain every byte value. No byte has a meaning in the path.
    let path = format!("/v1/kv/{}", raft_tests::http::escaped(&bytes));
    let answer = writer.ask(Method::PUT, &path, &bytes).await?;
    ensure!(answer.status.is_success(), "{}", answer.text());
    for node in 0..NODES {
        let answer = cluster.http(node).ask(Method::GET, &path, b"").await?;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.body, bytes);
    }
    cluster.finish().await
}

#[tokio::test]
async fn grpc_serves_reflection_health_and_status() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    let leader = cluster.leader().await?;
    for node in 0..NODES {
        let grpc = cluster.grpc(node).await?;
        for service in ["raft.KeyValueService", "grpc.health.v1.Health"] {
            ensure!(
                grpc.services().iter().any(|name| name == service),
                "no {service} in {:?}",
                grpc.services()
            );
        }
        for service in ["", "raft.KeyValueService"] {
            until("the node reports that it is healthy", TIMEOUT, async || {
                let check = json!({ "service": service });
                let health = grpc.call("grpc.health.v1.Health/Check", check).await??;
                Ok((health["status"] == "SERVING").then_some(()))
            })
            .await?;
        }
        let status = grpc.call("raft.KeyValueService/GetClusterStatus", json!({})).await??;
        let text = status.to_string();
        for other in 0..NODES {
            ensure!(text.contains(cluster.name(other)), "{text}");
        }
        ensure!(text.contains(cluster.name(leader)), "{text}");
    }
    cluster.finish().await
}

#[tokio::test]
async fn cli_puts_gets_and_shows_status() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let endpoints = cluster.endpoints();
    let raft = async |arguments: &[&str]| {
        let all = [arguments, &["--endpoints", &endpoints]].concat();
        let output = process::run(all, TIMEOUT).await?;
        anyhow::Ok((
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    };
    let parsed = |text: &str| serde_json::from_str::<Value>(text);

    let (code, _, errors) = raft(&["put", "greeting", "good day"]).await?;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let (code, said, errors) = raft(&["get", "greeting"]).await?;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(said.trim_end(), "good day");
    let (code, said, _) = raft(&["get", "greeting", "--output", "json"]).await?;
    assert_eq!(code, Some(0));
    let got = parsed(&said)?;
    assert_eq!(got["key"], "greeting");
    assert_eq!(got["value"], "good day");

    let (code, said, _) = raft(&["put", "greeting", "hello", "--output", "json"]).await?;
    assert_eq!(code, Some(0));
    ensure!(parsed(&said)?.is_object(), "{said}");

    let (code, said, _) = raft(&["status"]).await?;
    assert_eq!(code, Some(0));
    let (json_code, json, _) = raft(&["status", "--output", "json"]).await?;
    assert_eq!(json_code, Some(0));
    let json = parsed(&json)?.to_string();
    for node in 0..NODES {
        ensure!(said.contains(cluster.name(node)), "{said}");
        ensure!(json.contains(cluster.name(node)), "{json}");
    }
    ensure!(said.contains("leader") && json.contains("leader"), "{said}");

    let (code, _, errors) = raft(&["delete", "greeting"]).await?;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let (code, said, errors) = raft(&["get", "greeting"]).await?;
    assert_eq!((code, said.as_str()), (Some(3), ""));
    ensure!(errors.contains("greeting") && errors.lines().count() == 1, "{errors}");

    // The first endpoint may be down.
    cluster_without_its_first_node(cluster, &endpoints).await
}

async fn cluster_without_its_first_node(mut cluster: Cluster, endpoints: &str) -> Result<()> {
    cluster.kill(0).await?;
    cluster.leader().await?;
    for arguments in [["put", "still", "here"].as_slice(), &["get", "still"]] {
        let all = [arguments, &["--endpoints", endpoints]].concat();
        let output = process::run(all, TIMEOUT).await?;
        ensure!(output.status.success(), "{output:?}");
    }
    let output = process::run(["status", "--endpoints", endpoints], TIMEOUT).await?;
    ensure!(output.status.success(), "{output:?}");
    cluster.finish().await
}

async fn client(cluster: &Cluster, node: usize, over_grpc: bool) -> Result<Client> {
    Ok(if over_grpc {
        Client::Grpc(cluster.grpc(node).await?)
    } else {
        Client::Http(cluster.http(node))
    })
}
