//! The connection to one peer, across reconnects.

use std::time::Duration;

use prost::Message as _;
use quinn::Connection;
use raft_core::{Message, NodeId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};

use crate::config::address::Address;
use crate::config::node_names::NodeNames;
use crate::peer::refusal::PeerRefusal;
use crate::peer::rpc::{
    CallError, NameRequest, PeerRequest, PeerResponse, RPC_BYTES_MAX, RequestKind, ResponseKind,
};
use crate::peer::stream::{StreamClass, read_messages, write_messages};
use crate::peer::{CLOSED, InboundHandler, NOT_A_MEMBER, REPLACED};

/// One peer: its queues, and the current connection if there is one.
pub(crate) struct PeerConnection {
    pub(crate) address: Address,
    control: mpsc::Sender<Message>,
    bulk: mpsc::Sender<Message>,
    connection: watch::Sender<Option<Connection>>,
    names: NodeNames,
}

/// The capacity of the control queue. When the queue is full, new messages are dropped.
const CONTROL_MAX: usize = 4096;
/// The capacity of the queue of entries and snapshots.
const BULK_MAX: usize = 512;
/// The name of a peer is requested for this long.
const NAME_TIMEOUT: Duration = Duration::from_secs(2);
/// At the end of a connection, messages that have arrived are read for this long.
const DRAIN_TIME_MAX: Duration = Duration::from_millis(100);

/// The initial knowledge of whether the peer accepts the connection.
///
/// The handshake of the dialing side ends before the peer has checked the certificate of that side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Acceptance {
    Given,
    Awaited,
}

/// Records once that the peer has accepted the connection.
struct Accepted<'a> {
    peer: &'a Address,
    is_accepted: bool,
}

impl Accepted<'_> {
    fn set(&mut self) {
        if !self.is_accepted {
            self.is_accepted = true;
            info!(peer = %self.peer, "connected");
        }
    }
}

impl PeerConnection {
    pub(crate) fn new(address: Address, names: NodeNames, tasks: &mut JoinSet<()>) -> Self {
        let (control, control_queue) = mpsc::channel(CONTROL_MAX);
        let (bulk, bulk_queue) = mpsc::channel(BULK_MAX);
        let (connection, watch) = watch::channel(None);
        tasks.spawn(write_messages(StreamClass::Control, control_queue, watch.clone()));
        tasks.spawn(write_messages(StreamClass::Bulk, bulk_queue, watch));
        Self { address, control, bulk, connection, names }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.borrow().is_some()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<Connection>> {
        self.connection.subscribe()
    }

    pub(crate) fn send(&self, message: Message) {
        let queue = match StreamClass::of(&message) {
            StreamClass::Bulk => &self.bulk,
            StreamClass::Control => &self.control,
        };
        if queue.try_send(message).is_err() {
            debug!(peer = %self.address, "dropped a message: the queue of the peer is full");
        }
    }

    /// Sends a request on a new stream and waits for the response.
    pub(crate) async fn request(
        &self,
        kind: RequestKind,
        timeout: Duration,
    ) -> Result<PeerResponse, CallError> {
        let deadline = Instant::now() + timeout;
        let connection = self.connection.borrow().clone().ok_or(CallError::NotSent)?;
        let opened = timeout_at(deadline, connection.open_bi()).await;
        let Ok(Ok((mut send, mut receive))) = opened else {
            return Err(CallError::NotSent);
        };
        let bytes = PeerRequest::new(kind, timeout).encode_to_vec();
        let written = timeout_at(deadline, send.write_all(&bytes)).await;
        if !matches!(written, Ok(Ok(()))) || send.finish().is_err() {
            // A drop would finish the stream, and the peer would act on a truncated request.
            let _ = send.reset(CLOSED);
            return Err(CallError::NotSent);
        }
        match timeout_at(deadline, receive.read_to_end(RPC_BYTES_MAX)).await {
            Ok(Ok(bytes)) => PeerResponse::decode(&bytes[..]).map_err(|_| CallError::NoResponse),
            _ => Err(CallError::NoResponse),
        }
    }

    /// Requests the name of the peer, which logs and status contain. Returns true if the peer
    /// responds.
    async fn fetch_name(&self, node: NodeId) -> bool {
        let request = RequestKind::Name(NameRequest {});
        match self.request(request, NAME_TIMEOUT).await.map(|response| response.kind) {
            Ok(Some(ResponseKind::Name(name))) => {
                self.names.set(node, name);
                true
            }
            _ => false,
        }
    }

    /// Passes what the peer sends to the handler until the connection ends.
    ///
    /// # Errors
    ///
    /// [`PeerRefusal`] if the connection ends before the peer has accepted it.
    pub(crate) async fn serve(
        &self,
        node: NodeId,
        connection: Connection,
        handler: impl InboundHandler,
        acceptance: Acceptance,
    ) -> Result<(), PeerRefusal> {
        if let Some(before) = self.connection.send_replace(Some(connection.clone())) {
            before.close(REPLACED, b"replaced by a newer connection");
        }
        let mut accepted = Accepted { peer: &self.address, is_accepted: false };
        if acceptance == Acceptance::Given {
            accepted.set();
        }
        self.serve_streams(node, &connection, handler, &mut accepted).await;
        // A newer connection may have replaced this one already.
        self.connection.send_if_modified(|current| {
            let is_this = current.as_ref().is_some_and(|c| c.stable_id() == connection.stable_id());
            if is_this {
                *current = None;
            }
            is_this
        });
        match connection.close_reason() {
            Some(reason) if !accepted.is_accepted => Err(reason.into()),
            _ => {
                info!(peer = %self.address, "disconnected");
                Ok(())
            }
        }
    }

    async fn serve_streams(
        &self,
        node: NodeId,
        connection: &Connection,
        handler: impl InboundHandler,
        accepted: &mut Accepted<'_>,
    ) {
        let mut streams = JoinSet::new();
        let name = self.fetch_name(node);
        tokio::pin!(name);
        let mut is_name_pending = true;
        loop {
            while streams.try_join_next().is_some() {}
            let handler = handler.clone();
            tokio::select! {
                has_responded = &mut name, if is_name_pending => {
                    is_name_pending = false;
                    if has_responded {
                        accepted.set();
                    }
                }
                stream = connection.accept_uni() => {
                    let Ok(stream) = stream else { break };
                    accepted.set();
                    let connection = connection.clone();
                    streams.spawn(async move {
                        if let Err(error) = read_messages(node, stream, handler).await {
                            warn!(%error, "a peer sent an invalid message");
                            connection.close(NOT_A_MEMBER, b"invalid message");
                        }
                    });
                }
                stream = connection.accept_bi() => {
                    let Ok((send, receive)) = stream else { break };
                    accepted.set();
                    streams.spawn(serve_request(node, send, receive, handler));
                }
            }
        }
        // Messages that arrived before the end of the connection are still valid.
        let drain = async { while streams.join_next().await.is_some() {} };
        let _ = timeout(DRAIN_TIME_MAX, drain).await;
    }
}

/// Reads a request, and sends the response of the handler.
async fn serve_request(
    node: NodeId,
    mut send: quinn::SendStream,
    mut receive: quinn::RecvStream,
    handler: impl InboundHandler,
) {
    let Ok(bytes) = receive.read_to_end(RPC_BYTES_MAX).await else {
        return;
    };
    let Ok(request) = PeerRequest::decode(&bytes[..]) else {
        return;
    };
    let response = handler.request(node, request).await;
    if send.write_all(&response.encode_to_vec()).await.is_ok() && send.finish().is_ok() {
        let _ = send.stopped().await;
    }
}
