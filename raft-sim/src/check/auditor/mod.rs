//! The auditor: replays the committed log on a reference model and compares the servers' results
//! with it.
//!
//! The model is independent of the servers. It receives the committed commands and their outcomes
//! when the first server applies them. It reads a server's state machine only to check it.

mod watch;

use std::collections::{BTreeMap, BTreeSet};

use raft_kv::{
    Changes, ChangesRequest, Command, Grant, KeyRange, KeyValue, LEASE_KEYS_MAX, Lease, Op,
    OpResult, Outcome, Put, Request, RequestResult, Revoke, TxnResult,
};

use crate::check::Checked;
use crate::check::invariants::Invariant;
use crate::check::kv_model::{Change, KvModel};
use crate::util::cow::CowVec;

/// The reference model, and the checks against it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auditor {
    /// Without clients that need it, nothing is audited.
    enabled: bool,
    /// The index of the last audited entry.
    index: u64,
    /// The keys after that entry.
    keys: KvModel,
    /// The leases after that entry, by number.
    leases: BTreeMap<i64, Lease>,
    /// The largest number that the state machine has chosen for a lease.
    chosen_lease_max: i64,
    /// The changes of each revision, from revision 2 on.
    history: CowVec<Vec<Change>>,
}

/// An entry that a server is the first to apply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstApplied<'a> {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) command: Option<&'a Command>,
    pub(crate) outcome: &'a Outcome,
    /// The revision of the state machine after the entry.
    pub(crate) revision: i64,
    /// An earlier entry contains the same command of the same session. The command has no effect.
    pub(crate) is_repeated: bool,
}

/// A change of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeaseChange {
    /// A lease was granted.
    Granted(Lease),
    /// A lease has expired, or was revoked by a client.
    Ended { lease: Lease, has_expired: bool },
}

/// The revision of the first change. An empty state machine has the revision before.
const FIRST_CHANGE_REVISION: i64 = 2;

impl Auditor {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, ..Self::default() }
    }

    /// Returns true if this is the first entry that is not audited yet.
    pub(crate) fn wants(&self, index: u64) -> bool {
        self.enabled && index == self.index + 1
    }

    /// Returns true if any lease exists.
    pub(crate) fn has_leases(&self) -> bool {
        !self.leases.is_empty()
    }

    /// The revision after the last audited entry.
    pub(crate) fn revision(&self) -> i64 {
        self.history.len() as i64 + FIRST_CHANGE_REVISION - 1
    }

    /// Audits an entry that a server is the first to apply. `changes_of` returns the changes that
    /// the server reports to watchers.
    pub(crate) fn apply(
        &mut self,
        applied: FirstApplied<'_>,
        changes_of: impl FnOnce(&ChangesRequest) -> Option<Changes>,
    ) -> Checked<Option<LeaseChange>> {
        let FirstApplied { index, term, revision, .. } = applied;
        self.index = index;
        let (Some(command), Outcome::Done(response), false) =
            (applied.command, applied.outcome, applied.is_repeated)
        else {
            return self.check_revision(Vec::new(), revision).map(|()| None);
        };
        let change = match (&command.request, &response.result) {
            (Request::Grant(grant), RequestResult::Grant(granted)) => {
                self.check_revision(Vec::new(), revision)?;
                Some(self.grant(index, grant, granted.lease)?)
            }
            (Request::Revoke(revoke), RequestResult::Revoke(ended)) => {
                self.revoke(term, revoke, ended.lease)?;
                let keys = self.remove_lease_keys(ended.lease, revision, changes_of)?;
                if keys != ended.deleted {
                    let (id, deleted) = (revoke.id, ended.deleted);
                    let text =
                        format!("lease {id} had {keys} keys, and the server reports {deleted}");
                    return Err((Invariant::LeaseKeysDeletedWithLease, text));
                }
                let has_expired = revoke.expiry.is_some();
                Some(LeaseChange::Ended { lease: ended.lease, has_expired })
            }
            (request, result) => {
                let mut changes = Vec::new();
                let expected = self.expected_result(request, &mut changes)?;
                self.check_key_limit(&changes)?;
                self.check_revision(changes, revision)?;
                if expected.as_ref() != Some(result) {
                    let text =
                        format!("entry {index} has the result {result:?}; expected {expected:?}");
                    return Err((Invariant::StateMachineSafety, text));
                }
                None
            }
        };
        if response.revision != revision {
            let text = format!(
                "entry {index} leads to revision {revision}, and its response has revision {}",
                response.revision
            );
            return Err((Invariant::StateMachineSafety, text));
        }
        Ok(change)
    }

    /// The values of a range of keys at a revision.
    pub(crate) fn read_at(&self, keys: &KeyRange, revision: i64) -> Vec<KeyValue> {
        let current = self.keys.in_range(keys).map(|kv| (&kv.key, Some(kv)));
        let mut values: BTreeMap<_, _> = current.collect();
        let later = usize::try_from(revision + 1 - FIRST_CHANGE_REVISION).unwrap_or(0);
        // The value at the revision is the one before the first later change.
        let mut undone = BTreeSet::new();
        for change in self.history.iter_from(later).flatten() {
            if keys.contains(&change.key) && undone.insert(&change.key) {
                values.insert(&change.key, change.before.as_ref());
            }
        }
        values.into_values().flatten().cloned().collect()
    }

    /// Grants a lease. Its number must be unused. A number that the state machine chooses must
    /// never have been chosen before. Otherwise a client could keep the lease of another client
    /// alive.
    fn grant(&mut self, index: u64, grant: &Grant, lease: Lease) -> Checked<LeaseChange> {
        let is_new = match grant.id {
            0 => lease.id > self.chosen_lease_max,
            id => lease.id == id,
        };
        let is_as_requested = lease.ttl == grant.ttl && lease.granted_at == index;
        if !is_new || !is_as_requested || self.leases.contains_key(&lease.id) {
            let text = format!("entry {index} grants {lease:?} for the request {grant:?}");
            return Err((Invariant::LeaseNotExpiredEarly, text));
        }
        if grant.id == 0 {
            self.chosen_lease_max = lease.id;
        }
        self.leases.insert(lease.id, lease);
        Ok(LeaseChange::Granted(lease))
    }

    /// Ends a lease, which must exist. Expiry must be found by the leader of the entry's term, for
    /// this grant of the lease.
    fn revoke(&mut self, term: u64, revoke: &Revoke, lease: Lease) -> Checked<()> {
        let existed = revoke.id == lease.id && self.leases.remove(&lease.id) == Some(lease);
        let is_current =
            |expiry: raft_kv::Expiry| expiry.term == term && expiry.granted_at == lease.granted_at;
        if existed && revoke.expiry.is_none_or(is_current) {
            return Ok(());
        }
        let text = format!("{revoke:?} ends {lease:?} in term {term}");
        Err((Invariant::LeaseNotExpiredEarly, text))
    }

    /// Applies a request about keys to the model. Returns the expected result; none for other
    /// requests.
    fn expected_result(
        &mut self,
        request: &Request,
        changes: &mut Vec<Change>,
    ) -> Checked<Option<RequestResult>> {
        Ok(Some(match request {
            Request::Put(put) => {
                self.check_attach(put)?;
                RequestResult::Put(self.keys.put(put, self.revision() + 1, changes))
            }
            Request::Delete(delete) => RequestResult::Delete(self.keys.delete(delete, changes)),
            Request::Txn(txn) => {
                let succeeded = self.keys.compares_hold(&txn.compare);
                let ops = if succeeded { &txn.success } else { &txn.failure };
                let results = ops.iter().map(|op| self.expected_op_result(op, changes));
                RequestResult::Txn(TxnResult {
                    succeeded,
                    results: results.collect::<Checked<_>>()?,
                })
            }
            Request::Grant(_) | Request::Revoke(_) => return Ok(None),
        }))
    }

    /// Applies an operation of a transaction to the model. Returns the expected result.
    fn expected_op_result(&mut self, op: &Op, changes: &mut Vec<Change>) -> Checked<OpResult> {
        let next = self.revision() + 1;
        Ok(match op {
            Op::Put(put) => {
                self.check_attach(put)?;
                OpResult::Put(self.keys.put(put, next, changes))
            }
            Op::Delete(delete) => OpResult::Delete(self.keys.delete(delete, changes)),
            Op::Range(range) => {
                let revision = next - i64::from(changes.is_empty());
                OpResult::Range(self.keys.range(range, revision))
            }
        })
    }

    /// Checks that the lease of a key exists.
    fn check_attach(&self, put: &Put) -> Checked<()> {
        if put.lease == 0 || self.leases.contains_key(&put.lease) {
            return Ok(());
        }
        let key = String::from_utf8_lossy(&put.key);
        let text = format!("{key} is attached to lease {}, which does not exist", put.lease);
        Err((Invariant::LeaseKeysDeletedWithLease, text))
    }

    /// Checks the limit of keys of each lease to which these changes attach keys.
    fn check_key_limit(&self, changes: &[Change]) -> Checked<()> {
        let mut checked = 0;
        for lease in changes.iter().filter_map(|it| it.after.as_ref()).map(|kv| kv.lease) {
            if lease == 0 || std::mem::replace(&mut checked, lease) == lease {
                continue;
            }
            let keys = self.keys.in_range(&KeyRange::all()).filter(|kv| kv.lease == lease).count();
            if keys as u64 > LEASE_KEYS_MAX {
                let text = format!("{keys} keys are attached to lease {lease}");
                return Err((Invariant::LeaseKeysDeletedWithLease, text));
            }
        }
        Ok(())
    }

    /// Deletes the keys of a lease that has ended. The server must report the deletion of exactly
    /// these keys, in one revision. Returns the number of keys.
    fn remove_lease_keys(
        &mut self,
        lease: Lease,
        revision: i64,
        changes_of: impl FnOnce(&ChangesRequest) -> Option<Changes>,
    ) -> Checked<u64> {
        let first = self.revision() + 1;
        let changes = self.keys.remove_where(|kv| kv.lease == lease.id);
        let request = ChangesRequest::new(KeyRange::all(), first).returning_previous();
        let reported = changes_of(&request).map(|changes| changes.revisions).unwrap_or_default();
        let is_all = match &reported[..] {
            [] => changes.is_empty(),
            [only] => {
                only.events.len() == changes.len() && { only.events.iter().zip(&changes) }
                    .all(|(event, change)| change.matches(event, true, first))
            }
            _ => false,
        };
        if !is_all {
            let events: usize = reported.iter().map(|revision| revision.events.len()).sum();
            let text = format!(
                "lease {} had {} keys; the server reports {events} changes in {} revisions",
                lease.id,
                changes.len(),
                reported.len()
            );
            return Err((Invariant::LeaseKeysDeletedWithLease, text));
        }
        let keys = changes.len() as u64;
        self.check_revision(changes, revision).map(|()| keys)
    }

    /// Checks that these changes lead to this revision, and records them.
    fn check_revision(&mut self, changes: Vec<Change>, revision: i64) -> Checked<()> {
        let expected = self.revision() + i64::from(!changes.is_empty());
        if revision != expected {
            let text =
                format!("entry {} leads to revision {revision}; expected {expected}", self.index);
            return Err((Invariant::StateMachineSafety, text));
        }
        if !changes.is_empty() {
            self.history.push(changes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
