//! The connections to the other nodes.
//!
//! Each pair of nodes has one QUIC connection. The node with the smaller id opens it. The
//! certificates of both nodes prove that they know the cluster secret, and contain their ids.

mod accept;
pub(crate) mod connection;
mod dial;
pub(crate) mod identity;
mod proto;
mod quic;
mod refusal;
pub(crate) mod rpc;
mod stream;
mod wire;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::NoInitialCipherSuite;
use quinn::{ClientConfig, Endpoint, EndpointConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use raft_core::{Message, NodeId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::address::Address;
use crate::config::node_names::NodeNames;
use crate::config::secret::ClusterSecrets;
use crate::peer::connection::PeerConnection;
use crate::peer::identity::{Identity, IdentityError};
use crate::peer::rpc::{CallError, PeerRequest, PeerResponse, RequestKind};

/// The code with which a stopping node closes its connections.
const CLOSED: VarInt = VarInt::from_u32(0);
/// The code with which a node refuses a peer that is not a member of its cluster.
const NOT_A_MEMBER: VarInt = VarInt::from_u32(1);
/// The code with which a node closes a connection that a newer one of the same peer replaces.
const REPLACED: VarInt = VarInt::from_u32(2);
/// The code with which a node closes a probe of a member: the node opens the connection itself.
const PROBED: VarInt = VarInt::from_u32(3);

/// The part of the node that handles what the peers send.
pub(crate) trait InboundHandler: Clone + Send + Sync + 'static {
    /// Handles a message of the consensus protocol. Waits while the consensus loop is busy.
    fn message(&self, from: NodeId, message: Message) -> impl Future<Output = ()> + Send;
    /// Returns the response to a request.
    fn request(
        &self,
        from: NodeId,
        request: PeerRequest,
    ) -> impl Future<Output = PeerResponse> + Send;
}

/// The connections to all other nodes of the cluster.
#[derive(Clone)]
pub(crate) struct Peers {
    me: NodeId,
    endpoint: Endpoint,
    connections: Arc<BTreeMap<NodeId, Arc<PeerConnection>>>,
    /// The credentials of new outgoing connections.
    client: watch::Receiver<ClientConfig>,
}

/// The reason for which a node cannot communicate with the other ones at all.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum PeersError {
    #[error("cannot make the credentials: {0}")]
    Identity(#[from] IdentityError),
    #[error("no cipher suite for QUIC: {0}; report this as a bug")]
    CipherSuite(#[from] NoInitialCipherSuite),
    #[error("cannot use the UDP socket: {0}; check the limit of open files (ulimit -n)")]
    Endpoint(#[from] std::io::Error),
}

impl Peers {
    /// Makes an endpoint of the socket. Connections are opened and accepted by
    /// [`serve`](Self::serve).
    pub(crate) fn new(
        me: NodeId,
        socket: UdpSocket,
        secrets: ClusterSecrets,
        peers: &[Address],
        names: &NodeNames,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, PeersError> {
        let identity = Identity::new(&secrets, me)?;
        let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &identity.reset_key);
        let mut config = EndpointConfig::new(Arc::new(reset_key));
        // After a restart, the node answers packets of older connections with a reset only if it
        // recognizes the connection ids as its own.
        let [a, b, c, d, e, f, g, h, ..] = identity.reset_key;
        let id_key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
        let (server, client) = quic::configs(identity)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = Endpoint::new(config, Some(server), socket, runtime)?;
        let (renewed, client) = watch::channel(client);
        tasks.spawn(quic::renew_certificate(me, secrets, endpoint.clone(), renewed));

        let connections = peers.iter().map(|address| {
            let connection = PeerConnection::new(address.clone(), names.clone(), tasks);
            (address.node_id(), Arc::new(connection))
        });
        let connections = Arc::new(connections.collect());
        Ok(Self { me, endpoint, connections, client })
    }

    /// Opens and accepts connections, and passes what arrives to the handler.
    pub(crate) fn serve(&self, handler: impl InboundHandler, tasks: &mut JoinSet<()>) {
        for (id, connection) in self.connections.iter() {
            let (endpoint, client) = (self.endpoint.clone(), self.client.clone());
            let connection = connection.clone();
            if self.me < *id {
                let handler = handler.clone();
                tasks.spawn(async move { dial::dial(connection, endpoint, client, handler).await });
            } else {
                tasks.spawn(dial::probe(connection, endpoint, client));
            }
        }
        tasks.spawn(accept::accept(self.clone(), handler));
    }

    /// Sends a message, or drops it if the queue of the peer is full. Raft repeats messages that
    /// matter.
    pub(crate) fn send(&self, to: NodeId, message: Message) {
        if let Some(connection) = self.connections.get(&to) {
            connection.send(message);
        }
    }

    /// Sends a request to another node and waits for the response.
    pub(crate) async fn request(
        &self,
        to: NodeId,
        kind: RequestKind,
        timeout: Duration,
    ) -> Result<PeerResponse, CallError> {
        let connection = self.connections.get(&to).ok_or(CallError::NotSent)?;
        connection.request(kind, timeout).await
    }

    /// The other nodes of the cluster.
    pub(crate) fn members(&self) -> impl Iterator<Item = (NodeId, &PeerConnection)> {
        self.connections.iter().map(|(id, connection)| (*id, &**connection))
    }

    /// Closes all connections, so that the peers notice the stop without a timeout.
    pub(crate) async fn close(&self) {
        self.endpoint.close(CLOSED, b"stopping");
        let _ = timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}
