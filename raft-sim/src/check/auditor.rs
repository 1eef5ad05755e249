//! What the committed commands come to, reckoned beside the servers: every change of every key, and
//! which keys hang on which lease. Watchers and leases are judged by it.
//!
//! It is kept from the commands and their outcomes alone, by whoever applies an entry first;
//! nothing is read from a server's state machine but what is to be judged.

use std::collections::{BTreeMap, BTreeSet};

use raft_kv::{
    Changes, ChangesRequest, Command, Grant, KeyRange, KeyValue, LEASE_KEYS_MAX, Lease, Op,
    OpResult, Outcome, Put, Request, RequestResult, Response, Revoke, TxnResult,
};

use crate::check::invariants::Invariant;
use crate::check::kv_model::{Change, KvModel};
use crate::util::cow::CowVec;
use crate::workload::txn_ops::is_traders_session;

#[derive(Clone, Debug, Default)]
pub(crate) struct Auditor {
    is_kept: bool,
    /// The last entry that it knows of.
    index: u64,
    keys: KvModel,
    /// The leases that there are.
    leases: BTreeMap<i64, Lease>,
    /// The latest number that the state machine chose for a lease.
    chosen: i64,
    /// What transactions of traders came to, until these are told.
    answers: BTreeMap<u128, Response>,
    /// What each revision changed, from revision 2 on.
    history: CowVec<Vec<Change>>,
}

/// An entry that was applied for the first time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<'a> {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) command: Option<&'a Command>,
    pub(crate) outcome: &'a Outcome,
    /// The revision of the state machine after it.
    pub(crate) revision: i64,
    /// Whether an earlier entry had the same command of the same session: it is answered, and
    /// nothing is done.
    pub(crate) is_repeated: bool,
}

/// What an entry did that is of interest beyond the keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeaseChange {
    Nothing,
    /// A lease began.
    Began(Lease),
    /// A lease ended, because a leader found that its time was over, or because a client wanted it.
    Ended {
        lease: Lease,
        has_expired: bool,
    },
}

pub(crate) type Checked<T> = Result<T, (Invariant, String)>;

/// Nothing happens in an empty state machine before this revision.
const FIRST_REVISION: i64 = 2;

impl Auditor {
    pub(crate) fn new(is_kept: bool) -> Self {
        Self { is_kept, ..Self::default() }
    }

    /// Whether an entry is one that it does not know of yet.
    pub(crate) fn wants(&self, index: u64) -> bool {
        self.is_kept && index == self.index + 1
    }

    /// Whether there is any lease.
    pub(crate) fn has_leases(&self) -> bool {
        !self.leases.is_empty()
    }

    /// The latest revision that any server has made.
    pub(crate) fn revision(&self) -> i64 {
        self.history.len() as i64 + FIRST_REVISION - 1
    }

    /// An entry was applied for the first time. `told` answers what the state machine says that it
    /// changed.
    pub(crate) fn apply(
        &mut self,
        applied: Applied,
        told: impl FnOnce(&ChangesRequest) -> Option<Changes>,
    ) -> Checked<LeaseChange> {
        let Applied { index, term, revision, .. } = applied;
        self.index = index;
        let (Some(command), Outcome::Done(response), false) =
            (applied.command, applied.outcome, applied.is_repeated)
        else {
            return self.check_revision(Vec::new(), revision).map(|()| LeaseChange::Nothing);
        };
        let turn = match (&command.request, &response.result) {
            (Request::Grant(grant), RequestResult::Grant(granted)) => {
                self.check_revision(Vec::new(), revision)?;
                self.begin(index, grant, granted.lease)?
            }
            (Request::Revoke(revoke), RequestResult::Revoke(ended)) => {
                self.end(term, revoke, ended.lease)?;
                let keys = self.remove_lease_keys(ended.lease, revision, told)?;
                if keys != ended.deleted {
                    let (id, deleted) = (revoke.id, ended.deleted);
                    let text = format!("lease {id} ended with {keys} keys, and {deleted} are told");
                    return Err((Invariant::LeaseKeysDeletedWithLease, text));
                }
                LeaseChange::Ended { lease: ended.lease, has_expired: revoke.expiry.is_some() }
            }
            (request, result) => {
                let mut changes = Vec::new();
                let reckoned = self.expected_result(request, &mut changes)?;
                self.check_key_limit(&changes)?;
                self.check_revision(changes, revision)?;
                if reckoned.as_ref() != Some(result) {
                    let text = format!(
                        "entry {index} is answered with {result:?}, where {reckoned:?} was to come"
                    );
                    return Err((Invariant::StateMachineSafety, text));
                }
                LeaseChange::Nothing
            }
        };
        if response.revision != revision {
            let text = format!(
                "entry {index} leads to revision {revision}, and is answered with {}",
                response.revision
            );
            return Err((Invariant::StateMachineSafety, text));
        }
        if let Some(session) = command.session
            && is_traders_session(session.client)
        {
            self.answers.insert(session.client, response.clone());
        }
        Ok(turn)
    }

    /// What the transaction of a session came to.
    pub(crate) fn take_answer(&mut self, client: u128) -> Option<Response> {
        self.answers.remove(&client)
    }

    /// What these keys held at a revision.
    pub(crate) fn read_at(&self, keys: &KeyRange, revision: i64) -> Vec<KeyValue> {
        let now = self.keys.in_range(keys).map(|kv| (&kv.key, Some(kv)));
        let mut held: BTreeMap<_, _> = now.collect();
        let later = usize::try_from(revision + 1 - FIRST_REVISION).unwrap_or(0);
        let mut undone = BTreeSet::new();
        for change in self.history.iter_from(later).flatten() {
            if keys.contains(&change.key) && undone.insert(&change.key) {
                held.insert(&change.key, change.before.as_ref());
            }
        }
        held.into_values().flatten().cloned().collect()
    }

    /// A lease begins: there was none of this number, and one that the state machine chose was
    /// never chosen before. Whoever holds on to an earlier lease would keep this one alive.
    fn begin(&mut self, index: u64, grant: &Grant, lease: Lease) -> Checked<LeaseChange> {
        let is_new = match grant.id {
            0 => lease.id > self.chosen,
            id => lease.id == id,
        };
        let is_as_wished = lease.ttl == grant.ttl && lease.granted_at == index;
        if !is_new || !is_as_wished || self.leases.contains_key(&lease.id) {
            let text = format!("{lease:?} is granted by entry {index}, in answer to {grant:?}");
            return Err((Invariant::LeaseNotExpiredEarly, text));
        }
        if grant.id == 0 {
            self.chosen = lease.id;
        }
        self.leases.insert(lease.id, lease);
        Ok(LeaseChange::Began(lease))
    }

    /// A lease ends: it was there, and whoever found that its time was over led then, and meant no
    /// other lease.
    fn end(&mut self, term: u64, revoke: &Revoke, lease: Lease) -> Checked<()> {
        let was_there = revoke.id == lease.id && self.leases.remove(&lease.id) == Some(lease);
        let is_meant =
            |expiry: raft_kv::Expiry| expiry.term == term && expiry.granted_at == lease.granted_at;
        if was_there && revoke.expiry.is_none_or(is_meant) {
            return Ok(());
        }
        let text = format!("{lease:?} is ended in term {term} by {revoke:?}");
        Err((Invariant::LeaseNotExpiredEarly, text))
    }

    /// What a request comes to; nothing for one that is not about keys.
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
                let ops = match succeeded {
                    true => &txn.success,
                    false => &txn.failure,
                };
                let results = ops.iter().map(|op| self.reckon_op(op, changes));
                RequestResult::Txn(TxnResult {
                    succeeded,
                    results: results.collect::<Checked<_>>()?,
                })
            }
            Request::Grant(_) | Request::Revoke(_) => return Ok(None),
        }))
    }

    fn reckon_op(&mut self, op: &Op, changes: &mut Vec<Change>) -> Checked<OpResult> {
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

    fn check_attach(&self, put: &Put) -> Checked<()> {
        if put.lease == 0 || self.leases.contains_key(&put.lease) {
            return Ok(());
        }
        let key = String::from_utf8_lossy(&put.key);
        let text = format!("{key} hangs on lease {}, which is gone", put.lease);
        Err((Invariant::LeaseKeysDeletedWithLease, text))
    }

    /// Only so many keys hang on the leases that these changes hang keys on.
    fn check_key_limit(&self, changes: &[Change]) -> Checked<()> {
        let mut judged = 0;
        for lease in changes.iter().filter_map(|it| it.after.as_ref()).map(|kv| kv.lease) {
            if lease == 0 || std::mem::replace(&mut judged, lease) == lease {
                continue;
            }
            let keys = self.keys.in_range(&KeyRange::all()).filter(|kv| kv.lease == lease).count();
            if keys as u64 > LEASE_KEYS_MAX {
                let text = format!("{keys} keys hang on lease {lease}");
                return Err((Invariant::LeaseKeysDeletedWithLease, text));
            }
        }
        Ok(())
    }

    /// A lease has ended: all its keys must have gone, and nothing else, and in one revision. How
    /// many they were.
    fn remove_lease_keys(
        &mut self,
        lease: Lease,
        revision: i64,
        told: impl FnOnce(&ChangesRequest) -> Option<Changes>,
    ) -> Checked<u64> {
        let first = self.revision() + 1;
        let changes = self.keys.remove_where(|kv| kv.lease == lease.id);
        let told = told(&ChangesRequest::new(KeyRange::all(), first).returning_previous());
        let told = told.map(|told| told.revisions).unwrap_or_default();
        let is_all = match &told[..] {
            [] => changes.is_empty(),
            [only] => {
                only.events.len() == changes.len()
                    && only.events.iter().zip(&changes).all(|(it, so)| so.matches(it, true, first))
            }
            _ => false,
        };
        if !is_all {
            let events = told.iter().map(|it| it.events.len()).sum::<usize>();
            let text = format!(
                "lease {} ended with {} keys; {events} changed, in {} revisions",
                lease.id,
                changes.len(),
                told.len()
            );
            return Err((Invariant::LeaseKeysDeletedWithLease, text));
        }
        let keys = changes.len() as u64;
        self.check_revision(changes, revision).map(|()| keys)
    }

    /// These changes made this revision, or there were none.
    fn check_revision(&mut self, changes: Vec<Change>, revision: i64) -> Checked<()> {
        let expected = self.revision() + i64::from(!changes.is_empty());
        if revision != expected {
            let text = format!(
                "entry {} leads to revision {revision}, where {expected} was to come",
                self.index
            );
            return Err((Invariant::StateMachineSafety, text));
        }
        if !changes.is_empty() {
            self.history.push(changes);
        }
        Ok(())
    }

    /// Whoever watches these keys from `from` on was told of this: it must be all that there was,
    /// revision by revision.
    pub(crate) fn check_watch(
        &self,
        keys: &KeyRange,
        prev_kv: bool,
        from: i64,
        told: &Changes,
    ) -> Checked<()> {
        let broken = |text| Err((Invariant::WatchOrder, text));
        if told.next_revision - 1 > self.revision() {
            let (to, last) = (told.next_revision - 1, self.revision());
            return broken(format!(
                "it is told of all up to revision {to}, and the last one is {last}"
            ));
        }
        let mut revisions = told.revisions.iter().peekable();
        if let Some(first) = revisions.next_if(|it| it.revision < from) {
            let revision = first.revision;
            return broken(format!("it is told of revision {revision}, and waited for {from}"));
        }
        let skipped = usize::try_from(from - FIRST_REVISION).unwrap_or(0);
        for (revision, made) in
            (from.max(FIRST_REVISION)..told.next_revision).zip(self.history.iter_from(skipped))
        {
            let mut made = made.iter().filter(|it| keys.contains(&it.key));
            let events = match revisions.next_if(|it| it.revision == revision) {
                Some(it) => &it.events[..],
                None => &[],
            };
            if events.is_empty() && made.next().is_some() {
                return broken(format!("it is never told of revision {revision}"));
            }
            let mut events = events.iter();
            while let (made, event) = (made.next(), events.next())
                && (made.is_some() || event.is_some())
            {
                if !made
                    .zip(event)
                    .is_some_and(|(made, event)| made.matches(event, prev_kv, revision))
                {
                    return broken(format!(
                        "what it is told of revision {revision} is not what was committed: {event:?}"
                    ));
                }
            }
        }
        match revisions.next() {
            Some(it) => broken(format!("revision {} comes out of order", it.revision)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_kv::{
        Compare, Delete, Entry, Expiry, Kv, MemoryStore, Operand, RangeRequest, Relation,
        RevisionChanges, Txn,
    };

    const TERM: u64 = 3;

    /// A state machine and its ledger.
    struct Both {
        kv: Kv<MemoryStore>,
        ledger: Auditor,
    }

    impl Both {
        fn new() -> Self {
            Self { kv: Kv::open(MemoryStore::new()).unwrap(), ledger: Auditor::new(true) }
        }

        /// Applies a command, and tells the ledger what became of it, or something else.
        fn apply_but(
            &mut self,
            request: impl Into<Request>,
            spoil: impl FnOnce(&mut Request, &mut Changes),
        ) -> Checked<LeaseChange> {
            let mut command = Command::new(request);
            let index = self.kv.applied_index() + 1;
            let entry = Entry::command(index, TERM, command.encode());
            let outcome = self.kv.apply(entry).unwrap();
            let mut changes = self.changes(self.ledger.revision() + 1);
            spoil(&mut command.request, &mut changes);
            let applied = Applied {
                index,
                term: TERM,
                command: Some(&command),
                outcome: &outcome,
                revision: self.kv.revision(),
                is_repeated: false,
            };
            self.ledger.apply(applied, |_| Some(changes))
        }

        fn apply(&mut self, request: impl Into<Request>) -> LeaseChange {
            self.apply_but(request, |_, _| {}).unwrap()
        }

        fn changes(&self, from: i64) -> Changes {
            let request = ChangesRequest::new(KeyRange::all(), from).returning_previous();
            self.kv.changes(&request).unwrap()
        }
    }

    fn hang(key: &'static str) -> Put {
        Put::new(key, "v").with_lease(7)
    }

    /// Lease 7 with two keys, after some other changes: revisions 2 to 6.
    fn both() -> Both {
        let mut both = Both::new();
        both.apply(Put::new("a", "1"));
        let lease = Grant { id: 7, ttl: 1 };
        assert!(matches!(both.apply(lease), LeaseChange::Began(_)));
        both.apply(Txn {
            success: vec![Op::Put(Put::new("c", "1")), Op::Put(Put::new("a", "2"))],
            ..Txn::default()
        });
        both.apply(hang("l1"));
        both.apply(hang("l2"));
        both.apply(Delete::new(KeyRange::key("a")));
        both
    }

    type Spoil = fn(&mut Vec<RevisionChanges>);

    #[test]
    fn wrong_watch_event_is_detected() {
        let both = both();
        let judge = |keys: &KeyRange, spoil: Spoil| {
            let mut changes = both.changes(2);
            spoil(&mut changes.revisions);
            both.ledger.check_watch(keys, true, 2, &changes)
        };
        let all = KeyRange::all();
        assert_eq!(judge(&all, |_| {}), Ok(()));
        let spoiled: [Spoil; 10] = [
            |told| told.swap(0, 1),
            |told| drop(told.remove(2)),
            |told| drop(told.pop()),
            |told| told.insert(1, told[0].clone()),
            |told| drop(told[1].events.pop()),
            |told| told[1].events.swap(0, 1),
            |told| {
                // A revision in two pieces.
                let rest = told[1].events.split_off(1);
                let revision = told[1].revision;
                let events = rest;
                told.insert(2, RevisionChanges { revision, events });
            },
            |told| told[0].events[0].kv.value = "2".into(),
            |told| told[4].events[0].prev_kv = None,
            |told| told[3].events[0].kv.lease = 0,
        ];
        for (number, spoil) in spoiled.iter().enumerate() {
            let found = judge(&all, *spoil).unwrap_err().0;
            assert_eq!(found, Invariant::WatchOrder, "{number}");
        }
        // It is told of what it did not ask for; or too early, or too late.
        let (one, told) = (KeyRange::key("c"), both.changes(2));
        assert!(both.ledger.check_watch(&one, true, 2, &told).is_err());
        assert!(both.ledger.check_watch(&all, true, 3, &told).is_err());
        assert!(both.ledger.check_watch(&all, true, 1, &told).is_ok());
        let mut beyond = both.changes(7);
        assert_eq!(both.ledger.check_watch(&all, true, 7, &beyond), Ok(()));
        beyond.next_revision += 1;
        assert!(both.ledger.check_watch(&all, true, 7, &beyond).is_err());
        assert!(both.ledger.check_watch(&all, true, 5, &both.changes(6)).is_err(), "5 is skipped");
    }

    #[test]
    fn partial_lease_deletion_is_detected() {
        let end = |spoil: fn(&mut Changes)| {
            let mut both = both();
            both.apply_but(Revoke::new(7), |_, changes| spoil(changes))
        };
        assert!(matches!(end(|_| {}), Ok(LeaseChange::Ended { has_expired: false, .. })));
        let spoiled: [fn(&mut Changes); 4] = [
            |told| told.revisions.clear(),
            |told| drop(told.revisions[0].events.pop()),
            |told| told.revisions[0].events[0].kv.key = "c".into(),
            |told| {
                let mut rest = told.revisions[0].clone();
                rest.events.remove(0);
                told.revisions[0].events.truncate(1);
                told.revisions.push(rest);
            },
        ];
        for spoil in spoiled {
            assert_eq!(end(spoil).unwrap_err().0, Invariant::LeaseKeysDeletedWithLease);
        }
    }

    #[test]
    fn key_on_missing_lease_is_detected() {
        let mut both = both();
        both.apply(Revoke::new(7));
        let late = both.apply_but(Put::new("l3", "v"), |request, _| {
            *request = hang("l3").into();
        });
        assert_eq!(late.unwrap_err().0, Invariant::LeaseKeysDeletedWithLease);
    }

    /// What a state machine without the bound would have carried out.
    #[test]
    fn lease_over_key_limit_is_detected() {
        let hang_all = |numbers: std::ops::Range<u64>| {
            let hang = |number: u64| Op::Put(Put::new(format!("l{number}"), "v").with_lease(7));
            Txn { success: numbers.map(hang).collect(), ..Txn::default() }
        };
        // Two keys hang there already, and are put again.
        let full = 1..LEASE_KEYS_MAX + 1;
        assert_eq!(both().apply_but(hang_all(full.clone()), |_, _| {}), Ok(LeaseChange::Nothing));
        let more = both().apply_but(hang_all(full), |request, _| {
            *request = hang_all(0..LEASE_KEYS_MAX + 1).into();
        });
        assert_eq!(more.unwrap_err().0, Invariant::LeaseKeysDeletedWithLease);
    }

    /// What the state machine refuses must not have happened.
    #[test]
    fn wrong_lease_change_is_detected() {
        let spoil = |request: Request, spoiled: Request| {
            both().apply_but(request, move |request, _| *request = spoiled)
        };
        let end = |expiry| Request::from(Revoke { id: 7, expiry });
        let expiry = |term, granted_at| Some(Expiry { term, granted_at });
        assert!(spoil(end(None), end(expiry(TERM, 2))).is_ok());
        for wrong in [expiry(TERM - 1, 2), expiry(TERM, 1)] {
            let found = spoil(end(None), end(wrong)).unwrap_err().0;
            assert_eq!(found, Invariant::LeaseNotExpiredEarly, "{wrong:?}");
        }
        let begin = |id| Request::from(Grant { id, ttl: 1 });
        assert!(spoil(begin(9), begin(9)).is_ok());
        let found = spoil(begin(9), begin(8)).unwrap_err().0;
        assert_eq!(found, Invariant::LeaseNotExpiredEarly);
        // A number that is chosen after it was chosen before.
        let mut both = both();
        both.apply(begin(0));
        let again = both.ledger.chosen;
        both.apply(Revoke::new(again));
        let chosen = both.apply_but(begin(again), |request, _| *request = begin(0));
        assert_eq!(chosen.unwrap_err().0, Invariant::LeaseNotExpiredEarly);
    }

    #[test]
    fn wrong_txn_result_is_detected() {
        let txn = |lease| Txn {
            compare: vec![Compare::key("l1", Relation::Equal, Operand::Lease(lease))],
            success: vec![
                Op::Put(Put::new("a", "3").returning_previous()),
                Op::Delete(Delete::new(KeyRange::prefix("l")).returning_previous()),
                Op::Range(RangeRequest::new(KeyRange::all()).limit(1)),
            ],
            failure: vec![Op::Range(RangeRequest::new(KeyRange::prefix("l")))],
        };
        assert_eq!(both().apply_but(txn(7), |_, _| {}), Ok(LeaseChange::Nothing));
        assert_eq!(both().apply_but(txn(8), |_, _| {}), Ok(LeaseChange::Nothing));
        let spoiled = |spoil: fn(&mut Txn)| {
            let spoil = |request: &mut Request, _: &mut Changes| {
                let Request::Txn(txn) = request else { return };
                spoil(txn);
            };
            both().apply_but(txn(7), spoil).unwrap_err().0
        };
        let safety = Invariant::StateMachineSafety;
        let other_lease = |txn: &mut Txn| txn.compare[0].operand = Operand::Lease(8);
        assert_eq!(spoiled(other_lease), safety);
        let more = |txn: &mut Txn| {
            txn.success[2] = Op::Range(RangeRequest::new(KeyRange::all()));
        };
        assert_eq!(spoiled(more), safety);
        assert_eq!(spoiled(|txn| drop(txn.success.pop())), safety);
        let fewer = |txn: &mut Txn| {
            txn.success[1] = Op::Delete(Delete::new(KeyRange::key("l1")).returning_previous());
        };
        assert_eq!(spoiled(fewer), safety);
    }

    #[test]
    fn unexplained_revision_is_detected() {
        let mut both = both();
        let strange = both.apply_but(Put::new("b", "v"), |request, _| {
            *request = Delete::new(KeyRange::key("nothing")).into();
        });
        assert_eq!(strange.unwrap_err().0, Invariant::StateMachineSafety);
    }
}
