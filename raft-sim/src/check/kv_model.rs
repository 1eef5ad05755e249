//! Reference model of the key-value store: a map without history. Every result must match it.
//!
//! The model shares no code with the state machine.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_kv::{
    Compare, CountMode, Delete, DeleteResult, Event, EventKind, Fields, KeyRange, KeyValue,
    Operand, Order, Put, PutResult, RangeRequest, RangeResponse, Relation,
};

/// The keys and their current values.
#[derive(Clone, Debug, Default)]
pub(crate) struct KvModel {
    held: BTreeMap<Bytes, KeyValue>,
}

/// The change of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) key: Bytes,
    pub(crate) before: Option<KeyValue>,
    pub(crate) after: Option<KeyValue>,
}

impl KvModel {
    pub(crate) fn put(&mut self, put: &Put, revision: i64, changes: &mut Vec<Change>) -> PutResult {
        let before = self.held.get(&put.key).cloned();
        let after = KeyValue {
            key: put.key.clone(),
            create_revision: before.as_ref().map_or(revision, |it| it.create_revision),
            mod_revision: revision,
            version: before.as_ref().map_or(0, |it| it.version) + 1,
            value: put.value.clone(),
            lease: put.lease,
        };
        self.held.insert(put.key.clone(), after.clone());
        changes.push(Change { key: put.key.clone(), before: before.clone(), after: Some(after) });
        PutResult { prev_kv: before.filter(|_| put.prev_kv) }
    }

    pub(crate) fn delete(&mut self, delete: &Delete, changes: &mut Vec<Change>) -> DeleteResult {
        let gone = self.remove_where(|kv| delete.keys.contains(&kv.key));
        let previous = gone.iter().filter_map(|change| change.before.clone());
        let prev_kvs = previous.filter(|_| delete.prev_kv).collect();
        let deleted = gone.len() as u64;
        changes.extend(gone);
        DeleteResult { deleted, prev_kvs }
    }

    /// Deletes all keys that match. Returns the changes in the order of the keys.
    pub(crate) fn remove_where(&mut self, is_gone: impl Fn(&KeyValue) -> bool) -> Vec<Change> {
        let gone = self.held.extract_if(.., |_, kv| is_gone(kv));
        let change = |(key, kv)| Change { key, before: Some(kv), after: None };
        gone.map(change).collect()
    }

    /// Returns true if all compares of a transaction succeed.
    pub(crate) fn compares_hold(&self, compare: &[Compare]) -> bool {
        compare.iter().all(|compare| {
            let mut those = self.in_range(&compare.keys).peekable();
            match those.peek() {
                None => holds(None, compare),
                Some(_) => those.all(|kv| holds(Some(kv), compare)),
            }
        })
    }

    /// Reads a range of the current keys. `revision` is the revision of the response.
    pub(crate) fn range(&self, request: &RangeRequest, revision: i64) -> RangeResponse {
        let mut kvs: Vec<_> = self.in_range(&request.keys).cloned().collect();
        let count = kvs.len();
        if request.order == Order::Descending {
            kvs.reverse();
        }
        let limit = request.limit.and_then(|limit| usize::try_from(limit).ok());
        kvs.truncate(limit.unwrap_or(usize::MAX));
        let returned = kvs.len();
        match request.projection {
            Fields::KeyValues => {}
            Fields::Keys => kvs.iter_mut().for_each(|kv| kv.value = Bytes::new()),
            Fields::Count => kvs.clear(),
        }
        RangeResponse {
            kvs,
            more: returned < count,
            count: match request.counting {
                CountMode::WholeRange => count as u64,
                CountMode::Returned => returned as u64,
            },
            revision,
        }
    }

    pub(crate) fn in_range<'a>(&'a self, keys: &'a KeyRange) -> impl Iterator<Item = &'a KeyValue> {
        self.held.values().filter(|kv| keys.contains(&kv.key))
    }
}

impl Change {
    /// Returns true if a watch event of a revision describes this change.
    pub(crate) fn matches(&self, event: &Event, prev_kv: bool, revision: i64) -> bool {
        let is_after = match (event.kind, &self.after) {
            (EventKind::Put, Some(after)) => event.kv == *after,
            (EventKind::Delete, None) => {
                event.kv.key == self.key && event.kv.mod_revision == revision
            }
            _ => false,
        };
        is_after && event.prev_kv.as_ref() == self.before.as_ref().filter(|_| prev_kv)
    }
}

/// Returns true if a compare succeeds for a key, or for a missing key.
fn holds(kv: Option<&KeyValue>, compare: &Compare) -> bool {
    let relation = compare.relation;
    let of_number = |number: fn(&KeyValue) -> i64, operand| {
        satisfies(kv.map_or(0, number).cmp(operand), relation)
    };
    match &compare.operand {
        Operand::Version(operand) => of_number(|kv| kv.version, operand),
        Operand::CreateRevision(operand) => of_number(|kv| kv.create_revision, operand),
        Operand::ModRevision(operand) => of_number(|kv| kv.mod_revision, operand),
        Operand::Lease(operand) => of_number(|kv| kv.lease, operand),
        Operand::Value(operand) => kv.is_some_and(|kv| satisfies(kv.value.cmp(operand), relation)),
    }
}

fn satisfies(order: std::cmp::Ordering, relation: Relation) -> bool {
    match relation {
        Relation::Equal => order.is_eq(),
        Relation::NotEqual => order.is_ne(),
        Relation::Greater => order.is_gt(),
        Relation::Less => order.is_lt(),
    }
}
