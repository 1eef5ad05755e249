//! The requests of one node to another one, mostly on behalf of a client.
//!
//! Each request has a stream of its own, so no request waits behind another one.

use std::time::Duration;

use crate::peer::proto;

pub(crate) use proto::peer_request::Kind as RequestKind;
pub(crate) use proto::peer_response::Kind as ResponseKind;
pub(crate) use proto::{
    FollowerStatus as FollowerStatusRecord, NameRequest, NodeStatus as NodeStatusRecord,
    PeerRequest, PeerResponse, RpcError, StatusRequest,
};

/// The largest request or response in bytes.
pub(crate) const RPC_BYTES_MAX: usize = 16 << 20;
/// The receiver of a request does not work on it for longer than this.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The reason for which a request has no response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallError {
    /// This node did not send the whole request, so the peer does not act on it.
    NotSent,
    /// This node sent the request and got no response. The peer may have acted on it.
    NoResponse,
}

impl PeerRequest {
    pub(crate) fn new(kind: RequestKind, timeout: Duration) -> Self {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Self { kind: Some(kind), timeout_ms }
    }

    /// The time that the receiver may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms).min(TIMEOUT_MAX)
    }
}

impl From<ResponseKind> for PeerResponse {
    fn from(kind: ResponseKind) -> Self {
        Self { kind: Some(kind) }
    }
}

impl From<RpcError> for PeerResponse {
    fn from(error: RpcError) -> Self {
        ResponseKind::Error(error.into()).into()
    }
}
