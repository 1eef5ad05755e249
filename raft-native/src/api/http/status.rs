//! How the node and its cluster are.

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

const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

/// This node, from itself alone.
pub(crate) async fn status(
    State(api): State<Api>,
    parameters: Result<Parameters, Problem>,
) -> Result<Json<NodeStatus>, Problem> {
    parameters?.finish()?;
    Ok(Json(api.node.status().await?))
}

/// All nodes. One that doesn't answer is there, too.
pub(crate) async fn cluster(
    State(api): State<Api>,
    parameters: Result<Parameters, Problem>,
) -> Result<Json<Cluster>, Problem> {
    parameters?.finish()?;
    Ok(Json(Cluster { nodes: api.node.cluster().await }))
}

pub(crate) async fn log(
    State(api): State<Api>,
    parameters: Result<Parameters, Problem>,
) -> Result<Json<Log>, Problem> {
    let mut parameters = parameters?;
    let from = parameters.number("from")?.unwrap_or(1);
    let limit = parameters.number("limit")?.unwrap_or(LIMIT_DEFAULT);
    parameters.finish()?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be 1 to {LIMIT_MAX}")));
    }
    let _permit = api.concurrency.log.acquire().await?;
    Ok(Json(Log { entries: api.node.log(from, limit as usize).await? }))
}

/// The process lives.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// Requests have a chance here.
pub(crate) async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    match api.node.readiness() {
        Ok(()) => Ok("ok\n"),
        Err(reason) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason.to_string())),
    }
}
