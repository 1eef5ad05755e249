//! Requests that a page of another origin can send are rejected, and change nothing.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use raft_tests::cluster::Cluster;
use raft_tests::http::Response;
use raft_tests::kv::Client;

const ALLOWED: &str = "raft.example";
const TXN: &[u8] = br#"{"success": [{"put": {"key": "kept", "value": "changed"}}]}"#;
/// A frame with the message `Put { key: "kept", value: "changed" }`.
const GRPC_PUT: &[u8] = b"\0\0\0\0\x0f\x0a\x04kept\x12\x07changed";
const GRPC_PATH: &str = "/raft.KeyValueService/Put";

struct Subject(Cluster);

impl Subject {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(&["--allowed-hosts", ALLOWED]).await?;
        Client::Http(cluster.http(0)).put("kept", "as it was").await.done()?;
        Ok(Self(cluster))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static [u8],
    ) -> Result<Response> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", format!("localhost:{}", self.0.port(0)));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from_static(body)))?;
        Ok(self.0.http(0).send(request).await?)
    }

    /// Checks that a request is rejected with a status and problem details.
    async fn refuses(
        &self,
        status: StatusCode,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static [u8],
    ) -> Result<()> {
        let answer = self.send(method.clone(), path, headers, body).await?;
        let case = format!("{method} {path} {headers:?}: {} {}", answer.status, answer.text());
        ensure!(answer.status == status, "{case}");
        ensure!(answer.header("content-type") == Some("application/problem+json"), "{case}");
        ensure!(answer.header("x-content-type-options") == Some("nosniff"), "{case}");
        Ok(())
    }

    async fn finish(self) -> Result<()> {
        let found = Client::Http(self.0.http(1)).get("kept").await.done()?;
        let found = found.context("missing key")?;
        ensure!(found.value == "as it was", "{found:?}");
        self.0.finish().await
    }
}

#[tokio::test]
async fn txn_without_json_content_type_is_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    for content_type in [
        "text/plain",
        "text/plain;charset=application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "",
    ] {
        let headers = [("content-type", content_type)];
        subject.refuses(status, Method::POST, "/v1/txn", &headers, TXN).await?;
    }
    subject.refuses(status, Method::POST, "/v1/txn", &[], TXN).await?;
    let nothing = br#"{"success": []}"#;
    for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
        let headers = [("content-type", content_type)];
        let answer = subject.send(Method::POST, "/v1/txn", &headers, nothing).await?;
        ensure!(answer.status == StatusCode::OK, "{content_type}: {}", answer.text());
    }
    subject.finish().await
}

#[tokio::test]
async fn grpc_without_grpc_content_type_is_rejected() -> Result<()> {
    let subject = Subject::start().await?;
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/grpcx", ""]
    {
        let headers = [("content-type", content_type)];
        subject.refuses(status, Method::POST, GRPC_PATH, &headers, GRPC_PUT).await?;
    }
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let headers = [("content-type", "application/grpc")];
    subject.refuses(status, Method::GET, GRPC_PATH, &headers, b"").await?;
    subject.finish().await
}

#[tokio::test]
async fn foreign_origin_is_rejected_on_every_route() -> Result<()> {
    let subject = Subject::start().await?;
    let json = ("content-type", "application/json");
    for origin in ["https://evil.example", "http://localhost:3000", "null"] {
        let headers = [("origin", origin), json];
        for (method, path) in [
            (Method::GET, "/v1/kv/kept"),
            (Method::PUT, "/v1/kv/kept"),
            (Method::DELETE, "/v1/kv/kept"),
            (Method::GET, "/v1/kv"),
            (Method::POST, "/v1/txn"),
            (Method::OPTIONS, "/v1/kv/kept"),
            (Method::GET, "/v1/events"),
            (Method::GET, "/v1/log"),
            (Method::GET, "/metrics"),
            (Method::GET, "/"),
            (Method::GET, "/nothing"),
        ] {
            let body = if method == Method::POST { TXN } else { b"" };
            subject.refuses(StatusCode::FORBIDDEN, method, path, &headers, body).await?;
        }
    }
    let cross_site = [("sec-fetch-site", "cross-site")];
    for (method, path) in [(Method::GET, "/v1/kv/kept"), (Method::DELETE, "/v1/kv/kept")] {
        subject.refuses(StatusCode::FORBIDDEN, method, path, &cross_site, b"").await?;
    }
    let same_site = [("sec-fetch-site", "same-site")];
    let delete = Method::DELETE;
    subject.refuses(StatusCode::FORBIDDEN, delete, "/v1/kv/kept", &same_site, b"").await?;
    // The page of the node itself, and a page behind a proxy.
    let own = format!("http://localhost:{}", subject.0.port(0));
    for origin in [own.as_str(), "https://raft.example"] {
        let answer = subject.send(Method::PUT, "/v1/kv/other", &[("origin", origin)], b"v").await?;
        ensure!(answer.status == StatusCode::NO_CONTENT, "{origin}: {}", answer.text());
    }
    subject.finish().await
}

#[tokio::test]
async fn grpc_from_foreign_origin_gets_grpc_status() -> Result<()> {
    let subject = Subject::start().await?;
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("host", "evil.example"),
    ] {
        let headers = [("content-type", "application/grpc"), (name, value)];
        let answer = subject.send(Method::POST, GRPC_PATH, &headers, GRPC_PUT).await?;
        ensure!(answer.status == StatusCode::OK, "{name}: {}", answer.status);
        let status = answer.header("grpc-status");
        ensure!(status == Some("7"), "{name}: {status:?}");
        ensure!(answer.header("grpc-message").is_some_and(|text| !text.is_empty()), "{name}");
    }
    subject.finish().await
}

#[tokio::test]
async fn unknown_host_is_rejected_on_every_route() -> Result<()> {
    let subject = Subject::start().await?;
    for host in ["evil.example", "localhost.evil.example:50051"] {
        for (method, path) in [
            (Method::GET, "/v1/kv/kept"),
            (Method::PUT, "/v1/kv/kept"),
            (Method::DELETE, "/v1/kv/kept"),
            (Method::GET, "/metrics"),
            (Method::GET, "/livez"),
            (Method::GET, "/"),
        ] {
            let headers = [("host", host)];
            let status = StatusCode::MISDIRECTED_REQUEST;
            subject.refuses(status, method, path, &headers, b"").await?;
        }
    }
    for host in ["127.0.0.1", "[::1]:1", "localhost", "node.localhost", ALLOWED] {
        let answer = subject.send(Method::GET, "/v1/kv/kept", &[("host", host)], b"").await?;
        ensure!(answer.status == StatusCode::OK, "{host}: {}", answer.text());
        ensure!(answer.header("x-content-type-options") == Some("nosniff"), "{host}");
    }
    subject.finish().await
}

#[tokio::test]
async fn unknown_grpc_method_has_message() -> Result<()> {
    let subject = Subject::start().await?;
    let grpc = subject.0.grpc(0).await?;
    for method in ["/etcdserverpb.KV/Range", "/raft.KeyValueService/Watch"] {
        let answer = grpc.call_raw(method, Bytes::new()).await?;
        let status = answer.err().context("unexpected success")?;
        ensure!(status.code() == tonic::Code::Unimplemented, "{status:?}");
        ensure!(status.message().contains(method), "{status:?}");
        ensure!(status.metadata().contains_key("raft-outcome"), "{status:?}");
    }
    subject.finish().await
}

#[tokio::test]
async fn grpc_message_over_limit_is_reported_as_not_executed() -> Result<()> {
    let subject = Subject::start().await?;
    let grpc = subject.0.grpc(0).await?;
    let answer = grpc.call_raw("/raft.KeyValueService/Put", vec![0; 5 << 20].into()).await?;
    let status = answer.err().context("unexpected success")?;
    ensure!(status.code() == tonic::Code::OutOfRange, "{status:?}");
    let outcome = status.metadata().get("raft-outcome").context("no outcome")?;
    ensure!(outcome == "not-done", "{status:?}");
    subject.finish().await
}
