//! Clients that read and write single keys, and the operations that scripts request.

use raft_kv::{Outcome, RequestResult};

use crate::linearizability::{Call, HistoryOperation};
use crate::node::client_api::{ClientKind, ClientRequest, ClientResponse};
use crate::util::cow::CowMap;
use crate::util::rng::SimRng;
use crate::workload::config::WorkloadConfig;
use crate::workload::driver::{Pending, Workload};
use crate::workload::request::Request;
use crate::workload::{Context, session};

/// An operation on one key.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Operation {
    /// The number of the operation, from 1.
    pub id: u64,
    /// The client. Each operation of a script has a client of its own.
    pub client: u64,
    /// The requested operation.
    pub request: Request,
    /// When the operation started.
    pub invoked: u64,
    /// When the response arrived.
    pub returned: Option<u64>,
    /// The outcome.
    pub state: OperationState,
    /// The number of attempts that were sent.
    pub attempts: u64,
    /// The server of the latest attempt.
    pub node: u64,
    /// See [`Session::since`](raft_kv::Session::since).
    #[serde(skip)]
    since: u64,
}

/// The outcome of an operation.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum OperationState {
    /// The client waits for the response.
    Waiting,
    /// The operation was applied.
    Done {
        /// The value that a read found.
        found: Option<String>,
        /// The condition of a compare-and-set was met.
        succeeded: bool,
    },
    /// The client gave up. The operation may have been applied, or may still be.
    Unknown,
}

/// Clients that read and write single keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct KvWorkload {
    /// The operations, without early ones that are only in the summary of the history.
    operations: CowMap<u64, Operation>,
    /// The number of operations that clients have started by themselves. Each one that writes has a
    /// value of its own.
    generated: u64,
}

/// The first client of operations that scripts request. Clients of the configuration have smaller
/// numbers.
const SCRIPT_CLIENTS: u64 = 1000;

/// The client of an operation that a script requests.
pub(crate) fn script_client(operation: u64) -> u64 {
    SCRIPT_CLIENTS + operation
}

impl KvWorkload {
    /// The operations that are kept, in order.
    pub(crate) fn operations(&self) -> impl DoubleEndedIterator<Item = &Operation> {
        self.operations.values()
    }

    pub(crate) fn operation(&self, id: u64) -> Option<&Operation> {
        self.operations.get(&id)
    }

    #[cfg(test)]
    pub(crate) fn operation_mut(&mut self, id: u64) -> Option<&mut Operation> {
        self.operations.get_mut(&id)
    }

    /// The operations that are kept, for the checker of histories.
    pub(super) fn history(&self) -> impl Iterator<Item = HistoryOperation> {
        self.operations.values().map(Operation::for_history)
    }

    pub(super) fn history_len(&self) -> usize {
        self.operations.len()
    }

    /// Removes and returns the operations that were invoked before `until`.
    pub(super) fn take_history_before(&mut self, until: u64) -> Vec<HistoryOperation> {
        let is_early = |operation: &&Operation| operation.invoked < until;
        let early = self.operations.values().take_while(is_early);
        let early: Vec<_> = early.map(|operation| operation.id).collect();
        let taken = early.iter().filter_map(|id| self.operations.remove(id));
        taken.map(|operation| operation.for_history()).collect()
    }

    /// Records the outcome of an operation.
    fn finish(
        &mut self,
        pending: &Pending<Request>,
        state: OperationState,
        context: &mut Context<'_>,
    ) {
        let Some(operation) = self.operations.get_mut(&pending.number) else {
            return;
        };
        let is_done = matches!(state, OperationState::Done { .. });
        operation.returned = is_done.then_some(context.cluster.now);
        operation.state = state;
        context.log.answered(context.cluster.now, operation);
    }
}

impl Workload for KvWorkload {
    type Operation = Request;
    const KIND: ClientKind = ClientKind::Kv;
    const SHARES_LEADER: bool = true;

    fn next_operation(
        &mut self,
        _client: u64,
        random: &mut SimRng,
        config: &WorkloadConfig,
        nodes: u64,
        _latest_revision: i64,
    ) -> Option<(Request, Option<u64>)> {
        let key = format!("k{}", random.below(config.key_count.max(1)) + 1);
        self.generated += 1;
        let value = format!("v{}", self.generated);
        let request = match random.below(10) {
            0..4 => Request::Put { key, value },
            4..8 => Request::Get { key },
            8 => Request::Delete { key },
            _ => {
                let recent = self.generated.saturating_sub(random.below(10));
                let expected = (recent > 0).then(|| format!("v{recent}"));
                Request::Cas { key, expected, value }
            }
        };
        // Some requests reach a server that may not be the leader.
        let via = random.chance_per_mille(200).then(|| random.within(1..=nodes));
        Some((request, via))
    }

    /// A late attempt of an operation that has ended is still delivered, as in a real network.
    fn request(
        &self,
        operation: u64,
        _pending: Option<&Pending<Request>>,
    ) -> Option<ClientRequest> {
        let operation = self.operations.get(&operation)?;
        Some(match operation.request.command() {
            None => ClientRequest::Get { key: operation.request.key().to_owned() },
            Some(command) => {
                let session = session(Self::KIND, operation.id, operation.since);
                ClientRequest::Propose(command.with_session(session))
            }
        })
    }

    fn on_start(&mut self, pending: &Pending<Request>, context: &mut Context<'_>) {
        let operation = Operation {
            id: pending.number,
            client: pending.client,
            request: pending.operation.clone(),
            invoked: pending.invoked,
            returned: None,
            state: OperationState::Waiting,
            attempts: 0,
            node: 0,
            since: pending.since,
        };
        context.log.asked(context.cluster.now, operation.id, &operation.request);
        self.operations.insert(pending.number, operation);
    }

    fn on_send(&mut self, pending: &Pending<Request>) {
        if let Some(operation) = self.operations.get_mut(&pending.number) {
            operation.attempts = pending.attempts;
            operation.node = pending.node;
        }
    }

    fn on_response(
        &mut self,
        pending: Pending<Request>,
        _node: u64,
        response: ClientResponse,
        context: &mut Context<'_>,
    ) {
        let state = match response {
            ClientResponse::Found(found) => OperationState::Done { found, succeeded: true },
            ClientResponse::Applied(Outcome::Done(response)) => {
                let succeeded = match response.result {
                    RequestResult::Txn(txn) => txn.succeeded,
                    _ => true,
                };
                OperationState::Done { found: None, succeeded }
            }
            _ => OperationState::Unknown,
        };
        self.finish(&pending, state, context);
    }

    fn on_give_up(&mut self, pending: Pending<Request>, context: &mut Context<'_>) {
        self.finish(&pending, OperationState::Unknown, context);
    }
}

impl Operation {
    fn for_history(&self) -> HistoryOperation {
        let (found, succeeded) = match &self.state {
            OperationState::Done { found, succeeded } => (found.clone(), *succeeded),
            OperationState::Waiting | OperationState::Unknown => (None, false),
        };
        let call = match self.request.clone() {
            Request::Put { value, .. } => Call::Put { value },
            Request::Delete { .. } => Call::Delete,
            Request::Get { .. } => Call::Get { found },
            Request::Cas { expected, value, .. } => Call::Cas { expected, value, succeeded },
        };
        HistoryOperation {
            client: self.client,
            key: self.request.key().to_owned(),
            call,
            invoked: self.invoked,
            returned: self.returned,
        }
    }
}
