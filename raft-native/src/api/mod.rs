//! What clients see of a node, all of it at one TCP port: REST, gRPC, metrics and the page.

mod body;
mod cluster;
mod conditions;
mod deadline;
mod done;
mod encoding;
mod events;
mod exposition;
mod grpc;
mod kv;
mod metrics;
mod page;
mod parameters;
mod problem;
#[cfg(target_os = "linux")]
mod process;
mod txn;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::StartError;
use crate::handle::Handle;
use metrics::Requests;
use problem::{Kind, Problem};

/// Something that stops the server for clients from being built: a defect of this program.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve clients: {0}")]
pub struct ClientServerError(String);

/// The server for clients.
pub struct ClientServer {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What every handler gets.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) node: Handle,
    pub(crate) requests: Requests,
    /// Turns true when the server stops; streams without end stop then.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// How long requests under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(2);

impl ClientServer {
    /// Takes the port, before anything else is done.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the port is not to be had.
    pub async fn bind(listen: IpAddr, port: u16) -> Result<TcpListener, StartError> {
        let bound = TcpListener::bind(SocketAddr::new(listen, port)).await;
        bound.map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => StartError::PortInUse { port, protocol: "TCP" },
            _ => StartError::Listen { port, error },
        })
    }

    /// Begins to serve.
    ///
    /// # Errors
    ///
    /// [`ClientServerError`].
    pub fn start(listener: TcpListener, node: Handle) -> Result<Self, ClientServerError> {
        let (stop, stopping) = watch::channel(false);
        let api = Api { node, requests: Requests::default(), stopping: stopping.clone() };
        let router = router(api)?;
        let stopped = wait_for_stop(stopping);
        let task = tokio::spawn(async move {
            // It returns when it is told to stop, and never with an error.
            let _ = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
        });
        Ok(Self { stop, task })
    }

    /// Takes no more requests, and returns when those under way are answered, or have had their time.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(GRACE, self.task).await.is_err() {
            abort.abort();
        }
    }
}

async fn wait_for_stop(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn router(api: Api) -> Result<Router, ClientServerError> {
    let rest = Router::new()
        .route("/v1/kv", get(kv::list))
        .route("/v1/kv/{*key}", get(kv::get).put(kv::put).delete(kv::delete))
        // The empty key is refused as a key, not as a path.
        .route("/v1/kv/", get(kv::get).put(kv::put).delete(kv::delete))
        .route("/v1/txn", post(txn::execute))
        .route("/v1/status", get(cluster::status))
        .route("/v1/cluster", get(cluster::cluster))
        .route("/v1/log", get(cluster::log))
        .route("/v1/events", get(events::events))
        .route("/metrics", get(metrics::metrics))
        .route("/problems/{name}", get(problem::describe))
        .route("/livez", get(cluster::live))
        .route("/readyz", get(cluster::ready))
        .method_not_allowed_fallback(wrong_method)
        .fallback(page::page_or_nothing)
        .layer(middleware::from_fn_with_state(api.clone(), metrics::count))
        .with_state(api.clone());
    Ok(grpc::routes(api)?.merge(rest))
}

async fn wrong_method(request: Request) -> Response {
    let detail = format!("{} is not possible here", request.method());
    Problem::of(Kind::MethodNotAllowed, detail).into_response()
}

/// What is said about a path that nothing is at.
pub(crate) fn nothing_here(request: &Request) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_grpc =
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if is_grpc && request.method() == Method::POST {
        // Status 12 is UNIMPLEMENTED.
        let mut response = StatusCode::OK.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("12"));
        return response;
    }
    let detail = format!("there is nothing at {}", request.uri().path());
    Problem::of(Kind::PathNotFound, detail).into_response()
}
