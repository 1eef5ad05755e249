//! The log never delays or stops a node.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Result, ensure};
use hyper::{Method, StatusCode};
use quinn::crypto::rustls::QuicClientConfig;
use raft_tests::cluster::{Cluster, TIMEOUT};
use raft_tests::kv::Client;
use raft_tests::wait::until;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Begins handshakes from different ports. The client trusts no server, so each handshake fails.
async fn fail_handshakes(port: u16, count: usize) -> Result<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"raft/2".to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
        let connecting = endpoint.connect_with(config.clone(), server, "n1.raft.internal")?;
        calls.spawn(async move {
            let failed = connecting.await.is_err();
            endpoint.wait_idle().await;
            failed
        });
        if calls.len() >= 50 {
            calls.join_next().await;
        }
    }
    while let Some(failed) = calls.join_next().await {
        ensure!(failed?, "a client without a certificate was accepted");
    }
    Ok(())
}

async fn dropped_lines(cluster: &Cluster, node: usize) -> Result<u64> {
    let answer = cluster.http(node).ask(Method::GET, "/metrics", b"").await?;
    let text = answer.text();
    let line = text.lines().find(|line| line.starts_with("raft_log_lines_dropped_total "));
    Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_log_does_not_stop_node() -> Result<()> {
    let mut cluster = Cluster::prepare(&[])?;
    for node in 0..2 {
        cluster.start_node(node)?;
    }
    cluster.start_node_unread(2, &[("RAFT_LOG", OsStr::new("trace"))])?;
    cluster.leader().await?;
    fail_handshakes(cluster.port(2), 900).await?;
    until("the log is full, and lines are dropped", TIMEOUT, async || {
        Ok((dropped_lines(&cluster, 2).await? > 0).then_some(()))
    })
    .await?;
    let answer = cluster.http(2).ask(Method::GET, "/livez", b"").await?;
    ensure!(answer.status == StatusCode::OK, "{}", answer.text());
    Client::Http(cluster.http(2)).put("key", "value").await.done()?;
    // The node takes part in the cluster, and stops although no reader reads its last lines.
    cluster.settled().await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_handshakes_do_not_fill_log() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    let before = cluster.output(0).lines().count();
    fail_handshakes(cluster.port(0), 300).await?;
    until("a failed handshake is in the log", TIMEOUT, async || {
        Ok(cluster.output(0).contains("handshake with a peer failed").then_some(()))
    })
    .await?;
    let after = cluster.output(0).lines().count();
    ensure!(after - before < 60, "{} lines for 300 handshakes", after - before);
    cluster.leader().await?;
    cluster.finish().await
}

#[tokio::test]
async fn node_without_quorum_limits_repeated_lines() -> Result<()> {
    let flags = ["--election-timeout-min-ms", "20", "--election-timeout-max-ms", "40"];
    let flags = [&flags[..], &["--heartbeat-ms", "5"]].concat();
    let mut cluster = Cluster::prepare(&flags)?;
    cluster.start_node(0)?;
    let repeated = "requests pre-votes";
    until("the node requests votes", TIMEOUT, async || {
        Ok(cluster.output(0).contains(repeated).then_some(()))
    })
    .await?;
    // Events are still emitted, but not logged.
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, cluster.port(0))).await?;
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let events = async {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.contains("id: 150\n") {
            let length = stream.read(&mut buffer).await?;
            ensure!(length > 0, "the events ended:\n{text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        Ok(())
    };
    timeout(TIMEOUT, events).await??;
    let lines = cluster.output(0).lines().filter(|line| line.contains(repeated)).count();
    ensure!(lines <= 10, "{lines} lines");
    cluster.finish().await
}
