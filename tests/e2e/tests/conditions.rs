//! Conditional requests (RFC 9110, section 13), lists at a revision, and large transactions.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use raft_tests::cluster::{Cluster, NODES};
use raft_tests::http::{HttpClient, Response, request};
use serde_json::{Value, json};

/// Sends a request with headers.
fn with(
    method: Method,
    path: &str,
    headers: &[(&'static str, String)],
) -> Result<Request<Full<Bytes>>> {
    let mut request = request(method, path, b"new value")?;
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse()?);
    }
    Ok(request)
}

async fn send(
    http: &mut HttpClient,
    method: Method,
    path: &str,
    headers: &[(&'static str, String)],
) -> Result<Response> {
    Ok(http.send(with(method, path, headers)?).await?)
}

/// Sets a key, and returns its entity tag.
async fn put(http: &mut HttpClient, path: &str) -> Result<String> {
    let answer = send(http, Method::PUT, path, &[]).await?;
    ensure!(answer.status == StatusCode::NO_CONTENT, "{}", answer.text());
    Ok(answer.header("etag").context("no tag")?.to_owned())
}

#[tokio::test]
async fn read_conditions_follow_rfc_9110() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let mut http = cluster.http(0);
    let path = "/v1/kv/key";
    let old = put(&mut http, path).await?;
    let tag = put(&mut http, path).await?;
    let listed = format!("{old}, {tag}");
    let weak = format!("W/{tag}");
    for (headers, expected) in [
        (vec![("if-none-match", tag.clone())], 304),
        (vec![("if-none-match", weak.clone())], 304),
        (vec![("if-none-match", listed.clone())], 304),
        (vec![("if-none-match", "*".to_owned())], 304),
        (vec![("if-none-match", old.clone())], 200),
        (vec![("if-match", tag.clone())], 200),
        (vec![("if-match", "*".to_owned())], 200),
        (vec![("if-match", listed.clone())], 200),
        (vec![("if-match", old.clone()), ("if-match", tag.clone())], 200),
        (vec![("if-match", old.clone())], 412),
        (vec![("if-match", weak.clone())], 412),
        (vec![("if-match", "\"text\"".to_owned())], 412),
        (vec![("if-match", tag.clone()), ("if-none-match", tag.clone())], 304),
        // A server may ignore Range. The node sends `Accept-Ranges: none`.
        (vec![("range", "bytes=0-1".to_owned())], 200),
    ] {
        let answer = send(&mut http, Method::GET, path, &headers).await?;
        ensure!(answer.status == expected, "{headers:?}: {} {}", answer.status, answer.text());
        assert_eq!(answer.header("etag"), Some(&*tag), "{headers:?}");
        match expected {
            200 => {
                assert_eq!(answer.text(), "new value");
                assert_eq!(answer.header("accept-ranges"), Some("none"));
            }
            304 => {
                ensure!(answer.body.is_empty(), "{}", answer.text());
                // It would have to be the length of the value (RFC 9110, section 8.6).
                assert_eq!(answer.header("content-length"), None);
            }
            _ => ensure!(answer.json()?["outcome"] == "not-done", "{}", answer.text()),
        }
    }
    for name in ["if-match", "if-none-match"] {
        let headers = [(name, "*".to_owned())];
        let answer = send(&mut http, Method::GET, "/v1/kv/missing", &headers).await?;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    cluster.finish().await
}

#[tokio::test]
async fn write_conditions_follow_rfc_9110() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    for method in [Method::PUT, Method::DELETE] {
        let done = StatusCode::NO_CONTENT;
        let failed = StatusCode::PRECONDITION_FAILED;
        for (node, (condition, expected)) in [
            ("if-match: OLD", failed),
            ("if-match: W/TAG", failed),
            ("if-match: W/TAG, OLD", failed),
            ("if-match: \"0\"", failed),
            ("if-match: \"99999999999999999999999\"", failed),
            ("if-none-match: *", failed),
            ("if-none-match: TAG", failed),
            ("if-none-match: OLD, W/TAG", failed),
            ("if-match: TAG", done),
            ("if-match: *", done),
            ("if-match: OLD, TAG", done),
            ("if-match: \"1\", W/\"2\", \"text\", TAG", done),
            ("if-none-match: OLD", done),
            ("if-none-match: OLD, \"text\"", done),
        ]
        .into_iter()
        .enumerate()
        {
            let mut http = cluster.http(node % NODES);
            let path = format!("/v1/kv/{method}-{node}");
            let old = put(&mut http, &path).await?;
            let tag = put(&mut http, &path).await?;
            let (name, value) = condition.split_once(": ").context("no condition")?;
            let value = value.replace("OLD", &old).replace("TAG", &tag);
            let name = if name == "if-match" { "if-match" } else { "if-none-match" };
            let answer = send(&mut http, method.clone(), &path, &[(name, value)]).await?;
            let case = || format!("{method} {condition}: {} {}", answer.status, answer.text());
            ensure!(answer.status == expected, "{}", case());
            if expected == failed {
                ensure!(answer.header("etag") == Some(&*tag), "{}", case());
                let revision = answer.header("x-raft-mod-revision").context("no revision")?;
                ensure!(tag.trim_matches('"') == revision, "{}", case());
                ensure!(answer.json()?["type"] == "/problems/condition-failed", "{}", case());
                ensure!(answer.json()?["outcome"] == "not-done", "{}", case());
            }
            let read = send(&mut http, Method::GET, &path, &[]).await?;
            let is_there = read.status == StatusCode::OK;
            ensure!(is_there == (expected == failed || method == Method::PUT), "{}", case());
        }
    }
    cluster.finish().await
}

#[tokio::test]
async fn conditions_on_absent_key_follow_rfc_9110() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let mut http = cluster.http(0);
    let missing = "/v1/kv/missing";
    for (method, name, value, expected) in [
        (Method::PUT, "if-match", "*", 412),
        (Method::PUT, "if-match", "\"0\"", 412),
        (Method::PUT, "if-match", "\"1\", \"2\"", 412),
        (Method::DELETE, "if-match", "*", 404),
        (Method::DELETE, "if-match", "\"7\"", 404),
        (Method::DELETE, "if-none-match", "*", 404),
        (Method::PUT, "if-none-match", "*", 204),
    ] {
        let headers = [(name, value.to_owned())];
        let answer = send(&mut http, method.clone(), missing, &headers).await?;
        ensure!(answer.status == expected, "{method} {name}: {value}: {}", answer.text());
        ensure!(answer.header("x-raft-revision").is_some(), "{:?}", answer.headers);
        assert_eq!(answer.header("etag").is_some(), expected == 204);
    }
    cluster.finish().await
}

#[tokio::test]
async fn pages_of_list_are_pinned_to_revision() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let mut http = cluster.http(0);
    for key in ["a", "b", "c", "d"] {
        put(&mut http, &format!("/v1/kv/{key}")).await?;
    }
    let first = http.json("/v1/kv?limit=2").await?;
    let revision = first["revision"].as_i64().context("no revision")?;
    send(&mut http, Method::DELETE, "/v1/kv/c", &[]).await?;
    put(&mut http, "/v1/kv/bb").await?;
    let mut keys = Vec::new();
    let mut path = "/v1/kv?limit=2".to_owned();
    loop {
        let pinned = format!("{path}&revision={revision}");
        let answer = cluster.http(1).ask(Method::GET, &pinned, b"").await?;
        let page = answer.json()?;
        assert_eq!(page["revision"], revision);
        let current: i64 = answer.header("x-raft-revision").context("no revision")?.parse()?;
        ensure!(current > revision, "{current}");
        let found = page["kvs"].as_array().context("no keys")?;
        keys.extend(found.iter().filter_map(|kv| kv["key"].as_str().map(str::to_owned)));
        if page["more"] != true {
            break;
        }
        path = format!("/v1/kv?limit=2&after={}", keys.last().context("no key")?);
    }
    assert_eq!(keys, ["a", "b", "c", "d"]);
    let past = format!("/v1/kv/c?revision={revision}");
    assert_eq!(http.ask(Method::GET, &past, b"").await?.status, StatusCode::OK);
    let now = http.ask(Method::GET, "/v1/kv/c", b"").await?;
    assert_eq!(now.status, StatusCode::NOT_FOUND);
    cluster.finish().await
}

fn transaction(request: &Value) -> Result<Request<Full<Bytes>>> {
    let mut post = request_of(&request.to_string())?;
    post.headers_mut().insert("content-type", "application/json".parse()?);
    Ok(post)
}

fn request_of(body: &str) -> Result<Request<Full<Bytes>>> {
    request(Method::POST, "/v1/txn", body.as_bytes())
}

/// All nodes report the same outcome, whether they lead or not.
#[tokio::test]
async fn oversized_transaction_is_rejected_by_every_node() -> Result<()> {
    const ANSWER_BYTES_MAX: usize = 4 << 20;
    let cluster = Cluster::start(&[]).await?;
    let value = vec![b'v'; 1 << 20];
    let put = cluster.http(0).ask(Method::PUT, "/v1/kv/large", &value).await?;
    ensure!(put.status.is_success(), "{}", put.text());
    let reads = |count| vec![json!({ "get": { "key": "large" } }); count];
    for node in 0..NODES {
        let mut http = cluster.http(node);
        let mut operations = vec![json!({ "put": { "key": "marker", "value": "done" } })];
        operations.extend(reads(32));
        let answer = http.send(transaction(&json!({ "success": operations }))?).await?;
        ensure!(answer.status == StatusCode::PAYLOAD_TOO_LARGE, "{node}: {}", answer.text());
        ensure!(answer.text().contains(&ANSWER_BYTES_MAX.to_string()), "{}", answer.text());
        assert_eq!(answer.json()?["outcome"], "not-done");
        let marker = http.ask(Method::GET, "/v1/kv/marker", b"").await?;
        assert_eq!(marker.status, StatusCode::NOT_FOUND);
        let answer = http.send(transaction(&json!({ "success": reads(3) }))?).await?;
        ensure!(answer.status == StatusCode::OK, "{node}: {}", answer.text());
        ensure!(answer.body.len() > 3 * value.len(), "{} bytes", answer.body.len());
    }
    cluster.finish().await
}
