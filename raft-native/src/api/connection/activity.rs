//! The activity of a connection, which decides when the server closes it.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::api::connection::budget::{Exhausted, Share};
use crate::api::connection::parse_error::replacement;

/// The timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// The time from the first byte of a request head to its last byte, and from the connection to
    /// the first request.
    pub(crate) head: Duration,
    /// The time between two requests.
    pub(crate) idle: Duration,
    /// The client must read [`STALL_BYTES_MIN`] of a response in this time.
    pub(crate) stall: Duration,
    /// The client must read a part of a response in this time. A part is a whole value or list.
    pub(crate) part: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            part: Duration::from_secs(300),
        }
    }
}

/// A client that reads less than this within [`Timeouts::stall`] is stalled. The number exceeds the
/// acknowledgements of HTTP/2 pings, and is about 0.5 KiB/s.
const STALL_BYTES_MIN: u64 = 16 * 1024;
/// The unread responses of one connection, in bytes. A few connections cannot use up the budget of
/// all.
const UNSENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The activity of one connection, shared by its socket, its requests and its responses.
pub(crate) struct Activity {
    timeouts: Timeouts,
    state: Mutex<State>,
}

struct State {
    /// The number of requests in progress.
    exchanges: usize,
    /// The creation of each part of a response that is not written to the socket.
    unsent: BTreeMap<u64, Instant>,
    /// The size of these parts.
    unsent_bytes: usize,
    /// The number of parts so far.
    parts: u64,
    /// The bytes written to the socket.
    written: u64,
    /// The end of the latest request or response.
    idle_since: Instant,
    /// The arrival of the first byte of an incomplete request head.
    head_since: Option<Instant>,
    has_served: bool,
    is_http2: bool,
    /// The start of the current period of [`Timeouts::stall`], and the bytes written at that time.
    watched_since: Option<(Instant, u64)>,
}

/// A request in progress.
pub(crate) struct Exchange(Arc<Activity>);

/// A part of a response that is not written to the socket. It holds its share of the budget as long
/// as hyper buffers it.
struct Unsent {
    bytes: Bytes,
    /// The connection and the number of the part.
    watched: Option<(Arc<Activity>, u64)>,
    _share: Share,
}

/// The decision about a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    CheckAt(Instant),
    Close,
}

impl Activity {
    pub(crate) fn new(timeouts: Timeouts) -> Arc<Self> {
        let state = State {
            exchanges: 0,
            unsent: BTreeMap::new(),
            unsent_bytes: 0,
            parts: 0,
            written: 0,
            idle_since: Instant::now(),
            head_since: None,
            has_served: false,
            is_http2: false,
            watched_since: None,
        };
        Arc::new(Self { timeouts, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request whose head is complete.
    pub(crate) fn begin(self: &Arc<Self>, is_http2: bool) -> Exchange {
        let mut state = self.state();
        state.exchanges += 1;
        state.head_since = None;
        state.has_served = true;
        state.is_http2 = is_http2;
        Exchange(Arc::clone(self))
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.state().is_http2
    }

    /// Returns true if no request is in progress and no response is unsent.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        state.exchanges == 0 && state.unsent.is_empty()
    }

    /// Returns true if part of a response is not written to the socket.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.state().unsent.is_empty()
    }

    /// Counts a part of a response, and returns its number.
    fn add_unsent(&self, bytes: usize) -> Result<u64, Exhausted> {
        let mut state = self.state();
        // A single part is always accepted: its size has limits of its own.
        if state.unsent_bytes > 0 && state.unsent_bytes + bytes > UNSENT_BYTES_MAX {
            return Err(Exhausted::Connection);
        }
        state.unsent_bytes += bytes;
        state.parts += 1;
        let part = state.parts;
        state.unsent.insert(part, Instant::now());
        Ok(part)
    }

    /// The bytes written to the socket.
    pub(crate) fn written(&self) -> u64 {
        self.state().written
    }

    /// Decides whether the client has exceeded a timeout.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        let Timeouts { head, idle, stall, part } = self.timeouts;
        let mut state = self.state();
        if let Some(oldest) = state.unsent.first_key_value().map(|(_, since)| *since) {
            // Without this, an HTTP/2 client that reads one response, or sends pings, could keep
            // other responses in memory forever.
            let oldest_end = oldest + part;
            if oldest_end <= now {
                return Verdict::Close;
            }
            let begun = (now, state.written);
            let (since, written) = *state.watched_since.get_or_insert(begun);
            if now < since + stall {
                return Verdict::CheckAt(oldest_end.min(since + stall));
            }
            if state.written - written < STALL_BYTES_MIN {
                return Verdict::Close;
            }
            state.watched_since = Some((now, state.written));
            return Verdict::CheckAt(oldest_end.min(now + stall));
        }
        state.watched_since = None;
        if state.exchanges > 0 {
            // Handlers and request bodies have timeouts of their own.
            return Verdict::CheckAt(now + head.min(stall));
        }
        let timeout = if state.has_served { idle } else { head };
        let mut deadline = state.idle_since + timeout;
        // HTTP/2 has frames without a request, such as the responses to pings.
        if let Some(since) = state.head_since.filter(|_| !state.is_http2) {
            deadline = deadline.min(since + head);
        }
        if deadline <= now {
            return Verdict::Close;
        }
        // A response that starts before then needs its own check.
        Verdict::CheckAt(deadline.min(now + stall))
    }
}

impl Exchange {
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.exchanges -= 1;
        state.idle_since = Instant::now();
    }
}

/// Returns bytes of a response that count as unsent until hyper has written and dropped them.
///
/// # Errors
///
/// [`Exhausted::Connection`] if the client has not read earlier responses.
pub(crate) fn unsent(
    bytes: Bytes,
    share: Share,
    activity: Option<Arc<Activity>>,
) -> Result<Bytes, Exhausted> {
    let watched = match activity {
        Some(activity) => {
            let part = activity.add_unsent(bytes.len())?;
            Some((activity, part))
        }
        None => None,
    };
    Ok(Bytes::from_owner(Unsent { bytes, watched, _share: share }))
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some((activity, part)) = &self.watched {
            let mut state = activity.state();
            state.unsent.remove(part);
            state.unsent_bytes -= self.bytes.len();
            state.idle_since = Instant::now();
        }
    }
}

/// A socket that records what is read and written.
pub(crate) struct WatchedStream {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// The rest of a response that replaces one of hyper.
    replacement: Bytes,
}

impl WatchedStream {
    pub(crate) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity, replacement: Bytes::new() }
    }

    fn record_written(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.activity.state().written += *bytes as u64;
        }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            let mut state = self.activity.state();
            if state.exchanges == 0 && state.head_since.is_none() {
                state.head_since = Some(Instant::now());
            }
        }
        read
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.replacement.is_empty()
            && let Some(replacement) = replacement(bytes)
        {
            self.replacement = replacement;
        } else if self.replacement.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
            self.record_written(&written);
            return written;
        }
        while !self.replacement.is_empty() {
            let Self { stream, replacement, .. } = &mut *self;
            let written = ready!(Pin::new(stream).poll_write(cx, replacement))?;
            replacement.advance(written);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        if let Some(first) = first
            && (!self.replacement.is_empty() || replacement(first).is_some())
        {
            return self.poll_write(cx, first);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.record_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::connection::budget::Budget;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        stall: Duration::from_secs(30),
        part: Duration::from_secs(300),
    };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn answer(activity: &Arc<Activity>) -> Bytes {
        let share = Budget::new(1).share();
        unsent(Bytes::from_static(b"answer"), share, Some(Arc::clone(activity))).unwrap()
    }

    #[test]
    fn connection_with_many_unread_responses_gets_no_more() {
        let budget = Budget::new(1 << 30);
        let activity = Activity::new(TIMEOUTS);
        let respond = |bytes| {
            let bytes = Bytes::from(vec![0; bytes]);
            unsent(bytes, budget.share(), Some(Arc::clone(&activity)))
        };
        let mut unread = vec![respond(UNSENT_BYTES_MAX - 1).unwrap()];
        unread.push(respond(1).unwrap());
        assert_eq!(respond(1), Err(Exhausted::Connection));
        unread.clear();
        // A single response may exceed the limit.
        respond(2 * UNSENT_BYTES_MAX).unwrap();
        assert_eq!(activity.state().unsent_bytes, 0);
    }

    #[test]
    fn connection_without_requests_is_closed_after_head_timeout() {
        let activity = Activity::new(TIMEOUTS);
        let began = activity.state().idle_since;
        let expected = Verdict::CheckAt(began + seconds(10));
        assert_eq!(activity.verdict(began + seconds(9)), expected);
        assert_eq!(activity.verdict(began + seconds(10)), Verdict::Close);
    }

    #[test]
    fn idle_connection_is_closed_after_idle_timeout() {
        let activity = Activity::new(TIMEOUTS);
        drop(activity.begin(false));
        let idle = activity.state().idle_since;
        assert_eq!(activity.verdict(idle), Verdict::CheckAt(idle + seconds(30)));
        assert_eq!(activity.verdict(idle + seconds(59)), Verdict::CheckAt(idle + seconds(60)));
        assert_eq!(activity.verdict(idle + seconds(60)), Verdict::Close);
    }

    #[test]
    fn slow_request_head_is_closed_after_head_timeout() {
        let activity = Activity::new(TIMEOUTS);
        drop(activity.begin(false));
        let since = activity.state().idle_since + seconds(20);
        activity.state().head_since = Some(since);
        assert_eq!(activity.verdict(since + seconds(10)), Verdict::Close);
        // HTTP/2 frames between two requests are not a request head.
        activity.state().is_http2 = true;
        assert_ne!(activity.verdict(since + seconds(10)), Verdict::Close);
    }

    #[test]
    fn request_in_progress_keeps_connection_open() {
        let activity = Activity::new(TIMEOUTS);
        let exchange = activity.begin(false);
        let later = Instant::now() + seconds(1000);
        assert_ne!(activity.verdict(later), Verdict::Close);
        drop(exchange);
        assert_eq!(activity.verdict(later), Verdict::Close);
    }

    #[test]
    fn unread_response_is_closed_after_stall_timeout() {
        let activity = Activity::new(TIMEOUTS);
        let _exchange = activity.begin(true);
        let _answer = answer(&activity);
        let began = Instant::now();
        assert_eq!(activity.verdict(began), Verdict::CheckAt(began + seconds(30)));
        // Acknowledgements of pings are not part of the response.
        activity.state().written += 500;
        assert_eq!(activity.verdict(began + seconds(30)), Verdict::Close);
    }

    #[test]
    fn unread_response_beside_pings_is_closed_after_part_timeout() {
        let activity = Activity::new(TIMEOUTS);
        let _exchange = activity.begin(true);
        let _unread = answer(&activity);
        let began = Instant::now();
        let mut closed_after = None;
        for second in 0..1000 {
            // Acknowledgements of pings, and another response that is read.
            activity.state().written += STALL_BYTES_MIN;
            drop(answer(&activity));
            if activity.verdict(began + seconds(second)) == Verdict::Close {
                closed_after = Some(second);
                break;
            }
        }
        assert_eq!(closed_after, Some(300));
    }

    #[test]
    fn slowly_read_response_keeps_connection_open() {
        let activity = Activity::new(TIMEOUTS);
        let exchange = activity.begin(false);
        let answer = answer(&activity);
        let began = Instant::now();
        for period in 0..5 {
            let now = began + seconds(30 * period);
            assert_ne!(activity.verdict(now), Verdict::Close);
            activity.state().written += STALL_BYTES_MIN;
        }
        drop((exchange, answer));
        assert!(activity.is_idle());
    }
}
