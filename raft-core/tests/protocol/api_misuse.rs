//! Mistakes of callers and peers: they are rejected, or stop the server.

use crate::cluster::{Cluster, entry};
use bytes::Bytes;
use raft_core::*;
use std::time::Duration;

fn voters() -> Membership {
    Membership::new([1, 2, 3].map(NodeId))
}

/// A snapshot of one byte.
fn snapshot(term: u64, index: u64) -> Snapshot {
    Snapshot {
        last: LogId::new(Term(term), LogIndex(index)),
        membership: voters(),
        identity: 1,
        size: 1,
    }
}

fn install(snapshot: Snapshot) -> Message {
    Message::InstallSnapshot(Box::new(InstallSnapshot {
        term: Term(1),
        snapshot,
        offset: 0,
        data: Bytes::from_static(b"x"),
    }))
}

/// Nine entries on disk, none of which is in memory.
fn restored() -> RestoredState {
    let hard_state = HardState { term: Term(1), vote: None };
    let mut restored = RestoredState::new(2, voters(), hard_state, LogIndex(0), 1);
    for index in 1..=9 {
        restored.push(entry(1, index)).unwrap();
    }
    restored
}

#[test]
fn snapshot_after_log_entries_is_rejected() {
    let snapshot = snapshot(1, 2);
    let last = snapshot.last;
    let restored = restored().with_snapshot(snapshot, last);
    let refused = Raft::new(Config::new(NodeId(1)), restored, 1, Instant(0));
    assert_eq!(refused.unwrap_err(), ConfigError::SnapshotAfterEntries);
}

#[test]
fn witness_flag_must_match_membership() {
    for (in_membership, in_config) in [(true, false), (false, true)] {
        let mut config = Config::new(NodeId(3));
        config.witness = in_config;
        let witnesses = [NodeId(3)].into_iter().filter(|_| in_membership);
        let founders = voters().with_witnesses(witnesses);
        let fresh = RestoredState::new(1, founders, HardState::default(), LogIndex(0), 1 << 20);
        let refused = Raft::new(config, fresh, 1, Instant(0));
        assert_eq!(refused.unwrap_err(), ConfigError::WitnessMismatch);
    }
}

#[test]
fn snapshot_with_wrong_membership_stops_server() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    cluster.settle(1);
    let (now, index) = (cluster.now, cluster.raft(1).commit_index());
    let term = cluster.raft(1).term_at(index).unwrap();
    let mut wrong = snapshot(term.0, index.0);
    wrong.membership = Membership::new([NodeId(3)]);
    let last = wrong.last;
    cluster.raft(1).report_snapshot(wrong, index, now);
    let reason = StopReason::SnapshotMembershipMismatch { last };
    assert_eq!(cluster.raft(1).stopped(), Some(reason));
    let text = "a snapshot has a membership other than that at its last entry 2";
    assert_eq!(reason.to_string(), text);
}

/// There would be no valid index after the snapshot.
#[test]
fn snapshot_at_max_index_is_ignored() {
    for (term, index) in [(1, u64::MAX), (0, 7)] {
        let mut cluster = Cluster::new(3);
        cluster.hand_over(1, 2, install(snapshot(term, index)));
        cluster.drain();
        cluster.mail.clear();
        cluster.elect(2);
        let [a, b] = ["a", "b"].map(|command| cluster.propose(2, command));
        assert_eq!(b.index, a.index.next());
        cluster.settle(2);
        assert_eq!(cluster.commands(1), ["a", "b"]);
    }
}

/// The result of a fetch from before the installation of a snapshot finds no entries.
#[test]
fn stale_empty_fetch_result_is_dropped() {
    let heartbeat = |prev_index, commit_index| {
        Message::AppendEntries(AppendEntries {
            term: Term(1),
            prev_log: LogId::new(Term(1), LogIndex(prev_index)),
            entries: [].into(),
            leader_commit: LogIndex(commit_index),
        })
    };
    let mut config = Config::new(NodeId(2));
    config.log_cache_bytes_max = 1;
    let mut raft = Raft::new(config, restored(), 1, Instant(0)).unwrap();
    let mut effects = Effects::default();
    raft.receive(NodeId(1), heartbeat(3, 3), Instant(1));
    raft.drain(&mut effects);
    let late = effects.fetches.pop().unwrap();
    raft.receive(NodeId(1), install(snapshot(1, 5)), Instant(2));
    raft.drain(&mut effects);
    let installed = effects.install.take().unwrap().installed();
    raft.snapshot_installed(installed, Instant(3));
    raft.receive(NodeId(1), heartbeat(9, 9), Instant(4));
    raft.drain(&mut effects);
    let fetch = effects.fetches.pop().unwrap();
    assert_eq!((late.from, fetch.from), (LogIndex(1), LogIndex(6)));
    let write = effects.write.take().unwrap();
    assert_eq!(write.log_start(), Some(LogId::new(Term(1), LogIndex(5))));
    raft.persisted(write.synced(), Instant(5));
    raft.fetched(late, Vec::new(), Instant(5));
    assert_eq!(raft.stopped(), None);
    let entries = (6..=9).map(|index| entry(1, index)).collect();
    raft.fetched(fetch, entries, Instant(6));
    raft.drain(&mut effects);
    let last = effects.committed.iter().flatten().last();
    assert_eq!(last.map(|entry| entry.id.index), Some(LogIndex(9)));
}

fn run(raft: &mut Raft, now: Instant) -> Vec<Entries> {
    let mut effects = Effects::default();
    let mut committed = Vec::new();
    for _ in 0..20 {
        raft.drain(&mut effects);
        if effects.is_empty() {
            break;
        }
        if let Some(write) = effects.write.take() {
            raft.persisted(write.synced(), now);
        }
        committed.append(&mut effects.committed);
        effects.messages.clear();
        effects.fetches.clear();
        effects.events.clear();
    }
    committed
}

/// The snapshot of a peer ends at the largest valid index, and the server then leads.
#[test]
fn log_at_max_index_does_not_panic() {
    for window in [0, 1 << 20] {
        let me = NodeId(1);
        let mut config = Config::new(me);
        config.log_cache_bytes_max = window;
        let fresh =
            RestoredState::new(1, Membership::default(), HardState::default(), LogIndex(0), window);
        let mut raft = Raft::new(config, fresh, 7, Instant(0)).unwrap();
        let last = LogId::new(Term(1), LogIndex(u64::MAX / 2));
        let snapshot = Snapshot { last, membership: Membership::new([me]), identity: 1, size: 0 };
        let request = InstallSnapshot { term: Term(1), snapshot, offset: 0, data: Bytes::new() };
        raft.receive(NodeId(2), Message::InstallSnapshot(Box::new(request)), Instant(0));
        let mut effects = Effects::default();
        raft.drain(&mut effects);
        if let Some(write) = effects.write.take() {
            raft.persisted(write.synced(), Instant(0));
        }
        raft.snapshot_installed(effects.install.take().unwrap().installed(), Instant(0));
        run(&mut raft, Instant(0));
        let now = raft.deadline().unwrap();
        raft.tick(now);
        run(&mut raft, now);
        assert_eq!(raft.role(), Role::Leader);
        for command in ["a", "b"] {
            raft.propose(command.into(), now).unwrap();
            run(&mut raft, now);
        }
        let heartbeat = Heartbeat { term: Term(100), round: 1, commit_index: LogIndex(0) };
        raft.receive(NodeId(2), Message::Heartbeat(heartbeat), now);
        run(&mut raft, now);
    }
}

/// Damaged data may contain any index, and arithmetic on indexes must not overflow.
#[test]
fn stored_index_beyond_limit_is_rejected() {
    let me = NodeId(1);
    let restored = |index: u64| {
        let last = LogId::new(Term(1), LogIndex(index));
        let membership = Membership::new([me]);
        let snapshot = Snapshot { last, membership: membership.clone(), identity: 1, size: 0 };
        let hard_state = HardState { term: Term(1), vote: None };
        RestoredState::new(1, membership, hard_state, last.index, 0).with_snapshot(snapshot, last)
    };
    let start = |restored| Raft::new(Config::new(me), restored, 7, Instant(0)).map(|_| ());
    let limit = u64::MAX / 2;
    assert_eq!(start(restored(limit)), Ok(()));
    for index in [limit + 1, u64::MAX] {
        let error = ConfigError::IndexTooLarge(LogIndex(index));
        assert_eq!(start(restored(index)), Err(error));
    }
    let id = LogId::new(Term(1), LogIndex(limit + 1));
    let pushed = restored(limit).push(Entry { id, payload: Payload::Noop });
    assert!(matches!(pushed, Err(RestoreError::Gap { found, .. }) if found == id));
}

#[test]
fn huge_timeouts_do_not_panic() {
    let mut config = Config::new(NodeId(1));
    config.election_timeout_max = Duration::MAX;
    config.election_timeout_min = Duration::MAX - Duration::from_secs(1);
    config.election_handicap = Duration::from_secs(2);
    let fresh = RestoredState::new(
        1,
        Membership::new([NodeId(1)]),
        HardState::default(),
        LogIndex(0),
        1 << 20,
    );
    let _ = Raft::new(config, fresh, 7, Instant(0));
}

/// A slice keeps the whole batch in memory.
#[test]
fn duplicate_entries_are_stored_once() {
    let mut config = Config::new(NodeId(2));
    config.log_cache_bytes_max = 64 << 10;
    let fresh = RestoredState::new(
        1,
        Membership::new([1, 2, 3].map(NodeId)),
        HardState::default(),
        LogIndex(0),
        64 << 10,
    );
    let mut raft = Raft::new(config, fresh, 7, Instant(0)).unwrap();
    let mut alive = Vec::new();
    for index in 1..=1000_u64 {
        // Entry `index - 1` again, with a payload of 10 kB of its own, and a small new one.
        let mut entries = Vec::new();
        let mut prev = index - 1;
        if index > 1 {
            prev = index - 2;
            let owner = std::sync::Arc::new(vec![0_u8; 10_000]);
            alive.push(std::sync::Arc::downgrade(&owner));
            struct Owner(std::sync::Arc<Vec<u8>>);
            impl AsRef<[u8]> for Owner {
                fn as_ref(&self) -> &[u8] {
                    &self.0
                }
            }
            entries.push(Entry {
                id: LogId::new(Term(1), LogIndex(index - 1)),
                payload: Payload::Command(Bytes::from_owner(Owner(owner))),
            });
        }
        entries.push(Entry { id: LogId::new(Term(1), LogIndex(index)), payload: Payload::Noop });
        let request = AppendEntries {
            term: Term(1),
            prev_log: LogId::new(Term(u64::from(prev > 0)), LogIndex(prev)),
            entries: entries.into(),
            leader_commit: LogIndex(index),
        };
        raft.receive(NodeId(1), Message::AppendEntries(request), Instant(0));
        run(&mut raft, Instant(0));
    }
    assert_eq!(raft.commit_index(), LogIndex(1000));
    let held = alive.iter().filter(|weak| weak.strong_count() > 0).count() * 10_000;
    assert!(held <= 10 * (64 << 10), "{held} bytes are held for a window of {}", 64 << 10);
}

/// The write of another entry at that index is pending.
#[test]
fn unrequested_fetch_results_are_dropped() {
    let mut cluster = Cluster::with_logs(&[&[1, 1, 1], &[1, 1, 1, 1, 1], &[1, 1, 1]], |config| {
        config.log_cache_bytes_max = 0;
    });
    cluster.sync = false;
    let entries = [entry(2, 4)];
    let request = AppendEntries {
        term: Term(2),
        prev_log: LogId::new(Term(1), LogIndex(3)),
        entries: entries.into(),
        leader_commit: LogIndex(3),
    };
    cluster.hand_over(1, 2, Message::AppendEntries(request));
    cluster.drain();
    let fetch = cluster.server(2).fetches.pop().unwrap();
    let answer: Vec<Entry> =
        cluster.server(2).disk.log.iter().filter(|e| e.id.index >= fetch.from).cloned().collect();
    let now = cluster.now;
    cluster.raft(2).fetched(fetch, answer, now);
    assert_eq!(cluster.raft(2).stopped(), None);
}
