//! Numbers for operators, in the OpenMetrics format.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Api;
use super::problem::Problem;

/// Requests answered so far.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Family<RequestLabels, Counter>>);

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct PeerLabels {
    peer: String,
}

/// Counts a request by its answer.
pub(crate) async fn count(State(api): State<Api>, request: Request, next: Next) -> Response {
    // Methods that nobody knows share a counter, so that a client cannot make up new ones.
    let known = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    let method = known.iter().find(|name| **name == request.method().as_str());
    let method = method.map_or("other", |name| name).to_owned();
    let response = next.run(request).await;
    let labels = RequestLabels { method, status: response.status().as_u16() };
    api.requests.0.get_or_create(&labels).inc();
    response
}

pub(crate) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let status = api.node.status().await?;
    let mut registry = Registry::with_prefix("raft");
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64, AtomicI64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    gauge("term", "Current term", status.term);
    gauge("is_leader", "1 if this node leads", u64::from(status.role == "leader"));
    gauge("has_leader", "1 if this node knows a leader", u64::from(status.leader.is_some()));
    gauge("commit_index", "Last position of the log that is committed", status.commit_index);
    gauge("applied_index", "Last position of the log that is applied", status.applied_index);
    gauge("last_index", "End of the log", status.last_index);
    gauge("durable_index", "Last position of the log that is on this disk", status.durable_index);
    gauge("kv_revision", "Revision of the key-value store", status.revision.unsigned_abs());
    let connected = Family::<PeerLabels, Gauge>::default();
    for (peer, is_connected) in api.node.peers() {
        connected.get_or_create(&PeerLabels { peer }).set(i64::from(is_connected));
    }
    registry.register("peer_connected", "1 if there is a connection to the peer", connected);
    registry.register("http_requests", "Requests answered", (*api.requests.0).clone());
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written")
    })?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
