//! The checks of responses to clients: revisions, transactions and stale reads.
//!
//! The revision of a response is no smaller than any revision in a response that preceded the
//! request, and larger if the operation changed something. The response to a transaction equals the
//! result of the reference model.
//!
//! A stale read is answered by one server from the entries that it has applied. The response must
//! contain everything at its revision. As long as a server runs, its revision does not decrease.

use std::collections::BTreeMap;

use raft_kv::{OpResult, RangeRequest, RangeResponse, RequestResult, Response};

use crate::check::Checked;
use crate::check::auditor::Auditor;
use crate::check::invariants::Invariant;

/// The facts that clients have learned from responses.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResponseChecker {
    /// The latest revision in any response.
    latest: i64,
    /// The responses that pending transactions should receive, by the client of their session.
    expected: BTreeMap<u128, Response>,
    /// The start of each server's process and the revision of its latest stale read.
    stale_reads: BTreeMap<u64, (u64, i64)>,
}

impl ResponseChecker {
    /// The latest revision in any response.
    pub(crate) fn latest(&self) -> i64 {
        self.latest
    }

    /// Records the response that a pending transaction should receive. `is_pending` returns whether
    /// the transaction of a session is pending.
    pub(crate) fn expect(
        &mut self,
        session: u128,
        response: Response,
        is_pending: impl Fn(u128) -> bool,
    ) {
        self.expected.retain(|session, _| is_pending(*session));
        self.expected.insert(session, response);
    }

    /// Checks that a response to a transaction is the expected one.
    pub(crate) fn check_txn(&mut self, session: u128, response: &Response) -> Checked {
        let expected = self.expected.remove(&session);
        if expected.as_ref() == Some(response) {
            return Ok(());
        }
        let text = format!("a transaction has the result {response:?}; expected {expected:?}");
        Err((Invariant::Linearizability, text))
    }

    /// Checks the revision of a response, and records it. `revision_at_start` is the latest
    /// revision in any response when the request was sent.
    pub(crate) fn check_revision(
        &mut self,
        revision_at_start: i64,
        response: &Response,
    ) -> Checked {
        self.latest = self.latest.max(response.revision);
        check_revision_order(revision_at_start, response)
    }

    /// Checks a stale read of a server's process.
    pub(crate) fn check_stale_read(
        &mut self,
        node: u64,
        boot: u64,
        request: &RangeRequest,
        response: &RangeResponse,
        auditor: &Auditor,
    ) -> Checked {
        let violated = |text| Err((Invariant::Linearizability, text));
        let earlier = self.stale_reads.insert(node, (boot, response.revision));
        if let Some((_, earlier)) = earlier.filter(|(of, _)| *of == boot)
            && earlier > response.revision
        {
            let revision = response.revision;
            return violated(format!("n{node} shows revision {revision} after revision {earlier}"));
        }
        let latest = auditor.revision();
        let at = request.revision.unwrap_or(response.revision);
        if at > response.revision || response.revision > latest {
            return violated(format!(
                "n{node} shows revision {at} and is at revision {}; the latest revision is {latest}",
                response.revision
            ));
        }
        let expected = auditor.read_at(&request.keys, at);
        let is_complete =
            response.kvs == expected && response.count == expected.len() as u64 && !response.more;
        if is_complete {
            return Ok(());
        }
        violated(format!(
            "n{node} shows {:?} at revision {at}; expected {expected:?}",
            response.kvs
        ))
    }

    /// The number of servers that have answered a stale read.
    #[cfg(test)]
    pub(crate) fn servers_with_stale_reads(&self) -> usize {
        self.stale_reads.len()
    }
}

/// Checks that a revision is later than `before`, or equal if the operation changed nothing.
fn check_revision_order(before: i64, response: &Response) -> Checked {
    let revision = response.revision;
    if revision > before || (revision == before && !has_changed(&response.result)) {
        return Ok(());
    }
    let text = format!(
        "a response has revision {revision}, but revision {before} was known before the request"
    );
    Err((Invariant::Linearizability, text))
}

/// Returns true if an operation with this result changed keys.
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
