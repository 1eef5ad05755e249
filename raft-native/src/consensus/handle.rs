//! The view of the consensus loop from other parts of the node.

use bytes::Bytes;
use raft_core::{Message, NodeId, Status};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::consensus::apply_thread::ProposalOutcome;
use crate::consensus::{Input, ReadReply, StateSummary};

/// Sends inputs to the loop, and watches its state.
#[derive(Clone)]
pub(crate) struct ConsensusHandle {
    inputs: mpsc::Sender<Input>,
    summary: watch::Receiver<StateSummary>,
    applied: watch::Receiver<u64>,
}

/// The reason for which an input has no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InputError {
    /// The loop has stopped and did not take the input.
    Stopped,
    /// The queue stayed full until the deadline, so the loop did not take the input.
    QueueFull,
    /// The loop took the input and did not reply before the deadline.
    NoReply,
}

impl ConsensusHandle {
    pub(crate) fn new(
        inputs: mpsc::Sender<Input>,
        (summary, applied): (watch::Receiver<StateSummary>, watch::Receiver<u64>),
    ) -> Self {
        Self { inputs, summary, applied }
    }

    pub(crate) fn summary(&self) -> StateSummary {
        *self.summary.borrow()
    }

    pub(crate) fn watch_summary(&self) -> watch::Receiver<StateSummary> {
        self.summary.clone()
    }

    /// The index of the last entry that the state machine has applied.
    pub(crate) fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    pub(crate) fn watch_applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }

    pub(crate) async fn receive(&self, from: NodeId, message: Message) {
        // The loop has ended only if the node is stopping.
        let _ = self.inputs.send(Input::Message(from, message)).await;
    }

    pub(crate) async fn propose(
        &self,
        command: Bytes,
        deadline: Instant,
    ) -> Result<ProposalOutcome, InputError> {
        self.request(|reply| Input::Propose { command, reply }, deadline).await
    }

    pub(crate) async fn read_index(&self, deadline: Instant) -> Result<ReadReply, InputError> {
        self.request(|reply| Input::Read { reply }, deadline).await
    }

    pub(crate) async fn status(&self, deadline: Instant) -> Result<Status, InputError> {
        self.request(|reply| Input::Status { reply }, deadline).await
    }

    /// Starts a leadership transfer to the best target. Returns false if there is no target.
    pub(crate) async fn transfer(&self, deadline: Instant) -> Result<bool, InputError> {
        self.request(|reply| Input::Transfer { reply }, deadline).await
    }

    pub(crate) async fn stop(&self) {
        let _ = self.inputs.send(Input::Stop).await;
    }

    async fn request<T>(
        &self,
        input: impl FnOnce(oneshot::Sender<T>) -> Input,
        deadline: Instant,
    ) -> Result<T, InputError> {
        let (reply, answer) = oneshot::channel();
        match timeout_at(deadline, self.inputs.send(input(reply))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(InputError::Stopped),
            Err(_) => return Err(InputError::QueueFull),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(InputError::NoReply),
        }
    }
}
