//! The connection to one other node, through all its lives.

use std::time::Duration;

use prost::Message as _;
use quinn::{Connection, Endpoint};
use raft_core::{Message, NodeId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};

use super::call::{Answer, Call, Question, Reply};
use super::lane::{Lane, read_lane, write_lane};
use super::{CLOSED, CallError, REPLACED, Receiver, peer_of, why_not};
use crate::address::Address;
use crate::identity::server_name;
use crate::names::Names;

/// One other node.
pub(crate) struct Link {
    pub(crate) address: Address,
    control: mpsc::Sender<Message>,
    bulk: mpsc::Sender<Message>,
    connection: watch::Sender<Option<Connection>>,
    names: Names,
}

/// Messages that wait for a lane. When there are more, the newest is dropped.
const CONTROL_MAX: usize = 4096;
const BULK_MAX: usize = 512;
/// Said of an endpoint that connects to nobody any more.
const STOPPING: &str = "this node is stopping";
/// A question or an answer.
const CALL_BYTES_MAX: usize = 16 << 20;

impl Link {
    pub(crate) fn new(address: Address, names: Names, tasks: &mut JoinSet<()>) -> Self {
        let (control, control_queue) = mpsc::channel(CONTROL_MAX);
        let (bulk, bulk_queue) = mpsc::channel(BULK_MAX);
        let (connection, watch) = watch::channel(None);
        tasks.spawn(write_lane(Lane::Control, control_queue, watch.clone()));
        tasks.spawn(write_lane(Lane::Bulk, bulk_queue, watch));
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

    async fn learn_name(&self, node: NodeId) {
        let patience = Duration::from_secs(2);
        let answer = self.call(&Call::new(Question::Name(true), patience), patience).await;
        if let Ok(Some(Reply::Name(name))) = answer.map(|answer| answer.reply) {
            self.names.learn(node, name);
        }
    }

    /// Calls the node again and again, until this one stops.
    pub(crate) async fn dial(&self, endpoint: Endpoint, receiver: impl Receiver) {
        const FIRST_PAUSE: Duration = Duration::from_millis(20);
        const LONGEST_PAUSE: Duration = Duration::from_millis(1000);
        let node = self.address.node_id();
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        loop {
            match self.connect(&endpoint, node).await {
                Ok(connection) => {
                    info!(peer = %self.address, "connected");
                    (pause, told) = (FIRST_PAUSE, String::new());
                    self.serve(node, connection, receiver.clone()).await;
                    info!(peer = %self.address, "disconnected");
                }
                Err(reason) if reason == STOPPING => return,
                // A peer that is away is told of once, not once a second.
                Err(reason) if reason != told => {
                    warn!(peer = %self.address, %reason, "cannot connect; trying again");
                    told = reason;
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(&self, endpoint: &Endpoint, node: NodeId) -> Result<Connection, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let (host, port) = (self.address.host(), self.address.port());
        let local_is_v4 = endpoint.local_addr().is_ok_and(|address| address.is_ipv4());
        let mut found = tokio::net::lookup_host((host, port)).await.map_err(|e| text(&e))?;
        let address = found.find(|address| address.is_ipv4() == local_is_v4).ok_or_else(|| {
            format!("{host} has no address of the kind that this node listens at")
        })?;
        let connecting = match endpoint.connect(address, &server_name(node)) {
            Ok(connecting) => connecting,
            Err(quinn::ConnectError::EndpointStopping) => return Err(STOPPING.into()),
            Err(error) => return Err(text(&error)),
        };
        let connection = timeout(Duration::from_secs(2), connecting)
            .await
            .map_err(|_| "no answer".to_owned())?
            .map_err(|error| why_not(&error))?;
        if peer_of(&connection) == Some(node) {
            Ok(connection)
        } else {
            Err("it is another node".into())
        }
    }

    /// Takes what the node sends until the connection ends.
    pub(crate) async fn serve(
        &self,
        node: NodeId,
        connection: Connection,
        receiver: impl Receiver,
    ) {
        if let Some(before) = self.connection.send_replace(Some(connection.clone())) {
            before.close(REPLACED, b"replaced by a newer connection");
        }
        let mut streams = JoinSet::new();
        // What the node is called is for people only: asked once, and not waited for.
        let learn = self.learn_name(node);
        tokio::pin!(learn);
        let mut learned = false;
        loop {
            while streams.try_join_next().is_some() {}
            let receiver = receiver.clone();
            tokio::select! {
                () = &mut learn, if !learned => learned = true,
                lane = connection.accept_uni() => match lane {
                    Ok(stream) => {
                        let connection = connection.clone();
                        streams.spawn(async move {
                            if let Err(error) = read_lane(node, stream, receiver).await {
                                warn!(%error, "a peer sent something that cannot be read");
                                connection.close(super::NOT_A_MEMBER, b"unreadable");
                            }
                        });
                    }
                    Err(_) => break,
                },
                call = connection.accept_bi() => match call {
                    Ok((send, receive)) => {
                        streams.spawn(answer(node, send, receive, receiver));
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
    }
}

async fn answer(
    node: NodeId,
    mut send: quinn::SendStream,
    mut receive: quinn::RecvStream,
    receiver: impl Receiver,
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
