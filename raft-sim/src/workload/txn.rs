//! Clients that read and change several keys in one transaction, or read the state of any one
//! server.
//!
//! The operations of a transaction on each key are part of the history of all clients.

use std::collections::BTreeMap;
use std::fmt;

use raft_kv::{
    Command, Compare, Delete, KeyRange, Op, OpResult, Operand, Outcome, Put, RangeRequest,
    Relation, RequestResult, Txn, TxnResult,
};

use crate::linearizability::{Call, HistoryOperation};
use crate::node::client_api::{ClientKind, ClientRequest, ClientResponse};
use crate::util::rng::SimRng;
use crate::workload::config::WorkloadConfig;
use crate::workload::driver::{Driver, Pending, Workload};
use crate::workload::{Context, session};

/// Clients that use transactions and stale reads.
#[derive(Clone, Debug)]
pub(crate) struct TxnWorkload {
    /// The value of each key when each client read it last.
    known: Vec<BTreeMap<String, Option<String>>>,
    /// The operations on single keys of transactions that have ended.
    done: Vec<HistoryOperation>,
}

/// An operation of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TxnOp {
    /// If the first key has the expected value: sets it, sets or deletes the second key, and reads
    /// the third key. Otherwise reads all of these keys.
    Swap { keys: Vec<String>, expected: Option<String>, deletes: bool },
    /// Reads all keys in one transaction.
    ReadAll { keys: Vec<String> },
    /// Reads all keys from the state of any one server, at a revision or at its latest one.
    StaleRead { revision: Option<i64> },
}

/// The oldest revision of a stale read, relative to the latest revision.
const STALE_REVISIONS_MAX: u64 = 10;
/// The first client of these operations in the history. Other clients have smaller numbers.
const FIRST_HISTORY_CLIENT: u64 = 1 << 20;

impl TxnWorkload {
    pub(crate) fn new(clients: u64) -> Self {
        Self { known: vec![BTreeMap::new(); clients as usize], done: Vec::new() }
    }

    pub(super) fn history_len(&self) -> usize {
        self.done.len()
    }

    /// The operations on single keys of transactions that have ended.
    #[cfg(test)]
    pub(crate) fn done_mut(&mut self) -> &mut Vec<HistoryOperation> {
        &mut self.done
    }

    /// Removes and returns the operations that were invoked before `until`.
    pub(super) fn take_history_before(&mut self, until: u64) -> Vec<HistoryOperation> {
        let done = std::mem::take(&mut self.done);
        let (early, late) = done.into_iter().partition(|operation| operation.invoked < until);
        self.done = late;
        early
    }

    /// Ends a transaction, and records its operations on single keys.
    fn finish(&mut self, pending: &Pending<TxnOp>, answer: Option<(u64, &TxnResult)>) {
        let known = &mut self.known[pending.client as usize - 1];
        for operation in operations(pending, answer) {
            if let Call::Get { found } = &operation.call {
                known.insert(operation.key.clone(), found.clone());
            }
            self.done.push(operation);
        }
    }
}

impl Workload for TxnWorkload {
    type Operation = TxnOp;
    const KIND: ClientKind = ClientKind::Txn;
    /// An operation of these clients is as much work as several operations of other clients.
    const THINK_TIME_FACTOR: u64 = 3;

    fn next_operation(
        &mut self,
        client: u64,
        random: &mut SimRng,
        config: &WorkloadConfig,
        _nodes: u64,
        latest_revision: i64,
    ) -> Option<(TxnOp, Option<u64>)> {
        if random.chance_per_mille(400) {
            let back = i64::try_from(random.below(STALE_REVISIONS_MAX)).unwrap_or(0);
            let revision = random.chance_per_mille(400).then(|| (latest_revision - back).max(1));
            return Some((TxnOp::StaleRead { revision }, None));
        }
        let mut left: Vec<u64> = (1..=config.key_count.max(1)).collect();
        let mut keys = Vec::new();
        while !left.is_empty() {
            let key = left.swap_remove(random.below(left.len() as u64) as usize);
            keys.push(format!("k{key}"));
        }
        if random.chance_per_mille(200) {
            return Some((TxnOp::ReadAll { keys }, None));
        }
        keys.truncate(3);
        let known = &self.known[client as usize - 1];
        let expected = known.get(&keys[0]).cloned().flatten();
        Some((TxnOp::Swap { expected, keys, deletes: random.chance_per_mille(200) }, None))
    }

    fn wants_leader(operation: &TxnOp) -> bool {
        !matches!(operation, TxnOp::StaleRead { .. })
    }

    /// A response that repeats an earlier outcome does not change the belief about the leader.
    fn is_from_leader(response: &ClientResponse) -> bool {
        matches!(response, ClientResponse::Applied(Outcome::Done(_)))
    }

    fn request(&self, _operation: u64, pending: Option<&Pending<TxnOp>>) -> Option<ClientRequest> {
        let pending = pending?;
        Some(match (txn(pending), &pending.operation) {
            (Some(txn), _) => {
                let session = session(Self::KIND, pending.number, pending.since);
                ClientRequest::Propose(Command::new(txn).with_session(session))
            }
            (None, TxnOp::StaleRead { revision }) => ClientRequest::stale_read("k", *revision),
            (None, _) => return None,
        })
    }

    fn on_start(&mut self, pending: &Pending<TxnOp>, context: &mut Context<'_>) {
        record(pending, None, context, format_args!("wants to {}", pending.operation));
    }

    fn on_response(
        &mut self,
        pending: Pending<TxnOp>,
        node: u64,
        response: ClientResponse,
        context: &mut Context<'_>,
    ) {
        match response {
            ClientResponse::StaleRead(found) => {
                let known = &mut self.known[pending.client as usize - 1];
                let keys = (1..=context.config.key_count).map(|key| format!("k{key}"));
                *known = keys.map(|key| (key, None)).collect();
                for kv in &found.kvs {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    known.insert(text(&kv.key), Some(text(&kv.value)));
                }
                let revision = found.revision;
                record(&pending, Some(node), context, format_args!("reads revision {revision}"));
                self.finish(&pending, None);
            }
            ClientResponse::Applied(Outcome::Done(response)) => {
                let revision = response.revision;
                record(
                    &pending,
                    Some(node),
                    context,
                    format_args!("is answered at revision {revision}"),
                );
                let result = match &response.result {
                    RequestResult::Txn(result) => Some((context.cluster.now, result)),
                    _ => None,
                };
                self.finish(&pending, result);
            }
            // The outcome is unknown.
            _ => self.finish(&pending, None),
        }
    }

    fn on_give_up(&mut self, pending: Pending<TxnOp>, context: &mut Context<'_>) {
        record(&pending, None, context, format_args!("gives up: it may have been done, or not"));
        self.finish(&pending, None);
    }
}

impl Driver<TxnWorkload> {
    /// The operations on single keys of all transactions, including pending ones.
    pub(crate) fn history(&self) -> impl Iterator<Item = HistoryOperation> {
        self.workload().done.iter().cloned().chain(self.pending_history())
    }

    /// The operations on single keys of pending transactions.
    pub(crate) fn pending_history(&self) -> impl Iterator<Item = HistoryOperation> {
        self.pending().flat_map(|pending| operations(pending, None))
    }

    /// Returns true if a pending transaction has this session.
    pub(crate) fn awaits_session(&self, client: u128) -> bool {
        let mut pending = self.pending();
        pending.any(|pending| session_client(pending.number) == client)
    }
}

/// The client number of a transaction's session.
pub(crate) fn session_client(number: u64) -> u128 {
    session(ClientKind::Txn, number, 0).client
}

fn record(
    pending: &Pending<TxnOp>,
    node: Option<u64>,
    context: &mut Context<'_>,
    text: fmt::Arguments<'_>,
) {
    context.note(node, format_args!("Transaction client {} {text}", pending.client));
}

/// The values of the first and the second key that a transaction sets.
fn values(number: u64) -> [String; 2] {
    [format!("t{number}"), format!("u{number}")]
}

/// The transaction of an operation. None for a stale read.
fn txn(pending: &Pending<TxnOp>) -> Option<Txn> {
    let read = |key: &String| Op::Range(RangeRequest::new(KeyRange::key(key.clone())));
    Some(match &pending.operation {
        TxnOp::StaleRead { .. } => return None,
        TxnOp::ReadAll { keys } => {
            Txn { success: keys.iter().map(read).collect(), ..Txn::default() }
        }
        TxnOp::Swap { keys, expected, deletes } => {
            let [first, second] = values(pending.number);
            let operand = match expected {
                Some(expected) => Operand::Value(expected.clone().into()),
                None => Operand::Version(0),
            };
            let put = Put::new(keys[0].clone(), first).returning_previous();
            let mut success = vec![Op::Put(put)];
            if let Some(key) = keys.get(1) {
                success.push(match deletes {
                    true => Op::Delete(Delete::new(KeyRange::key(key.clone()))),
                    false => Op::Put(Put::new(key.clone(), second)),
                });
            }
            success.extend(keys.get(2).map(read));
            Txn {
                compare: vec![Compare::key(keys[0].clone(), Relation::Equal, operand)],
                success,
                failure: keys.iter().map(read).collect(),
            }
        }
    })
}

/// The operations of a transaction on each key. Without an answer they may or may not have taken
/// effect.
fn operations(
    pending: &Pending<TxnOp>,
    answer: Option<(u64, &TxnResult)>,
) -> Vec<HistoryOperation> {
    let operation = |key: &String, call| HistoryOperation {
        client: FIRST_HISTORY_CLIENT + pending.client - 1,
        key: key.clone(),
        call,
        invoked: pending.invoked,
        returned: answer.map(|(at, _)| at),
    };
    let gets = |keys: &[String], results: &[OpResult]| {
        let gets = keys.iter().zip(results).filter_map(|(key, result)| {
            let found = found(result)?;
            Some(operation(key, Call::Get { found }))
        });
        gets.collect::<Vec<_>>()
    };
    match (&pending.operation, answer.map(|(_, result)| result)) {
        (TxnOp::StaleRead { .. }, _) | (TxnOp::ReadAll { .. }, None) => Vec::new(),
        (TxnOp::ReadAll { keys }, Some(result)) => gets(keys, &result.results),
        (TxnOp::Swap { keys, .. }, Some(result)) if !result.succeeded => {
            gets(keys, &result.results)
        }
        (TxnOp::Swap { keys, expected, deletes }, result) => {
            let [value, second] = values(pending.number);
            let cas = Call::Cas { expected: expected.clone(), value, succeeded: result.is_some() };
            let mut all = vec![operation(&keys[0], cas)];
            if let Some(key) = keys.get(1) {
                let call = match deletes {
                    true => Call::Delete,
                    false => Call::Put { value: second },
                };
                all.push(operation(key, call));
            }
            if let (Some(_), Some(result)) = (keys.get(2), result) {
                all.extend(gets(&keys[2..], &result.results[2..]));
            }
            all
        }
    }
}

/// The value that a read of one key found.
fn found(result: &OpResult) -> Option<Option<String>> {
    let OpResult::Range(range) = result else {
        return None;
    };
    let value = range.kvs.first().map(|kv| &kv.value);
    Some(value.map(|value| String::from_utf8_lossy(value).into_owned()))
}

/// The operation in words, after "wants to".
impl fmt::Display for TxnOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swap { keys, expected, .. } => {
                let expected = expected.as_deref().unwrap_or("nothing");
                write!(f, "change {} if the first key has the value {expected}", keys.join(", "))
            }
            Self::ReadAll { .. } => write!(f, "read all keys in one transaction"),
            Self::StaleRead { revision: None } => write!(f, "read the state of one server"),
            Self::StaleRead { revision: Some(revision) } => {
                write!(f, "read the state of one server at revision {revision}")
            }
        }
    }
}
