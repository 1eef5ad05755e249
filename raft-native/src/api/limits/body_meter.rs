//! Limits on the memory of request bodies and responses, and on the time of request bodies.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::{BoxError, Error};
use futures_util::FutureExt;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use crate::api::connection::Phase;
use crate::api::connection::activity::{Exchange, unsent};
use crate::api::connection::budget::{Budget, Exhausted, Share};
use crate::api::problem::Problem;
use crate::api::refusal::{is_grpc, refusal, with_outcome};

/// The budget of all bodies and responses in memory.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// No handler stores more of a body than this; see `body::JsonBody`.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The limits that all requests share.
#[derive(Clone)]
pub(crate) struct BodyMeter {
    budget: Arc<Budget>,
    phase: watch::Receiver<Phase>,
    /// The longest time between two parts of a body.
    progress_timeout: Duration,
    /// The longest time of a whole body.
    body_timeout: Duration,
}

/// The reason for which a request body ended early. The request was not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    #[error("timed out: the rest of the request body did not arrive; send the request again")]
    TimedOut,
    #[error("this node is stopping; use another node")]
    Stopping,
}

impl BodyError {
    fn status(self) -> StatusCode {
        match self {
            Self::Exhausted(_) | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// The reason in an error of a body, if the error has one.
    pub(crate) fn find(error: Error) -> Option<Self> {
        error.into_inner().downcast_ref().copied()
    }

    fn into_grpc(self) -> Status {
        let status = match self {
            Self::Exhausted(_) => Status::resource_exhausted(self.to_string()),
            Self::TimedOut => Status::deadline_exceeded(self.to_string()),
            Self::Stopping => Status::unavailable(self.to_string()),
        };
        with_outcome(status, "not-done")
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

impl BodyMeter {
    pub(crate) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self {
            budget: Budget::new(BYTES_MAX),
            phase,
            progress_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
        }
    }
}

/// Counts the body and the response of a request, and limits the time of the body.
pub(crate) async fn meter(
    State(meter): State<BodyMeter>,
    request: Request,
    next: Next,
) -> Response {
    let is_grpc = is_grpc(request.headers());
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let exchange = request.extensions().get::<Arc<Exchange>>().cloned();
    // The handler has the body in memory until there is a response.
    let share = Arc::new(Mutex::new(meter.budget.share()));
    let request = request.map(|body| {
        Body::new(RequestBody {
            body,
            meter: meter.clone(),
            share: Arc::clone(&share),
            is_grpc,
            bytes: 0,
            waiting: None,
            deadline: Instant::now() + meter.body_timeout,
        })
    });
    let refuse = refusal(request.headers());
    let (head, body) = next.run(request).await.into_parts();
    drop(share);
    let mut body = ResponseBody { first: None, body, budget: meter.budget, exchange, is_grpc };
    match body.take_first() {
        Ok(()) => Response::from_parts(head, Body::new(body)),
        // Only the response is refused: a write may have been applied.
        Err(exhausted) => {
            let problem = Problem::from(BodyError::from(exhausted));
            refuse(if is_read { problem } else { problem.with_unknown_outcome() })
        }
    }
}

/// A request body that is counted, and that ends early if the client stalls.
struct RequestBody {
    body: Body,
    meter: BodyMeter,
    share: Arc<Mutex<Share>>,
    is_grpc: bool,
    bytes: usize,
    waiting: Option<Waiting>,
    /// The deadline of the whole body.
    deadline: Instant,
}

/// The wait for the next part of a body.
struct Waiting {
    timer: Pin<Box<Sleep>>,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl RequestBody {
    fn count(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.bytes = self.bytes.saturating_add(bytes);
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        share.grow_to(self.bytes.min(BODY_BYTES_MAX))
    }

    /// Returns the reason for an early end, while the next part of the body has not arrived.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let BodyMeter { phase, progress_timeout, .. } = &self.meter;
        let waiting = self.waiting.get_or_insert_with(|| {
            let mut phase = phase.clone();
            let timer = sleep_until(self.deadline.min(Instant::now() + *progress_timeout));
            let stopping = async move {
                if phase.wait_for(|phase| *phase == Phase::Closing).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            Waiting { timer: Box::pin(timer), stopping: Box::pin(stopping) }
        });
        if waiting.stopping.as_mut().poll(cx).is_ready() {
            return Poll::Ready(BodyError::Stopping);
        }
        waiting.timer.as_mut().poll(cx).map(|()| BodyError::TimedOut)
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let ended = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = None;
                match self.count(frame.data_ref().map_or(0, Bytes::len)) {
                    Ok(()) => return Poll::Ready(Some(Ok(frame))),
                    Err(exhausted) => exhausted.into(),
                }
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => std::task::ready!(self.poll_end(cx)),
        };
        let error: BoxError = if self.is_grpc { ended.into_grpc().into() } else { Box::new(ended) };
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response whose parts are counted until they are written to the socket.
struct ResponseBody {
    /// A part that was read before the head was sent.
    first: Option<Frame<Bytes>>,
    body: Body,
    budget: Arc<Budget>,
    exchange: Option<Arc<Exchange>>,
    is_grpc: bool,
}

impl ResponseBody {
    /// Reads the first part if it is available. A response that exceeds the budget can then still
    /// be replaced by a refusal.
    fn take_first(&mut self) -> Result<(), Exhausted> {
        if let Some(Some(Ok(frame))) = pin!(self.body.frame()).now_or_never() {
            self.first = Some(self.count(frame)?);
        }
        Ok(())
    }

    fn count(&self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Exhausted> {
        let bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            Err(trailers) => return Ok(trailers),
        };
        let mut share = self.budget.share();
        share.grow_to(bytes.len())?;
        let activity = self.exchange.as_ref().map(|exchange| Arc::clone(exchange.activity()));
        Ok(Frame::data(unsent(bytes, share, activity)?))
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        let counted = match self.count(frame) {
            Ok(frame) => Ok(frame),
            Err(exhausted) if self.is_grpc => {
                let mut trailers = HeaderMap::new();
                let text = exhausted.to_string();
                let status = with_outcome(Status::resource_exhausted(text), "unknown");
                status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))
            }
            Err(exhausted) => return Poll::Ready(Some(Err(Box::new(exhausted)))),
        };
        Poll::Ready(Some(counted.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware;
    use axum::routing::{get, post};
    use futures_util::stream;
    use tower::ServiceExt;

    use super::*;

    fn small_meter() -> (watch::Sender<Phase>, BodyMeter) {
        let phase = watch::Sender::new(Phase::Serving);
        let meter = BodyMeter {
            budget: Budget::new(64 * 1024),
            phase: phase.subscribe(),
            progress_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
        };
        (phase, meter)
    }

    fn router(meter: BodyMeter) -> Router {
        let read = async |body: Body| -> Result<String, Problem> {
            let bytes = crate::api::http::body::read(body, "a value", usize::MAX).await?;
            Ok(bytes.len().to_string())
        };
        Router::new()
            .route("/read", post(read))
            .route("/large", get(|| async { vec![0; 40 * 1024] }))
            .route("/small", get(|| async { vec![0; 1024] }))
            .layer(middleware::from_fn_with_state(meter, super::meter))
    }

    fn post_body(body: Body) -> Request {
        Request::post("/read").body(body).unwrap()
    }

    fn get_path(path: &str) -> Request {
        Request::get(path).body(Body::empty()).unwrap()
    }

    /// A body that stalls after this many bytes.
    fn stalling(bytes: usize) -> Body {
        let begun = stream::once(async move { Ok::<_, BoxError>(Bytes::from(vec![0; bytes])) });
        Body::from_stream(futures_util::StreamExt::chain(begun, stream::pending()))
    }

    #[tokio::test]
    async fn unread_answers_fill_the_budget_and_large_ones_are_refused() {
        let (_phase, meter) = small_meter();
        let router = router(meter);
        let held = router.clone().oneshot(get_path("/large")).await.unwrap();
        assert_eq!(held.status(), StatusCode::OK);
        let refused = router.clone().oneshot(get_path("/large")).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["retry-after"], "1");
        let small = router.clone().oneshot(get_path("/small")).await.unwrap();
        assert_eq!(small.status(), StatusCode::OK);
        // The share is returned when the last byte is dropped, not when the body is.
        let bytes = held.into_body().collect().await.unwrap().to_bytes();
        let refused = router.clone().oneshot(get_path("/large")).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(bytes);
        let answer = router.oneshot(get_path("/large")).await.unwrap();
        assert_eq!(answer.size_hint().exact(), Some(40 * 1024));
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_bodies_fill_the_budget_until_they_time_out() {
        let (_phase, meter) = small_meter();
        let router = router(meter);
        let stalled = tokio::spawn(router.clone().oneshot(post_body(stalling(40 * 1024))));
        tokio::task::yield_now().await;
        let refused = router.clone().oneshot(post_body(Body::from(vec![0; 40 * 1024])));
        assert_eq!(refused.await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        let small = router.clone().oneshot(post_body(Body::from(vec![0; 1024])));
        assert_eq!(small.await.unwrap().status(), StatusCode::OK);
        assert_eq!(stalled.await.unwrap().unwrap().status(), StatusCode::REQUEST_TIMEOUT);
        let accepted = router.oneshot(post_body(Body::from(vec![0; 40 * 1024])));
        assert_eq!(accepted.await.unwrap().status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_arrives_byte_by_byte_times_out() {
        let (_phase, meter) = small_meter();
        let bytes = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(9)).await;
            Some((Ok::<_, BoxError>(Bytes::from_static(b"x")), ()))
        });
        let request = post_body(Body::from_stream(bytes));
        let answer = router(meter).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn stalled_body_is_refused_when_the_server_closes() {
        let (phase, meter) = small_meter();
        let stalled = tokio::spawn(router(meter).oneshot(post_body(stalling(1))));
        tokio::task::yield_now().await;
        phase.send_replace(Phase::Closing);
        assert_eq!(stalled.await.unwrap().unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
