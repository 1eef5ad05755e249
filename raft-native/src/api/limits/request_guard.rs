//! Protection of the node from pages of other origins.
//!
//! Any web page can make a browser send requests to this node. So the node refuses a request if
//! its `Host` could lead here by DNS rebinding, if its `Origin` is foreign, or if the browser says
//! that another site caused it. A request with a body must also have a content type that browsers
//! do not send to other origins without a preflight.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::problem::Problem;
use crate::api::refusal::{is_grpc, refusal, unknown_grpc_method};
use crate::config::NodeConfig;

/// The host names under which clients may address this node, besides IP addresses and `localhost`.
#[derive(Clone)]
pub(crate) struct RequestGuard(Arc<Names>);

struct Names {
    advertised: String,
    /// The names in `--allowed-hosts`. Pages from these hosts may also send requests.
    allowed: Vec<String>,
}

const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

impl RequestGuard {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        let allowed = config.allowed_hosts.iter().map(|host| normal(host)).collect();
        Self(Arc::new(Names { advertised: normal(config.advertise.host()), allowed }))
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        let host = self.check_host(request)?;
        self.check_site(request, host.as_ref())
    }

    /// Checks every host in the request: the `Host` header and the authority of the URI.
    fn check_host(&self, request: &Request) -> Result<Option<Authority>, Problem> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (first, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return Err(Problem::bad_request("duplicate Host header; send one"));
        }
        let named = first.map(authority).transpose()?;
        for host in request.uri().authority().into_iter().chain(&named) {
            if !is_host_and_port(host) {
                let detail = format!("invalid host: {host:?}; send HOST:PORT");
                return Err(Problem::bad_request(detail));
            }
            if !self.is_own(host.host()) {
                let detail = format!(
                    "host not allowed: {:?}; use an IP address, localhost or the advertised name, \
                     or start the node with --allowed-hosts",
                    host.host()
                );
                return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
            }
        }
        let host = request.uri().authority().cloned().or(named);
        // Browsers always send a host.
        if host.is_none() && request.version() > Version::HTTP_10 {
            return Err(Problem::bad_request("missing Host header; send one"));
        }
        Ok(host)
    }

    /// Checks the origin of the page that caused the request, which browsers send.
    fn check_site(&self, request: &Request, host: Option<&Authority>) -> Result<(), Problem> {
        let headers = request.headers();
        let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
        if origins.peek().is_some() {
            let Some(origin) = origins.find(|origin| !self.is_allowed_origin(origin, host)) else {
                return Ok(());
            };
            let detail = format!(
                "origin not allowed: {origin:?}; open the page from this node, or start the node \
                 with --allowed-hosts"
            );
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_foreign = match field(headers, "sec-fetch-site") {
            "cross-site" => !is_page_navigation(request),
            "same-site" => !is_read,
            _ => false,
        };
        if is_foreign {
            let detail = "request of another site not allowed; open the page from this node";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }

    fn is_own(&self, host: &str) -> bool {
        let host = normal(host);
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || host == self.0.advertised
            || self.0.allowed.contains(&host)
    }

    fn is_allowed_origin(&self, origin: &HeaderValue, host: Option<&Authority>) -> bool {
        let Some(origin) = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok())
        else {
            return false;
        };
        let default_port = match origin.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return false,
        };
        let Some(authority) = origin.authority() else { return false };
        let place = |authority: &Authority| {
            (normal(authority.host()), authority.port_u16().unwrap_or(default_port))
        };
        host.is_some_and(|host| place(host) == place(authority))
            || self.0.allowed.contains(&normal(authority.host()))
    }
}

/// Refuses requests of pages of other origins, and prevents these pages from reading responses.
pub(crate) async fn guard(
    State(guard): State<RequestGuard>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => refusal(request.headers())(problem),
    };
    let headers = response.headers_mut();
    // Without this, a browser could run a value as a script.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CORP, HeaderValue::from_static("same-origin"));
    response
}

/// Accepts only JSON. Browsers send some other content types for any page without a preflight.
pub(crate) async fn json_only(request: Request, next: Next) -> Response {
    let content_type = field(request.headers(), "content-type");
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json")
        && has_one_content_type(request.headers());
    if request.method() != Method::POST || is_json {
        return next.run(request).await;
    }
    unsupported(content_type, "one content type, application/json")
}

/// Accepts only gRPC, for the same reason as [`json_only`].
pub(crate) async fn grpc_only(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        let detail = format!("method not allowed: {}; use POST", request.method());
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail);
        return ([(header::ALLOW, "POST")], problem).into_response();
    }
    if is_grpc(request.headers()) && has_one_content_type(request.headers()) {
        let path = request.uri().path().to_owned();
        return completed(next.run(request).await, &path);
    }
    unsupported(field(request.headers(), "content-type"), "one content type, application/grpc")
}

/// Adds message and outcome to refusals of the gRPC library, for unknown methods and for messages
/// that the library cannot decode. The service did not see these calls.
fn completed(mut response: Response, path: &str) -> Response {
    const OUTCOME: HeaderName = HeaderName::from_static("raft-outcome");
    let headers = response.headers_mut();
    let status = headers.get("grpc-status").map(HeaderValue::as_bytes);
    let is_unimplemented = status == Some(b"12");
    let is_refused = is_unimplemented || status == Some(b"11");
    if is_unimplemented && !headers.contains_key("grpc-message") {
        return unknown_grpc_method(path);
    }
    if is_refused && !headers.contains_key(OUTCOME) {
        headers.insert(OUTCOME, HeaderValue::from_static("not-done"));
    }
    response
}

fn has_one_content_type(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_TYPE).iter().count() == 1
}

fn unsupported(content_type: &str, wanted: &str) -> Response {
    let detail = format!("content type not allowed: {content_type:?}; send {wanted}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into_response()
}

/// Returns true for a link on another site that leads to a page of this node.
fn is_page_navigation(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && matches!(request.uri().path(), "/" | "/playground" | "/playground/")
        && field(headers, "sec-fetch-mode") == "navigate"
        && field(headers, "sec-fetch-dest") == "document"
}

fn authority(value: &HeaderValue) -> Result<Authority, Problem> {
    let parsed = value.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    let parsed = parsed.filter(|host| !host.host().is_empty());
    parsed.ok_or_else(|| {
        Problem::bad_request(format!("invalid Host header: {value:?}; send HOST:PORT"))
    })
}

/// Returns false if the authority contains more than a host and a port. The parser treats
/// `[::1].evil.example` as the host `[::1]`.
fn is_host_and_port(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

fn field<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The normal form of a host: lower case, without the dot at the end of an absolute name.
fn normal(host: &str) -> String {
    let host = host.trim();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use axum::body::Body;

    use super::*;
    use crate::config::address::Address;

    fn guard() -> RequestGuard {
        let peers = vec![Address::new("peer.example", 2)];
        let mut config = NodeConfig::new("node1", 1, peers, PathBuf::new());
        config.advertise = Address::new("node1.example", 1);
        config.allowed_hosts = vec!["Raft.Example".to_owned()];
        RequestGuard::new(&config)
    }

    fn status(method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let checked = guard().check(&request.body(Body::empty()).unwrap());
        checked.map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn host_must_be_an_address_or_a_known_name() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:50051",
            "192.168.1.7:1",
            "[::1]:50051",
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "app.localhost:1",
            "node1.example:1",
            "raft.example",
        ] {
            assert_eq!(status("GET", "/v1/kv/k", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:50051",
            "localhost.evil.example",
            "notlocalhost",
            "peer.example:2",
            "127.0.0.1.evil.example",
            "2130706433",
        ] {
            assert_eq!(status("GET", "/v1/kv/k", &[("host", host)]), 421, "{host}");
            assert_eq!(status("GET", "/", &[("host", host)]), 421, "{host}");
        }
        for host in ["", "user@localhost", "a b", "local\u{e4}host", ":1", "[::1].evil.example"] {
            assert_eq!(status("GET", "/", &[("host", host)]), 400, "{host}");
        }
        assert_eq!(status("GET", "/", &[]), 400);
        assert_eq!(status("GET", "/", &[("host", "localhost"), ("host", "localhost")]), 400);
    }

    #[test]
    fn every_authority_of_a_request_is_checked() {
        let local = ("host", "localhost:1");
        assert_eq!(status("GET", "http://localhost:1/", &[]), 200);
        assert_eq!(status("GET", "http://evil.example/", &[local]), 421);
        assert_eq!(status("GET", "http://user@localhost:1/", &[local]), 400);
        assert_eq!(status("GET", "http://[::1].evil.example/", &[local]), 400);
        assert_eq!(status("GET", "http://localhost:1/", &[("host", "evil.example")]), 421);
    }

    #[test]
    fn origin_must_be_the_own_one_or_an_allowed_host() {
        let from = |origin, host| status("PUT", "/v1/kv/k", &[("host", host), ("origin", origin)]);
        assert_eq!(from("http://localhost:50051", "localhost:50051"), 200);
        assert_eq!(from("http://LocalHost", "localhost:80"), 200);
        assert_eq!(from("https://127.0.0.1", "127.0.0.1:443"), 200);
        // A proxy that speaks TLS with the browser.
        assert_eq!(from("https://raft.example", "localhost:50051"), 200);
        for origin in [
            "http://evil.example",
            "http://localhost:3000",
            "http://127.0.0.1:50051",
            "http://node1.example",
            "https://localhost.evil.example:50051",
            "null",
            "",
            "file://",
            "chrome-extension://abc",
        ] {
            assert_eq!(from(origin, "localhost:50051"), 403, "{origin}");
        }
        let own = ("origin", "http://localhost:50051");
        let two = [("host", "localhost:50051"), own, ("origin", "http://evil.example")];
        assert_eq!(status("PUT", "/v1/kv/k", &two), 403);
        // Reads and preflights are also refused.
        let foreign = [("host", "localhost"), ("origin", "http://evil.example")];
        for method in ["GET", "HEAD", "OPTIONS", "POST", "DELETE"] {
            assert_eq!(status(method, "/v1/kv/k", &foreign), 403, "{method}");
        }
    }

    #[test]
    fn request_caused_by_another_site_is_refused() {
        let site = |method, path, site, mode, dest| {
            let headers = [
                ("host", "localhost"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ];
            status(method, path, &headers)
        };
        assert_eq!(site("GET", "/v1/kv/k", "cross-site", "no-cors", "image"), 403);
        assert_eq!(site("GET", "/v1/kv/k", "cross-site", "navigate", "document"), 403);
        assert_eq!(site("POST", "/", "cross-site", "navigate", "document"), 403);
        assert_eq!(site("GET", "/", "cross-site", "navigate", "iframe"), 403);
        assert_eq!(site("GET", "/metrics", "cross-site", "", ""), 403);
        assert_eq!(site("DELETE", "/v1/kv/k", "same-site", "cors", "empty"), 403);
        assert_eq!(site("GET", "/", "same-site", "no-cors", "image"), 200);
        assert_eq!(site("DELETE", "/v1/kv/k", "same-origin", "cors", "empty"), 200);
        assert_eq!(site("GET", "/", "none", "navigate", "document"), 200);
        // A link to the playground works.
        assert_eq!(site("GET", "/playground/", "cross-site", "navigate", "document"), 200);
    }
}
