//! `raft demo` starts a cluster in one process, and leaves no files.

use std::fs;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use raft_tests::cluster::TIMEOUT;
use raft_tests::http::HttpClient;
use raft_tests::kv::Client;
use raft_tests::port::Port;
use raft_tests::process::{self, Process};
use raft_tests::wait::until;
use rustix::process::Signal;
use tempfile::TempDir;

#[tokio::test]
async fn demo_serves_and_cleans_up() -> Result<()> {
    let scratch = TempDir::new().context("no temporary directory")?;
    let temporary = scratch.path().join("tmp");
    fs::create_dir(&temporary)?;
    for signal in [Signal::INT, Signal::TERM] {
        let ports = Port::reserve_row::<3>()?;
        let port = ports[0].number();
        let port_text = port.to_string();
        let mut demo = Process::start(
            "demo",
            ["demo", "--port", &port_text],
            &[("TMPDIR", temporary.as_os_str())],
            &scratch.path().join(format!("{port}.log")),
        )?;
        until("the demo prints its address", TIMEOUT, async || {
            Ok(demo.output().contains(&format!("http://localhost:{port}/")).then_some(()))
        })
        .await?;
        ensure!(
            fs::read_dir(&temporary)?.count() == 1,
            "the data is not in one temporary directory"
        );

        let mut http = HttpClient::new(port, TIMEOUT);
        for path in ["/", "/playground/"] {
            let answer = http.ask(Method::GET, path, b"").await?;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            ensure!(
                answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")),
                "{path}: {:?}",
                answer.headers
            );
        }
        until("all nodes of the demo know each other", TIMEOUT, async || {
            let cluster = http.json("/v1/cluster").await?.to_string();
            let names = ["node1", "node2", "node3"];
            let all = names.iter().all(|name| cluster.contains(name));
            Ok(all.then_some(()))
        })
        .await?;
        for writer in &ports {
            let mut client = Client::Http(HttpClient::new(writer.number(), TIMEOUT));
            client.put("key", &writer.number().to_string()).await.done()?;
        }

        second_demo_is_rejected(&port_text).await?;
        demo.check_running()?;
        demo.signal(signal)?;
        let status = demo.ended(TIMEOUT).await?;
        ensure!(status.success(), "{status}: {}", demo.output());
        ensure!(
            fs::read_dir(&temporary)?.next().is_none(),
            "the temporary directory is still there"
        );
    }
    Ok(())
}

/// A second demo on the same ports names the used port, and does not affect the first one.
async fn second_demo_is_rejected(port: &str) -> Result<()> {
    let second = process::run(["demo", "--port", port], TIMEOUT).await?;
    let error = String::from_utf8_lossy(&second.stderr);
    ensure!(
        second.status.code() == Some(2) && error.lines().count() == 1 && error.contains(port),
        "{}: {error}",
        second.status
    );
    Ok(())
}
