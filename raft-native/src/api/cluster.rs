//! How the node and its cluster are.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Api;
use super::problem::Problem;
use crate::status::{ClusterMember, LogEntry, NodeStatus};

#[derive(Serialize)]
pub(crate) struct Cluster {
    nodes: Vec<ClusterMember>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogOptions {
    from: Option<u64>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct Log {
    entries: Vec<LogEntry>,
}

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// This node, from itself alone.
pub(crate) async fn status(State(api): State<Api>) -> Result<Json<NodeStatus>, Problem> {
    Ok(Json(api.node.status().await?))
}

/// All nodes. One that doesn't answer is there, too.
pub(crate) async fn cluster(State(api): State<Api>) -> Json<Cluster> {
    Json(Cluster {
        nodes: api.node.cluster().await,
    })
}

pub(crate) async fn log(
    State(api): State<Api>,
    options: Result<Query<LogOptions>, QueryRejection>,
) -> Result<Json<Log>, Problem> {
    let Query(options) = options?;
    let limit = options.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!(
            "limit must be 1 to {LIMIT_MAX}"
        )));
    }
    Ok(Json(Log {
        entries: api.node.log(options.from.unwrap_or(1), limit)?,
    }))
}

/// The process lives.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// Requests have a chance here.
pub(crate) async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    if api.node.is_ready() {
        Ok("ok\n")
    } else {
        Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "this node knows no leader",
        ))
    }
}
