//! The reference model of the state machine: each revision is a complete map.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::apply::Capacity;
use crate::{
    Command, Compare, CountMode, DeleteResult, Event, EventKind, Expiry, Fields, Grant,
    GrantResult, KeyRange, KeyValue, Lease, Malformed, Op, OpResult, Operand, Order, Outcome, Put,
    PutResult, RangeRequest, RangeResponse, Rejection, Relation, Request, RequestResult, Response,
    RevisionChanges, Revoke, RevokeResult, TxnResult,
};

type State = BTreeMap<Bytes, KeyValue>;

pub(super) struct Model {
    /// The state at each revision, from 1 on.
    revisions: Vec<State>,
    /// The sequence number, outcome and last use of each session.
    sessions: BTreeMap<u128, (u64, Outcome, u64)>,
    horizon: u64,
    sessions_max: usize,
    /// The time to live and the entry of the grant of each lease.
    leases: BTreeMap<i64, (i64, u64)>,
    leases_max: usize,
    lease_keys_max: usize,
    /// The largest chosen lease id.
    chosen: i64,
    /// All executed commands of sessions.
    carried_out: Vec<(u128, u64)>,
}

impl Model {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self {
            revisions: vec![State::new()],
            sessions: BTreeMap::new(),
            horizon: 0,
            sessions_max: capacity.sessions as usize,
            leases: BTreeMap::new(),
            leases_max: capacity.leases as usize,
            lease_keys_max: capacity.lease_keys as usize,
            chosen: 0,
            carried_out: Vec::new(),
        }
    }

    pub(super) fn revision(&self) -> i64 {
        self.revisions.len() as i64
    }

    fn at(&self, revision: i64) -> &State {
        &self.revisions[revision as usize - 1]
    }

    /// All entries have term 1.
    pub(super) fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        if let Request::Grant(grant) = &command.request
            && (grant.ttl < 1 || grant.ttl > 9_000_000_000)
        {
            return Outcome::Rejected(Rejection::Malformed(Malformed::LeaseTtlOutOfRange));
        }
        if let Request::Txn(txn) = &command.request
            && (changes_twice(&txn.success) || changes_twice(&txn.failure))
        {
            return Outcome::Rejected(Rejection::Malformed(Malformed::DuplicateKey));
        }
        let Some(session) = command.session else {
            return self.execute(index, &command.request);
        };
        match self.sessions.get_mut(&session.client) {
            Some((latest, _, _)) if session.sequence < *latest => {
                return Outcome::SessionStale { latest: *latest };
            }
            Some((latest, outcome, last_used)) if session.sequence == *latest => {
                *last_used = index;
                return outcome.clone();
            }
            Some(_) => {}
            None if session.since < self.horizon => {
                return Outcome::SessionUnknown { since: self.horizon };
            }
            None => {}
        }
        let command_id = (session.client, session.sequence);
        assert!(!self.carried_out.contains(&command_id), "{command_id:?} is carried out twice");
        self.carried_out.push(command_id);
        let outcome = self.execute(index, &command.request);
        let is_new = !self.sessions.contains_key(&session.client);
        if is_new && self.sessions.len() == self.sessions_max {
            let oldest = self.sessions.iter().min_by_key(|(_, (_, _, used))| *used);
            let (client, used) = oldest.map(|(client, (_, _, used))| (*client, *used)).unwrap();
            self.sessions.remove(&client);
            self.horizon = used;
        }
        let kept = (session.sequence, outcome.clone(), index);
        self.sessions.insert(session.client, kept);
        outcome
    }

    fn execute(&mut self, index: u64, request: &Request) -> Outcome {
        let current = self.revision();
        let mut state = self.at(current).clone();
        let mut changed = false;
        let single;
        let (succeeded, ops) = match request {
            Request::Put(put) => {
                single = [Op::Put(put.clone())];
                (true, &single[..])
            }
            Request::Delete(delete) => {
                single = [Op::Delete(delete.clone())];
                (true, &single[..])
            }
            Request::Txn(txn) => {
                if txn.compare.iter().all(|compare| holds(&state, compare)) {
                    (true, &txn.success[..])
                } else {
                    (false, &txn.failure[..])
                }
            }
            Request::Grant(grant) => return self.grant(index, *grant),
            Request::Revoke(revoke) => return self.revoke(*revoke),
        };
        let is_known = |lease: &i64| *lease == 0 || self.leases.contains_key(lease);
        for op in ops {
            match op {
                Op::Put(put) if !is_known(&put.lease) => {
                    return Outcome::Rejected(Rejection::LeaseNotFound { id: put.lease });
                }
                Op::Range(range) => {
                    if let Some(requested) = range.revision.filter(|it| *it > current) {
                        let rejection = Rejection::FutureRevision { requested, current };
                        return Outcome::Rejected(rejection);
                    }
                }
                _ => {}
            }
        }
        let mut results = Vec::new();
        for op in ops {
            results.push(match op {
                Op::Put(put) => {
                    changed = true;
                    OpResult::Put(do_put(&mut state, put, current + 1))
                }
                Op::Delete(delete) => {
                    let removed: Vec<_> = state
                        .extract_if(.., |key, _| within(&delete.keys, key))
                        .map(|(_, kv)| kv)
                        .collect();
                    changed |= !removed.is_empty();
                    OpResult::Delete(DeleteResult {
                        deleted: removed.len() as u64,
                        prev_kvs: if delete.prev_kv { removed } else { vec![] },
                    })
                }
                Op::Range(range) => {
                    let from = match range.revision {
                        Some(requested) => self.at(requested),
                        None => &state,
                    };
                    OpResult::Range(do_range(from, range, current + i64::from(changed)))
                }
            });
        }
        let crowded = { self.leases.keys() }
            .find(|lease| attached(&state, **lease).count() > self.lease_keys_max);
        if let Some(lease) = crowded {
            let max = self.lease_keys_max as u64;
            return Outcome::Rejected(Rejection::TooManyKeys { lease: *lease, max });
        }
        if changed {
            self.revisions.push(state);
        }
        let result = match request {
            Request::Txn(_) => RequestResult::Txn(TxnResult { succeeded, results }),
            _ => match results.remove(0) {
                OpResult::Put(put) => RequestResult::Put(put),
                OpResult::Delete(delete) => RequestResult::Delete(delete),
                OpResult::Range(_) => panic!("no request is a range"),
            },
        };
        Outcome::Done(Response { revision: self.revision(), result })
    }

    fn grant(&mut self, index: u64, grant: Grant) -> Outcome {
        if self.leases.contains_key(&grant.id) {
            return Outcome::Rejected(Rejection::LeaseExists { id: grant.id });
        }
        if self.leases.len() >= self.leases_max {
            let max = self.leases_max as u64;
            return Outcome::Rejected(Rejection::TooManyLeases { max });
        }
        let mut id = grant.id;
        if id == 0 {
            id = (index as i64).max(self.chosen + 1);
            while self.leases.contains_key(&id) {
                id += 1;
            }
            self.chosen = id;
        }
        self.leases.insert(id, (grant.ttl, index));
        let lease = Lease { id, ttl: grant.ttl, granted_at: index };
        Outcome::Done(Response {
            revision: self.revision(),
            result: RequestResult::Grant(GrantResult { lease }),
        })
    }

    fn revoke(&mut self, revoke: Revoke) -> Outcome {
        let id = revoke.id;
        let Some((ttl, granted_at)) = self.leases.get(&id).copied() else {
            return Outcome::Rejected(Rejection::LeaseNotFound { id });
        };
        let is_over = |expiry: Expiry| expiry.term == 1 && expiry.granted_at == granted_at;
        if !revoke.expiry.is_none_or(is_over) {
            return Outcome::Rejected(Rejection::LeaseNotExpired { id });
        }
        self.leases.remove(&id);
        let mut state = self.at(self.revision()).clone();
        let before = state.len();
        state.retain(|_, kv| kv.lease != id);
        let deleted = (before - state.len()) as u64;
        if deleted > 0 {
            self.revisions.push(state);
        }
        let lease = Lease { id, ttl, granted_at };
        Outcome::Done(Response {
            revision: self.revision(),
            result: RequestResult::Revoke(RevokeResult { lease, deleted }),
        })
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        let lease = |(id, (ttl, granted_at)): (&i64, &(i64, u64))| Lease {
            id: *id,
            ttl: *ttl,
            granted_at: *granted_at,
        };
        self.leases.iter().map(lease).collect()
    }

    pub(super) fn lease_keys(&self, id: i64) -> Vec<Bytes> {
        attached(self.at(self.revision()), id).cloned().collect()
    }

    /// The changes of a range from a revision on: the differences of the complete maps.
    pub(super) fn changes(&self, keys: &KeyRange, from: i64) -> Vec<RevisionChanges> {
        let revisions = (from.max(2)..=self.revision()).map(|revision| {
            let (before, after) = (self.at(revision - 1), self.at(revision));
            let mut events: Vec<Event> = after
                .values()
                .filter(|kv| kv.mod_revision == revision)
                .map(|kv| Event {
                    kind: EventKind::Put,
                    kv: kv.clone(),
                    prev_kv: before.get(&kv.key).cloned(),
                })
                .collect();
            let gone = before.values().filter(|kv| !after.contains_key(&kv.key));
            events.extend(gone.map(|kv| Event {
                kind: EventKind::Delete,
                kv: KeyValue {
                    key: kv.key.clone(),
                    value: Bytes::new(),
                    create_revision: 0,
                    mod_revision: revision,
                    version: 0,
                    lease: 0,
                },
                prev_kv: Some(kv.clone()),
            }));
            events.retain(|event| within(keys, &event.kv.key));
            RevisionChanges { revision, events }
        });
        revisions.filter(|it| !it.events.is_empty()).collect()
    }

    pub(super) fn get(&self, key: &Bytes, revision: i64) -> Option<KeyValue> {
        self.at(revision).get(key).cloned()
    }

    pub(super) fn range(&self, request: &RangeRequest) -> RangeResponse {
        let at = request.revision.unwrap_or(self.revision());
        do_range(self.at(at), request, self.revision())
    }
}

/// The keys attached to a lease.
fn attached(state: &State, lease: i64) -> impl Iterator<Item = &Bytes> {
    state.values().filter(move |kv| kv.lease == lease).map(|kv| &kv.key)
}

/// This does not use `KeyRange::contains`, which is under test.
fn within(keys: &KeyRange, key: &Bytes) -> bool {
    if keys.end.is_empty() {
        return *key == keys.start;
    }
    *key >= keys.start && (keys.end[..] == [0] || *key < keys.end)
}

fn changes_twice(ops: &[Op]) -> bool {
    ops.iter().enumerate().any(|(at, op)| {
        let Op::Put(put) = op else { return false };
        ops.iter().enumerate().any(|(other_at, other)| match other {
            Op::Put(other) => at != other_at && put.key == other.key,
            Op::Delete(delete) => within(&delete.keys, &put.key),
            Op::Range(_) => false,
        })
    })
}

fn holds(state: &State, compare: &Compare) -> bool {
    let zero = KeyValue {
        key: Bytes::new(),
        value: Bytes::new(),
        create_revision: 0,
        mod_revision: 0,
        version: 0,
        lease: 0,
    };
    let mut found: Vec<_> = state.values().filter(|kv| within(&compare.keys, &kv.key)).collect();
    if found.is_empty() {
        if matches!(compare.operand, Operand::Value(_)) {
            return false;
        }
        found.push(&zero);
    }
    found.into_iter().all(|kv| {
        let ordering = match &compare.operand {
            Operand::Version(version) => kv.version.cmp(version),
            Operand::CreateRevision(revision) => kv.create_revision.cmp(revision),
            Operand::ModRevision(revision) => kv.mod_revision.cmp(revision),
            Operand::Value(value) => kv.value.cmp(value),
            Operand::Lease(lease) => kv.lease.cmp(lease),
        };
        match compare.relation {
            Relation::Equal => ordering.is_eq(),
            Relation::NotEqual => ordering.is_ne(),
            Relation::Greater => ordering.is_gt(),
            Relation::Less => ordering.is_lt(),
        }
    })
}

fn do_put(state: &mut State, put: &Put, revision: i64) -> PutResult {
    let previous = state.get(&put.key).cloned();
    let kv = KeyValue {
        key: put.key.clone(),
        value: put.value.clone(),
        create_revision: previous.as_ref().map_or(revision, |kv| kv.create_revision),
        mod_revision: revision,
        version: previous.as_ref().map_or(1, |kv| kv.version + 1),
        lease: put.lease,
    };
    state.insert(put.key.clone(), kv);
    PutResult { prev_kv: if put.prev_kv { previous } else { None } }
}

fn do_range(state: &State, request: &RangeRequest, revision: i64) -> RangeResponse {
    let mut kvs: Vec<_> =
        state.values().filter(|kv| within(&request.keys, &kv.key)).cloned().collect();
    if request.order == Order::Descending {
        kvs.reverse();
    }
    let in_range = kvs.len();
    if request.projection == Fields::Count {
        kvs.clear();
        return RangeResponse { kvs, more: false, count: in_range as u64, revision };
    }
    if let Some(limit) = request.limit {
        kvs.truncate(limit as usize);
    }
    if request.projection == Fields::Keys {
        for kv in &mut kvs {
            kv.value = Bytes::new();
        }
    }
    RangeResponse {
        more: kvs.len() < in_range,
        count: match request.counting {
            CountMode::WholeRange => in_range as u64,
            CountMode::Returned => kvs.len() as u64,
        },
        kvs,
        revision,
    }
}
