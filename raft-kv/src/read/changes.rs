//! Following what happens to keys: what a watch is told.
//!
//! History stands in the store in the order of revisions, so whoever watches needs no state here
//! but the revision that comes next. It can go on at any replica, from that revision on: all have
//! the same history.

use alloc::vec::Vec;

use crate::error::StoreFault;
use crate::range::{KeyRange, KeyValue};
use crate::read;
use crate::store::layout::{self, Revision};
use crate::store::{Order, ReadStore};
use crate::wire;

/// Asks for the changes of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChangesRequest {
    /// Which keys.
    pub keys: KeyRange,
    /// The first revision to look at.
    pub from_revision: i64,
    /// Whether to return with each change what the key held before.
    pub prev_kv: bool,
    /// After so many changes, of these keys or others, the answer ends with the revision at hand.
    pub changes_max: usize,
    /// After so many bytes of keys and values, the answer ends with the revision at hand.
    pub bytes_max: usize,
}

impl ChangesRequest {
    /// The changes of `keys` from a revision on: about a thousand of them, or a megabyte.
    #[must_use]
    pub fn new(keys: KeyRange, from_revision: i64) -> Self {
        Self { keys, from_revision, prev_kv: false, changes_max: 1024, bytes_max: 1 << 20 }
    }

    /// Also returns what keys held before.
    #[must_use]
    pub fn returning_previous(mut self) -> Self {
        self.prev_kv = true;
        self
    }
}

/// Changes in the order in which they happened. All changes that one revision made to the range are
/// together, in the order in which its command made them; a revision that did not touch the range
/// is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Changes {
    /// The revisions that changed something in the range.
    pub revisions: Vec<RevisionChanges>,
    /// The first revision that was not looked at: where to go on. All before it is known.
    pub next_revision: i64,
    /// The revision of the state machine. If `next_revision` is beyond it, there is no more for
    /// now.
    pub revision: i64,
}

/// What one revision did to a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevisionChanges {
    /// The revision.
    pub revision: i64,
    /// What it changed; never empty, and no key twice.
    pub events: Vec<Event>,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// What became of the key.
    pub kind: EventKind,
    /// The key as it is since then. Of one that was deleted, only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    /// What the key held before, if that was asked for and it was there.
    pub prev_kv: Option<KeyValue>,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It was set.
    Put,
    /// It was removed, by whoever deleted it or because its lease ended.
    Delete,
}

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

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
    let (mut looked_at, mut bytes, mut before) = (0, 0, None);
    let from = layout::history_key(Revision::first_of(request.from_revision));
    let (_, to) = layout::history();
    for entry in store.scan(&from, &to, Order::Ascending) {
        let (key, record) = entry.map_err(StoreFault::Store)?;
        let Revision { main, .. } = layout::history_revision(&key)
            .ok_or(StoreFault::Damaged("a key of history is no revision"))?;
        let is_enough = looked_at >= request.changes_max || bytes >= request.bytes_max;
        if is_enough && before.is_some_and(|before| before != main) {
            found.next_revision = main;
            break;
        }
        (looked_at, before) = (looked_at + 1, Some(main));
        let kv: wire::KeyValue = read::decode(record, "a record of history does not decode")?;
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
        let kind = match kv.version {
            0 => EventKind::Delete,
            _ => EventKind::Put,
        };
        // A revision changes no key twice.
        let was_there = prev_kv && (kind == EventKind::Delete || kv.version > 1);
        Ok(Self {
            prev_kv: match was_there {
                true => read::at_revision(store, &kv.key, kv.mod_revision.saturating_sub(1))?,
                false => None,
            },
            kind,
            kv,
        })
    }

    fn bytes(&self) -> usize {
        let of = |kv: &KeyValue| kv.key.len() + kv.value.len();
        of(&self.kv) + self.prev_kv.as_ref().map_or(0, of)
    }
}
