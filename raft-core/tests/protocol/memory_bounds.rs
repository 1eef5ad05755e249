//! The memory of a server is bounded, even if its state machine or its disk lags.

use bytes::Bytes;
use raft_core::{
    AppendEntries, Config, Effects, Entry, Fetch, HardState, InstallSnapshot, Instant, LogId,
    LogIndex, Membership, Message, NodeId, Payload, ProposeError, Raft, RestoredState, Snapshot,
    Term,
};

use crate::cluster::Cluster;

const WINDOW_MAX: usize = 64 << 10;
const BYTES: usize = 1024;
/// Entries leave memory in the batches in which they came or were restored.
const SLACK: usize = WINDOW_MAX / 8;

fn big(index: u64) -> Entry {
    Entry {
        id: LogId::new(Term(1), LogIndex(index)),
        payload: Payload::Command(Bytes::from(vec![0; BYTES])),
    }
}

fn held(raft: &Raft) -> usize {
    raft.entries(LogIndex(0)).map(Entry::bytes).sum()
}

/// Server 2 of three, which starts with `stored` entries on its disk, none of which is applied.
fn follower(stored: u64) -> Raft {
    let mut config = Config::new(NodeId(2));
    config.log_cache_bytes_max = WINDOW_MAX;
    let membership = Membership::new([1, 2, 3].map(NodeId));
    let hard_state = HardState { term: Term(1), vote: None };
    let mut restored = RestoredState::new(2, membership, hard_state, LogIndex(0), WINDOW_MAX);
    for index in 1..=stored {
        restored.push(big(index)).unwrap();
    }
    Raft::new(config, restored, 1, Instant(0)).unwrap()
}

/// Appends the leader's next entry, which commits all earlier ones, and writes it.
fn append(raft: &mut Raft, effects: &mut Effects, index: u64) {
    let now = Instant(index * 100);
    let prev_term = Term(u64::from(index > 1));
    let request = AppendEntries {
        term: Term(1),
        prev_log: LogId::new(prev_term, LogIndex(index - 1)),
        entries: [big(index)].into(),
        leader_commit: LogIndex(index - 1),
    };
    raft.receive(NodeId(1), Message::AppendEntries(request), now);
    raft.drain(effects);
    if let Some(write) = effects.write.take() {
        raft.persisted(write.synced(), now);
    }
    effects.messages.clear();
}

/// Answers fetches until the state machine has all entries. Returns the delivered indexes.
fn catch_up(raft: &mut Raft, effects: &mut Effects, mut fetches: Vec<Fetch>) -> Vec<u64> {
    let mut applied = Vec::new();
    loop {
        raft.drain(effects);
        if let Some(write) = effects.write.take() {
            raft.persisted(write.synced(), Instant(0));
        }
        fetches.append(&mut effects.fetches);
        let pieces = effects.committed.drain(..);
        applied.extend(
            pieces.flat_map(|piece| piece.iter().map(|e| e.id.index.0).collect::<Vec<_>>()),
        );
        let Some(fetch) = fetches.pop() else {
            return applied;
        };
        let most = (fetch.bytes_max / (BYTES + 256)).max(1);
        let wanted = (fetch.from.0..=fetch.through.0).take(most);
        raft.fetched(fetch, wanted.map(big).collect(), Instant(0));
    }
}

#[test]
fn lagging_state_machine_after_restart_is_bounded() {
    let mut raft = follower(1000);
    let mut effects = Effects::default();
    let mut fetches = Vec::new();
    for index in 1001..=5000 {
        append(&mut raft, &mut effects, index);
        assert!(effects.committed.is_empty(), "it lacks what comes before");
        fetches.append(&mut effects.fetches);
        assert!(held(&raft) <= WINDOW_MAX + SLACK, "{} bytes", held(&raft));
    }
    assert_eq!(fetches.len(), 1, "and it is slow");
    let applied = catch_up(&mut raft, &mut effects, fetches);
    assert_eq!(applied, (1..5000).collect::<Vec<_>>());
    append(&mut raft, &mut effects, 5001);
    assert_eq!(catch_up(&mut raft, &mut effects, Vec::new()), [5000]);
}

#[test]
fn installing_snapshot_is_bounded() {
    for damaged in [false, true] {
        let mut raft = follower(0);
        let mut effects = Effects::default();
        let snapshot = Snapshot {
            last: LogId::new(Term(1), LogIndex(10)),
            membership: Membership::new([1, 2, 3].map(NodeId)),
            identity: 1,
            size: 1,
        };
        let piece = InstallSnapshot { term: Term(1), snapshot, offset: 0, data: "x".into() };
        let message = Message::InstallSnapshot(Box::new(piece));
        raft.receive(NodeId(1), message, Instant(0));
        raft.drain(&mut effects);
        let install = effects.install.take().unwrap();
        for index in 1..=4000 {
            append(&mut raft, &mut effects, index);
            assert!(held(&raft) <= WINDOW_MAX + SLACK, "{} bytes", held(&raft));
        }
        assert!(effects.committed.is_empty());
        let first = if damaged {
            raft.snapshot_damaged(install, Instant(0));
            1
        } else {
            raft.snapshot_installed(install.installed(), Instant(0));
            11
        };
        let applied = catch_up(&mut raft, &mut effects, Vec::new());
        assert_eq!(applied, (first..4000).collect::<Vec<_>>());
    }
}

/// The followers commit without the leader's disk, which must not fall behind without limit.
#[test]
fn proposals_are_bounded_by_leader_disk() {
    let mut cluster = Cluster::configured(3, |config| {
        config.log_cache_bytes_max = WINDOW_MAX;
        config.uncommitted_bytes_max = WINDOW_MAX;
        config.record_events = false;
    });
    cluster.elect(1);
    cluster.settle(1);
    for _ in 0..3 {
        cluster.full.insert(1);
        let mut taken = 0;
        for _ in 0..300 {
            let now = cluster.now;
            let command = Bytes::from(vec![0; BYTES]);
            match cluster.raft(1).propose(command, now) {
                Ok(_) => taken += 1,
                Err(error) => assert!(matches!(error, ProposeError::Overloaded { .. })),
            }
            cluster.deliver();
        }
        let raft = cluster.raft(1);
        assert_eq!(raft.commit_index(), raft.last_log().index);
        assert!(held(raft) <= 2 * WINDOW_MAX + SLACK, "{} bytes", held(raft));
        // The limit is reached each time.
        assert!((50..=64).contains(&taken), "{taken} commands");
        cluster.full.clear();
        let now = cluster.now;
        cluster.server(1).sync(now);
        cluster.deliver();
    }
}
