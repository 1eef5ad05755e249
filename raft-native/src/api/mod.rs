//! The API for clients: REST, gRPC, metrics and the page, on one TCP port.
//!
//! A request passes `connection`, `limits`, and a handler in `http` or `grpc`. The handlers only
//! translate: all operations are those of [`Handle`].

mod connection;
mod grpc;
mod http;
mod limits;
mod problem;
mod refusal;
mod server;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::watch;

use crate::client::Handle;
use connection::Phase;
use http::metrics::Requests;
use http::{events, kv, metrics, static_files, status, txn};
use limits::body_meter::{self, BodyMeter};
use limits::concurrency::ConcurrencyLimits;
use limits::request_guard::{self, RequestGuard};
use problem::{Kind, Problem};
pub use server::ClientServer;

/// The server for clients cannot be built, which is a bug of this program.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve clients: {0}; report this as a bug")]
pub struct ClientServerError(#[from] tonic_reflection::server::Error);

/// The state of all handlers.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) node: Handle,
    pub(crate) requests: Requests,
    pub(crate) concurrency: ConcurrencyLimits,
    /// The phase of the server. Event streams end when the server drains.
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Api {
    fn new(node: Handle, phase: watch::Receiver<Phase>) -> Self {
        let (requests, concurrency) = (Requests::default(), ConcurrencyLimits::default());
        Self { node, requests, concurrency, phase }
    }
}

fn router(api: Api) -> Result<Router, ClientServerError> {
    let rest = Router::new()
        .route("/v1/kv", get(kv::list))
        .route("/v1/kv/{*key}", get(kv::get).put(kv::put).delete(kv::delete))
        // Without this route, the empty key would be an unknown path.
        .route("/v1/kv/", get(kv::get).put(kv::put).delete(kv::delete))
        .route("/v1/txn", post(txn::execute).layer(from_fn(request_guard::json_only)))
        .route("/v1/status", get(status::status))
        .route("/v1/cluster", get(status::cluster))
        .route("/v1/log", get(status::log))
        .route("/v1/events", get(events::events))
        .route("/metrics", get(metrics::metrics))
        .route("/problems/{name}", get(problem::describe))
        .route("/livez", get(status::live))
        .route("/readyz", get(status::ready))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(static_files::static_file_or_404)
        .layer(from_fn_with_state(api.clone(), metrics::count))
        .with_state(api.clone());
    let guard = RequestGuard::new(api.node.config());
    let meter = BodyMeter::new(api.phase.clone());
    let grpc = grpc::routes(api)?.layer(from_fn(request_guard::grpc_only));
    Ok(grpc
        .merge(rest)
        .layer(from_fn_with_state(meter, body_meter::meter))
        .layer(from_fn_with_state(guard, request_guard::guard)))
}

async fn method_not_allowed(request: Request) -> Response {
    let detail = format!("method not allowed: {}; see the Allow header", request.method());
    Problem::of(Kind::MethodNotAllowed, detail).into_response()
}
