//! The connection to one other node, through all its lives.

use std::time::Duration;

use prost::Message as _;
use quinn::{ClientConfig, Connection, Endpoint};
use raft_core::{Message, NodeId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};

use crate::config::address::Address;
use crate::config::node_names::NodeNames;
use crate::peer::identity::server_name;
use crate::peer::rpc::{Answer, Call, Question, Reply};
use crate::peer::stream::{StreamClass, read_lane, write_lane};
use crate::peer::{
    CLOSED, CallError, HANDSHAKE_TIME_MAX, InboundHandler, PeerRefusal, REPLACED, peer_of,
};

/// One other node.
pub(crate) struct PeerConnection {
    pub(crate) address: Address,
    control: mpsc::Sender<Message>,
    bulk: mpsc::Sender<Message>,
    connection: watch::Sender<Option<Connection>>,
    names: NodeNames,
}

/// Messages that wait for a lane. When there are more, the newest is dropped.
const CONTROL_MAX: usize = 4096;
const BULK_MAX: usize = 512;
/// A question or an answer.
const CALL_BYTES_MAX: usize = 16 << 20;
/// A peer that is down is called again after this long, and then less and less often.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// A peer that is down is called this often at least.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A peer that refuses this node is called this often. Only an operator can change its mind.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// After a connection that lasted this long, the peer is called again at once.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Whether the peer has accepted the connection.
///
/// The handshake of the calling side ends before the peer has checked the caller's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Acceptance {
    Given,
    Awaited,
}

/// Why this node could not connect to a peer.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("this node is stopping")]
    Stopping,
    #[error("cannot resolve {host}: {error}")]
    Resolve { host: String, error: std::io::Error },
    #[error("{host} has no {family} address, and this node listens on {family}")]
    AddressFamily { host: String, family: &'static str },
    #[error("cannot call: {0}")]
    Call(quinn::ConnectError),
    #[error("no answer")]
    NoAnswer,
    #[error(transparent)]
    Refused(#[from] PeerRefusal),
    #[error("another node answers at this address")]
    OtherNode,
}

impl DialError {
    /// Returns true if calling again soon cannot help.
    fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused(PeerRefusal::Certificate(_) | PeerRefusal::NotAMember) | Self::OtherNode
        )
    }
}

/// The pause before the next call. It doubles until a connection has lasted.
struct Backoff {
    pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: PAUSE_MIN }
    }
}

impl Backoff {
    fn after_failure(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }

    fn after_connection(&mut self, lasted: Duration) -> Duration {
        if lasted >= STABLE_AFTER {
            *self = Self::default();
        }
        self.after_failure()
    }
}

impl PeerConnection {
    pub(crate) fn new(address: Address, names: NodeNames, tasks: &mut JoinSet<()>) -> Self {
        let (control, control_queue) = mpsc::channel(CONTROL_MAX);
        let (bulk, bulk_queue) = mpsc::channel(BULK_MAX);
        let (connection, watch) = watch::channel(None);
        tasks.spawn(write_lane(StreamClass::Control, control_queue, watch.clone()));
        tasks.spawn(write_lane(StreamClass::Bulk, bulk_queue, watch));
        Self { address, control, bulk, connection, names }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.borrow().is_some()
    }

    pub(crate) fn send(&self, message: Message) {
        let lane = match message {
            Message::AppendEntries(_) | Message::InstallSnapshot(_) => &self.bulk,
            _ => &self.control,
        };
        if lane.try_send(message).is_err() {
            debug!(peer = %self.address, "dropped a message: too many wait");
        }
    }

    pub(crate) async fn call(&self, call: &Call, patience: Duration) -> Result<Answer, CallError> {
        let deadline = Instant::now() + patience;
        let connection = self.connection.borrow().clone().ok_or(CallError::NotSent)?;
        let opened = timeout_at(deadline, connection.open_bi()).await;
        let Ok(Ok((mut send, mut receive))) = opened else {
            return Err(CallError::NotSent);
        };
        let bytes = call.to_bytes();
        let written = timeout_at(deadline, send.write_all(&bytes)).await;
        if !matches!(written, Ok(Ok(()))) || send.finish().is_err() {
            // The peer takes no question without its end, which a mere drop would send.
            let _ = send.reset(CLOSED);
            return Err(CallError::NotSent);
        }
        match timeout_at(deadline, receive.read_to_end(CALL_BYTES_MAX)).await {
            Ok(Ok(bytes)) => Answer::decode(&bytes[..]).map_err(|_| CallError::NoAnswer),
            _ => Err(CallError::NoAnswer),
        }
    }

    /// Asks for the peer's name, which is for people only. Returns true if the peer answers.
    async fn learn_name(&self, node: NodeId) -> bool {
        let timeout = Duration::from_secs(2);
        let answer = self.call(&Call::new(Question::Name(true), timeout), timeout).await;
        match answer.map(|answer| answer.reply) {
            Ok(Some(Reply::Name(name))) => {
                self.names.set(node, name);
                true
            }
            _ => false,
        }
    }

    /// Calls the node again and again, until this one stops.
    pub(crate) async fn dial(
        &self,
        endpoint: Endpoint,
        client: watch::Receiver<ClientConfig>,
        receiver: impl InboundHandler,
    ) {
        let node = self.address.node_id();
        let mut backoff = Backoff::default();
        let mut logged = String::new();
        loop {
            let began = Instant::now();
            let config = client.borrow().clone();
            let ended = match self.connect(&endpoint, config, node).await {
                Ok(connection) => {
                    let served =
                        self.serve(node, connection, receiver.clone(), Acceptance::Awaited);
                    served.await.map_err(DialError::from)
                }
                Err(error) => Err(error),
            };
            let pause = match ended {
                Ok(()) => {
                    logged.clear();
                    backoff.after_connection(began.elapsed())
                }
                Err(DialError::Stopping) => return,
                Err(error) => {
                    // The same reason again is not news.
                    let reason = error.to_string();
                    if reason != logged {
                        warn!(peer = %self.address, %reason, "cannot connect; trying again");
                        logged = reason;
                    }
                    if error.is_refusal() { REFUSED_PAUSE } else { backoff.after_failure() }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        config: ClientConfig,
        node: NodeId,
    ) -> Result<Connection, DialError> {
        let host = || self.address.host().to_owned();
        let is_v4 = endpoint.local_addr().is_ok_and(|address| address.is_ipv4());
        let mut found = tokio::net::lookup_host((self.address.host(), self.address.port()))
            .await
            .map_err(|error| DialError::Resolve { host: host(), error })?;
        let family = if is_v4 { "IPv4" } else { "IPv6" };
        let address = found
            .find(|address| address.is_ipv4() == is_v4)
            .ok_or_else(|| DialError::AddressFamily { host: host(), family })?;
        let connecting = match endpoint.connect_with(config, address, &server_name(node)) {
            Ok(connecting) => connecting,
            Err(quinn::ConnectError::EndpointStopping) => return Err(DialError::Stopping),
            Err(error) => return Err(DialError::Call(error)),
        };
        let connection = timeout(HANDSHAKE_TIME_MAX, connecting)
            .await
            .map_err(|_| DialError::NoAnswer)?
            .map_err(PeerRefusal::from)?;
        if peer_of(&connection) == Some(node) { Ok(connection) } else { Err(DialError::OtherNode) }
    }

    /// Takes what the node sends until the connection ends.
    ///
    /// # Errors
    ///
    /// [`PeerRefusal`] if the connection ends before the peer has accepted it.
    pub(crate) async fn serve(
        &self,
        node: NodeId,
        connection: Connection,
        receiver: impl InboundHandler,
        acceptance: Acceptance,
    ) -> Result<(), PeerRefusal> {
        if let Some(before) = self.connection.send_replace(Some(connection.clone())) {
            before.close(REPLACED, b"replaced by a newer connection");
        }
        let mut is_accepted = false;
        let mut accept = |is_now: bool| {
            if is_now && !is_accepted {
                is_accepted = true;
                info!(peer = %self.address, "connected");
            }
        };
        accept(acceptance == Acceptance::Given);
        let mut streams = JoinSet::new();
        // What the node is called is for people only: asked once, and not waited for.
        let learn = self.learn_name(node);
        tokio::pin!(learn);
        let mut learned = false;
        loop {
            while streams.try_join_next().is_some() {}
            let receiver = receiver.clone();
            tokio::select! {
                is_answered = &mut learn, if !learned => {
                    learned = true;
                    accept(is_answered);
                }
                lane = connection.accept_uni() => match lane {
                    Ok(stream) => {
                        accept(true);
                        let connection = connection.clone();
                        streams.spawn(async move {
                            if let Err(error) = read_lane(node, stream, receiver).await {
                                warn!(%error, "a peer sent something that cannot be read");
                                connection.close(crate::peer::NOT_A_MEMBER, b"unreadable");
                            }
                        });
                    }
                    Err(_) => break,
                },
                call = connection.accept_bi() => match call {
                    Ok((send, receive)) => {
                        accept(true);
                        streams.spawn(serve_request(node, send, receive, receiver));
                    }
                    Err(_) => break,
                },
            }
        }
        // A newer connection may have taken the place already.
        self.connection.send_if_modified(|current| {
            let is_this = current.as_ref().is_some_and(|c| c.stable_id() == connection.stable_id());
            if is_this {
                *current = None;
            }
            is_this
        });
        // What was sent before the end still counts.
        let drain = async { while streams.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_millis(100), drain).await;
        match connection.close_reason() {
            Some(reason) if !is_accepted => Err(reason.into()),
            _ => {
                info!(peer = %self.address, "disconnected");
                Ok(())
            }
        }
    }
}

async fn serve_request(
    node: NodeId,
    mut send: quinn::SendStream,
    mut receive: quinn::RecvStream,
    receiver: impl InboundHandler,
) {
    let Ok(bytes) = receive.read_to_end(CALL_BYTES_MAX).await else {
        return;
    };
    let Ok(call) = Call::decode(&bytes[..]) else {
        return;
    };
    let answer = receiver.call(node, call).await;
    if send.write_all(&answer.encode_to_vec()).await.is_ok() && send.finish().is_ok() {
        let _ = send.stopped().await;
    }
}

#[cfg(test)]
mod tests {
    use quinn::{ApplicationClose, ConnectionError};

    use super::*;

    #[test]
    fn connection_that_ends_at_once_does_not_reset_the_backoff() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after_failure(), PAUSE_MIN);
        for _ in 0..10 {
            backoff.after_connection(Duration::from_millis(10));
        }
        assert_eq!(backoff.after_failure(), PAUSE_MAX);
        assert_eq!(backoff.after_connection(STABLE_AFTER), PAUSE_MIN);
    }

    #[test]
    fn peer_that_refuses_is_not_called_again_soon() {
        let close = |error_code| {
            let reason = bytes::Bytes::new();
            let close = ApplicationClose { error_code, reason };
            DialError::from(PeerRefusal::from(ConnectionError::ApplicationClosed(close)))
        };
        assert!(close(crate::peer::NOT_A_MEMBER).is_refusal());
        assert!(!close(CLOSED).is_refusal());
        assert!(DialError::OtherNode.is_refusal());
        assert!(!DialError::NoAnswer.is_refusal());
    }
}
