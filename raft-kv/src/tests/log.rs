//! The order of entries, and the content of stores.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;

use super::Log;
use crate::store::layout;
use crate::wire::FormatRecord;
use crate::{
    ApplyError, Batch, Command, Delete, Entry, EntryId, KeyRange, Kv, Malformed, MemoryStore,
    OpenError, Outcome, Put, Rejection, Store, StoreFault, View,
};

fn put(index: u64, term: u64) -> Entry {
    Entry::command(index, term, Command::new(Put::new("a", "v")).encode())
}

#[test]
fn entries_without_commands_only_advance_applied_index() {
    let mut kv = Kv::open(MemoryStore::new()).unwrap();
    assert_eq!(kv.applied(), EntryId::default());
    assert_eq!(kv.apply(Entry::noop(1, 3)).unwrap(), Outcome::Noop);
    assert_eq!(kv.applied(), EntryId { term: 3, index: 1 });
    assert_eq!(kv.revision(), 1);
    let reopened = Kv::open(kv.into_store()).unwrap();
    assert_eq!(reopened.applied(), EntryId { term: 3, index: 1 });
}

#[test]
fn non_consecutive_entry_is_rejected() {
    let mut kv = Kv::open(MemoryStore::new()).unwrap();
    assert_eq!(kv.apply_batch([]), Ok(vec![]));
    assert_eq!(kv.store(), &MemoryStore::new());
    kv.apply_batch([Entry::noop(1, 2), put(2, 2)]).unwrap();
    let before = kv.clone();
    let refusals = [
        (put(4, 2), ApplyError::Gap { index: 4, applied: 2 }),
        (put(2, 2), ApplyError::AlreadyApplied { index: 2, applied: 2 }),
        (put(0, 2), ApplyError::AlreadyApplied { index: 0, applied: 2 }),
        (put(3, 1), ApplyError::TermWentBack { index: 3, term: 1, applied: 2 }),
    ];
    for (entry, refusal) in refusals {
        assert_eq!(kv.apply(entry.clone()), Err(refusal.clone()));
        assert_eq!(kv, before);
    }
    // No entry of the batch is applied.
    let gap = ApplyError::Gap { index: 5, applied: 3 };
    assert_eq!(kv.apply_batch([put(3, 2), put(5, 2)]), Err(gap));
    assert_eq!(kv, before);
    assert_eq!(kv.apply_batch([]), Ok(vec![]));
    assert_eq!(kv, before);
}

#[test]
fn malformed_command_is_rejected_and_apply_continues() {
    let mut kv = Kv::open(MemoryStore::new()).unwrap();
    let whole = Command::new(Put::new("a", "v")).encode();
    let torn = whole.slice(..whole.len() - 1);
    for (index, bytes) in (1..).zip([Bytes::new(), Bytes::from_static(b"\xff\xff"), torn]) {
        let refused = Outcome::Rejected(Rejection::Malformed(Malformed::Undecodable));
        assert_eq!(kv.apply(Entry::command(index, 1, bytes)), Ok(refused));
        assert_eq!((kv.applied_index(), kv.revision()), (index, 1));
    }
}

#[test]
fn command_of_later_version_stops_state_machine() {
    let mut kv = Kv::open(MemoryStore::new()).unwrap();
    // Field 1, the version, as 5.
    let mut later = vec![0x08, 5];
    later.extend_from_slice(&Command::new(Put::new("a", "v")).encode()[2..]);
    let stop = ApplyError::UnknownCommand { index: 1, found: 5, supported: 4 };
    assert_eq!(kv.apply(Entry::command(1, 1, later)), Err(stop));
    assert_eq!((kv.applied_index(), kv.revision()), (0, 1));
}

#[test]
fn batched_entries_see_earlier_entries() {
    let mut together = Kv::open(MemoryStore::new()).unwrap();
    let mut apart = together.clone();
    let command = |index, command: Command| Entry::command(index, 1, command.encode());
    let entries = [
        command(1, Command::new(Put::new("a", "1"))),
        command(2, Command::new(Put::new("a", "2").returning_previous())),
        command(3, Command::new(Delete::new(KeyRange::all()).returning_previous())),
        command(4, Command::new(Put::new("a", "3").returning_previous())),
        Entry::noop(5, 1),
    ];
    let one_by_one: Vec<_> =
        entries.iter().map(|entry| apart.apply(entry.clone()).unwrap()).collect();
    assert_eq!(together.apply_batch(entries).unwrap(), one_by_one);
    assert_eq!(together, apart);
    together.audit().unwrap();
    assert_eq!(together.get(b"a", Some(3)).unwrap().unwrap().version, 2);
}

#[test]
fn view_of_snapshot_is_stable() {
    let mut log = Log::new();
    log.run(Put::new("a", "1"));
    let view = View::open(log.kv.store().clone()).unwrap();
    log.run(Put::new("a", "2"));
    assert_eq!(view.get(b"a", None).unwrap().unwrap().value, "1");
    assert_eq!((view.revision(), view.applied().index), (2, 1));
    view.audit().unwrap();
}

#[test]
fn newer_format_or_foreign_store_is_rejected() {
    let store = |key: &'static [u8], value: Bytes| {
        let mut store = MemoryStore::new();
        let mut batch = Batch::default();
        batch.put(Bytes::from_static(key), value);
        store.commit(batch).unwrap();
        store
    };
    let format = |version| {
        let record = FormatRecord { version }.encode_to_vec().into();
        Kv::open(store(layout::FORMAT_KEY, record))
    };
    let unknown = OpenError::UnknownFormat { found: 5, supported: 4 };
    assert_eq!(format(5).unwrap_err(), unknown);
    for version in [0, 1, 2, 3, 4] {
        let damaged = matches!(format(version), Err(OpenError::Fault(StoreFault::Damaged(_))));
        assert!(damaged, "format {version} without counters was opened");
    }
    assert_eq!(Kv::open(store(b"foreign", Bytes::new())).unwrap_err(), OpenError::Foreign);
}
