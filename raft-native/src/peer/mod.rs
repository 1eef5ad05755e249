//! The other nodes: one QUIC connection to each, with lanes for what must not wait for each other.

mod call;
mod lane;
mod link;
mod wire;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, ConnectionError, Endpoint, EndpointConfig, IdleTimeout, ServerConfig,
    TransportConfig, TransportErrorCode, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use raft_core::{Message, NodeId};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::address::Address;
use crate::identity::{Identity, node_of};
use crate::names::Names;

pub(crate) use call::{Answer, Call, Question, Refusal, Reply};
pub(crate) use link::Link;

/// What peers bring: messages for the consensus loop, and calls to be answered.
pub(crate) trait Receiver: Clone + Send + Sync + 'static {
    /// A message of another node. Waits while the loop is busy.
    fn message(&self, from: NodeId, message: Message) -> impl Future<Output = ()> + Send;
    /// A call of another node.
    fn call(&self, from: NodeId, call: Call) -> impl Future<Output = Answer> + Send;
}

/// The connections to all other nodes.
#[derive(Clone)]
pub(crate) struct Peers {
    endpoint: Endpoint,
    links: Arc<BTreeMap<NodeId, Arc<Link>>>,
}

/// Why a call has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallError {
    /// The question did not leave this node.
    NotSent,
    /// The question left, and no answer came.
    NoAnswer,
}

const CLOSED: VarInt = VarInt::from_u32(0);
const NOT_A_MEMBER: VarInt = VarInt::from_u32(1);
pub(crate) const REPLACED: VarInt = VarInt::from_u32(2);

impl Peers {
    /// Begins to talk at this socket.
    pub(crate) fn start(
        me: NodeId,
        socket: UdpSocket,
        identity: Identity,
        peers: &[Address],
        names: &Names,
        receiver: impl Receiver,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, String> {
        let transport = Arc::new(transport()?);
        let crypto = QuicServerConfig::try_from(identity.server).map_err(|e| e.to_string())?;
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server.transport_config(transport.clone());
        // Handshakes under way, and what they may send before they are known: members are few.
        server.max_incoming(64).incoming_buffer_size(64 << 10).incoming_buffer_size_total(1 << 20);
        let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &identity.reset_key);
        let mut config = EndpointConfig::new(Arc::new(reset_key));
        // A packet of an earlier life is answered with a reset only if its connection has one of our names.
        let [a, b, c, d, e, f, g, h, ..] = identity.reset_key;
        let names_key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(names_key)));
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut endpoint = Endpoint::new(config, Some(server), socket, runtime)
            .map_err(|error| error.to_string())?;
        let crypto = QuicClientConfig::try_from(identity.client).map_err(|e| e.to_string())?;
        let mut client = ClientConfig::new(Arc::new(crypto));
        client.transport_config(transport);
        endpoint.set_default_client_config(client);

        let mut links = BTreeMap::new();
        for address in peers {
            let link = Arc::new(Link::new(address.clone(), names.clone(), tasks));
            links.insert(address.node_id(), link);
        }
        let peers = Self { endpoint, links: Arc::new(links) };
        for (id, link) in peers.links.iter() {
            // Of each pair, the node with the smaller number calls.
            if me < *id {
                let (endpoint, link, receiver) =
                    (peers.endpoint.clone(), link.clone(), receiver.clone());
                tasks.spawn(async move { link.dial(endpoint, receiver).await });
            }
        }
        tasks.spawn(accept(me, peers.clone(), receiver));
        Ok(peers)
    }

    /// Sends a message, or drops it if the way is blocked: Raft sends again what matters.
    pub(crate) fn send(&self, to: NodeId, message: Message) {
        if let Some(link) = self.links.get(&to) {
            link.send(message);
        }
    }

    /// Asks another node something.
    pub(crate) async fn call(
        &self,
        to: NodeId,
        question: Question,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let link = self.links.get(&to).ok_or(CallError::NotSent)?;
        link.call(&Call::new(question, patience), patience).await
    }

    /// The other nodes and whether they are connected.
    pub(crate) fn members(&self) -> impl Iterator<Item = (NodeId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, &**link))
    }

    /// Says goodbye, so that the others need not wait to notice.
    pub(crate) async fn close(&self) {
        self.endpoint.close(CLOSED, b"stopping");
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}

/// Takes calls of the nodes with smaller numbers.
async fn accept(me: NodeId, peers: Peers, receiver: impl Receiver) {
    let mut connections = JoinSet::new();
    let told = Arc::new(Told::default());
    while let Some(incoming) = peers.endpoint.accept().await {
        let (peers, receiver, told) = (peers.clone(), receiver.clone(), told.clone());
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let address = incoming.remote_address();
            match incoming.await {
                Ok(connection) => admit(me, &peers, connection, address, receiver).await,
                Err(error) => {
                    let reason = why_not(&error);
                    if told.is_news(address, &reason) {
                        warn!(%address, %reason, "a peer's call came to nothing");
                    }
                }
            }
        });
    }
}

async fn admit(
    me: NodeId,
    peers: &Peers,
    connection: quinn::Connection,
    address: SocketAddr,
    receiver: impl Receiver,
) {
    let caller = peer_of(&connection).filter(|caller| *caller < me);
    let link = caller.and_then(|caller| peers.links.get(&caller).map(|link| (caller, link)));
    let Some((caller, link)) = link else {
        warn!(%address, "refused a peer that is no member of this cluster");
        return connection.close(NOT_A_MEMBER, b"you are no member that is to call me");
    };
    info!(peer = %link.address, "connected");
    link.serve(caller, connection, receiver).await;
    info!(peer = %link.address, "disconnected");
}

/// Who was refused and why: somebody who calls once a second is told of once.
#[derive(Default)]
struct Told(Mutex<BTreeMap<SocketAddr, String>>);

/// Callers that are remembered; from more of them than a cluster has members all are told of again.
const TOLD_MAX: usize = 64;

impl Told {
    fn is_news(&self, address: SocketAddr, reason: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX && !told.contains_key(&address) {
            told.clear();
        }
        told.insert(address, reason.to_owned()).as_deref() != Some(reason)
    }
}

/// Why there is no connection, in words for whoever runs the node.
fn why_not(error: &ConnectionError) -> String {
    /// The alerts with which TLS refuses a certificate (RFC 8446, section 6.2): bad, unsupported, revoked, expired or
    /// unknown certificate, unknown authority, access denied, wrong signature, none at all.
    const CERTIFICATE: [u8; 9] = [42, 43, 44, 45, 46, 48, 49, 51, 116];
    let code = match error {
        ConnectionError::TransportError(error) => error.code,
        ConnectionError::ConnectionClosed(close) => close.error_code,
        _ => return error.to_string(),
    };
    let refused = |alert: &u8| code == TransportErrorCode::crypto(*alert);
    if CERTIFICATE.iter().any(refused) {
        format!(
            "one of the two belongs to another cluster, or has another --cluster-secret ({error})"
        )
    } else {
        error.to_string()
    }
}

/// The node that the peer's certificate names.
pub(crate) fn peer_of(connection: &quinn::Connection) -> Option<NodeId> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok()?;
    node_of(chain.first()?)
}

fn transport() -> Result<TransportConfig, String> {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(Duration::from_secs(5)).map_err(|error| error.to_string())?;
    transport
        .max_idle_timeout(Some(idle))
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
    Ok(transport)
}
