//! The changes of keys, for watches.
//!
//! The store contains the history in the order of revisions. A watcher only needs the next revision
//! as its state. All replicas have the same history, so a watcher can continue at any replica.

use alloc::vec::Vec;

use crate::error::StoreFault;
use crate::range::{KeyRange, KeyValue};
use crate::read;
use crate::store::layout::{self, Revision};
use crate::store::{Order, ReadStore};
use crate::wire;

/// A request for the changes of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChangesRequest {
    /// The keys to watch.
    pub keys: KeyRange,
    /// The first revision to read.
    pub from_revision: i64,
    /// Return the previous pair with each change.
    pub prev_kv: bool,
    /// The number of changes, of these or other keys, after which the response ends with the
    /// current revision.
    pub changes_max: usize,
    /// The size of keys and values, in bytes, after which the response ends with the current
    /// revision.
    pub bytes_max: usize,
}

impl ChangesRequest {
    /// A request for the changes of `keys` from a revision on: up to 1,024 changes, or 1 MiB.
    #[must_use]
    pub fn new(keys: KeyRange, from_revision: i64) -> Self {
        Self { keys, from_revision, prev_kv: false, changes_max: 1024, bytes_max: 1 << 20 }
    }

    /// Requests the previous pairs.
    #[must_use]
    pub fn returning_previous(mut self) -> Self {
        self.prev_kv = true;
        self
    }
}

/// A batch of changes of a range of keys, in the order of revisions. Each revision is complete,
/// with its changes in the order of execution. Revisions without a change of the range are omitted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Changes {
    /// The revisions that changed the range.
    pub revisions: Vec<RevisionChanges>,
    /// The first revision that was not read, at which the watcher continues.
    pub next_revision: i64,
    /// The latest revision of the state machine. If `next_revision` is later, there are no more
    /// changes.
    pub revision: i64,
}

/// The changes of one revision to a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevisionChanges {
    /// The revision.
    pub revision: i64,
    /// The changes. Not empty, and at most one per key.
    pub events: Vec<Event>,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// The kind of the change.
    pub kind: EventKind,
    /// The pair after the change. After a delete, only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    /// The previous pair, if it was requested and the key existed.
    pub prev_kv: Option<KeyValue>,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The key was set.
    Put,
    /// The key was deleted, by a command or because its lease ended.
    Delete,
}

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

/// Reads a batch of changes. `current` is the latest revision.
pub(crate) fn changes<R: ReadStore>(
    store: &R,
    request: &ChangesRequest,
    current: i64,
) -> Result<Changes, R> {
    let mut found = Changes {
        revisions: Vec::new(),
        next_revision: current.saturating_add(1),
        revision: current,
    };
    let (mut changes, mut bytes, mut before) = (0, 0, None);
    let from = layout::history_key(Revision::first_of(request.from_revision));
    let (_, to) = layout::history();
    for entry in store.scan(&from, &to, Order::Ascending) {
        let (key, record) = entry.map_err(StoreFault::Store)?;
        let Revision { main, .. } = layout::history_revision(&key)
            .ok_or(StoreFault::Damaged("a key in the history is not a revision"))?;
        let is_enough = changes >= request.changes_max || bytes >= request.bytes_max;
        if is_enough && before.is_some_and(|before| before != main) {
            found.next_revision = main;
            break;
        }
        (changes, before) = (changes + 1, Some(main));
        let kv: wire::KeyValue = read::decode(record, "a record in the history cannot be decoded")?;
        if !request.keys.contains(&kv.key) {
            continue;
        }
        let event = Event::read(store, kv.into(), request.prev_kv)?;
        bytes += event.bytes();
        match found.revisions.last_mut() {
            Some(last) if last.revision == main => last.events.push(event),
            _ => {
                let events = Vec::from([event]);
                found.revisions.push(RevisionChanges { revision: main, events });
            }
        }
    }
    Ok(found)
}

impl Event {
    fn read<R: ReadStore>(store: &R, kv: KeyValue, prev_kv: bool) -> Result<Self, R> {
        let kind = if kv.version == 0 { EventKind::Delete } else { EventKind::Put };
        let existed = kind == EventKind::Delete || kv.version > 1;
        // A revision changes a key at most once, so the previous pair is that of the revision
        // before.
        let prev_kv = if prev_kv && existed {
            read::at_revision(store, &kv.key, kv.mod_revision.saturating_sub(1))?
        } else {
            None
        };
        Ok(Self { kind, kv, prev_kv })
    }

    fn bytes(&self) -> usize {
        let of = |kv: &KeyValue| kv.key.len() + kv.value.len();
        of(&self.kv) + self.prev_kv.as_ref().map_or(0, of)
    }
}
