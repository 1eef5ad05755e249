//! The status of the node and of its cluster.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::api::Api;
use crate::api::http::query::Parameters;
use crate::api::problem::Problem;
use crate::observe::status::{ClusterMember, LogEntry, NodeStatus};

#[derive(Serialize)]
pub(crate) struct Cluster {
    nodes: Vec<ClusterMember>,
}

#[derive(Serialize)]
pub(crate) struct Log {
    entries: Vec<LogEntry>,
}

/// The number of entries without the parameter `limit`.
const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

/// The status of this node.
pub(crate) async fn status(
    State(api): State<Api>,
    parameters: Result<Parameters, Problem>,
) -> Result<Json<NodeStatus>, Problem> {
    parameters?.finish()?;
    Ok(Json(api.node.status().await?))
}

/// The status of all members, including unreachable ones.
pub(crate) async fn cluster(
    State(api): State<Api>,
    parameters: Result<Parameters, Problem>,
) -> Result<Json<Cluster>, Problem> {
    parameters?.finish()?;
    Ok(Json(Cluster { nodes: api.node.cluster().await }))
}

/// Entries of the log.
pub(crate) async fn log(
    State(api): State<Api>,
    parameters: Result<Parameters, Problem>,
) -> Result<Json<Log>, Problem> {
    let mut parameters = parameters?;
    let from = parameters.number("from")?.unwrap_or(1);
    let limit = parameters.number("limit")?.unwrap_or(LIMIT_DEFAULT);
    parameters.finish()?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("invalid limit: {limit}; give 1 to {LIMIT_MAX}")));
    }
    let _permit = api.concurrency.log.acquire().await?;
    Ok(Json(Log { entries: api.node.log(from, limit as usize).await? }))
}

/// The liveness of the process.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// The readiness of the node.
pub(crate) async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    match api.node.readiness() {
        Ok(()) => Ok("ok\n"),
        Err(reason) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason.to_string())),
    }
}
