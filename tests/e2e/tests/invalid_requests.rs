//! Invalid requests are rejected at once, with problem details and a status, and change nothing.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use raft_tests::cluster::{Cluster, NODES, TIMEOUT};
use raft_tests::http::{HttpClient, Response, request};
use raft_tests::kv::{Client, entries};
use raft_tests::wait::until;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

/// The limits in the documentation and in the error texts.
const KEY_BYTES_MAX: usize = 8 * 1024;
const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// A cluster with one key.
struct Subject {
    cluster: Cluster,
}

impl Subject {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(&[]).await?;
        let mut client = Client::Http(cluster.http(0));
        client.put("kept", "as it was").await.done()?;
        Ok(Self { cluster })
    }

    /// Checks that every node rejects a request in time.
    async fn refuses(
        &self,
        status: StatusCode,
        build: impl Fn() -> Result<Request<Full<Bytes>>>,
    ) -> Result<Response> {
        let mut last = None;
        for node in 0..NODES {
            let mut http = HttpClient::new(self.cluster.port(node), TIMEOUT);
            let answer = http.send(build()?).await?;
            check_problem(&answer, status)?;
            last = Some(answer);
        }
        last.context("the cluster has no node")
    }

    async fn refuses_plain(
        &self,
        status: StatusCode,
        method: Method,
        path: &str,
        body: &[u8],
    ) -> Result<Response> {
        self.refuses(status, || request(method.clone(), path, body))
            .await
            .with_context(|| format!("{method} {}", &path[..path.len().min(80)]))
    }

    /// Checks that the keys are unchanged, and stops the cluster.
    async fn finish(self) -> Result<()> {
        for node in 0..NODES {
            let all = entries(&mut self.cluster.http(node), "").await?;
            assert_eq!(all.len(), 1, "{:?}", all.keys().take(9));
            assert_eq!(all["kept"], "as it was");
        }
        let mut client = Client::Http(self.cluster.http(1));
        client.put("afterwards", "it works").await.done()?;
        self.cluster.finish().await
    }
}

/// Checks problem details (RFC 9457) with a status.
fn check_problem(answer: &Response, status: StatusCode) -> Result<()> {
    let case = || format!("{} {:?}: {}", answer.status, answer.headers, answer.text());
    ensure!(answer.status == status, "not {status}: {}", case());
    ensure!(
        answer.header("content-type") == Some("application/problem+json"),
        "no problem details: {}",
        case()
    );
    let problem = answer.json()?;
    ensure!(problem["status"] == status.as_u16(), "{}", case());
    for member in ["type", "title", "detail"] {
        let said = problem[member].as_str().unwrap_or_default();
        ensure!(!said.is_empty(), "no {member}: {}", case());
    }
    ensure!(["not-done", "unknown"].iter().any(|known| problem["outcome"] == *known), "{}", case());
    Ok(())
}

#[tokio::test]
async fn keys_and_values_over_limit_are_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    let key = format!("/v1/kv/{}", "k".repeat(KEY_BYTES_MAX + 1));
    let longer = format!("/v1/kv/{}", "k".repeat(30_000));
    for path in [&key, &longer] {
        for method in [Method::PUT, Method::DELETE, Method::GET] {
            let answer = subject.refuses_plain(StatusCode::URI_TOO_LONG, method, path, b"").await?;
            ensure!(answer.text().contains(&KEY_BYTES_MAX.to_string()), "{}", answer.text());
            assert_eq!(answer.problem_type().as_deref(), Some("/problems/key-too-long"));
        }
    }
    for parameter in ["prefix", "after"] {
        let path = format!("/v1/kv?{parameter}={}", "k".repeat(KEY_BYTES_MAX + 1));
        subject.refuses_plain(StatusCode::URI_TOO_LONG, Method::GET, &path, b"").await?;
    }
    // One byte over the limit, and far more than the node reads at once.
    for bytes in [VALUE_BYTES_MAX + 1, 16 * VALUE_BYTES_MAX] {
        let value = Bytes::from(vec![b'v'; bytes]);
        let answer = subject
            .refuses(StatusCode::PAYLOAD_TOO_LARGE, || {
                let mut put = request(Method::PUT, "/v1/kv/large", b"")?;
                *put.body_mut() = Full::new(value.clone());
                Ok(put)
            })
            .await?;
        ensure!(answer.text().contains(&VALUE_BYTES_MAX.to_string()), "{}", answer.text());
    }
    subject.finish().await
}

#[tokio::test]
async fn empty_key_is_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer =
            subject.refuses_plain(StatusCode::BAD_REQUEST, method, "/v1/kv/", b"no key").await?;
        ensure!(answer.text().contains("the key is empty"), "{}", answer.text());
    }
    subject.finish().await
}

#[tokio::test]
async fn keys_and_values_at_limit_are_accepted() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let key = format!("/v1/kv/{}", "k".repeat(KEY_BYTES_MAX));
    let value = vec![b'v'; VALUE_BYTES_MAX];
    let answer = cluster.http(0).ask(Method::PUT, &key, &value).await?;
    ensure!(answer.status.is_success(), "{}", answer.text());
    for node in 0..NODES {
        let answer = cluster.http(node).ask(Method::GET, &key, b"").await?;
        assert_eq!(answer.status, StatusCode::OK);
        ensure!(answer.body == value, "{} bytes", answer.body.len());
    }
    cluster.finish().await
}

#[tokio::test]
async fn invalid_utf8_is_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    for path in [
        "/v1/kv/kept?consistency=%FF",
        "/v1/kv/kept?consistency=%C3%28",
        "/v1/kv/kept?%FF=stale",
        "/v1/kv?prefix=%zz",
        "/v1/kv?limit=%FF",
        "/v1/kv/100%",
        "/v1/kv/%zz",
    ] {
        subject.refuses_plain(StatusCode::BAD_REQUEST, Method::GET, path, b"").await?;
    }
    subject.finish().await
}

#[tokio::test]
async fn invalid_json_is_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    let put = r#"{"put": {"key": "kept", "value": "changed"}}"#;
    let twice = format!(r#"{{"success": [{put}, {put}]}}"#);
    let puts = (0..129).map(|key| format!(r#"{{"put": {{"key": "k{key}", "value": ""}}}}"#));
    let many = format!(r#"{{"success": [{}]}}"#, puts.collect::<Vec<_>>().join(","));
    let reads = [r#"{"get": {"key": "kept"}}"#; 33].join(",");
    let reads = format!(r#"{{"success": [{put}, {reads}]}}"#);
    for (body, said) in [
        ("", "EOF"),
        ("{", "EOF"),
        (r#"{"success": [{"put": {"key": "kept", "value": "changed"}}]"#, "EOF"),
        (r#"{"success": [{"put": {"key": "kept", "value": "changed"}}]} more"#, "trailing"),
        (
            "{\"success\": [{\"put\": {\"key\": \"kept\", \"value\": \"\u{7f}\u{1}\"}}]}",
            "control character",
        ),
        ("[]", "invalid transaction"),
        (r#"{"succes": []}"#, "succes"),
        (r#"{"success": [{"get": {"key": "kept", "value": "1"}}]}"#, "unknown field"),
        (r#"{"success": [{"increment": {"key": "kept"}}]}"#, "increment"),
        (r#"{"success": [{"put": {"value": "changed"}}]}"#, "key"),
        (
            r#"{"success": [{"put": {"key": "kept", "key_base64": "a2VwdA==", "value": ""}}]}"#,
            "exactly one of",
        ),
        (r#"{"success": [{"put": {"key": "kept", "value_base64": "?"}}]}"#, "base64"),
        (r#"{"success": [{"put": {"key": "", "value": "changed"}}]}"#, "empty"),
        (r#"{"compare": [{"key": "kept"}], "failure": []}"#, "exactly one of value"),
        (
            r#"{"compare": [{"key": "kept", "version": {"equal": 1}, "value": {"equal": ""}}]}"#,
            "exactly one of value",
        ),
        (r#"{"compare": [{"key": "kept", "version": {"about": 1}}]}"#, "about"),
        (r#"{"compare": [{"key": "kept", "version": {"equal": 1.5}}]}"#, "invalid transaction"),
        (twice.as_str(), "only once"),
        (reads.as_str(), "32"),
    ] {
        let answer = subject
            .refuses_plain(StatusCode::BAD_REQUEST, Method::POST, "/v1/txn", body.as_bytes())
            .await
            .with_context(|| body.chars().take(99).collect::<String>())?;
        ensure!(answer.text().contains(said), "{body:.99}: {}", answer.text());
    }
    subject
        .refuses_plain(StatusCode::BAD_REQUEST, Method::POST, "/v1/txn", b"{\"success\": \xff}")
        .await?;
    subject.refuses_plain(StatusCode::METHOD_NOT_ALLOWED, Method::GET, "/v1/txn", b"").await?;
    for large in [many.into_bytes(), vec![b' '; 4 * 1024 * 1024]] {
        subject
            .refuses_plain(StatusCode::PAYLOAD_TOO_LARGE, Method::POST, "/v1/txn", &large)
            .await?;
    }
    subject.finish().await
}

#[tokio::test]
async fn invalid_query_is_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    for path in [
        "/v1/kv/kept?consistency=maybe",
        "/v1/kv/kept?consistency=stale&consistency=linearizable",
        "/v1/kv/kept?freshness=now",
        "/v1/kv?limit=many",
        "/v1/kv?limit=0",
        "/v1/kv?limit=1000000",
        "/v1/kv?limit=-1",
        "/v1/kv?limit=99999999999999999999999",
        "/v1/log?from=here",
        "/v1/log?limit=1.5",
        "/v1/kv?revision=-1",
        "/v1/kv?revision=0",
        "/v1/kv?revision=9223372036854775808",
        "/v1/kv?revision=1000000",
        "/v1/kv?prefix=k&after=z&revision=1000000",
        "/v1/kv/kept?revision=1000000",
    ] {
        subject.refuses_plain(StatusCode::BAD_REQUEST, Method::GET, path, b"").await?;
    }
    for revision in ["soon", "7", "\"", "\"7", "*, \"7\"", ","] {
        subject
            .refuses(StatusCode::BAD_REQUEST, || {
                let mut put = request(Method::PUT, "/v1/kv/kept", b"changed")?;
                put.headers_mut().insert("if-match", revision.parse()?);
                Ok(put)
            })
            .await
            .context(revision)?;
    }
    subject.finish().await
}

#[tokio::test]
async fn unknown_routes_and_methods_are_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    for path in ["/v1/nothing", "/v2/kv/kept", "/etc/passwd", "/problems/nothing"] {
        let answer = subject.refuses_plain(StatusCode::NOT_FOUND, Method::GET, path, b"").await?;
        assert_eq!(answer.problem_type().as_deref(), Some("/problems/path-not-found"));
    }
    subject.refuses_plain(StatusCode::NOT_FOUND, Method::GET, "/v1/kv/kept/../..", b"").await?;
    for (method, path) in [
        (Method::POST, "/v1/kv/kept"),
        (Method::PUT, "/v1/status"),
        (Method::DELETE, "/v1/cluster"),
        (Method::POST, "/metrics"),
        (Method::PUT, "/v1/kv"),
    ] {
        let answer =
            subject.refuses_plain(StatusCode::METHOD_NOT_ALLOWED, method, path, b"{}").await?;
        let allowed = answer.header("allow").unwrap_or_default();
        ensure!(allowed.contains("GET"), "{path} allows {allowed:?}");
    }
    subject.finish().await
}

#[tokio::test]
async fn missing_key_is_404() -> Result<()> {
    let subject = Subject::start().await?;
    for method in [Method::GET, Method::DELETE] {
        let answer =
            subject.refuses_plain(StatusCode::NOT_FOUND, method, "/v1/kv/missing", b"").await?;
        let kind = answer.problem_type().context("no type")?;
        assert_eq!(kind, "/problems/key-not-found");
        let described = subject.cluster.http(0).json(&kind).await?;
        assert_eq!(described["status"], 404);
    }
    subject.finish().await
}

#[tokio::test]
async fn invalid_grpc_requests_are_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    let long_key = "k".repeat(KEY_BYTES_MAX + 1);
    let large_value = "v".repeat(VALUE_BYTES_MAX + 1);
    for node in 0..NODES {
        let grpc = subject.cluster.grpc(node).await?;
        for (method, request) in [
            ("Put", json!({ "key": long_key, "value": "" })),
            ("Put", json!({ "key": "large", "value": large_value })),
            ("Put", json!({ "key": "", "value": "no key" })),
            ("Get", json!({})),
            ("Delete", json!({ "key": "" })),
        ] {
            let method = format!("raft.KeyValueService/{method}");
            let answer = timeout(TIMEOUT, grpc.call(&method, request)).await??;
            let code = answer.as_ref().err().map(tonic::Status::code);
            ensure!(code == Some(Code::InvalidArgument), "{method}: {answer:?}");
        }
    }
    subject.finish().await
}

#[tokio::test]
async fn malformed_grpc_bytes_are_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    for node in 0..NODES {
        let grpc = subject.cluster.grpc(node).await?;
        // A field that is longer than the message, and a key that is not UTF-8.
        for bytes in [&[0x0a, 0x7f][..], &[0x0a, 2, 0xc3, 0x28][..]] {
            let answer =
                grpc.call_raw("/raft.KeyValueService/Get", Bytes::from_static(bytes)).await?;
            let code = answer.err().map(|status| status.code());
            // tonic itself rejects messages that cannot be decoded, as internal errors.
            ensure!(matches!(code, Some(Code::InvalidArgument | Code::Internal)), "{code:?}");
        }
        for path in ["/raft.KeyValueService/Frobnicate", "/raft.NoService/Get"] {
            let answer = grpc.call_raw(path, Bytes::new()).await?;
            let code = answer.err().map(|status| status.code());
            ensure!(code == Some(Code::Unimplemented), "{path}: {code:?}");
        }
    }
    subject.finish().await
}

#[tokio::test]
async fn malformed_http_is_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"GET\r\n\r\n",
        b"PUT /v1/kv/kept HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\nabc",
        &[0; 4096],
    ] {
        for node in 0..NODES {
            let mut stream = TcpStream::connect(("127.0.0.1", subject.cluster.port(node))).await?;
            // The node may close the connection early.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let read = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await;
            ensure!(read.is_ok(), "the node neither responds nor closes the connection");
            let answer = String::from_utf8_lossy(&answer);
            ensure!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        }
    }
    subject.finish().await
}

#[tokio::test]
async fn unfinished_request_blocks_nothing() -> Result<()> {
    let subject = Subject::start().await?;
    let mut dawdlers = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(("127.0.0.1", subject.cluster.port(0))).await?;
        stream
            .write_all(
                b"PUT /v1/kv/kept HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf",
            )
            .await?;
        dawdlers.push(stream);
    }
    let mut client = Client::Http(HttpClient::new(subject.cluster.port(0), TIMEOUT));
    let found = client.get("kept").await.done()?;
    assert_eq!(found.map(|found| found.value).as_deref(), Some("as it was"));
    // The clients close their connections. A half value must not be written.
    drop(dawdlers);
    subject.finish().await
}

#[tokio::test]
async fn request_without_leader_times_out() -> Result<()> {
    let mut cluster = Cluster::start(&["--request-timeout-ms", "1000"]).await?;
    let leader = cluster.leader().await?;
    let survivor = (leader + 1) % NODES;
    cluster.kill(leader).await?;
    cluster.kill((leader + 2) % NODES).await?;
    // Until its election timer fires, the node considers the dead node the leader. A request that
    // it forwards has an unknown outcome.
    until("the survivor knows no leader", TIMEOUT, async || {
        let status = cluster.status(survivor).await?;
        Ok(status.leader.is_none().then_some(()))
    })
    .await?;
    let mut http = cluster.http(survivor);
    for (method, path) in [
        (Method::PUT, "/v1/kv/key"),
        (Method::DELETE, "/v1/kv/key"),
        (Method::GET, "/v1/kv/key"),
        (Method::GET, "/v1/kv?prefix=k"),
    ] {
        let answer = http.ask(method.clone(), path, b"").await?;
        check_problem(&answer, StatusCode::SERVICE_UNAVAILABLE)
            .with_context(|| format!("{method} {path}"))?;
        let problem = answer.json()?;
        ensure!(problem["outcome"] == "not-done", "{problem}");
    }
    // Requests that need no quorum succeed.
    let answer = http.ask(Method::GET, "/v1/kv/key?consistency=stale", b"").await?;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    assert_eq!(cluster.status(survivor).await?.leader, None);
    let answer = http.ask(Method::GET, "/livez", b"").await?;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = http.ask(Method::GET, "/readyz", b"").await?;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    cluster.finish().await
}

/// A follower forwards a write to its leader, and then the leader and the third node stop
/// responding. At the timeout, the follower knows no leader, but the earlier leader may have the
/// write.
#[tokio::test]
async fn ambiguous_write_is_reported_unknown() -> Result<()> {
    // Longer than the idle timeout of a connection between peers.
    let mut cluster = Cluster::start(&["--request-timeout-ms", "8000"]).await?;
    let leader = cluster.leader().await?;
    let (follower, other) = ((leader + 1) % NODES, (leader + 2) % NODES);
    for node in [leader, other] {
        cluster.signal(node, Signal::STOP)?;
    }
    let mut http = cluster.http(follower);
    let answer = http.ask(Method::PUT, "/v1/kv/key", b"in doubt").await?;
    check_problem(&answer, StatusCode::GATEWAY_TIMEOUT)?;
    assert_eq!(answer.json()?["outcome"], "unknown");
    assert_eq!(cluster.status(follower).await?.leader, None);
    for node in [leader, other] {
        cluster.signal(node, Signal::CONT)?;
    }
    cluster.leader().await?;
    cluster.settled().await?;
    cluster.finish().await
}

/// A response has a bounded size, and contains the key at which the next page begins.
#[tokio::test]
async fn large_list_is_paginated() -> Result<()> {
    const COUNT: usize = 24;
    let cluster = Cluster::start(&[]).await?;
    let mut http = cluster.http(0);
    let value = vec![b'v'; VALUE_BYTES_MAX];
    for number in 0..COUNT {
        let path = format!("/v1/kv/large-{number:02}");
        let answer = http.ask(Method::PUT, &path, &value).await?;
        ensure!(answer.status == StatusCode::NO_CONTENT, "{}", answer.text());
    }
    let (mut keys, mut parts, mut path) = (0, 0, "/v1/kv?prefix=large-&limit=1000".to_owned());
    loop {
        let list = http.json(&path).await?;
        let kvs = list["kvs"].as_array().context("no kvs")?;
        ensure!(kvs.len() < COUNT, "the list is not paginated");
        keys += kvs.len();
        parts += 1;
        let last = kvs.last().and_then(|kv| kv["key"].as_str());
        match (last, list["more"].as_bool()) {
            (Some(last), Some(true)) => {
                path = format!("/v1/kv?prefix=large-&limit=1000&after={last}");
            }
            _ => break,
        }
    }
    assert_eq!(keys, COUNT);
    ensure!(parts > 1, "{parts} parts");
    cluster.finish().await
}

/// The node observes the header `grpc-timeout`.
#[tokio::test]
async fn grpc_timeout_ends_call() -> Result<()> {
    const DEADLINE_EXCEEDED: &str = "4";
    const INVALID_ARGUMENT: &str = "3";
    let mut cluster = Cluster::start(&["--request-timeout-ms", "20000"]).await?;
    // A message with key k and value v.
    let put = b"\0\0\0\0\x06\x0a\x01k\x12\x01v";
    let call = async |http: &mut HttpClient, time: &str| {
        let mut call = request(Method::POST, "/raft.KeyValueService/Put", put)?;
        call.headers_mut().insert("content-type", "application/grpc".parse()?);
        call.headers_mut().insert("te", "trailers".parse()?);
        call.headers_mut().insert("grpc-timeout", time.parse()?);
        anyhow::Ok(http.send(call).await?)
    };
    let code = |answer: &Response| answer.header("grpc-status").map(str::to_owned);
    let outcome = |answer: &Response| answer.header("raft-outcome").map(str::to_owned);
    for (time, expected) in
        [("1n", DEADLINE_EXCEEDED), ("0S", DEADLINE_EXCEEDED), ("5", INVALID_ARGUMENT)]
    {
        let answer = call(&mut cluster.http(0), time).await?;
        ensure!(code(&answer).as_deref() == Some(expected), "{time}: {:?}", answer.headers);
        ensure!(outcome(&answer).as_deref() == Some("not-done"), "{:?}", answer.headers);
    }
    let read = cluster.http(0).ask(Method::GET, "/v1/kv/k", b"").await?;
    assert_eq!(read.status, StatusCode::NOT_FOUND);
    let answer = call(&mut cluster.http(0), "120S").await?;
    ensure!(code(&answer).is_none_or(|code| code == "0"), "{:?}", answer.headers);
    // Without a quorum, a call ends at its own deadline, long before that of the node.
    for node in 1..NODES {
        cluster.kill(node).await?;
    }
    let answer = call(&mut HttpClient::new(cluster.port(0), TIMEOUT), "500m").await?;
    ensure!(code(&answer).as_deref() == Some(DEADLINE_EXCEEDED), "{:?}", answer.headers);
    ensure!(outcome(&answer).as_deref() == Some("unknown"), "{:?}", answer.headers);
    cluster.finish().await
}

/// N25: hyper answers a head that it cannot parse with an empty 400.
#[tokio::test]
async fn malformed_request_head_gets_problem_details() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let long = format!("GET / HTTP/1.1\r\nlong: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    let uri = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    let served = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (head, status) in [
        ("garbage\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}", 400),
        ("GET / HTTP/9.9\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (&long, 431),
        (&many, 431),
        (&uri, 431),
        // The connection has served a request before.
        (&format!("{served}garbage\r\n\r\n"), 400),
    ] {
        let case = &head[..head.len().min(60)];
        let mut stream = TcpStream::connect(("127.0.0.1", cluster.port(0))).await?;
        // The node may hang up before it has read a long head.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await?;
        let answer = String::from_utf8_lossy(&answer);
        let refusal = answer.rfind(&format!("HTTP/1.1 {status} ")).map(|start| &answer[start..]);
        let (head, body) = refusal
            .and_then(|refusal| refusal.split_once("\r\n\r\n"))
            .with_context(|| format!("{case:?}: {answer}"))?;
        ensure!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{case:?}: {head}");
        ensure!(head.contains("content-type: application/problem+json"), "{case:?}: {head}");
        let problem: serde_json::Value = serde_json::from_str(body)?;
        ensure!(problem["status"] == status && problem["outcome"] == "not-done", "{problem}");
        ensure!(problem["detail"].as_str().is_some_and(|text| text.contains(';')), "{problem}");
    }
    cluster.finish().await
}
