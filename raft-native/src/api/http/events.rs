//! The events of the node as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use crate::api::Api;
use crate::api::connection::Phase;
use crate::api::http::query::Parameters;
use crate::api::problem::Problem;
use crate::observe::event_log::Detail;

/// A comment is sent after this time without an event, so that a dead connection is detected.
const COMMENT_INTERVAL: Duration = Duration::from_secs(10);

/// Streams the latest events and future ones. The stream ends when the node stops, or when the
/// client does not keep up.
pub(crate) async fn events(
    State(api): State<Api>,
    parameters: Result<Parameters, Problem>,
) -> Result<Response, Problem> {
    let mut parameters = parameters?;
    let detail = match parameters.text("detail")?.as_deref() {
        None | Some("decisions") => Detail::Decisions,
        Some("all") => Detail::All,
        Some(other) => {
            let detail = format!("invalid detail: {other:?}; use decisions or all");
            return Err(Problem::bad_request(detail));
        }
    };
    parameters.finish()?;
    let subscription = api
        .node
        .events(detail)
        .map_err(|surplus| Problem::new(StatusCode::SERVICE_UNAVAILABLE, surplus.to_string()))?;
    let events = stream::unfold(subscription, async |mut subscription| {
        let text = match timeout(COMMENT_INTERVAL, subscription.next()).await {
            Ok(Some(record)) => {
                format!("id: {}\nevent: decision\ndata: {}\n\n", record.id, record.json)
            }
            Ok(None) => return None,
            Err(_) => ":\n\n".to_owned(),
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), subscription))
    });
    let mut phase = api.phase;
    let stopping = async move {
        let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
    };
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    let events = events.take_until(Box::pin(stopping));
    Ok((headers, Body::from_stream(events)).into_response())
}
