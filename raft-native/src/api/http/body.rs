//! Request bodies and large responses.

use axum::Json;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures_util::StreamExt;
use serde::Serialize;

use crate::api::Api;
use crate::api::limits::body_meter::BodyError;
use crate::api::problem::{Kind, Problem};

/// The part of an oversized body that is read and discarded. Many clients read the response only
/// after they have sent the whole body, and an early close of the connection would discard the
/// response.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request body that is a value.
pub(crate) struct RawBody(pub(crate) Bytes);

impl FromRequest<Api> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let bytes_max = api.node.limits().value_bytes_max;
        read(request.into_body(), "a value", bytes_max).await.map(Self)
    }
}

/// A request body in JSON.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl FromRequest<Api> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        // Base64, or text with escapes, is larger than the bytes that it encodes.
        let bytes_max = 2 * api.node.limits().request_bytes_max;
        read(request.into_body(), "a request", bytes_max).await.map(Self)
    }
}

/// Reads a body of limited size.
pub(crate) async fn read(body: Body, what: &str, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut value = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(incomplete)?;
        if value.len() + chunk.len() > bytes_max {
            discard(chunks).await;
            let detail = format!("too large: {what} has more than {bytes_max} bytes; send less");
            return Err(Problem::of(Kind::TooLarge, detail));
        }
        value.extend_from_slice(&chunk);
    }
    Ok(value.freeze())
}

/// Builds a large JSON response on a thread that may block, because this takes milliseconds. A
/// concurrency limit bounds the number of such responses at a time.
pub(crate) async fn large_json<T: Serialize>(
    build: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, Problem> {
    let built = tokio::task::spawn_blocking(move || Json(build()).into_response()).await;
    built.map_err(|_| {
        let detail = "cannot build the response: this node is stopping; use another node";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })
}

fn incomplete(error: axum::Error) -> Problem {
    let text = error.to_string();
    match BodyError::find(error) {
        Some(error) => error.into(),
        None => Problem::bad_request(format!("incomplete request body: {text}; send it again")),
    }
}

async fn discard(mut chunks: BodyDataStream) {
    let mut bytes = 0;
    while bytes < DISCARDED_BYTES_MAX
        && let Some(Ok(chunk)) = chunks.next().await
    {
        bytes += chunk.len();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;

    use super::*;

    /// A body of `count` chunks of a mebibyte. `taken` counts the chunks that were read.
    fn chunks(count: usize, taken: Arc<AtomicUsize>) -> Body {
        let chunk = Bytes::from(vec![0; 1024 * 1024]);
        Body::from_stream(stream::iter(0..count).map(move |_| {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(chunk.clone())
        }))
    }

    #[tokio::test]
    async fn oversized_body_is_drained_up_to_limit() {
        for (sent, expected) in [(3, 3), (1000, 66)] {
            let taken = Arc::default();
            let refused = read(chunks(sent, Arc::clone(&taken)), "a value", 1024 * 1024).await;
            assert!(refused.is_err());
            let taken = taken.load(Ordering::Relaxed);
            assert_eq!(taken, expected);
        }
    }

    #[tokio::test]
    async fn value_at_limit_is_accepted() {
        let taken = Arc::default();
        let value = read(chunks(2, taken), "a value", 2 * 1024 * 1024).await;
        assert!(value.is_ok_and(|bytes| bytes.len() == 2 * 1024 * 1024));
    }
}
