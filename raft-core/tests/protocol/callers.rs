//! What a caller or a peer gets wrong is refused or ends the server, before it does harm.

use crate::cluster::{Cluster, entry};
use bytes::Bytes;
use raft_core::{
    AppendEntries, Config, ConfigError, Effects, HardState, InstallSnapshot, Instant, LogId,
    LogIndex, Membership, Message, NodeId, Raft, Restored, Snapshot, StopReason, Term,
};

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

/// Nine entries on a disk, of which none is in memory.
fn restored() -> Restored {
    let hard_state = HardState {
        term: Term(1),
        vote: None,
    };
    let mut restored = Restored::new(2, voters(), hard_state, LogIndex(0), 1);
    for index in 1..=9 {
        restored.push(entry(1, index)).unwrap();
    }
    restored
}

#[test]
fn a_snapshot_added_after_the_log_is_refused() {
    let snapshot = snapshot(1, 2);
    let last = snapshot.last;
    let restored = restored().with_snapshot(snapshot, last);
    let refused = Raft::new(Config::new(NodeId(1)), restored, 1, Instant(0));
    assert_eq!(refused.unwrap_err(), ConfigError::SnapshotAfterEntries);
}

#[test]
fn whoever_is_a_witness_must_know_it() {
    for (in_membership, in_config) in [(true, false), (false, true)] {
        let mut config = Config::new(NodeId(3));
        config.witness = in_config;
        let witnesses = [NodeId(3)].into_iter().filter(|_| in_membership);
        let founders = voters().with_witnesses(witnesses);
        let fresh = Restored::new(1, founders, HardState::default(), LogIndex(0), 1 << 20);
        let refused = Raft::new(config, fresh, 1, Instant(0));
        assert_eq!(refused.unwrap_err(), ConfigError::WitnessMismatch);
    }
}

#[test]
fn a_snapshot_with_another_membership_ends_the_server() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "x");
    cluster.settle(1);
    let (now, index) = (cluster.now, cluster.raft(1).commit_index());
    let term = cluster.raft(1).term_at(index).unwrap();
    let mut wrong = snapshot(term.0, index.0);
    wrong.membership = Membership::new([NodeId(3)]);
    let last = wrong.last;
    cluster.raft(1).snapshot_taken(wrong, index, now);
    let reason = StopReason::SnapshotNotOfThisLog { last };
    assert_eq!(cluster.raft(1).stopped(), Some(reason));
}

/// After it there would be no position for an entry.
#[test]
fn a_snapshot_at_the_end_of_all_numbers_is_ignored() {
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

/// The answer to a question from before a snapshot was installed finds nothing where the log was.
#[test]
fn a_late_answer_without_entries_is_dropped() {
    let heartbeat = |prev_index, commit_index| {
        Message::AppendEntries(AppendEntries {
            term: Term(1),
            prev_log: LogId::new(Term(1), LogIndex(prev_index)),
            entries: [].into(),
            leader_commit: LogIndex(commit_index),
        })
    };
    let mut config = Config::new(NodeId(2));
    config.window_bytes_max = 1;
    let mut raft = Raft::new(config, restored(), 1, Instant(0)).unwrap();
    let mut effects = Effects::default();
    raft.receive(NodeId(1), heartbeat(3, 3), Instant(1));
    raft.drain(&mut effects);
    let late = effects.fetches.pop().unwrap();
    raft.receive(NodeId(1), install(snapshot(1, 5)), Instant(2));
    raft.drain(&mut effects);
    let installed = effects.install.take().unwrap().done();
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
