//! The server for clients, which accepts a limited number of connections.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::api::connection::activity::Timeouts;
use crate::api::connection::{self, Phase};
use crate::api::problem::Problem;
use crate::api::{Api, ClientServerError, router};
use crate::client::Handle;
use crate::node::StartError;

/// The server for clients.
pub struct ClientServer {
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
}

/// The time for the requests in progress when the server stops.
const GRACE: Duration = Duration::from_secs(2);
/// The pause after a failed accept, for example because of the limit of open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The number of surplus connections at a time that get a response. Others are closed at once.
const REFUSALS_MAX: usize = 32;
/// A refused client has this time to read the response.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

impl ClientServer {
    /// Binds the port. Call this before the node starts.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the port cannot be bound.
    pub async fn bind(listen: IpAddr, port: u16) -> Result<TcpListener, StartError> {
        let bound = TcpListener::bind(SocketAddr::new(listen, port)).await;
        bound.map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => StartError::PortInUse { port, protocol: "TCP" },
            _ => StartError::Listen { port, error },
        })
    }

    /// Starts to serve the clients of a node.
    ///
    /// # Errors
    ///
    /// [`ClientServerError`].
    pub fn start(listener: TcpListener, node: Handle) -> Result<Self, ClientServerError> {
        let phase = watch::Sender::new(Phase::Serving);
        let connections_max = node.config().open_files.connections_max;
        let router = router(Api::new(node, phase.subscribe()))?;
        let acceptor = Acceptor::new(router, connections_max, Timeouts::default());
        let task = tokio::spawn(acceptor.run(listener, phase.subscribe()));
        Ok(Self { phase, task })
    }

    /// Stops accepting connections and ends event streams. The server still serves requests of open
    /// connections, and asks each client to close its connection.
    pub fn drain(&self) {
        self.phase.send_if_modified(|phase| {
            let changes = *phase == Phase::Serving;
            *phase = Phase::Draining.max(*phase);
            changes
        });
    }

    /// Stops accepting connections and requests, and returns when the requests in progress are
    /// complete or the time is over. Returns true if no request was aborted.
    pub async fn shutdown(self) -> bool {
        self.phase.send_replace(Phase::Closing);
        let abort = self.task.abort_handle();
        let has_ended = timeout(GRACE, self.task).await.is_ok();
        if !has_ended {
            warn!("requests were aborted: they were still in progress after {GRACE:?}");
            // This also aborts the tasks of the connections.
            abort.abort();
        }
        has_ended
    }
}

struct Acceptor {
    router: Router,
    protocols: auto::Builder<TokioExecutor>,
    timeouts: Timeouts,
    /// The permits of connections.
    permits: Arc<Semaphore>,
    /// The permits of refusals.
    refusals: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Acceptor {
    fn new(router: Router, connections_max: usize, timeouts: Timeouts) -> Self {
        Self {
            router,
            protocols: connection::protocols(),
            timeouts,
            permits: Arc::new(Semaphore::new(connections_max)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            tasks: JoinSet::new(),
        }
    }

    /// Accepts connections until the server stops, then waits for the end of all connections.
    async fn run(mut self, listener: TcpListener, phase: watch::Receiver<Phase>) {
        let mut ending = phase.clone();
        let (mut is_failing, mut pauses) = (false, false);
        loop {
            tokio::select! {
                accepted = accept(&listener), if !pauses => match accepted {
                    Ok(stream) => {
                        is_failing = false;
                        self.admit(stream, &phase);
                    }
                    // The client has closed the connection already.
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        if !is_failing {
                            warn!("cannot accept connections: {error}; trying again");
                        }
                        (is_failing, pauses) = (true, true);
                    }
                },
                () = sleep(ACCEPT_PAUSE), if pauses => pauses = false,
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                _ = ending.wait_for(|phase| *phase != Phase::Serving) => break,
            }
        }
        drop(listener);
        while self.tasks.join_next().await.is_some() {}
    }

    fn admit(&mut self, stream: TcpStream, phase: &watch::Receiver<Phase>) {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            let (router, protocols) = (self.router.clone(), self.protocols.clone());
            let (timeouts, phase) = (self.timeouts, phase.clone());
            self.tasks.spawn(async move {
                let _permit = permit;
                connection::serve(stream, protocols, router, timeouts, phase).await;
            });
        } else if let Ok(refusal) = Arc::clone(&self.refusals).try_acquire_owned() {
            self.tasks.spawn(async move {
                let _refusal = refusal;
                let _ = timeout(REFUSAL_TIME, refuse(stream)).await;
            });
        }
    }
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    // Without this, the kernel delays the end of a response until the client has acknowledged its
    // beginning, which the client delays by 40 ms.
    stream.set_nodelay(true).map_err(|_| ErrorKind::ConnectionAborted)?;
    Ok(stream)
}

/// Refuses a surplus connection, and reads the request until the client closes the connection.
/// Without this, the kernel would discard the response together with the unread request.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let detail = "overloaded: too many connections are open; close some, or retry later";
    let refusal = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).to_http1();
    stream.write_all(&refusal).await?;
    stream.shutdown().await?;
    let mut unread = [0; 4096];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::middleware;
    use axum::routing::{get, post};
    use tokio::sync::Notify;

    use super::*;
    use crate::api::limits::body_meter::{BodyMeter, meter};

    const TEST_TIMEOUT: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(50);
    const NEVER: Duration = Duration::from_secs(3600);
    const LONG: Timeouts = Timeouts { head: NEVER, idle: NEVER, stall: NEVER, part: NEVER };

    struct Server {
        address: SocketAddr,
        server: ClientServer,
        started: Arc<Notify>,
        go_on: Arc<Notify>,
    }

    impl Server {
        async fn start(connections_max: usize, timeouts: Timeouts) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let phase = watch::Sender::new(Phase::Serving);
            let (started, go_on) = (Arc::<Notify>::default(), Arc::<Notify>::default());
            let (starts, goes_on) = (Arc::clone(&started), Arc::clone(&go_on));
            let slow = async move || {
                starts.notify_one();
                goes_on.notified().await;
                "slow"
            };
            let router = Router::new()
                .route("/small", get(|| async { "small" }))
                .route("/slow", get(slow))
                .route("/large", get(|| async { vec![b'x'; 64 * 1024 * 1024] }))
                .route("/echo", post(|body: Bytes| async { body }));
            let state = BodyMeter::new(phase.subscribe());
            let router = router.layer(middleware::from_fn_with_state(state, meter));
            let acceptor = Acceptor::new(router, connections_max, timeouts);
            let task = tokio::spawn(acceptor.run(listener, phase.subscribe()));
            Self { address, server: ClientServer { phase, task }, started, go_on }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// Repeats a request until the server accepts the connection.
        async fn until_served(&self) {
            let served = timeout(TEST_TIMEOUT, async {
                loop {
                    let mut answer = [0; 12];
                    self.ask("/small").await.read_exact(&mut answer).await.unwrap();
                    if answer == *b"HTTP/1.1 200" {
                        break;
                    }
                }
            });
            served.await.expect("a permit must become free");
        }

        async fn ask(&self, path: &str) -> TcpStream {
            let mut stream = self.connect().await;
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }
    }

    /// All bytes until the server closes the connection.
    async fn read_all(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        let read = timeout(TEST_TIMEOUT, stream.read_to_end(&mut bytes)).await;
        let _ = read.expect("the server must close the connection");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn read_answer(stream: &mut TcpStream, end: &str) -> String {
        let mut text = String::new();
        let mut buffer = [0; 1024];
        while !text.ends_with(end) {
            let count = timeout(TEST_TIMEOUT, stream.read(&mut buffer)).await.unwrap().unwrap();
            assert!(count > 0, "the connection was closed after {text:?}");
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        text
    }

    #[tokio::test]
    async fn accepted_connection_has_tcp_nodelay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(accept(&listener).await.unwrap().nodelay().unwrap());
    }

    #[tokio::test]
    async fn surplus_connection_gets_503_and_is_closed() {
        let server = Server::start(1, LONG).await;
        let mut first = server.ask("/small").await;
        read_answer(&mut first, "small").await;
        let refused = read_all(&mut server.ask("/small").await).await;
        assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
        assert!(refused.contains("connection: close\r\n"), "{refused}");
        assert!(refused.contains("application/problem+json"), "{refused}");
        // The permit is free again after the end of the first connection.
        drop(first);
        server.until_served().await;
    }

    #[tokio::test]
    async fn silent_and_slow_and_idle_connections_are_closed() {
        let server =
            Server::start(10, Timeouts { head: SHORT, idle: SHORT, stall: NEVER, part: NEVER })
                .await;
        let mut silent = server.connect().await;
        assert_eq!(read_all(&mut silent).await, "");
        let mut slow = server.connect().await;
        slow.write_all(b"GET /small HTTP/1.1\r\nhost: local").await.unwrap();
        assert_eq!(read_all(&mut slow).await, "");
        let mut idle = server.ask("/small").await;
        assert!(read_all(&mut idle).await.ends_with("small"));
    }

    #[tokio::test]
    async fn connection_whose_answer_is_not_read_is_closed() {
        let server =
            Server::start(1, Timeouts { head: NEVER, idle: NEVER, stall: SHORT, part: NEVER })
                .await;
        let _unread = server.ask("/large").await;
        // Its place becomes free without any action of the client.
        server.until_served().await;
    }

    #[tokio::test]
    async fn draining_server_answers_and_asks_to_close() {
        let server = Server::start(10, LONG).await;
        let mut stream = server.ask("/small").await;
        assert!(!read_answer(&mut stream, "small").await.contains("connection: close"));
        server.server.drain();
        stream.write_all(b"GET /small HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        assert!(read_all(&mut stream).await.contains("connection: close"));
        server.server.shutdown().await;
    }

    #[tokio::test]
    async fn idle_slow_and_unread_connections_do_not_delay_the_shutdown() {
        let server = Server::start(10, LONG).await;
        let mut idle = server.ask("/small").await;
        read_answer(&mut idle, "small").await;
        let mut slow = server.connect().await;
        slow.write_all(b"GET /small HTTP/1.1\r\nhost: local").await.unwrap();
        let mut unread = server.ask("/large").await;
        unread.read_exact(&mut [0; 12]).await.unwrap();
        let mut stalled = server.connect().await;
        let head = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf";
        stalled.write_all(head.as_bytes()).await.unwrap();
        assert!(server.server.shutdown().await, "the connections had to be aborted");
        assert_eq!(read_all(&mut idle).await, "");
    }

    #[tokio::test]
    async fn request_in_progress_is_answered_during_shutdown() {
        let server = Server::start(10, LONG).await;
        let mut stream = server.ask("/slow").await;
        server.started.notified().await;
        let (go_on, phase) = (Arc::clone(&server.go_on), server.server.phase.clone());
        let ending = tokio::spawn(server.server.shutdown());
        let mut phase = phase.subscribe();
        phase.wait_for(|phase| *phase == Phase::Closing).await.unwrap();
        go_on.notify_one();
        let answer = read_all(&mut stream).await;
        assert!(answer.contains("connection: close") && answer.ends_with("slow"), "{answer}");
        assert!(ending.await.unwrap());
    }
}
