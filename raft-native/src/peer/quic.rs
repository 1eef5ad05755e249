//! The configuration of QUIC.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use raft_core::NodeId;
use tokio::sync::watch;
use tracing::warn;

use crate::config::secret::ClusterSecrets;
use crate::peer::PeersError;
use crate::peer::accept::HANDSHAKES_MAX;
use crate::peer::identity::{Identity, node_of};

/// A running node renews its certificate this often.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The configurations of incoming and outgoing connections.
pub(crate) fn configs(identity: Identity) -> Result<(ServerConfig, ClientConfig), PeersError> {
    let transport = Arc::new(transport());
    let crypto = QuicServerConfig::try_from(identity.server)?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(transport.clone());
    // The packets of handshakes that the node has not accepted.
    server.max_incoming(HANDSHAKES_MAX).incoming_buffer_size(64 << 10);
    server.incoming_buffer_size_total(1 << 20);
    let crypto = QuicClientConfig::try_from(identity.client)?;
    let mut client = ClientConfig::new(Arc::new(crypto));
    client.transport_config(transport);
    Ok((server, client))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(5_000))))
        .keep_alive_interval(Some(Duration::from_secs(1)))
        // The default of 333 ms delays the first retransmission.
        .initial_rtt(Duration::from_millis(20))
        // With the defaults, a peer could fill the memory of this node.
        .receive_window(VarInt::from_u32(64 << 20))
        .stream_receive_window(VarInt::from_u32(16 << 20))
        .send_window(64 << 20)
        .max_concurrent_uni_streams(VarInt::from_u32(8))
        .max_concurrent_bidi_streams(VarInt::from_u32(1024))
        .datagram_receive_buffer_size(None);
    transport
}

/// Replaces the certificate for new connections every day, long before the old one expires.
pub(crate) async fn renew_certificate(
    me: NodeId,
    secrets: ClusterSecrets,
    endpoint: Endpoint,
    client: watch::Sender<ClientConfig>,
) {
    loop {
        tokio::time::sleep(RENEWAL_INTERVAL).await;
        let renewed = Identity::new(&secrets, me).map_err(PeersError::from).and_then(configs);
        match renewed {
            Ok((server, config)) => {
                endpoint.set_server_config(Some(server));
                client.send_replace(config);
            }
            Err(error) => warn!(%error, "cannot renew the certificate; trying again tomorrow"),
        }
    }
}

/// The node id in the certificate of the peer.
pub(crate) fn peer_of(connection: &quinn::Connection) -> Option<NodeId> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok()?;
    node_of(chain.first()?)
}
