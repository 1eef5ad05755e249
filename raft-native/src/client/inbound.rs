//! The messages and requests of the other nodes.

use raft_core::{Message, NodeId};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::write::Attempt;
use crate::client::{Handle, RequestError};
use crate::peer::InboundHandler;
use crate::peer::rpc::{PeerRequest, PeerResponse, RequestKind, ResponseKind, RpcError};

/// Passes messages to the consensus loop, and answers requests.
#[derive(Clone)]
pub(crate) struct PeerHandler {
    node: Handle,
    /// The runtime of client requests. Requests that other nodes forward run there, so that they
    /// do not delay consensus.
    clients: runtime::Handle,
}

impl PeerHandler {
    pub(crate) fn new(node: Handle, clients: runtime::Handle) -> Self {
        Self { node, clients }
    }
}

impl InboundHandler for PeerHandler {
    async fn message(&self, from: NodeId, message: Message) {
        self.node.0.consensus.receive(from, message).await;
    }

    async fn request(&self, _from: NodeId, request: PeerRequest) -> PeerResponse {
        let node = self.node.clone();
        // The set aborts the task if the peer resets the stream.
        let mut tasks = JoinSet::new();
        tasks.spawn_on(async move { node.handle_peer_request(request).await }, &self.clients);
        match tasks.join_next().await {
            Some(Ok(response)) => response,
            _ => RpcError::OutcomeUnknown.into(),
        }
    }
}

impl Handle {
    /// Answers a request with the state of this node alone. The node does not forward it again.
    async fn handle_peer_request(&self, request: PeerRequest) -> PeerResponse {
        let deadline = Instant::now() + request.timeout();
        match request.kind {
            Some(RequestKind::Name(_)) => ResponseKind::Name(self.config().name.clone()).into(),
            Some(_) if self.is_stopping() => RpcError::Stopping.into(),
            Some(RequestKind::Execute(command)) => match self.propose(command, deadline).await {
                Attempt::Applied(outcome) => ResponseKind::Outcome(outcome.encode()).into(),
                Attempt::NotApplied(RequestError::Overloaded) => RpcError::Overloaded.into(),
                Attempt::NotApplied(RequestError::NoSpace) => RpcError::NoSpace.into(),
                Attempt::NotApplied(RequestError::Stopping) => RpcError::Stopping.into(),
                Attempt::NotApplied(_) => RpcError::NotLeader.into(),
                Attempt::Unknown => RpcError::OutcomeUnknown.into(),
            },
            Some(RequestKind::Status(_)) => match self.status().await {
                Ok(status) => ResponseKind::Status(status.into()).into(),
                Err(_) => RpcError::Stopping.into(),
            },
            // The peer has a later version.
            None => RpcError::OutcomeUnknown.into(),
        }
    }
}
