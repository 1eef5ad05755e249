//! Starts from a journal that contains each write as a record.

use crate::cluster::entry;
use raft_core::{
    Config, ConfigError, Entry, HardState, Instant, LogId, LogIndex, Membership, NodeId, Payload,
    Raft, RestoredState, Snapshot, Term,
};

fn members() -> Membership {
    Membership::new([1, 2, 3].map(NodeId))
}

fn restored(applied: u64) -> RestoredState {
    RestoredState::new(1, members(), HardState::default(), LogIndex(applied), 1 << 20)
}

fn term(term: u64) -> Option<HardState> {
    Some(HardState { term: Term(term), vote: None })
}

fn start(restored: RestoredState) -> Result<Raft, ConfigError> {
    Raft::new(Config::new(NodeId(1)), restored, 1, Instant(0))
}

fn terms(raft: &Raft) -> Vec<u64> {
    let positions = raft.log_start().index.0 + 1..=raft.last_log().index.0;
    positions.filter_map(|index| raft.term_at(LogIndex(index))).map(|term| term.0).collect()
}

/// E16: a journal with a conflict was rejected as damaged.
#[test]
fn journal_with_replaced_entries_is_replayed() {
    let mut restored = restored(0);
    let change = Membership::new([NodeId(1), NodeId(2)]);
    let payload = Payload::Membership(Box::new(change));
    let replaced = Entry { id: LogId::new(Term(1), LogIndex(3)), payload };
    let writes = [
        (term(1), vec![entry(1, 1), entry(1, 2), replaced]),
        (term(2), vec![entry(2, 2)]),
        (None, vec![entry(2, 3), entry(2, 4)]),
        (term(3), vec![]),
        (None, vec![entry(3, 4)]),
    ];
    for (hard_state, entries) in writes {
        restored.replay(hard_state, None, entries).unwrap();
    }
    let raft = start(restored).unwrap();
    assert_eq!((raft.term(), terms(&raft)), (Term(3), vec![1, 2, 2, 3]));
    assert_eq!(*raft.membership(), members(), "the change was replaced");
}

#[test]
fn journal_with_moved_log_start_is_replayed() {
    let last = LogId::new(Term(3), LogIndex(5));
    let snapshot = Snapshot { last, membership: members(), identity: 1, size: 1 };
    // The snapshot replaced a log that conflicted with it.
    let mut restored = restored(5).with_snapshot(snapshot, LogId::default());
    let all = (1..=8).map(|index| entry(1, index)).collect();
    let kept = LogId::new(Term(1), LogIndex(2));
    let writes = [
        (term(1), None, all),
        (None, Some(kept), vec![]),
        (term(3), Some(last), vec![entry(3, 6)]),
        (None, None, vec![entry(3, 7)]),
    ];
    for (hard_state, log_start, entries) in writes {
        restored.replay(hard_state, log_start, entries).unwrap();
    }
    let raft = start(restored).unwrap();
    assert_eq!((raft.log_start(), terms(&raft)), (last, vec![3, 3]));
}

/// E16: the membership of an entry that an installed snapshot had replaced took effect.
#[test]
fn membership_of_replaced_log_is_not_restored() {
    let last = LogId::new(Term(3), LogIndex(5));
    for replaced in 1..=8 {
        let snapshot = Snapshot { last, membership: members(), identity: 1, size: 1 };
        let mut restored = restored(5).with_snapshot(snapshot, LogId::default());
        let mut all: Vec<_> = (1..=8).map(|index| entry(1, index)).collect();
        let change = Membership::new([NodeId(1), NodeId(7)]);
        all[replaced - 1].payload = Payload::Membership(Box::new(change));
        let writes =
            [(term(1), None, all), (term(3), Some(last), vec![]), (None, None, vec![entry(3, 6)])];
        for (hard_state, log_start, entries) in writes {
            restored.replay(hard_state, log_start, entries).unwrap();
        }
        let raft = start(restored).unwrap();
        assert_eq!(*raft.membership(), members(), "entry {replaced}");
        assert_eq!(raft.membership_index(), LogIndex(5), "entry {replaced}");
    }
}

/// A log that contains the last entry of the snapshot stays, with its memberships.
#[test]
fn membership_after_compaction_is_restored() {
    let last = LogId::new(Term(1), LogIndex(5));
    let snapshot = Snapshot { last, membership: members(), identity: 1, size: 1 };
    let mut restored = restored(5).with_snapshot(snapshot, LogId::default());
    let mut all: Vec<_> = (1..=8).map(|index| entry(1, index)).collect();
    let change = Membership::new([NodeId(1), NodeId(2)]);
    all[6].payload = Payload::Membership(Box::new(change.clone()));
    restored.replay(term(1), None, all).unwrap();
    restored.replay(None, Some(last), []).unwrap();
    let raft = start(restored).unwrap();
    assert_eq!((raft.membership(), raft.membership_index()), (&change, LogIndex(7)));
}

#[test]
fn journal_with_gap_is_rejected() {
    let mut gap = restored(0);
    gap.replay(term(1), None, [entry(1, 1)]).unwrap();
    assert!(gap.replay(None, None, [entry(1, 3)]).is_err());
    let mut no_snapshot = restored(0);
    no_snapshot.replay(term(1), Some(LogId::new(Term(1), LogIndex(4))), []).unwrap();
    assert_eq!(start(no_snapshot).unwrap_err(), ConfigError::SnapshotDoesNotFit);
}
