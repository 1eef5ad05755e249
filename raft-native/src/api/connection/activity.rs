//! What a connection is doing, and when it has to be closed.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::api::connection::budget::Share;

/// How long a client may keep a connection waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the first byte of a request head to its last, and from the connection to the first
    /// request.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// The client has to take some of an answer in this time.
    pub(crate) stall: Duration,
    /// The client has to take one part of an answer in this time. A part is a whole value or list.
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

/// A client that takes less than this of an answer within [`Timeouts::stall`] does not read it.
/// More than the acknowledgements of HTTP/2 pings, and 0.5 KiB/s.
const STALL_BYTES_MIN: u64 = 16 * 1024;

/// The activity of one connection, shared by its socket, its requests and its answers.
pub(crate) struct Activity {
    timeouts: Timeouts,
    state: Mutex<State>,
}

struct State {
    /// Requests that are not answered completely.
    exchanges: usize,
    /// Parts of answers that are not written to the socket, oldest first.
    unsent: BTreeMap<u64, Instant>,
    /// Parts of answers so far.
    parts: u64,
    /// Bytes written to the socket.
    written: u64,
    idle_since: Instant,
    /// The arrival of the first byte of a request head that is not complete.
    head_since: Option<Instant>,
    has_served: bool,
    is_http2: bool,
    /// The beginning of the present period of watching an answer, and the bytes written then.
    watched_since: Option<(Instant, u64)>,
}

/// A request that is not answered completely.
pub(crate) struct Exchange(Arc<Activity>);

/// A part of an answer that is not written to the socket. It holds its share of the budget until
/// then, however long hyper keeps it.
struct Unsent {
    bytes: Bytes,
    /// The connection, and the number of the part.
    watched: Option<(Arc<Activity>, u64)>,
    _share: Share,
}

/// What to do with a connection.
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

    /// Notes a request whose head is complete.
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

    /// Returns true if no request is in progress and no answer waits.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        state.exchanges == 0 && state.unsent.is_empty()
    }

    /// Returns true if part of an answer waits for the client.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.state().unsent.is_empty()
    }

    /// Bytes written to the socket.
    pub(crate) fn written(&self) -> u64 {
        self.state().written
    }

    /// Decides whether the client has kept the connection waiting for too long.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        let Timeouts { head, idle, stall, part } = self.timeouts;
        let mut state = self.state();
        if let Some(oldest) = state.unsent.first_key_value().map(|(_, since)| *since) {
            // Without this, a client of HTTP/2 that takes one answer, or sends pings, could leave
            // other answers in memory forever.
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
            // Handlers and request bodies have limits of their own.
            return Verdict::CheckAt(now + head.min(stall));
        }
        let patience = if state.has_served { idle } else { head };
        let mut deadline = state.idle_since + patience;
        // HTTP/2 has frames that belong to no request, such as the answers to pings.
        if let Some(since) = state.head_since.filter(|_| !state.is_http2) {
            deadline = deadline.min(since + head);
        }
        if deadline <= now {
            return Verdict::Close;
        }
        // An answer that begins in the meantime has to be watched, too.
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

/// Binds bytes of an answer to their share of the budget, and to the connection that has to write
/// them.
pub(crate) fn unsent(bytes: Bytes, share: Share, activity: Option<Arc<Activity>>) -> Bytes {
    let watched = activity.map(|activity| {
        let mut state = activity.state();
        let part = state.parts;
        state.parts += 1;
        state.unsent.insert(part, Instant::now());
        drop(state);
        (activity, part)
    });
    Bytes::from_owner(Unsent { bytes, watched, _share: share })
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
            state.idle_since = Instant::now();
        }
    }
}

/// A socket that notes what is read and written.
pub(crate) struct WatchedStream {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl WatchedStream {
    pub(crate) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    fn note_written(&self, written: &Poll<io::Result<usize>>) {
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
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_written(&written);
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
        unsent(Bytes::from_static(b"answer"), share, Some(Arc::clone(activity)))
    }

    #[test]
    fn connection_without_requests_is_closed_after_the_head_timeout() {
        let activity = Activity::new(TIMEOUTS);
        let began = activity.state().idle_since;
        let expected = Verdict::CheckAt(began + seconds(10));
        assert_eq!(activity.verdict(began + seconds(9)), expected);
        assert_eq!(activity.verdict(began + seconds(10)), Verdict::Close);
    }

    #[test]
    fn idle_connection_is_closed_after_the_idle_timeout() {
        let activity = Activity::new(TIMEOUTS);
        drop(activity.begin(false));
        let idle = activity.state().idle_since;
        assert_eq!(activity.verdict(idle), Verdict::CheckAt(idle + seconds(30)));
        assert_eq!(activity.verdict(idle + seconds(59)), Verdict::CheckAt(idle + seconds(60)));
        assert_eq!(activity.verdict(idle + seconds(60)), Verdict::Close);
    }

    #[test]
    fn slow_request_head_is_closed_after_the_head_timeout() {
        let activity = Activity::new(TIMEOUTS);
        drop(activity.begin(false));
        let since = activity.state().idle_since + seconds(20);
        activity.state().head_since = Some(since);
        assert_eq!(activity.verdict(since + seconds(10)), Verdict::Close);
        // Frames between two requests are no request head in HTTP/2.
        activity.state().is_http2 = true;
        assert_ne!(activity.verdict(since + seconds(10)), Verdict::Close);
    }

    #[test]
    fn request_in_progress_keeps_the_connection_open() {
        let activity = Activity::new(TIMEOUTS);
        let exchange = activity.begin(false);
        let later = Instant::now() + seconds(1000);
        assert_ne!(activity.verdict(later), Verdict::Close);
        drop(exchange);
        assert_eq!(activity.verdict(later), Verdict::Close);
    }

    #[test]
    fn unread_answer_is_closed_after_the_stall_timeout() {
        let activity = Activity::new(TIMEOUTS);
        let _exchange = activity.begin(true);
        let _answer = answer(&activity);
        let began = Instant::now();
        assert_eq!(activity.verdict(began), Verdict::CheckAt(began + seconds(30)));
        // Acknowledgements of pings are written, and are not the answer.
        activity.state().written += 500;
        assert_eq!(activity.verdict(began + seconds(30)), Verdict::Close);
    }

    #[test]
    fn unread_answer_beside_pings_is_closed_after_the_part_timeout() {
        let activity = Activity::new(TIMEOUTS);
        let _exchange = activity.begin(true);
        let _unread = answer(&activity);
        let began = Instant::now();
        let mut closed_after = None;
        for second in 0..1000 {
            // Answers to pings, and another answer that is read.
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
    fn slowly_read_answer_keeps_the_connection_open() {
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
