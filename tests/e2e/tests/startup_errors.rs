//! A node that cannot start prints one line and ends with exit status 2.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, TIMEOUT};
use raft_tests::port::Port;
use raft_tests::process;
use tempfile::TempDir;

/// A valid configuration of a node.
struct Plan {
    directory: TempDir,
    ports: [Port; 3],
    arguments: Vec<(&'static str, String)>,
}

impl Plan {
    fn new() -> Result<Self> {
        let directory = TempDir::new().context("no temporary directory")?;
        let ports = Port::reserve_row()?;
        let [own, one, other] = ports.each_ref().map(Port::number);
        let arguments = vec![
            ("--node-id", "node1".to_owned()),
            ("--port", own.to_string()),
            ("--peers", format!("localhost:{one},localhost:{other}")),
            ("--data-dir", directory.path().join("data").display().to_string()),
        ];
        Ok(Self { directory, ports, arguments })
    }

    fn own_port(&self) -> u16 {
        self.ports[0].number()
    }

    fn with(mut self, flag: &'static str, value: impl Into<String>) -> Self {
        self.arguments.retain(|(name, _)| *name != flag);
        self.arguments.push((flag, value.into()));
        self
    }

    fn without(mut self, flag: &str) -> Self {
        self.arguments.retain(|(name, _)| *name != flag);
        self
    }

    fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Checks that the start is rejected with an error that contains these texts.
    async fn is_refused(&self, names: &[&str]) -> Result<()> {
        let arguments = self.arguments.iter().flat_map(|(flag, value)| [*flag, value]);
        is_refused(arguments, names).await
    }
}

async fn is_refused(arguments: impl IntoIterator<Item = &str>, names: &[&str]) -> Result<()> {
    let arguments: Vec<&str> = arguments.into_iter().collect();
    let output = process::run(&arguments, TIMEOUT).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let case = || format!("{arguments:?} ended with {}, and said:\n{said}", output.status);
    ensure!(output.status.code() == Some(2), "unexpected exit status: {}", case());
    ensure!(said.lines().count() == 1, "more or less than one line: {}", case());
    ensure!(output.stdout.is_empty(), "standard output: {}", case());
    ensure!(!said.contains("Error") && !said.contains(" { "), "debug output: {}", case());
    for name in names {
        ensure!(said.contains(name), "missing {name:?}: {}", case());
    }
    Ok(())
}

#[tokio::test]
async fn peers_containing_self_are_rejected() -> Result<()> {
    let plan = Plan::new()?;
    let (own, other) = (plan.own_port(), plan.ports[1].number());
    for itself in ["localhost", "127.0.0.1"] {
        let peers = format!("{itself}:{own},localhost:{other}");
        let plan = Plan::new()?.with("--port", own.to_string()).with("--peers", peers);
        plan.is_refused(&["--peers", &own.to_string()]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn invalid_peers_are_rejected() -> Result<()> {
    for peers in
        ["", ",", "localhost", "localhost:", "localhost:0", "localhost:65536", ":1", "a b:1"]
    {
        let plan = Plan::new()?.with("--peers", peers);
        plan.is_refused(&["--peers"]).await?;
    }
    let plan = Plan::new()?;
    let twice = format!("localhost:{0},localhost:{0}", plan.ports[1].number());
    plan.with("--peers", twice).is_refused(&["--peers"]).await
}

#[tokio::test]
async fn used_port_is_rejected() -> Result<()> {
    let plan = Plan::new()?;
    let port = plan.own_port();
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("cannot bind the port")?;
    plan.is_refused(&["TCP", &port.to_string()]).await?;
    drop(tcp);
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).context("cannot bind the port")?;
    plan.is_refused(&["UDP", &port.to_string()]).await?;
    drop(udp);
    Ok(())
}

#[tokio::test]
async fn unwritable_data_dir_is_rejected() -> Result<()> {
    let plan = Plan::new()?;
    let file = plan.data_dir().join("file");
    fs::write(&file, "not a directory").context("cannot write a file")?;
    // root can write anywhere, but not below a file and not in /proc.
    for directory in [file.join("data").as_path(), &file, Path::new("/proc/raft-data")] {
        let directory = directory.display().to_string();
        let plan = Plan::new()?.with("--data-dir", directory.clone());
        plan.is_refused(&[&directory, "directory"]).await?;
    }
    assert_eq!(fs::read(&file).context("missing file")?, b"not a directory");
    Ok(())
}

#[tokio::test]
async fn foreign_data_dir_is_rejected() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    let foreign = cluster.data(0).display().to_string();
    cluster.kill(0).await?;
    let plan = Plan::new()?.with("--node-id", "node9").with("--data-dir", foreign);
    plan.is_refused(&["node1", "node9"]).await?;
    // The directory is unchanged.
    cluster.start_node(0)?;
    cluster.leader().await?;
    cluster.settled().await?;
    cluster.finish().await
}

/// The other nodes have the acknowledged entries. A node that has lost them must not vote.
#[tokio::test]
async fn damaged_log_is_rejected_and_located() -> Result<()> {
    const HOLE: usize = 4096;
    let mut cluster = Cluster::start(&[]).await?;
    let mut http = cluster.http(0);
    for number in 0..100 {
        let path = format!("/v1/kv/key-{number}");
        let answer = http.ask(Method::PUT, &path, &[b'v'; 256]).await?;
        ensure!(answer.status == StatusCode::NO_CONTENT, "{}", answer.text());
    }
    cluster.settled().await?;
    cluster.kill(0).await?;
    let directory = cluster.data(0).display().to_string();
    let intact = process::run(&["check-data", &directory], TIMEOUT).await?;
    ensure!(intact.status.success(), "{}", String::from_utf8_lossy(&intact.stdout));
    let segment = cluster.data(0).join("store/log-0000000000000001");
    let bytes = fs::read(&segment)?;
    let written = bytes.iter().rposition(|byte| *byte != 0).context("an empty segment")?;
    ensure!(written > 4 * HOLE, "{written} bytes are too few for a hole");
    let mut with_hole = bytes.clone();
    with_hole[written / 2..][..HOLE].fill(0);
    let mut shortened = bytes;
    shortened.truncate(written / 2);
    for damaged in [with_hole, shortened] {
        fs::write(&segment, damaged)?;
        let checked = process::run(&["check-data", &directory], TIMEOUT).await?;
        let printed = String::from_utf8_lossy(&checked.stdout).into_owned();
        let located = printed.contains("error: log-0000000000000001 is damaged at byte ");
        ensure!(checked.status.code() == Some(1) && located, "{printed}");
        let arguments = cluster.arguments(0);
        let names = ["damaged", directory.as_str(), "log-0000000000000001", "at byte"];
        is_refused(arguments.iter().map(String::as_str), &names).await?;
    }
    // The other nodes continue.
    let answer = cluster.http(1).ask(Method::PUT, "/v1/kv/later", b"v").await?;
    ensure!(answer.status == StatusCode::NO_CONTENT, "{}", answer.text());
    cluster.finish().await
}

#[tokio::test]
async fn used_data_directory_is_rejected() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    let used = cluster.data(0).display().to_string();
    let plan = Plan::new()?.with("--data-dir", used.clone());
    plan.is_refused(&[&used]).await?;
    cluster.leader().await?;
    cluster.finish().await
}

#[tokio::test]
async fn invalid_flags_are_rejected() -> Result<()> {
    for (flag, value) in [
        ("--port", "no-number"),
        ("--port", "65536"),
        ("--port", "0"),
        ("--node-id", ""),
        ("--node-id", "two words"),
        ("--election-timeout-min-ms", "soon"),
        ("--allowed-hosts", "http://raft.example"),
        ("--allowed-hosts", "raft.example:80"),
    ] {
        Plan::new()?.with(flag, value).is_refused(&[flag]).await?;
    }
    Plan::new()?.with("--nonsense", "1").is_refused(&["--nonsense"]).await?;
    Plan::new()?.without("--node-id").is_refused(&["--node-id"]).await?;
    is_refused(["frobnicate"], &["frobnicate"]).await?;
    is_refused(["get"], &["KEY"]).await?;
    is_refused(["put", "key"], &["VALUE"]).await
}

#[tokio::test]
async fn unusable_election_timeouts_are_rejected() -> Result<()> {
    let plan = Plan::new()?.with("--election-timeout-min-ms", "500");
    plan.with("--election-timeout-max-ms", "100").is_refused(&["--election-timeout-max-ms"]).await
}

#[tokio::test]
async fn invalid_timeout_is_rejected_with_its_flag() -> Result<()> {
    for flag in [
        "--request-timeout-ms",
        "--heartbeat-ms",
        "--election-timeout-min-ms",
        "--election-timeout-max-ms",
    ] {
        for value in ["0", "-1", "18446744073709551615"] {
            Plan::new()?.with(flag, value).is_refused(&[flag]).await?;
        }
    }
    Plan::new()?.with("--heartbeat-ms", "300").is_refused(&["--heartbeat-ms"]).await
}

#[tokio::test]
async fn drain_time_beyond_an_hour_or_negative_is_refused() -> Result<()> {
    for value in ["-5", "3600001", "18446744073709551616"] {
        Plan::new()?.with("--drain-ms", value).is_refused(&["--drain-ms", value]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn too_low_limit_on_open_files_is_rejected() -> Result<()> {
    let plan = Plan::new()?;
    let arguments = plan.arguments.iter().flat_map(|(flag, value)| [*flag, value]);
    let output = process::run_limited(arguments, 64, TIMEOUT).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{}: {said}", output.status);
    ensure!(said.lines().count() == 1 && said.contains("open files"), "{said}");
    ensure!(said.contains("64") && said.contains("at least 128"), "{said}");
    Ok(())
}

#[tokio::test]
async fn unreachable_cluster_is_reported() -> Result<()> {
    let port = Port::reserve()?;
    let endpoint = format!("localhost:{}", port.number());
    let arguments = ["get", "key", "--endpoints", &endpoint];
    let output = process::run(arguments, TIMEOUT).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(5), "{}: {said}", output.status);
    ensure!(said.lines().count() == 1 && said.contains(&endpoint), "{said}");
    Ok(())
}
