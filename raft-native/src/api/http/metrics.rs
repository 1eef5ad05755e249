//! Metrics in the Prometheus text format or as OpenMetrics.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::Api;
use crate::api::http::metrics_format::{self, Format};
use crate::api::problem::Problem;
use crate::observe::disk_space::disk_bytes;
use crate::observe::status::NodeStatus;
use crate::observe::timings::{durations, observe};

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The counters and histograms of requests. Clones share them.
#[derive(Clone)]
pub(crate) struct Requests {
    http: Family<HttpLabels, Counter>,
    http_seconds: Histograms<RouteLabels>,
    grpc: Family<GrpcLabels, Counter>,
    grpc_seconds: Histograms<MethodLabels>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct HttpLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RouteLabels {
    method: String,
    route: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct GrpcLabels {
    method: String,
    code: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct MethodLabels {
    method: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct PeerLabels {
    peer: String,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            http: Family::default(),
            http_seconds: Family::new_with_constructor(durations),
            grpc: Family::default(),
            grpc_seconds: Family::new_with_constructor(durations),
        }
    }
}

/// The label of unknown methods and routes. Without it, a client could create any number of labels.
const OTHER: &str = "other";

/// Counts a request by its method, route and status.
pub(crate) async fn count(State(api): State<Api>, request: Request, next: Next) -> Response {
    let known = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    let method = known.iter().find(|name| **name == request.method().as_str());
    let method = method.map_or(OTHER, |name| name).to_owned();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or(OTHER, MatchedPath::as_str).to_owned();
    let start = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let labels = RouteLabels { method: method.clone(), route: route.clone() };
    observe(&api.requests.http_seconds.get_or_create(&labels), start.elapsed());
    api.requests.http.get_or_create(&HttpLabels { method, route, status }).inc();
    response
}

/// Counts a gRPC call by its method and code. A stream is counted at its start.
pub(crate) async fn count_grpc(State(api): State<Api>, request: Request, next: Next) -> Response {
    let known = [
        "/raft.KeyValueService/Put",
        "/raft.KeyValueService/Get",
        "/raft.KeyValueService/Delete",
        "/raft.KeyValueService/GetClusterStatus",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ];
    let method = known.iter().find(|name| **name == request.uri().path());
    let method = method.map_or(OTHER, |name| name.trim_start_matches('/')).to_owned();
    let start = Instant::now();
    let response = next.run(request).await;
    // A failed call has its code in the headers, and a successful one in the trailers.
    let code = response.headers().get("grpc-status");
    let code = code.and_then(|code| code.to_str().ok()?.parse().ok()).unwrap_or_default();
    let labels = MethodLabels { method: method.clone() };
    observe(&api.requests.grpc_seconds.get_or_create(&labels), start.elapsed());
    api.requests.grpc.get_or_create(&GrpcLabels { method, code }).inc();
    response
}

pub(crate) async fn metrics(
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let status = api.node.status().await?;
    let mut registry = Registry::default();
    let raft = registry.sub_registry_with_prefix("raft");
    register_node(raft, &status);
    let connected = Family::<PeerLabels, Gauge>::default();
    for (peer, is_connected) in api.node.peers() {
        connected.get_or_create(&PeerLabels { peer }).set(i64::from(is_connected));
    }
    raft.register("peer_connected", "1 if there is a connection to the peer", connected);
    register_requests(raft, &api.requests);
    let dropped = Counter::<u64>::default();
    dropped.inc_by(api.node.dropped_log_lines());
    raft.register(
        "log_lines_dropped",
        "Log lines that were dropped because the log was not read in time",
        dropped,
    );
    let timings = api.node.timings().clone();
    raft.register(
        "log_write_duration_seconds",
        "Duration of writes of the log with their sync",
        timings.log_write,
    );
    raft.register(
        "apply_duration_seconds",
        "Duration of applying a batch of committed entries",
        timings.apply,
    );
    register(raft, "disk_free_bytes", "Free space of the disk", api.node.disk_free());
    let data_dir = api.node.config().data_dir.clone();
    if let Ok(Some(bytes)) = tokio::task::spawn_blocking(move || disk_bytes(data_dir)).await {
        register(raft, "data_dir_bytes", "Disk space of the data directory", bytes);
    }
    #[cfg(target_os = "linux")]
    crate::api::http::process_metrics::register_usage(registry.sub_registry_with_prefix("process"));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "cannot encode the metrics; report this as a bug",
        )
    })?;
    let format = Format::accepted(&headers);
    let text = match format {
        Format::OpenMetrics => text,
        Format::Text => metrics_format::to_text_format(&text),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(format.content_type())),
        (header::VARY, HeaderValue::from_static("accept")),
    ];
    Ok((headers, text).into_response())
}

fn register_node(raft: &mut Registry, status: &NodeStatus) {
    let mut gauge = |name: &str, help: &str, value: u64| register(raft, name, help, value);
    gauge("term", "Current term", status.term);
    gauge("is_leader", "1 if this node is the leader", u64::from(status.role == "leader"));
    gauge("has_leader", "1 if this node knows a leader", u64::from(status.leader.is_some()));
    gauge("commit_index", "Index of the last committed entry", status.commit_index);
    gauge("applied_index", "Index of the last applied entry", status.applied_index);
    gauge("last_index", "Index of the last entry of the log", status.last_index);
    gauge(
        "durable_index",
        "Index of the last entry that is durable on this node",
        status.durable_index,
    );
    gauge(
        "disk_alarm",
        "1 if writes are rejected for lack of space",
        u64::from(!status.alarms.is_empty()),
    );
    gauge("kv_revision", "Revision of the key-value store", status.revision.unsigned_abs());
}

fn register_requests(raft: &mut Registry, requests: &Requests) {
    let requests = requests.clone();
    raft.register("http_requests", "HTTP requests answered", requests.http);
    raft.register(
        "http_request_duration_seconds",
        "Time until the head of the response to an HTTP request",
        requests.http_seconds,
    );
    raft.register("grpc_requests", "gRPC calls answered", requests.grpc);
    raft.register(
        "grpc_request_duration_seconds",
        "Time until the head of the response to a gRPC call",
        requests.grpc_seconds,
    );
}

/// Registers a gauge with a value.
pub(crate) fn register(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64, AtomicI64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

/// Registers a counter with a value.
pub(crate) fn register_counter(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let counter = Counter::<f64, AtomicU64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}
