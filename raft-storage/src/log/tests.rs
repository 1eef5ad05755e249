use bytes::Bytes;
use raft_core::{Membership, NodeId, Payload, Term};

use super::*;
use crate::files::SimulatedFiles;

const IDENTITY: Identity = Identity { cluster: 7, member: 1 };

fn entry(term: u64, index: u64) -> Entry {
    let payload = Payload::Command(Bytes::from(format!("{term}/{index}")));
    Entry { id: LogId::new(Term(term), LogIndex(index)), payload }
}

fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(term, index)).collect()
}

fn open(files: &SimulatedFiles) -> Result<Log, StorageError> {
    Log::open(Arc::new(files.clone()), IDENTITY, 4096)
}

fn read_all(log: &Log) -> Vec<Entry> {
    let reader = log.reader();
    reader.read(reader.start().index.next(), LogIndex(u64::MAX), usize::MAX).unwrap()
}

fn compact(log: &mut Log, term: u64, index: u64) {
    log.append_parts(None, Some(LogId::new(Term(term), LogIndex(index))), &[]).unwrap();
}

fn segments(files: &SimulatedFiles) -> Vec<u64> {
    let names = files.list().unwrap();
    names.iter().filter_map(|name| segment::number(name)).collect()
}

#[test]
fn log_reopens_with_its_entries_and_votes() {
    let files = SimulatedFiles::new(1);
    let mut log = open(&files).unwrap();
    let vote = HardState { term: Term(3), vote: Some(NodeId(2)) };
    log.import(Some(vote), &entries(1, 1..=3)).unwrap();
    log.import(None, &entries(2, 2..=2)).unwrap();
    log.import(None, &[]).unwrap();
    drop(log);
    let mut log = open(&files).unwrap();
    assert_eq!(log.hard_state(), vote);
    assert_eq!(read_all(&log), [entry(1, 1), entry(2, 2)]);
    log.import(None, &entries(3, 3..=200)).unwrap();
    drop(log);
    let log = open(&files).unwrap();
    assert_eq!(read_all(&log).len(), 200);
    assert!(segments(&files).len() > 1);
    let reader = log.reader();
    assert_eq!(reader.read(LogIndex(7), LogIndex(9), usize::MAX).unwrap(), entries(3, 7..=9));
    assert_eq!(reader.read(LogIndex(7), LogIndex(9), 1).unwrap(), entries(3, 7..=7));
    assert_eq!(reader.read(LogIndex(201), LogIndex(300), 1).unwrap(), []);
}

#[test]
fn replay_passes_log_to_server() {
    let files = SimulatedFiles::new(1);
    let mut log = open(&files).unwrap();
    log.import(None, &entries(1, 1..=50)).unwrap();
    log.import(None, &entries(2, 20..=60)).unwrap();
    let mut restored = restored();
    log.replay(&mut restored).unwrap();
    let mut expected = self::restored();
    for entry in entries(1, 1..=19).into_iter().chain(entries(2, 20..=60)) {
        expected.push(entry).unwrap();
    }
    assert_eq!(restored, expected);
}

fn restored() -> RestoredState {
    let membership = Membership::new([NodeId(1)]);
    RestoredState::new(1, membership, HardState::default(), LogIndex(0), 0)
}

#[test]
fn segments_of_compacted_entries_are_removed() {
    let files = SimulatedFiles::new(1);
    let mut log = open(&files).unwrap();
    for index in 1..=100 {
        log.import(Some(HardState { term: Term(index), vote: None }), &entries(1, index..=index))
            .unwrap();
    }
    let before = segments(&files).len();
    compact(&mut log, 1, 90);
    assert!(segments(&files).len() < before / 2, "{before}");
    drop(log);
    let mut log = open(&files).unwrap();
    assert_eq!(log.hard_state().term, Term(100));
    assert_eq!(read_all(&log), entries(1, 91..=100));
    // A snapshot of another history replaces the log.
    compact(&mut log, 2, 95);
    log.import(None, &entries(3, 96..=97)).unwrap();
    drop(log);
    let log = open(&files).unwrap();
    assert_eq!(read_all(&log), entries(3, 96..=97));
    assert_eq!(log.reader().start(), LogId::new(Term(2), LogIndex(95)));
}

#[test]
fn conflict_below_removed_segment_is_replayed() {
    let files = SimulatedFiles::new(1);
    let mut log = open(&files).unwrap();
    for index in 1..=60 {
        log.import(None, &entries(1, index..=index)).unwrap();
    }
    // The entries from 40 on are replaced in the last segments.
    for index in 40..=70 {
        log.import(None, &entries(2, index..=index)).unwrap();
    }
    compact(&mut log, 2, 45);
    drop(log);
    assert_eq!(read_all(&open(&files).unwrap()), entries(2, 46..=70));
}

#[test]
fn foreign_or_unknown_segment_is_refused() {
    let files = SimulatedFiles::new(1);
    open(&files).unwrap().import(None, &entries(1, 1..=1)).unwrap();
    for identity in [Identity { cluster: 8, member: 1 }, Identity { cluster: 7, member: 2 }] {
        let error = Log::open(Arc::new(files.clone()), identity, 4096).unwrap_err();
        assert!(matches!(error, StorageError::Foreign { .. }), "{error}");
    }
}

#[test]
fn every_damaged_byte_of_last_batch_is_located() {
    let files = SimulatedFiles::new(1);
    let mut log = open(&files).unwrap();
    log.import(None, &entries(1, 1..=3)).unwrap();
    log.import(None, &entries(1, 4..=90)).unwrap();
    drop(log);
    files.cut_power();
    let name = segment::name(1);
    for position in 0..files.length_of(&name).unwrap() {
        assert!(files.damage(&name, position, 0x10));
        let error = open(&files).expect_err("the damage is detected");
        let StorageError::Damaged(damage) = error else { panic!("{error}") };
        assert_eq!(damage.file, name);
        assert_eq!(damage.position / 512, position / 512, "{damage}");
        assert!(files.damage(&name, position, 0x10));
    }
    assert_eq!(read_all(&open(&files).unwrap()).len(), 90);
}

/// A node that stopped here for good could not be repaired (N11).
#[test]
fn torn_batch_that_was_not_acknowledged_is_erased() {
    for torn in 0..3 {
        let files = SimulatedFiles::new(1);
        let mut log = open(&files).unwrap();
        log.import(None, &entries(1, 1..=3)).unwrap();
        let file = files.open(&segment::name(1)).unwrap();
        let mut before = vec![0; 4096];
        file.read_at(&mut before, 0).unwrap();
        let mark = files.contents(MARK).unwrap();
        log.import(None, &entries(1, 4..=90)).unwrap();
        drop(log);
        // One sector of the batch did not reach the disk.
        let sector = 2 * SECTOR_BYTES + torn * SECTOR_BYTES;
        let old = &before[sector..sector + SECTOR_BYTES];
        file.write_at(old, sector as u64).unwrap();
        files.open(MARK).unwrap().write_at(&mark, 0).unwrap();
        let mut log = open(&files).unwrap();
        assert_eq!(read_all(&log), entries(1, 1..=3));
        log.import(None, &entries(2, 4..=5)).unwrap();
        drop(log);
        assert_eq!(read_all(&open(&files).unwrap())[3..], entries(2, 4..=5));
    }
}

#[test]
fn lost_end_of_log_is_detected_by_mark() {
    let files = SimulatedFiles::new(1);
    let mut log = open(&files).unwrap();
    log.import(None, &entries(1, 1..=1)).unwrap();
    let backup = files.contents(&segment::name(1)).unwrap();
    log.import(None, &entries(1, 2..=2)).unwrap();
    drop(log);
    let file = files.open(&segment::name(1)).unwrap();
    file.write_at(&backup, 0).unwrap();
    let error = open(&files).unwrap_err();
    assert!(error.to_string().contains("a synced batch is missing"), "{error}");
}

#[test]
fn full_disk_changes_nothing_and_can_be_retried() {
    let files = SimulatedFiles::new(1);
    let mut log = open(&files).unwrap();
    files.set_capacity(8 << 10);
    let mut index = 0;
    let error = loop {
        index += 1;
        if let Err(error) = log.import(None, &entries(1, index..=index)) {
            break error;
        }
    };
    assert!(error.is_full(), "{error}");
    files.set_capacity(u64::MAX);
    log.import(None, &entries(1, index..=index)).unwrap();
    drop(log);
    assert_eq!(read_all(&open(&files).unwrap()), entries(1, 1..=index));
}

#[test]
fn failed_sync_stops_log() {
    let files = SimulatedFiles::new(1);
    let mut log = open(&files).unwrap();
    log.import(None, &entries(1, 1..=1)).unwrap();
    files.fail_syncs(true);
    assert!(log.import(None, &entries(1, 2..=2)).is_err());
    files.fail_syncs(false);
    let error = log.import(None, &entries(1, 2..=2)).unwrap_err();
    assert!(matches!(error, StorageError::Stopped), "{error}");
}
