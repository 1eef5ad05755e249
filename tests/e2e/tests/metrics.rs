//! The metrics for Prometheus.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use raft_tests::cluster::Cluster;
use raft_tests::http::request;
use raft_tests::kv::Client;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use raft_tests::cluster::TIMEOUT;

/// The text of the metrics after some requests.
async fn scraped(cluster: &Cluster, accept: Option<&str>) -> Result<(String, String)> {
    let mut http = cluster.http(0);
    let mut request = request(Method::GET, "/metrics", b"")?;
    if let Some(accept) = accept {
        request.headers_mut().insert("accept", accept.parse()?);
    }
    let answer = http.send(request).await?;
    let kind = answer.header("content-type").context("missing content type")?.to_owned();
    Ok((kind, answer.text()))
}

async fn with_requests() -> Result<Cluster> {
    let cluster = Cluster::start(&[]).await?;
    let mut http = Client::Http(cluster.http(0));
    http.put("key", "value").await.done()?;
    http.get("key").await.done()?;
    let mut grpc = Client::Grpc(cluster.grpc(0).await?);
    grpc.put("key", "value").await.done()?;
    cluster.http(0).ask(Method::GET, "/v1/kv/missing", b"").await?;
    cluster.http(0).ask(Method::GET, "/no/such/path", b"").await?;
    Ok(cluster)
}

#[tokio::test]
async fn metrics_pass_promtool() -> Result<()> {
    let cluster = with_requests().await?;
    let (kind, text) = scraped(&cluster, None).await?;
    ensure!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start promtool; install the Debian package prometheus")?;
    let mut stdin = promtool.stdin.take().context("no input")?;
    stdin.write_all(text.as_bytes()).await?;
    drop(stdin);
    let output = timeout(TIMEOUT, promtool.wait_with_output()).await??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.trim().is_empty(), "{}: {said}", output.status);
    cluster.finish().await
}

#[tokio::test]
async fn metrics_contain_documented_names() -> Result<()> {
    let cluster = with_requests().await?;
    let (_, text) = scraped(&cluster, None).await?;
    for sample in [
        r#"raft_http_requests_total{method="PUT",route="/v1/kv/{*key}",status="204"} 1"#,
        r#"raft_http_requests_total{method="GET",route="/v1/kv/{*key}",status="404"} 1"#,
        r#"raft_http_requests_total{method="GET",route="other",status="404"} 1"#,
        r#"raft_http_request_duration_seconds_count{method="PUT",route="/v1/kv/{*key}"} 1"#,
        r#"raft_grpc_requests_total{method="raft.KeyValueService/Put",code="0"} 1"#,
        r#"raft_grpc_request_duration_seconds_count{method="raft.KeyValueService/Put"} 1"#,
    ] {
        ensure!(text.lines().any(|line| line == sample), "no {sample} in:\n{text}");
    }
    for name in [
        "raft_log_write_duration_seconds_count",
        "raft_apply_duration_seconds_count",
        "raft_data_dir_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
    ] {
        let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value: f64 = sample.with_context(|| format!("no {name} in:\n{text}"))?.parse()?;
        ensure!(value > 0.0 || name == "process_cpu_seconds_total", "{name} is {value}");
    }
    cluster.finish().await
}

#[tokio::test]
async fn metrics_format_is_negotiated() -> Result<()> {
    let cluster = with_requests().await?;
    let (kind, text) = scraped(&cluster, Some("application/openmetrics-text")).await?;
    ensure!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    ensure!(text.ends_with("# EOF\n"), "{text}");
    let (kind, text) = scraped(&cluster, Some("text/plain")).await?;
    ensure!(kind.starts_with("text/plain"), "{kind}");
    ensure!(!text.contains("# EOF"), "{text}");
    cluster.finish().await
}
