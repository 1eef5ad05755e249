//! Outgoing connections.

use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Connection, Endpoint};
use raft_core::NodeId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::config::address::Address;
use crate::peer::accept::HANDSHAKE_TIME_MAX;
use crate::peer::connection::{Acceptance, PeerConnection};
use crate::peer::identity::server_name;
use crate::peer::quic::peer_of;
use crate::peer::refusal::PeerRefusal;
use crate::peer::{CLOSED, InboundHandler};

/// The first pause before a peer that is down is dialed again.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause before a peer that is down is dialed again.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The pause before a peer that refuses this node is dialed again.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// After a connection that lasted this long, the first pause is short again.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// A peer that should open the connection and does not is probed this often.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// The reason for which this node could not connect to a peer.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("this node is stopping")]
    Stopping,
    #[error("cannot resolve {host}: {error}; check --peers and the name server")]
    Resolve { host: String, error: std::io::Error },
    #[error("{host} has no {family} address; use one in --peers, or another --listen")]
    AddressFamily { host: String, family: &'static str },
    #[error("cannot open a connection: {0}")]
    Connect(quinn::ConnectError),
    #[error("timed out: the peer does not respond; check that it runs and that UDP is not blocked")]
    TimedOut,
    #[error(transparent)]
    Refused(#[from] PeerRefusal),
    #[error("another node of the cluster has this address; check --peers and --advertise")]
    OtherNode,
}

impl DialError {
    /// Returns true if only an operator can remove the reason, so a retry soon cannot help.
    fn is_permanent(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_permanent(),
            Self::OtherNode => true,
            _ => false,
        }
    }
}

/// The pause before the next attempt. It doubles until a connection has lasted.
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

/// Logs the reason of failed attempts, and the same reason only once in a row.
#[derive(Default)]
struct FailureLog(String);

impl FailureLog {
    fn log(&mut self, peer: &Address, error: &DialError) {
        let reason = error.to_string();
        if reason != self.0 {
            warn!(%peer, %reason, "cannot connect; trying again");
            self.0 = reason;
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// Keeps a connection to the peer open until this node stops.
pub(crate) async fn dial(
    peer: Arc<PeerConnection>,
    endpoint: Endpoint,
    client: watch::Receiver<ClientConfig>,
    handler: impl InboundHandler,
) {
    let node = peer.address.node_id();
    let mut backoff = Backoff::default();
    let mut failures = FailureLog::default();
    loop {
        let start = Instant::now();
        let config = client.borrow().clone();
        let ended = match connect(&endpoint, config, &peer.address, node).await {
            Ok(connection) => {
                let served = peer.serve(node, connection, handler.clone(), Acceptance::Awaited);
                served.await.map_err(DialError::from)
            }
            Err(error) => Err(error),
        };
        let pause = match ended {
            Ok(()) => {
                failures.clear();
                backoff.after_connection(start.elapsed())
            }
            Err(DialError::Stopping) => return,
            Err(error) => {
                failures.log(&peer.address, &error);
                if error.is_permanent() { REFUSED_PAUSE } else { backoff.after_failure() }
            }
        };
        sleep(pause).await;
    }
}

/// Logs why a peer that should open the connection does not open it.
///
/// A node that is missing in `--peers` of the peer would otherwise never learn the reason.
pub(crate) async fn probe(
    peer: Arc<PeerConnection>,
    endpoint: Endpoint,
    client: watch::Receiver<ClientConfig>,
) {
    let node = peer.address.node_id();
    let mut connected = peer.watch();
    let mut failures = FailureLog::default();
    loop {
        let opened = timeout(PROBE_INTERVAL, connected.wait_for(Option::is_some)).await;
        if let Ok(is_open) = opened.map(|opened| opened.is_ok()) {
            if !is_open || connected.wait_for(Option::is_none).await.is_err() {
                return;
            }
            failures.clear();
            continue;
        }
        let config = client.borrow().clone();
        let refusal = match connect(&endpoint, config, &peer.address, node).await {
            Ok(connection) => {
                let closed = timeout(HANDSHAKE_TIME_MAX, connection.closed()).await;
                connection.close(CLOSED, b"probe");
                closed.ok().map(|reason| DialError::from(PeerRefusal::from(reason)))
            }
            Err(DialError::Stopping) => return,
            Err(error) => Some(error),
        };
        if let Some(refusal) = refusal.filter(DialError::is_permanent) {
            failures.log(&peer.address, &refusal);
        }
    }
}

async fn connect(
    endpoint: &Endpoint,
    config: ClientConfig,
    peer: &Address,
    node: NodeId,
) -> Result<Connection, DialError> {
    let host = || peer.host().to_owned();
    let is_v4 = endpoint.local_addr().is_ok_and(|address| address.is_ipv4());
    let mut found = tokio::net::lookup_host((peer.host(), peer.port()))
        .await
        .map_err(|error| DialError::Resolve { host: host(), error })?;
    let family = if is_v4 { "IPv4" } else { "IPv6" };
    let address = found
        .find(|address| address.is_ipv4() == is_v4)
        .ok_or_else(|| DialError::AddressFamily { host: host(), family })?;
    let connecting = match endpoint.connect_with(config, address, &server_name(node)) {
        Ok(connecting) => connecting,
        Err(quinn::ConnectError::EndpointStopping) => return Err(DialError::Stopping),
        Err(error) => return Err(DialError::Connect(error)),
    };
    let connection = timeout(HANDSHAKE_TIME_MAX, connecting)
        .await
        .map_err(|_| DialError::TimedOut)?
        .map_err(PeerRefusal::from)?;
    if peer_of(&connection) == Some(node) { Ok(connection) } else { Err(DialError::OtherNode) }
}

#[cfg(test)]
mod tests {
    use quinn::{ApplicationClose, ConnectionError};

    use super::*;
    use crate::peer::NOT_A_MEMBER;

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
    fn peer_that_refuses_is_not_dialed_again_soon() {
        let close = |error_code| {
            let reason = bytes::Bytes::new();
            let close = ApplicationClose { error_code, reason };
            DialError::from(PeerRefusal::from(ConnectionError::ApplicationClosed(close)))
        };
        assert!(close(NOT_A_MEMBER).is_permanent());
        assert!(!close(CLOSED).is_permanent());
        assert!(DialError::OtherNode.is_permanent());
        assert!(!DialError::TimedOut.is_permanent());
    }
}
