//! The client commands: choice of the node, output and exit status.

use std::fs;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use raft_tests::cluster::{Cluster, NODES, TIMEOUT};
use raft_tests::port::Port;
use raft_tests::process;
use raft_tests::wait::until;
use rustix::process::Signal;
use rustix::pty::OpenptFlags;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn raft(endpoints: &str, arguments: &[&str]) -> Result<Output> {
    let all = [&["--endpoints", endpoints], arguments].concat();
    let all = [&all[2..3], &all[..2], &all[3..]].concat();
    process::run(all, TIMEOUT).await
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Checks the exit status. With another status than 0, the command prints one line on standard
/// error.
fn check(output: &Output, status: i32) -> Result<()> {
    let lines = usize::from(status != 0);
    ensure!(output.status.code() == Some(status), "not {status}: {output:?}");
    ensure!(errors(output).lines().count() == lines, "{output:?}");
    Ok(())
}

/// The endpoints of a cluster, beginning with a node.
fn endpoints_from(cluster: &Cluster, first: usize) -> String {
    let ports = (0..NODES).map(|node| cluster.port((first + node) % NODES));
    ports.map(|port| format!("localhost:{port}")).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn next_endpoint_is_used_if_first_is_stopped() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    let follower = (cluster.leader().await? + 1) % NODES;
    let endpoints = endpoints_from(&cluster, follower);
    cluster.signal(follower, Signal::STOP)?;
    for arguments in [
        ["put", "key", "value"].as_slice(),
        &["get", "key"],
        &["list"],
        &["status"],
        &["delete", "key"],
    ] {
        check(&raft(&endpoints, arguments).await?, 0).with_context(|| format!("{arguments:?}"))?;
    }
    cluster.signal(follower, Signal::CONT)?;
    cluster.settled().await?;
    cluster.finish().await
}

#[tokio::test]
async fn next_endpoint_is_used_if_first_knows_no_leader() -> Result<()> {
    let mut lone = Cluster::start(&[]).await?;
    for node in 1..NODES {
        lone.kill(node).await?;
    }
    until("the node knows that it has no leader", TIMEOUT, async || {
        Ok(lone.status(0).await?.leader.is_none().then_some(()))
    })
    .await?;
    let healthy = Cluster::start(&[]).await?;
    let dead = Port::reserve()?;
    let endpoints =
        format!("localhost:{},localhost:{},{}", dead.number(), lone.port(0), healthy.endpoints());
    for arguments in [["put", "key", "value"].as_slice(), &["get", "key"], &["status"]] {
        check(&raft(&endpoints, arguments).await?, 0).with_context(|| format!("{arguments:?}"))?;
    }
    healthy.finish().await?;
    lone.finish().await
}

#[tokio::test]
async fn exit_status_matches_outcome() -> Result<()> {
    let mut cluster = Cluster::start(&["--request-timeout-ms", "1000"]).await?;
    let endpoints = cluster.endpoints();
    check(&raft(&endpoints, &["put", "key", "value"]).await?, 0)?;
    let read = raft(&endpoints, &["get", "key", "--output", "json"]).await?;
    let revision = serde_json::from_str::<Value>(&said(&read))?["mod_revision"].to_string();
    for (arguments, status) in [
        (["get", "missing"].as_slice(), 3),
        (&["delete", "missing"], 3),
        (&["put", "key", "value", "--if-absent"], 4),
        (&["put", "key", "value", "--if-revision", "1"], 4),
        (&["delete", "key", "--if-revision", "1"], 4),
        (&["put", "key", "value", "--if-revision", &revision], 0),
        (&["put", "absent", "value", "--if-absent"], 0),
        (&["get", ""], 2),
        (&["put", "", "value"], 2),
        (&["delete", ""], 2),
        (&["get", "key", "--revision", "1000000"], 1),
        (&["get", &"k".repeat(9000)], 1),
    ] {
        let output = raft(&endpoints, arguments).await?;
        check(&output, status).with_context(|| format!("{arguments:.40?}"))?;
        // The same command with JSON output.
        if status != 0 {
            let output = raft(&endpoints, &[arguments, &["--output", "json"]].concat()).await?;
            check(&output, status)?;
            ensure!(output.stdout.is_empty(), "{output:?}");
            let error = &serde_json::from_str::<Value>(&errors(&output))?["error"];
            assert_eq!(error["exit_status"], status, "{error}");
            assert_eq!(error["outcome"], "not-done", "{error}");
            ensure!(error["kind"].is_string() && error["message"].is_string(), "{error}");
        }
    }
    let help = errors_or_help(&raft(&endpoints, &["put", "--help"]).await?);
    ensure!(help.contains("Exit status"), "{help}");

    for node in 1..NODES {
        cluster.kill(node).await?;
    }
    until("the node knows that it has no leader", TIMEOUT, async || {
        Ok(cluster.status(0).await?.leader.is_none().then_some(()))
    })
    .await?;
    let survivor = format!("localhost:{}", cluster.port(0));
    for arguments in [["put", "key", "value"].as_slice(), &["get", "key"], &["list"], &["status"]] {
        let output = raft(&survivor, arguments).await?;
        check(&output, 5).with_context(|| format!("{arguments:?}"))?;
    }
    let status = raft(&survivor, &["status"]).await?;
    ensure!(said(&status).contains("no response"), "{status:?}");
    check(&raft(&survivor, &["get", "key", "--stale"]).await?, 0)?;
    let dead = format!("localhost:{}", cluster.port(1));
    check(&raft(&dead, &["put", "key", "value"]).await?, 5)?;
    check(&raft(",", &["get", "key"]).await?, 2)?;
    cluster.finish().await
}

fn errors_or_help(output: &Output) -> String {
    said(output) + &errors(output)
}

/// A server that is ready, responds to each write with fixed bytes, and counts the writes.
async fn fake_node(answer: &'static [u8]) -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let endpoint = listener.local_addr()?.to_string();
    let writes = Arc::new(AtomicUsize::new(0));
    let counter = writes.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                while stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let is_probe = buffer.starts_with(b"GET /readyz ");
                    let end: &[u8] = if is_probe { b"\r\n\r\n" } else { b"value" };
                    if !buffer.ends_with(end) {
                        continue;
                    }
                    buffer.clear();
                    let ready = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
                    counter.fetch_add(usize::from(!is_probe), Ordering::Relaxed);
                    let answer = if is_probe { ready } else { answer };
                    if stream.write_all(answer).await.is_err() || answer.is_empty() {
                        return;
                    }
                }
            });
        }
    });
    Ok((endpoint, writes))
}

/// A write with an unknown outcome is not repeated and not reported as failed. A write that was
/// certainly not executed is repeated at the next node.
#[tokio::test]
async fn write_is_repeated_only_if_not_executed() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let not_done = br#"HTTP/1.1 503 Service Unavailable
content-length: 22

{"outcome":"not-done"}"#;
    let overloaded = br#"HTTP/1.1 429 Too Many Requests
content-length: 22

{"outcome":"not-done"}"#;
    let unknown = br#"HTTP/1.1 504 Gateway Timeout
content-length: 21

{"outcome":"unknown"}"#;
    let unexplained = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    for (answer, status) in [
        (not_done.as_slice(), 0),
        (overloaded, 0),
        (unknown, 6),
        (unexplained, 6),
        // The connection is closed without a response.
        (b"", 6),
    ] {
        let (endpoint, writes) = fake_node(answer).await?;
        let (second, second_writes) = fake_node(not_done).await?;
        let endpoints = format!("{endpoint},{second},{}", cluster.endpoints());
        let output = raft(&endpoints, &["put", "key", "value", "--output", "json"]).await?;
        check(&output, status).with_context(|| String::from_utf8_lossy(answer).into_owned())?;
        assert_eq!(writes.load(Ordering::Relaxed), 1);
        assert_eq!(second_writes.load(Ordering::Relaxed), usize::from(status == 0));
        if status == 6 {
            let error = &serde_json::from_str::<Value>(&errors(&output))?["error"];
            assert_eq!(error["outcome"], "unknown", "{error}");
        }
    }
    cluster.finish().await
}

#[tokio::test]
async fn value_comes_from_argument_file_or_input() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let endpoints = cluster.endpoints();
    let bytes = [0, 255, b'\n', b'-'];
    let file = cluster.directory().join("value");
    fs::write(&file, bytes)?;
    let file = file.display().to_string();
    let stored = async |key: &str| {
        let answer = cluster.http(0).ask(Method::GET, &format!("/v1/kv/{key}"), b"").await?;
        anyhow::Ok(answer.body)
    };
    check(&raft(&endpoints, &["put", "number", "-5"]).await?, 0)?;
    assert_eq!(stored("number").await?, b"-5"[..]);
    check(&raft(&endpoints, &["put", "file", "--file", &file]).await?, 0)?;
    assert_eq!(stored("file").await?, bytes[..]);
    let arguments = ["put", "input", "-", "--endpoints", &endpoints];
    check(&process::run_with_input(arguments, &bytes, TIMEOUT).await?, 0)?;
    assert_eq!(stored("input").await?, bytes[..]);
    check(&raft(&endpoints, &["put", "empty", ""]).await?, 0)?;
    assert_eq!(stored("empty").await?, b""[..]);
    for wrong in [
        ["put", "key"].as_slice(),
        &["put", "key", "value", "--file", &file],
        &["put", "key", "--file", "/no/such/file"],
        &["put", "key", "--mistyped"],
    ] {
        check(&raft(&endpoints, wrong).await?, 2).with_context(|| format!("{wrong:?}"))?;
    }
    cluster.finish().await
}

#[tokio::test]
async fn list_prints_all_pages_of_prefix() -> Result<()> {
    const COUNT: usize = 24;
    let cluster = Cluster::start(&[]).await?;
    let endpoints = cluster.endpoints();
    let mut http = cluster.http(0);
    // These keys do not fit into one response.
    let value = vec![b'v'; 512 * 1024];
    for number in 0..COUNT {
        let path = format!("/v1/kv/large%2F{number:02}");
        let answer = http.ask(Method::PUT, &path, &value).await?;
        ensure!(answer.status.is_success(), "{}", answer.text());
    }
    http.ask(Method::PUT, "/v1/kv/other", b"1").await?;
    http.ask(Method::PUT, "/v1/kv/other%FF", b"2").await?;
    let keys = said(&raft(&endpoints, &["list", "--prefix", "large/", "--keys-only"]).await?);
    let expected: Vec<_> = (0..COUNT).map(|number| format!("large/{number:02}")).collect();
    assert_eq!(keys.lines().collect::<Vec<_>>(), expected);
    let some = said(&raft(&endpoints, &["list", "--keys-only", "--limit", "3"]).await?);
    assert_eq!(some.lines().count(), 3);
    let output = raft(&endpoints, &["list", "--prefix", "other"]).await?;
    assert_eq!(output.stdout, b"other\t1\nother\xff\t2\n");
    let json = said(&raft(&endpoints, &["list", "--prefix", "other", "--output", "json"]).await?);
    let items: Vec<Value> = json.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!((&items[0]["key"], &items[0]["value"]), (&"other".into(), &"1".into()));
    assert_eq!(items[1]["key_base64"], "b3RoZXL/");
    let nothing = raft(&endpoints, &["list", "--prefix", "nothing"]).await?;
    check(&nothing, 0)?;
    ensure!(nothing.stdout.is_empty(), "{nothing:?}");
    cluster.finish().await
}

/// The standard output of a command on a terminal.
async fn on_terminal(endpoints: String, arguments: &'static [&'static str]) -> Result<String> {
    let run = move || {
        let terminal = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        rustix::pty::grantpt(&terminal)?;
        rustix::pty::unlockpt(&terminal)?;
        let name = rustix::pty::ptsname(&terminal, Vec::new())?;
        let output = fs::File::options().read(true).write(true).open(name.to_str()?)?;
        let mut child = std::process::Command::new(raft_tests::program::raft()?)
            .args(arguments)
            .args(["--endpoints", &endpoints])
            .stdout(output)
            .spawn()?;
        // The command has dropped its side, so a read fails after the last byte.
        let mut printed = Vec::new();
        let _ = fs::File::from(terminal).read_to_end(&mut printed);
        ensure!(child.wait()?.success(), "{}", String::from_utf8_lossy(&printed));
        Ok(String::from_utf8_lossy(&printed).into_owned())
    };
    tokio::task::spawn_blocking(run).await?
}

/// A value could rewrite the terminal of an operator.
#[tokio::test]
async fn control_bytes_are_escaped_on_a_terminal_and_unchanged_in_a_pipe() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let endpoints = cluster.endpoints();
    let value = "\u{1b}]0;title\u{7}";
    check(&raft(&endpoints, &["put", "key\u{1b}[2J", value]).await?, 0)?;
    let piped = raft(&endpoints, &["list"]).await?;
    assert_eq!(said(&piped), format!("key\u{1b}[2J\t{value}\n"));
    let listed = on_terminal(endpoints.clone(), &["list"]).await?;
    assert_eq!(listed.trim_end(), "key\\u{1b}[2J\t\\u{1b}]0;title\\u{7}");
    let got = on_terminal(endpoints.clone(), &["get", "key\u{1b}[2J"]).await?;
    assert_eq!(got.trim_end(), "\\u{1b}]0;title\\u{7}");
    let raw = on_terminal(endpoints, &["get", "key\u{1b}[2J", "--raw"]).await?;
    assert_eq!(raw.trim_end(), value);
    cluster.finish().await
}

#[tokio::test]
async fn negative_number_is_refused_with_its_flag_and_range() -> Result<()> {
    for arguments in [
        ["list", "--limit", "-1"].as_slice(),
        &["get", "key", "--revision", "-1"],
        &["put", "key", "value", "--if-revision", "-1"],
        &["status", "--timeout-ms", "-1"],
        &["demo", "--nodes", "-1"],
        &["check-history", "-", "--steps", "-1"],
    ] {
        let output = process::run(arguments, TIMEOUT).await?;
        check(&output, 2)?;
        let flag = arguments[arguments.len() - 2];
        let text = errors(&output);
        ensure!(text.contains(flag) && text.contains("'-1'"), "{text}");
    }
    Ok(())
}
