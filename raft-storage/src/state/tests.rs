use std::collections::BTreeMap;

use raft_kv::Write;

use super::*;
use crate::files::SimulatedFiles;

const IDENTITY: Identity = Identity { cluster: 7, member: 1 };

fn open(files: &SimulatedFiles) -> StateStore {
    let options = StateOptions { memory_bytes: usize::MAX, block_bytes: 100 };
    StateStore::open(Arc::new(files.clone()), IDENTITY, options).unwrap()
}

fn batch(writes: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in writes {
        let key = Bytes::copy_from_slice(key.as_bytes());
        match value {
            Some(value) => batch.put(key, Bytes::copy_from_slice(value.as_bytes())),
            None => batch.delete(key),
        }
    }
    batch
}

fn flush(store: &mut StateStore) {
    assert!(store.freeze());
    while store.flusher().run_once().unwrap() {}
}

fn all(store: &impl ReadStore<Error = StorageError>, order: Order) -> Vec<(Bytes, Bytes)> {
    store.scan(&[], &[u8::MAX], order).map(Result::unwrap).collect()
}

#[test]
fn store_equals_model_in_both_orders() {
    let files = SimulatedFiles::new(1);
    let mut store = open(&files);
    let mut model = BTreeMap::new();
    let mut number: u64 = 1;
    for round in 0..400 {
        let mut batch = Batch::default();
        for _ in 0..5 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = Bytes::from(format!("key {:03}", (number >> 33) % 150));
            if (number >> 20).is_multiple_of(4) {
                batch.delete(key);
            } else {
                batch.put(key, Bytes::from(format!("{number}")));
            }
        }
        for (key, write) in batch.clone() {
            match write {
                Write::Put(value) => drop(model.insert(key, value)),
                Write::Delete => drop(model.remove(&key)),
            }
        }
        store.commit(batch).unwrap();
        if round % 7 == 0 {
            flush(&mut store);
        }
        if round % 100 == 0 {
            flush(&mut store);
            store = open(&files);
        }
        if round % 20 == 0 {
            let expected: Vec<_> = model.clone().into_iter().collect();
            assert_eq!(all(&store, Order::Ascending), expected);
            assert_eq!(
                all(&store, Order::Descending),
                expected.into_iter().rev().collect::<Vec<_>>()
            );
            for number in 0..150 {
                let key = format!("key {number:03}");
                assert_eq!(store.get(key.as_bytes()).unwrap().as_ref(), model.get(key.as_bytes()));
                let part = store.scan(key.as_bytes(), b"key 09", Order::Ascending);
                let from = Bytes::from(key.clone());
                let to = Bytes::from_static(b"key 09").max(from.clone());
                let expected = model.range(from..to).map(|(k, v)| (k.clone(), v.clone()));
                assert!(part.map(Result::unwrap).eq(expected), "{key}");
            }
        }
    }
    assert!(store.shared.version().tables.len() < 3 * TABLES_PER_CLASS);
}

#[test]
fn reader_sees_one_moment() {
    let files = SimulatedFiles::new(1);
    let mut store = open(&files);
    store.commit(batch(&[("a", Some("1")), ("b", Some("1"))])).unwrap();
    let reader = store.readers().reader();
    let expected = all(&reader, Order::Ascending);
    for _ in 0..20 {
        store.commit(batch(&[("a", None), ("b", Some("2")), ("c", Some("2"))])).unwrap();
        flush(&mut store);
        assert_eq!(all(&reader, Order::Ascending), expected);
    }
    assert_eq!(reader.get(b"a").unwrap(), Some(Bytes::from_static(b"1")));
    assert_eq!(store.get(b"a").unwrap(), None);
}

#[test]
fn merged_table_of_everything_has_no_deleted_keys() {
    let files = SimulatedFiles::new(1);
    let mut store = open(&files);
    for round in 0..TABLES_PER_CLASS {
        let value = (round % 2 == 0).then_some("1");
        store.commit(batch(&[("a", value), ("b", Some("2"))])).unwrap();
        flush(&mut store);
    }
    let mut found = Vec::new();
    assert_eq!((check(&files, IDENTITY, &mut found), found.len()), ((1, 1), 0));
    let tables = files.list().unwrap();
    assert_eq!(tables.len(), 1, "{tables:?}");
}

#[test]
fn full_disk_keeps_writes_in_memory() {
    let files = SimulatedFiles::new(1);
    let mut store = open(&files);
    store.commit(batch(&[("a", Some("1"))])).unwrap();
    assert!(store.freeze());
    files.set_capacity(10);
    assert!(store.flusher().run_once().unwrap_err().is_full());
    assert!(!store.freeze());
    assert_eq!(store.get(b"a").unwrap(), Some(Bytes::from_static(b"1")));
    files.set_capacity(u64::MAX);
    assert!(store.flusher().run_once().unwrap());
    assert_eq!(open(&files).get(b"a").unwrap(), Some(Bytes::from_static(b"1")));
}

#[test]
fn full_disk_does_not_stop_commits_at_once() {
    let files = SimulatedFiles::new(1);
    let options = StateOptions { memory_bytes: 2000, block_bytes: 100 };
    let mut store = StateStore::open(Arc::new(files.clone()), IDENTITY, options).unwrap();
    let flusher = store.flusher();
    files.set_capacity(10);
    let space = files.clone();
    let (found_full, full) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        flusher.run(|| {
            let _ = found_full.send(());
        })
    });
    for number in 0..30 {
        store.commit(batch(&[(&format!("{number}"), Some("1"))])).unwrap();
    }
    full.recv().unwrap();
    space.set_capacity(u64::MAX);
    for number in 30..300 {
        store.commit(batch(&[(&format!("{number}"), Some("1"))])).unwrap();
    }
    assert_eq!(all(&store, Order::Ascending).len(), 300);
    store.flusher().stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn missing_table_is_detected() {
    let files = SimulatedFiles::new(1);
    let mut store = open(&files);
    for _ in 0..2 {
        store.commit(batch(&[("a", Some("1"))])).unwrap();
        flush(&mut store);
    }
    files.remove(&table::name(1)).unwrap();
    let options = StateOptions::default();
    let error = StateStore::open(Arc::new(files), IDENTITY, options).unwrap_err();
    assert!(error.to_string().contains("a table is missing"), "{error}");
}

#[test]
fn background_flusher_ends_on_request_and_reports_failures() {
    let files = SimulatedFiles::new(1);
    let options = StateOptions { memory_bytes: 100, block_bytes: 100 };
    let mut store = StateStore::open(Arc::new(files.clone()), IDENTITY, options).unwrap();
    let flusher = store.flusher();
    let thread = std::thread::spawn(move || flusher.run(|| {}));
    for _ in 0..20 {
        store.commit(batch(&[("a", Some("1")), ("b", Some("2"))])).unwrap();
    }
    files.fail_syncs(true);
    let value = "1".repeat(200);
    let failed = (0..100).find_map(|_| store.commit(batch(&[("a", Some(&value))])).err());
    assert!(matches!(failed, Some(StorageError::Stopped)), "{failed:?}");
    assert!(thread.join().unwrap().is_err());
    let flusher = store.flusher();
    flusher.stop();
    flusher.run(|| {}).unwrap();
}
