//! Commands of sessions, which are executed once.

use alloc::vec;

use super::Log;
use crate::apply::Capacity;
use crate::{
    Command, KeyRange, Kv, MemoryStore, Op, Outcome, Put, RangeRequest, Rejection,
    SESSION_OUTCOME_BYTES_MAX, Session, Txn,
};

fn command(client: u128, sequence: u64, since: u64) -> Command {
    Command::new(Put::new("a", "v")).with_session(Session { client, sequence, since })
}

fn bounded(sessions: u64) -> Log {
    let capacity = Capacity { sessions, leases: 1, lease_keys: 1, answer_bytes: 1 << 20 };
    Log { kv: Kv::open_with(MemoryStore::new(), capacity).unwrap() }
}

fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done(_))
}

#[test]
fn retry_returns_first_outcome() {
    let mut log = Log::new();
    let first = log.apply(&command(7, 1, 0));
    log.run(Put::new("a", "of another client"));
    assert_eq!(log.apply(&command(7, 1, 0)), first);
    assert_eq!(log.kv.revision(), 3);
    assert_eq!(log.kv.applied_index(), 3);
    let mut reopened = Log { kv: Kv::open(log.kv.into_store()).unwrap() };
    assert_eq!(reopened.apply(&command(7, 1, 0)), first);
}

#[test]
fn retry_repeats_failed_comparison() {
    let mut log = Log::new();
    let cas = Txn::put_if_unchanged(Put::new("a", "1"), 2);
    let cas = Command::new(cas).with_session(Session { client: 1, sequence: 1, since: 0 });
    let refused = log.apply(&cas);
    // The comparison would hold now.
    log.run(Put::new("a", "0"));
    assert_eq!(log.apply(&cas), refused);
    assert_eq!(log.kv.revision(), 2);
}

#[test]
fn retry_repeats_rejection() {
    let mut log = Log::new();
    let read = Txn {
        success: vec![
            Op::Put(Put::new("b", "")),
            Op::Range(RangeRequest::new(KeyRange::all()).at_revision(2)),
        ],
        ..Txn::default()
    };
    let read = Command::new(read).with_session(Session { client: 1, sequence: 1, since: 0 });
    let refused = log.apply(&read);
    assert!(matches!(refused, Outcome::Rejected(Rejection::FutureRevision { .. })));
    log.run(Put::new("a", "0"));
    assert_eq!(log.apply(&read), refused);
    assert_eq!(log.kv.revision(), 2);
}

#[test]
fn older_sequence_is_stale() {
    let mut log = Log::new();
    log.apply(&command(7, 1, 0));
    log.apply(&command(7, 5, 0));
    for sequence in [0, 1, 4] {
        let stale = Outcome::SessionStale { latest: 5 };
        assert_eq!(log.apply(&command(7, sequence, 0)), stale);
    }
    assert_eq!(log.kv.revision(), 3);
}

#[test]
fn clients_do_not_share_sequences() {
    let mut log = Log::new();
    assert!(is_done(&log.apply(&command(1, 1, 0))));
    assert!(is_done(&log.apply(&command(1 << 64, 1, 0))));
    assert!(is_done(&log.apply(&command(u128::MAX, 1, 0))));
    assert_eq!(log.kv.revision(), 4);
}

#[test]
fn evicted_session_rejects_retry() {
    let mut log = bounded(2);
    assert!(is_done(&log.apply(&command(1, 1, 0))));
    assert!(is_done(&log.apply(&command(2, 1, 0))));
    // A retry is a use, so session 2 is now the least recently used.
    log.apply(&command(1, 1, 0));
    assert!(is_done(&log.apply(&command(3, 1, 0))));
    let unknown = Outcome::SessionUnknown { since: 2 };
    let before = log.kv.revision();
    assert_eq!(log.apply(&command(2, 1, 0)), unknown);
    assert_eq!(log.apply(&command(2, 2, 0)), unknown);
    assert_eq!(log.kv.revision(), before);
    // The sessions that are not evicted continue.
    assert!(is_done(&log.apply(&command(1, 2, 0))));
    assert!(is_done(&log.apply(&command(3, 2, 0))));
}

#[test]
fn session_since_guards_evicted_sessions() {
    let mut log = bounded(1);
    log.apply(&command(1, 1, 0));
    log.apply(&command(2, 1, 0));
    let Outcome::SessionUnknown { since } = log.apply(&command(3, 1, 0)) else {
        panic!("it might have been forgotten");
    };
    assert_eq!(since, 1);
    assert!(is_done(&log.apply(&command(4, 1, since))));
    // The rejected attempts changed nothing. Session 4 evicted session 2, last used at index 2.
    assert_eq!(log.apply(&command(2, 1, 0)), Outcome::SessionUnknown { since: 2 });
    assert!(is_done(&log.apply(&command(4, 1, since))));
}

#[test]
fn large_outcome_is_applied_once() {
    let mut log = Log::new();
    log.run(Put::new("a", vec![0; SESSION_OUTCOME_BYTES_MAX]));
    let put = Put::new("a", "small").returning_previous();
    let put = Command::new(put).with_session(Session { client: 1, sequence: 1, since: 0 });
    assert!(is_done(&log.apply(&put)));
    assert_eq!(log.apply(&put), Outcome::AlreadyDone { revision: 3 });
    assert_eq!(log.kv.revision(), 3);
}
