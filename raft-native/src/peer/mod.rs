//! The other nodes: one QUIC connection to each, with lanes for what must not wait for each other.

pub(crate) mod connection;
pub(crate) mod identity;
pub(crate) mod rpc;
mod stream;
mod wire;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{
    ApplicationClose, ClientConfig, ConnectionError, Endpoint, EndpointConfig, IdleTimeout,
    Incoming, ServerConfig, TransportConfig, TransportErrorCode, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use raft_core::{Message, NodeId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use crate::config::address::Address;
use crate::config::node_names::NodeNames;
use crate::config::secret::ClusterSecrets;
use crate::peer::identity::{Identity, IdentityError, node_of};

pub(crate) use connection::{Acceptance, PeerConnection};
pub(crate) use rpc::{Answer, Call, Question, Refusal, Reply};

/// What peers bring: messages for the consensus loop, and calls to be answered.
pub(crate) trait InboundHandler: Clone + Send + Sync + 'static {
    /// A message of another node. Waits while the loop is busy.
    fn message(&self, from: NodeId, message: Message) -> impl Future<Output = ()> + Send;
    /// A call of another node.
    fn call(&self, from: NodeId, call: Call) -> impl Future<Output = Answer> + Send;
}

/// The connections to all other nodes.
#[derive(Clone)]
pub(crate) struct Peers {
    endpoint: Endpoint,
    connections: Arc<BTreeMap<NodeId, Arc<PeerConnection>>>,
}

/// Why a call has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallError {
    /// The question did not leave this node.
    NotSent,
    /// The question left, and no answer came.
    NoAnswer,
}

/// Why a node cannot talk to the others at all.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum PeersError {
    #[error("cannot make the credentials: {0}")]
    Identity(#[from] IdentityError),
    #[error("no cipher suite for QUIC: {0}")]
    CipherSuite(#[from] NoInitialCipherSuite),
    #[error("cannot use the UDP socket: {0}; check the limit of open files (ulimit -n)")]
    Endpoint(#[from] std::io::Error),
}

const CLOSED: VarInt = VarInt::from_u32(0);
const NOT_A_MEMBER: VarInt = VarInt::from_u32(1);
pub(crate) const REPLACED: VarInt = VarInt::from_u32(2);

/// Handshakes in progress. Members are few, and each needs one.
const HANDSHAKES_MAX: usize = 64;
/// A handshake may take this long.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(2);
/// A running node renews its certificate this often.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

impl Peers {
    /// Begins to talk at this socket.
    pub(crate) fn start(
        me: NodeId,
        socket: UdpSocket,
        secrets: ClusterSecrets,
        peers: &[Address],
        names: &NodeNames,
        receiver: impl InboundHandler,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, PeersError> {
        let identity = Identity::new(&secrets, me)?;
        let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &identity.reset_key);
        let mut config = EndpointConfig::new(Arc::new(reset_key));
        // A packet of an earlier life is answered with a reset only if its connection has one of
        // our names.
        let [a, b, c, d, e, f, g, h, ..] = identity.reset_key;
        let names_key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(names_key)));
        let (server, client) = quic_configs(identity)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = Endpoint::new(config, Some(server), socket, runtime)?;
        let (client, client_watch) = watch::channel(client);

        let mut links = BTreeMap::new();
        for address in peers {
            let link = Arc::new(PeerConnection::new(address.clone(), names.clone(), tasks));
            links.insert(address.node_id(), link);
        }
        let peers = Self { endpoint, connections: Arc::new(links) };
        for (id, link) in peers.connections.iter() {
            // Of each pair, the node with the smaller number calls.
            if me < *id {
                let (endpoint, client) = (peers.endpoint.clone(), client_watch.clone());
                let (link, receiver) = (link.clone(), receiver.clone());
                tasks.spawn(async move { link.dial(endpoint, client, receiver).await });
            }
        }
        tasks.spawn(renew_certificate(me, secrets, peers.endpoint.clone(), client));
        tasks.spawn(accept(me, peers.clone(), receiver));
        Ok(peers)
    }

    /// Sends a message, or drops it if the way is blocked: Raft sends again what matters.
    pub(crate) fn send(&self, to: NodeId, message: Message) {
        if let Some(link) = self.connections.get(&to) {
            link.send(message);
        }
    }

    /// Asks another node something.
    pub(crate) async fn call(
        &self,
        to: NodeId,
        question: Question,
        timeout: Duration,
    ) -> Result<Answer, CallError> {
        let link = self.connections.get(&to).ok_or(CallError::NotSent)?;
        link.call(&Call::new(question, timeout), timeout).await
    }

    /// The other nodes and whether they are connected.
    pub(crate) fn members(&self) -> impl Iterator<Item = (NodeId, &PeerConnection)> {
        self.connections.iter().map(|(id, link)| (*id, &**link))
    }

    /// Says goodbye, so that the others need not wait to notice.
    pub(crate) async fn close(&self) {
        self.endpoint.close(CLOSED, b"stopping");
        let _ = timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}

/// Takes calls of the nodes with smaller numbers.
async fn accept(me: NodeId, peers: Peers, receiver: impl InboundHandler) {
    let mut connections = JoinSet::new();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = peers.endpoint.accept().await {
        while connections.try_join_next().is_some() {}
        let Some((incoming, permit)) = screen(incoming, &handshakes) else { continue };
        let (peers, receiver) = (peers.clone(), receiver.clone());
        connections.spawn(async move {
            let address = incoming.remote_address();
            let handshake = timeout(HANDSHAKE_TIME_MAX, incoming).await;
            drop(permit);
            match handshake {
                Ok(Ok(connection)) => accept_peer(me, &peers, connection, address, receiver).await,
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

/// Passes on an incoming handshake if its sender has proved its address, and if there are not too
/// many others.
///
/// A first packet may have a forged address. The node answers it with a small Retry packet and
/// keeps nothing, so it neither amplifies traffic nor fills its memory (RFC 9000, section 8.1.2).
fn screen(
    incoming: Incoming,
    handshakes: &Arc<Semaphore>,
) -> Option<(Incoming, OwnedSemaphorePermit)> {
    if !incoming.remote_address_validated() {
        // A Retry is impossible only for a validated address.
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

async fn accept_peer(
    me: NodeId,
    peers: &Peers,
    connection: quinn::Connection,
    address: SocketAddr,
    receiver: impl InboundHandler,
) {
    let caller = peer_of(&connection).filter(|caller| *caller < me);
    let link = caller.and_then(|caller| peers.connections.get(&caller).map(|link| (caller, link)));
    let Some((caller, link)) = link else {
        warn!(ip = %address.ip(), "refused a peer that is not a member of this cluster");
        return connection.close(NOT_A_MEMBER, b"not a member of this cluster");
    };
    // The handshake of this side includes the certificate of the caller.
    let _ = link.serve(caller, connection, receiver, Acceptance::Given).await;
}

/// Replaces the certificate for new connections every day, long before it expires.
async fn renew_certificate(
    me: NodeId,
    secrets: ClusterSecrets,
    endpoint: Endpoint,
    client: watch::Sender<ClientConfig>,
) {
    loop {
        tokio::time::sleep(RENEWAL_INTERVAL).await;
        let renewed = Identity::new(&secrets, me).map_err(PeersError::from).and_then(quic_configs);
        match renewed {
            Ok((server, config)) => {
                endpoint.set_server_config(Some(server));
                client.send_replace(config);
            }
            Err(error) => warn!(%error, "cannot renew the certificate; trying again tomorrow"),
        }
    }
}

fn quic_configs(identity: Identity) -> Result<(ServerConfig, ClientConfig), PeersError> {
    let transport = Arc::new(transport());
    let crypto = QuicServerConfig::try_from(identity.server)?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(transport.clone());
    // First packets that wait for their Retry.
    server.max_incoming(HANDSHAKES_MAX).incoming_buffer_size(64 << 10);
    server.incoming_buffer_size_total(1 << 20);
    let crypto = QuicClientConfig::try_from(identity.client)?;
    let mut client = ClientConfig::new(Arc::new(crypto));
    client.transport_config(transport);
    Ok((server, client))
}

/// Why a peer and this node have no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerRefusal {
    #[error("one of the two nodes belongs to another cluster or has another cluster secret ({0})")]
    Certificate(ConnectionError),
    #[error("the peer does not count this node as a member of its cluster")]
    NotAMember,
    #[error("{0}")]
    Other(ConnectionError),
}

impl From<ConnectionError> for PeerRefusal {
    fn from(error: ConnectionError) -> Self {
        /// The alerts with which TLS refuses a certificate (RFC 8446, section 6.2): bad,
        /// unsupported, revoked, expired or unknown certificate, unknown authority, access denied,
        /// wrong signature, none at all.
        const CERTIFICATE: [u8; 9] = [42, 43, 44, 45, 46, 48, 49, 51, 116];
        let code = match &error {
            ConnectionError::TransportError(error) => error.code,
            ConnectionError::ConnectionClosed(close) => close.error_code,
            ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. })
                if *error_code == NOT_A_MEMBER =>
            {
                return Self::NotAMember;
            }
            _ => return Self::Other(error),
        };
        if CERTIFICATE.iter().any(|alert| code == TransportErrorCode::crypto(*alert)) {
            Self::Certificate(error)
        } else {
            Self::Other(error)
        }
    }
}

/// The node that the peer's certificate names.
pub(crate) fn peer_of(connection: &quinn::Connection) -> Option<NodeId> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok()?;
    node_of(chain.first()?)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(5_000))))
        .keep_alive_interval(Some(Duration::from_secs(1)))
        // The default assumes a slow path and waits long for the first answer.
        .initial_rtt(Duration::from_millis(20))
        // The default lets a peer fill the memory.
        .receive_window(VarInt::from_u32(64 << 20))
        .stream_receive_window(VarInt::from_u32(16 << 20))
        .send_window(64 << 20)
        .max_concurrent_uni_streams(VarInt::from_u32(8))
        .max_concurrent_bidi_streams(VarInt::from_u32(1024))
        .datagram_receive_buffer_size(None);
    transport
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use super::*;
    use crate::config::secret::ClusterSecret;

    #[derive(Clone)]
    struct Silent;

    impl InboundHandler for Silent {
        async fn message(&self, _from: NodeId, _message: Message) {}

        async fn call(&self, _from: NodeId, _call: Call) -> Answer {
            Refusal::Stopping.into()
        }
    }

    fn secrets() -> ClusterSecrets {
        ClusterSecret::generate().unwrap().into()
    }

    /// The first packets of handshakes that a client begins and never ends.
    fn first_packets(server: SocketAddr, count: usize) -> Vec<Vec<u8>> {
        let (_, config) = quic_configs(Identity::new(&secrets(), NodeId(1)).unwrap()).unwrap();
        let mut client =
            quinn_proto::Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let now = Instant::now();
        let packet = |_| {
            let (_, mut connection) = client
                .connect(now, config.clone(), server, &identity::server_name(NodeId(2)))
                .unwrap();
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
        let peers =
            Peers::start(NodeId(2), socket, secrets(), &[], &names, Silent, &mut tasks).unwrap();
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
