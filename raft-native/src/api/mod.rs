//! What clients see of a node, all of it at one TCP port: REST, gRPC, metrics and the page.

mod connection;
mod grpc;
mod http;
mod limits;
mod problem;
mod server;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::watch;
use tonic::Status;

use crate::client::Handle;
use connection::Phase;
use http::metrics::Requests;
use http::{events, kv, metrics, static_files, status, txn};
use limits::body_meter::{self, Meter};
use limits::concurrency::Gates;
use limits::request_guard::{self, Guard};
use problem::{Kind, Problem};
pub use server::ClientServer;

/// Something that stops the server for clients from being built: a defect of this program.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve clients: {0}")]
pub struct ClientServerError(String);

/// What every handler gets.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) node: Handle,
    pub(crate) requests: Requests,
    pub(crate) gates: Gates,
    /// How the server ends; streams without end stop as soon as it drains.
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Api {
    fn new(node: Handle, phase: watch::Receiver<Phase>) -> Self {
        Self { node, requests: Requests::default(), gates: Gates::default(), phase }
    }
}

fn router(api: Api) -> Result<Router, ClientServerError> {
    let rest = Router::new()
        .route("/v1/kv", get(kv::list))
        .route("/v1/kv/{*key}", get(kv::get).put(kv::put).delete(kv::delete))
        // The empty key is refused as a key, not as a path.
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
        .method_not_allowed_fallback(wrong_method)
        .fallback(static_files::static_file_or_404)
        .layer(from_fn_with_state(api.clone(), metrics::count))
        .with_state(api.clone());
    let guard = Guard::new(api.node.config());
    let meter = Meter::new(api.phase.clone());
    let grpc = grpc::routes(api)?.layer(from_fn(request_guard::grpc_only));
    Ok(grpc
        .merge(rest)
        .layer(from_fn_with_state(meter, body_meter::meter))
        .layer(from_fn_with_state(guard, request_guard::guard)))
}

async fn wrong_method(request: Request) -> Response {
    let detail = format!("{} is not possible here", request.method());
    Problem::of(Kind::MethodNotAllowed, detail).into_response()
}

/// What is said about a path that nothing is at.
pub(crate) fn not_found(request: &Request) -> Response {
    let path = request.uri().path();
    if is_grpc(request.headers()) && request.method() == Method::POST {
        return unknown_method(path);
    }
    let detail = format!("there is nothing at {path}");
    Problem::of(Kind::PathNotFound, detail).into_response()
}

fn unknown_method(path: &str) -> Response {
    let status = Status::unimplemented(format!("unknown method: {path}; see reflection"));
    grpc::with_outcome(status, "not-done").into_http::<axum::body::Body>()
}

/// Returns true if the request is a gRPC call, whose answer has to be one.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// Returns what makes a refusal in the form that the client understands: a gRPC status or problem
/// details.
pub(crate) fn refusal(request_headers: &HeaderMap) -> fn(Problem) -> Response {
    if is_grpc(request_headers) { grpc_refusal } else { Problem::into_response }
}

fn grpc_refusal(problem: Problem) -> Response {
    let detail = problem.detail();
    let status = match problem.status() {
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => {
            Status::permission_denied(detail)
        }
        StatusCode::SERVICE_UNAVAILABLE => Status::resource_exhausted(detail),
        _ => Status::invalid_argument(detail),
    };
    grpc::with_outcome(status, problem.outcome()).into_http::<axum::body::Body>()
}
