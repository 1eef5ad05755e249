//! A connection of a client, with HTTP/1.1 or HTTP/2.

pub(crate) mod activity;
pub(crate) mod budget;
mod parse_error;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Request, StatusCode, Version, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tower::ServiceExt;

use crate::api::connection::activity::{Activity, Timeouts, Verdict, WatchedStream};

/// The phases of a stop of the server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Phase {
    #[default]
    Serving,
    /// The server accepts no connections, and each response asks the client to close its
    /// connection.
    Draining,
    /// The server accepts no requests, and completes the requests in progress.
    Closing,
}

/// The largest request head. A percent-encoded key of 8 KiB has 24 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The number of concurrent HTTP/2 requests of a connection.
const STREAMS_MAX: u32 = 128;
/// The bytes that a client may send in one HTTP/2 request before the node has read any.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The bytes that a client may send in all HTTP/2 requests before the node has read any.
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// The interval of HTTP/2 pings.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// A client that does not answer a ping in this time is disconnected.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// When the server closes a connection, an HTTP/2 client has this time to agree. A client that
/// reads nothing of its response for this time is disconnected.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `Activity` has the timeout of request heads: the timeout of hyper also counts idle time.
    builder.http1().header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

/// Serves a connection until the client closes it, the client exceeds a timeout, or the server
/// stops.
pub(crate) async fn serve(
    stream: TcpStream,
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    timeouts: Timeouts,
    mut phase: watch::Receiver<Phase>,
) {
    let activity = Activity::new(timeouts);
    let io = TokioIo::new(WatchedStream::new(stream, Arc::clone(&activity)));
    let service = {
        let (activity, phase) = (Arc::clone(&activity), phase.clone());
        service_fn(move |request| {
            respond(router.clone(), Arc::clone(&activity), phase.clone(), request)
        })
    };
    let mut connection = pin!(builder.serve_connection(io, service));
    while let Verdict::CheckAt(check_at) = activity.verdict(Instant::now()) {
        match *phase.borrow_and_update() {
            Phase::Serving => {}
            // HTTP/1.1 can ask the client to close only in a response, and HTTP/2 at any time.
            Phase::Draining if !activity.is_http2() => {}
            Phase::Draining | Phase::Closing => break,
        }
        tokio::select! {
            // An error means that the client has disconnected or sent invalid HTTP.
            _ = connection.as_mut() => return,
            () = sleep_until(check_at) => {}
            Ok(()) = phase.changed() => {}
        }
    }
    let is_stalled = *phase.borrow() == Phase::Serving && !activity.is_idle();
    if is_stalled || (activity.is_idle() && !activity.is_http2()) {
        return;
    }
    connection.as_mut().graceful_shutdown();
    loop {
        let written = activity.written();
        tokio::select! {
            _ = connection.as_mut() => return,
            () = sleep(CLOSE_TIMEOUT) => {}
        }
        let is_unread = activity.has_unsent() && activity.written() == written;
        if activity.is_idle() || is_unread {
            return;
        }
    }
}

/// Passes a request to the router.
async fn respond(
    router: Router,
    activity: Arc<Activity>,
    phase: watch::Receiver<Phase>,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let is_http2 = request.version() == Version::HTTP_2;
    let exchange = Arc::new(activity.begin(is_http2));
    request.extensions_mut().insert(Arc::clone(&exchange));
    let mut response = router.oneshot(request).await?;
    if response.status() == StatusCode::NOT_MODIFIED {
        // axum adds the length of the empty body. The header would have to contain the length of
        // the representation (RFC 9110, section 8.6).
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    if !is_http2 && *phase.borrow() != Phase::Serving {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
