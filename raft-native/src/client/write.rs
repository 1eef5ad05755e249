//! Writes. Any node accepts a write and forwards it to the leader.

use bytes::Bytes;
use raft_core::NodeId;
use raft_kv::{Command, Op, Outcome, Request};
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Handle, RETRY_INTERVAL, RequestError};
use crate::consensus::InputError;
use crate::consensus::apply_thread::ProposalOutcome;
use crate::peer::rpc::{CallError, RequestKind, ResponseKind, RpcError};

/// The result of one attempt to apply a command.
pub(super) enum Attempt {
    Applied(Outcome),
    /// The command was certainly not applied, so another attempt is safe.
    NotApplied(RequestError),
    /// The command may have been applied, or may still be.
    Unknown,
}

impl Handle {
    /// Applies a command through the leader.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; [`is_definite`](RequestError::is_definite) returns false if the command
    /// may have been applied.
    pub async fn execute(&self, command: Command) -> Result<Outcome, RequestError> {
        command.validate(&self.limits())?;
        let deadline = Instant::now() + self.config().request_timeout;
        if command.session.is_some() {
            return self.send_until_answered(command, deadline).await;
        }
        loop {
            let Some(guard) = self.0.sessions.checkout(self.0.consensus.applied()) else {
                return self.send_until_answered(command, deadline).await;
            };
            let mut in_session = command.clone();
            in_session.session = Some(guard.session());
            match self.send_until_answered(in_session, deadline).await {
                // The state machine stores a bounded number of sessions, and has evicted this one.
                // It rejected the command, so the node repeats it in a new session.
                Ok(Outcome::SessionUnknown { since }) => {
                    guard.discard();
                    let mut applied = self.0.consensus.watch_applied();
                    let is_applied = applied.wait_for(|applied| *applied >= since);
                    match timeout_at(deadline, is_applied).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(_)) => return Err(RequestError::Stopping),
                        Err(_) => return Err(RequestError::Overloaded),
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// Sends a command to the leader until there is a response. A command in a session is repeated
    /// after an unknown outcome; the state machine applies it once.
    async fn send_until_answered(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<Outcome, RequestError> {
        let has_session = command.session.is_some();
        let bytes = command.encode();
        // After an attempt with an unknown outcome, no later rejection is definite.
        let mut is_in_doubt = false;
        let failed = |is_in_doubt: bool, reason| {
            if is_in_doubt { RequestError::Unknown } else { reason }
        };
        let mut last = RequestError::NoLeader;
        while Instant::now() < deadline {
            if self.is_stopping() {
                return Err(failed(is_in_doubt, RequestError::Stopping));
            }
            match self.attempt(bytes.clone(), deadline).await {
                // An earlier attempt may have been applied before the session was evicted.
                Attempt::Applied(Outcome::SessionUnknown { .. }) if is_in_doubt => {
                    return Err(RequestError::Unknown);
                }
                Attempt::Applied(outcome) => return Ok(outcome),
                Attempt::NotApplied(
                    reason @ (RequestError::Overloaded | RequestError::NoSpace),
                ) => return Err(failed(is_in_doubt, reason)),
                Attempt::NotApplied(reason) => last = reason,
                Attempt::Unknown if has_session => is_in_doubt = true,
                Attempt::Unknown => return Err(RequestError::Unknown),
            }
            sleep(RETRY_INTERVAL).await;
        }
        Err(failed(is_in_doubt, last))
    }

    /// Sends a command to the current leader once. The attempt ends if the leader changes, because
    /// the old leader may never respond.
    async fn attempt(&self, command: Bytes, deadline: Instant) -> Attempt {
        let summary = self.0.consensus.summary();
        let attempt = async {
            match summary.leader {
                Some(_) if summary.is_leader => self.propose(command, deadline).await,
                Some(leader) => self.forward(leader, command, deadline).await,
                None => Attempt::NotApplied(RequestError::NoLeader),
            }
        };
        tokio::select! {
            attempt = attempt => attempt,
            () = self.leader_changed(summary) => Attempt::Unknown,
        }
    }

    /// Proposes a command at this node.
    pub(super) async fn propose(&self, command: Bytes, deadline: Instant) -> Attempt {
        if self.0.observed.space.alarm().is_some() && adds_data(&command) {
            return Attempt::NotApplied(RequestError::NoSpace);
        }
        match self.0.consensus.propose(command, deadline).await {
            Ok(ProposalOutcome::Applied(outcome)) => Attempt::Applied(outcome),
            Ok(ProposalOutcome::NotLeader | ProposalOutcome::Replaced) => {
                Attempt::NotApplied(RequestError::NoLeader)
            }
            Ok(ProposalOutcome::Overloaded) | Err(InputError::QueueFull) => {
                Attempt::NotApplied(RequestError::Overloaded)
            }
            Ok(ProposalOutcome::Stopped) | Err(InputError::Stopped) => {
                Attempt::NotApplied(RequestError::Stopping)
            }
            Err(InputError::NoReply) => Attempt::Unknown,
        }
    }

    async fn forward(&self, leader: NodeId, command: Bytes, deadline: Instant) -> Attempt {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let response = self.0.peers.request(leader, RequestKind::Execute(command), timeout).await;
        match response.map(|response| response.kind) {
            Ok(Some(ResponseKind::Outcome(bytes))) => match Outcome::decode(bytes) {
                Ok(outcome) => Attempt::Applied(outcome),
                Err(_) => Attempt::Unknown,
            },
            Ok(Some(ResponseKind::Error(error))) => match RpcError::try_from(error) {
                Ok(RpcError::NoSpace) => Attempt::NotApplied(RequestError::NoSpace),
                Ok(RpcError::Overloaded) => Attempt::NotApplied(RequestError::Overloaded),
                Ok(RpcError::NotLeader | RpcError::Stopping) => {
                    Attempt::NotApplied(RequestError::NoLeader)
                }
                Ok(RpcError::OutcomeUnknown) | Err(_) => Attempt::Unknown,
            },
            Err(CallError::NotSent) => Attempt::NotApplied(RequestError::NoLeader),
            Ok(_) | Err(CallError::NoResponse) => Attempt::Unknown,
        }
    }
}

/// Returns false if a command only removes data.
fn adds_data(command: &Bytes) -> bool {
    let is_put = |op: &Op| matches!(op, Op::Put(_));
    match Command::decode(command.clone()).map(|command| command.request) {
        Ok(Request::Delete(_) | Request::Revoke(_)) => false,
        Ok(Request::Txn(txn)) => txn.success.iter().chain(&txn.failure).any(is_put),
        Ok(Request::Put(_) | Request::Grant(_)) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use raft_kv::{Delete, KeyRange, Put};

    use super::*;

    #[test]
    fn deletion_adds_no_data() {
        let encoded = |command: Command| command.encode();
        assert!(adds_data(&encoded(Command::new(Put::new("key", "value")))));
        assert!(!adds_data(&encoded(Command::new(Delete::new(KeyRange::key("key"))))));
    }
}
