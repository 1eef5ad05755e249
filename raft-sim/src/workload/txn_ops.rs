//! What traders ask for, what it does to each key, and when it may have been done.

use raft_kv::{
    Compare, Delete, KeyRange, Op, OpResult, Operand, Put, RangeRequest, Relation, RequestResult,
    Response, Txn, TxnResult,
};

use crate::check::auditor::Checked;
use crate::check::invariants::Invariant;
use crate::linearizability::{Call, HistoryOperation};

#[derive(Clone, Debug)]
pub(crate) struct PendingTxn {
    /// Which request it is, of all that traders ever make.
    pub(crate) number: u64,
    pub(crate) wish: TxnOp,
    pub(crate) attempts: u64,
    /// See [`Session::since`].
    pub(crate) since: u64,
    pub(crate) invoked: u64,
    /// The latest revision that anybody had been told of when it was asked for.
    pub(crate) floor: i64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TxnOp {
    /// If the first key holds what is expected, set it, and set or delete the second, and read the
    /// third. Read all of them otherwise.
    Swap { keys: Vec<String>, expected: Option<String>, deletes: bool },
    /// Read all keys at once.
    ReadAll { keys: Vec<String> },
    /// Read all keys at any one server, as they are there, or as they were at a revision.
    StaleRead { at: Option<i64> },
}

/// Requests with numbers from here on are those of traders.
pub(crate) const FIRST: u64 = 1 << 50;
/// Clients with numbers from here on are traders.
const CLIENTS: u64 = 1 << 20;

/// The session of a transaction.
pub(crate) fn session_client(number: u64) -> u128 {
    u128::from(number) << 64
}

/// Whether a session is that of a trader.
pub(crate) fn is_traders_session(client: u128) -> bool {
    client >= session_client(FIRST)
}

/// Whether a revision fits into time: nobody was told of a later one before this was asked for, nor
/// of the same, if this changed something.
pub(crate) fn check_revision_order(floor: i64, response: &Response) -> Checked<()> {
    let revision = response.revision;
    if revision > floor || (revision == floor && !has_changed(&response.result)) {
        return Ok(());
    }
    let text = format!(
        "a request is answered with revision {revision}, and {floor} was known before it was asked for"
    );
    Err((Invariant::Linearizability, text))
}

fn has_changed(result: &RequestResult) -> bool {
    let op_has_changed = |op: &OpResult| match op {
        OpResult::Put(_) => true,
        OpResult::Delete(delete) => delete.deleted > 0,
        OpResult::Range(_) => false,
    };
    match result {
        RequestResult::Put(_) => true,
        RequestResult::Delete(delete) => delete.deleted > 0,
        RequestResult::Txn(txn) => txn.results.iter().any(op_has_changed),
        RequestResult::Revoke(revoke) => revoke.deleted > 0,
        RequestResult::Grant(_) => false,
    }
}

impl PendingTxn {
    /// The values that it sets the first and the second key to.
    fn values(&self) -> [String; 2] {
        let number = self.number - FIRST + 1;
        [format!("t{number}"), format!("u{number}")]
    }

    pub(crate) fn txn(&self) -> Option<Txn> {
        let read = |key: &String| Op::Range(RangeRequest::new(KeyRange::key(key.clone())));
        Some(match &self.wish {
            TxnOp::StaleRead { .. } => return None,
            TxnOp::ReadAll { keys } => {
                Txn { success: keys.iter().map(read).collect(), ..Txn::default() }
            }
            TxnOp::Swap { keys, expected, deletes } => {
                let [first, second] = self.values();
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

    /// What it did to each key; or, without an answer, what it may have done.
    pub(crate) fn operations(
        &self,
        trader: usize,
        answer: Option<(u64, &TxnResult)>,
    ) -> Vec<HistoryOperation> {
        let operation = |key: &String, call| HistoryOperation {
            client: CLIENTS + trader as u64,
            key: key.clone(),
            call,
            invoked: self.invoked,
            returned: answer.map(|(at, _)| at),
        };
        let gets = |keys: &[String], results: &[OpResult]| {
            let gets = keys.iter().zip(results).filter_map(|(key, result)| {
                let found = found(result)?;
                Some(operation(key, Call::Get { found }))
            });
            gets.collect::<Vec<_>>()
        };
        match (&self.wish, answer.map(|(_, result)| result)) {
            (TxnOp::StaleRead { .. }, _) | (TxnOp::ReadAll { .. }, None) => Vec::new(),
            (TxnOp::ReadAll { keys }, Some(result)) => gets(keys, &result.results),
            (TxnOp::Swap { keys, .. }, Some(result)) if !result.succeeded => {
                gets(keys, &result.results)
            }
            (TxnOp::Swap { keys, expected, deletes }, result) => {
                let [value, second] = self.values();
                let cas =
                    Call::Cas { expected: expected.clone(), value, succeeded: result.is_some() };
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
}

/// What a read of one key has found.
fn found(result: &OpResult) -> Option<Option<String>> {
    let OpResult::Range(range) = result else {
        return None;
    };
    let value = range.kvs.first().map(|kv| &kv.value);
    Some(value.map(|value| String::from_utf8_lossy(value).into_owned()))
}

impl std::fmt::Display for TxnOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Swap { keys, expected, .. } => {
                let expected = expected.as_deref().unwrap_or("nothing");
                write!(f, "change {} if the first holds {expected}", keys.join(", "))
            }
            Self::ReadAll { .. } => write!(f, "read all keys at once"),
            Self::StaleRead { at: None } => write!(f, "see what a server has"),
            Self::StaleRead { at: Some(at) } => write!(f, "see what a server had at revision {at}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_kv::{DeleteResult, PutResult};

    #[test]
    fn non_monotonic_revision_is_detected() {
        let response = |revision, result| Response { revision, result };
        let put = RequestResult::Put(PutResult { prev_kv: None });
        let delete =
            |deleted| RequestResult::Delete(DeleteResult { deleted, prev_kvs: Vec::new() });
        assert!(check_revision_order(5, &response(6, put.clone())).is_ok());
        assert!(check_revision_order(5, &response(5, put)).is_err());
        assert!(check_revision_order(5, &response(5, delete(0))).is_ok());
        assert!(check_revision_order(5, &response(5, delete(1))).is_err());
        assert!(check_revision_order(5, &response(4, delete(0))).is_err());
    }
}
