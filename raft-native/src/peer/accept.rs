//! Incoming connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use crate::peer::connection::Acceptance;
use crate::peer::quic::peer_of;
use crate::peer::refusal::PeerRefusal;
use crate::peer::{InboundHandler, NOT_A_MEMBER, PROBED, Peers};

/// The number of handshakes at a time. A cluster has few nodes, and each one needs one handshake.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// The longest duration of a handshake.
pub(crate) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(2);

/// Accepts connections until the node stops.
pub(crate) async fn accept(peers: Peers, handler: impl InboundHandler) {
    let mut connections = JoinSet::new();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = peers.endpoint.accept().await {
        while connections.try_join_next().is_some() {}
        let Some((incoming, permit)) = screen(incoming, &handshakes) else { continue };
        let (peers, handler) = (peers.clone(), handler.clone());
        connections.spawn(async move {
            let address = incoming.remote_address();
            let handshake = timeout(HANDSHAKE_TIME_MAX, incoming).await;
            drop(permit);
            match handshake {
                Ok(Ok(connection)) => accept_peer(&peers, connection, address, handler).await,
                Ok(Err(error)) => {
                    let reason = PeerRefusal::from(error);
                    warn!(ip = %address.ip(), %reason, "the handshake with a peer failed");
                }
                Err(_) => {
                    warn!(ip = %address.ip(), "the handshake with a peer timed out");
                }
            }
        });
    }
}

/// Returns the handshake if its sender has proved its address and there are not too many others.
///
/// The first packet may have a forged source address. The node answers it with a small Retry packet
/// and stores nothing. So the node neither amplifies traffic nor fills its memory (RFC 9000,
/// section 8.1.2).
fn screen(
    incoming: Incoming,
    handshakes: &Arc<Semaphore>,
) -> Option<(Incoming, OwnedSemaphorePermit)> {
    if !incoming.remote_address_validated() {
        // Retry fails only for a validated address.
        let _ = incoming.retry();
        return None;
    }
    match handshakes.clone().try_acquire_owned() {
        Ok(permit) => Some((incoming, permit)),
        Err(_) => {
            warn!(ip = %incoming.remote_address().ip(), "refused a peer: too many handshakes");
            incoming.refuse();
            None
        }
    }
}

/// Serves the connection if the peer is a member.
async fn accept_peer(
    peers: &Peers,
    connection: quinn::Connection,
    address: SocketAddr,
    handler: impl InboundHandler,
) {
    let member = peer_of(&connection).and_then(|id| peers.connections.get_key_value(&id));
    let Some((id, peer)) = member else {
        warn!(ip = %address.ip(), "refused a peer that is not a member of this cluster");
        return connection.close(NOT_A_MEMBER, b"not a member of this cluster");
    };
    if *id > peers.me {
        return connection.close(PROBED, b"this node opens the connection");
    }
    // The handshake of the accepting side includes the certificate of the peer.
    let _ = peer.serve(*id, connection, handler, Acceptance::Given).await;
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Instant;

    use quinn::EndpointConfig;
    use raft_core::{Message, NodeId};

    use super::*;
    use crate::config::node_names::NodeNames;
    use crate::config::secret::{ClusterSecret, ClusterSecrets};
    use crate::peer::identity::{Identity, server_name};
    use crate::peer::quic;
    use crate::peer::rpc::{PeerRequest, PeerResponse, RpcError};

    #[derive(Clone)]
    struct Silent;

    impl InboundHandler for Silent {
        async fn message(&self, _from: NodeId, _message: Message) {}

        async fn request(&self, _from: NodeId, _request: PeerRequest) -> PeerResponse {
            RpcError::Stopping.into()
        }
    }

    fn secrets() -> ClusterSecrets {
        ClusterSecret::generate().unwrap().into()
    }

    /// The first packets of handshakes that a client begins and never ends.
    fn first_packets(server: SocketAddr, count: usize) -> Vec<Vec<u8>> {
        let (_, config) = quic::configs(Identity::new(&secrets(), NodeId(1)).unwrap()).unwrap();
        let mut client =
            quinn_proto::Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let now = Instant::now();
        let packet = |_| {
            let (_, mut connection) =
                client.connect(now, config.clone(), server, &server_name(NodeId(2))).unwrap();
            let mut packet = Vec::new();
            let _ = connection.poll_transmit(now, 1, &mut packet).unwrap();
            packet
        };
        (0..count).map(packet).collect()
    }

    #[tokio::test]
    async fn half_open_handshakes_get_a_small_retry_and_no_memory() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = socket.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let names = NodeNames::new([]);
        let peers = Peers::new(NodeId(2), socket, secrets(), &[], &names, &mut tasks).unwrap();
        peers.serve(Silent, &mut tasks);
        let client = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        for packet in first_packets(server, 1_500) {
            client.send_to(&packet, server).await.unwrap();
            let mut answer = [0; 2048];
            let received = timeout(Duration::from_secs(30), client.recv(&mut answer)).await;
            let length = received.expect("an answer to a first packet").unwrap();
            // The type of a long header (RFC 9000, section 17.2): Retry is 3.
            assert_eq!((answer[0] & 0x80, answer[0] & 0x30), (0x80, 0x30), "not a Retry packet");
            assert!(length < packet.len(), "{length} bytes answer {} bytes", packet.len());
        }
        assert_eq!(peers.endpoint.open_connections(), 0);
        assert_eq!(peers.endpoint.stats().accepted_handshakes, 0);
        peers.close().await;
    }
}
