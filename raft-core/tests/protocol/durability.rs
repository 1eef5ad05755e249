//! Tokens that are stale, out of order or of another boot, and storage failures.

use crate::cluster::{Cluster, entry};
use raft_core::{
    AppendEntries, AppendResult, Config, Effects, Entry, HardState, Heartbeat, InstallSnapshot,
    Instant, LogId, LogIndex, Membership, Message, NodeId, ProposeError, Raft, ReadError, ReadMode,
    RequestVote, RestoredState, Role, Snapshot, StopReason, Term,
};

#[test]
fn out_of_order_token_waits() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.sync = false;
    let now = cluster.now;
    let first = cluster.propose(1, "a");
    cluster.drain();
    let second = cluster.propose(1, "b");
    cluster.drain();
    let late = cluster.server(1).writes.pop_front().unwrap().token;
    let early = cluster.server(1).writes.pop_front().unwrap().token;
    cluster.raft(1).persisted(early, now);
    assert!(cluster.raft(1).durable_index() < first.index, "the first write may be lost");
    cluster.raft(1).persisted(late, now);
    assert_eq!(cluster.raft(1).durable_index(), second.index);
}

#[test]
fn token_counts_once() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.sync = false;
    let now = cluster.now;
    cluster.propose(1, "a");
    cluster.drain();
    let token = cluster.server(1).writes.pop_front().unwrap().token;
    let repeated = token.clone();
    cluster.raft(1).persisted(token, now);
    let second = cluster.propose(1, "b");
    cluster.drain();
    cluster.raft(1).persisted(repeated, now);
    assert!(cluster.raft(1).durable_index() < second.index);
}

#[test]
fn token_from_earlier_boot_is_ignored() {
    let mut cluster = Cluster::configured(1, |config| config.pre_vote = false);
    cluster.sync = false;
    cluster.time_out(1);
    cluster.drain();
    let old = cluster.server(1).writes.pop_front().unwrap().token;
    cluster.crash_and_restart(1);
    cluster.time_out(1);
    cluster.drain();
    let now = cluster.now;
    cluster.raft(1).persisted(old, now);
    assert_eq!(cluster.raft(1).role(), Role::Candidate, "the vote of this boot is not durable");
}

/// The entries of a token are delivered, unless they were replaced in the meantime.
#[test]
fn persisted_entries_apply_only_if_in_log() {
    let mut cluster = Cluster::new(3);
    cluster.sync = false;
    let append = |term, prev_log, leader_commit, entries| {
        let (term, leader_commit) = (Term(term), LogIndex(leader_commit));
        Message::AppendEntries(AppendEntries { term, prev_log, entries, leader_commit })
    };
    let now = cluster.now;
    let (first, replaced, replacement) = (entry(1, 1), entry(1, 2), entry(2, 2));
    let built_on = first.id;
    cluster.hand_over(1, 2, append(1, LogId::default(), 0, [first.clone(), replaced].into()));
    cluster.drain();
    cluster.hand_over(3, 2, append(2, built_on, 2, [replacement.clone()].into()));
    cluster.drain();
    let late = cluster.server(2).writes.pop_front().unwrap().token;
    let early = cluster.server(2).writes.pop_front().unwrap().token;
    cluster.raft(2).persisted(early, now);
    cluster.raft(2).persisted(late, now);
    cluster.drain();
    assert_eq!(cluster.server(2).applied, [first, replacement]);
}

/// While a fetch is in flight, the entries of a token are not delivered. Otherwise the result of
/// the fetch would be stale, and no further fetch would follow.
#[test]
fn persisted_entries_do_not_overtake_fetch() {
    let (members, now) = (Membership::new([1, 2, 3].map(NodeId)), Instant(1));
    let mut config = Config::new(NodeId(2));
    config.log_cache_bytes_max = 0;
    let fresh = RestoredState::new(1, members.clone(), HardState::default(), LogIndex(0), 0);
    let mut raft = Raft::new(config, fresh, 7, Instant(0)).unwrap();
    let append = |raft: &mut Raft, entries: &[u64], commit| {
        let prev_log = raft.last_log();
        let entries = entries.iter().map(|index| entry(2, *index)).collect();
        let (term, leader_commit) = (Term(2), LogIndex(commit));
        let request = AppendEntries { term, prev_log, entries, leader_commit };
        raft.receive(NodeId(3), Message::AppendEntries(request), now);
    };
    let drain = |raft: &mut Raft| {
        let mut effects = Effects::default();
        raft.drain(&mut effects);
        if let Some(write) = effects.write.take() {
            raft.persisted(write.synced(), now);
        }
        effects
    };
    let answer = |raft: &mut Raft, effects: Effects| {
        for fetch in effects.fetches {
            let entries = (fetch.from.0..=fetch.through.0).map(|index| entry(2, index));
            raft.fetched(fetch, entries.collect(), now);
        }
    };
    // No entries are delivered during the installation of a snapshot, which is damaged.
    let begin_to_install = |raft: &mut Raft, leader, term| {
        let last = LogId::new(Term(term), LogIndex(10));
        let snapshot = Snapshot { last, membership: members.clone(), identity: 1, size: 1 };
        let (offset, data) = (0, vec![1].into());
        let request = InstallSnapshot { term: Term(term), snapshot, offset, data };
        raft.receive(NodeId(leader), Message::InstallSnapshot(Box::new(request)), now);
        drain(raft).install.unwrap()
    };
    let install = begin_to_install(&mut raft, 1, 1);
    append(&mut raft, &[1], 0);
    append(&mut raft, &[2, 3], 0);
    drain(&mut raft);
    append(&mut raft, &[], 1);
    drain(&mut raft);
    raft.snapshot_damaged(install, now);
    let asked = drain(&mut raft);
    append(&mut raft, &[], 3);
    drain(&mut raft);
    answer(&mut raft, asked);
    for _ in 0..2 {
        let asked = drain(&mut raft);
        answer(&mut raft, asked);
    }
    assert_eq!(raft.delivered_index(), LogIndex(3));
    let install = begin_to_install(&mut raft, 3, 2);
    for index in [4, 5] {
        append(&mut raft, &[index], index);
        drain(&mut raft);
        drain(&mut raft);
    }
    raft.snapshot_damaged(install, now);
    for _ in 0..3 {
        let asked = drain(&mut raft);
        answer(&mut raft, asked);
    }
    assert_eq!(raft.delivered_index(), LogIndex(5));
}

/// Append, truncate, append again: the first completion must not acknowledge the new entries.
#[test]
fn token_of_truncated_entries_acks_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.sync = false;
    let append = |term, entries| {
        let (term, prev_log, leader_commit) = (Term(term), LogId::default(), LogIndex(0));
        Message::AppendEntries(AppendEntries { term, prev_log, entries, leader_commit })
    };
    let now = cluster.now;
    cluster.hand_over(1, 2, append(1, [entry(1, 1), entry(1, 2)].into()));
    cluster.drain();
    cluster.hand_over(3, 2, append(2, [entry(2, 1), entry(2, 2)].into()));
    cluster.drain();
    let old = cluster.server(2).writes.pop_front().unwrap().token;
    cluster.raft(2).persisted(old, now);
    cluster.drain();
    assert_eq!(cluster.raft(2).durable_index(), LogIndex(0));
    assert!(cluster.take_mail(2, 3).is_empty());
    cluster.server(2).sync(now);
    cluster.drain();
    assert_eq!(cluster.raft(2).durable_index(), LogIndex(2));
    assert_eq!(cluster.take_mail(2, 3).len(), 1);
}

#[test]
fn several_requests_share_one_ack() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.sync = false;
    for command in ["a", "b", "c"] {
        cluster.propose(1, command);
        cluster.drain();
    }
    for message in cluster.take_mail(1, 2) {
        cluster.hand_over(1, 2, message);
        cluster.drain();
    }
    assert!(cluster.take_mail(2, 1).is_empty());
    let now = cluster.now;
    cluster.server(2).sync(now);
    cluster.drain();
    assert_eq!(cluster.take_mail(2, 1).len(), 1);
}

#[test]
fn storage_failure_stops_output() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    let now = cluster.now;
    cluster.raft(1).read(ReadMode::Quorum, now).unwrap();
    cluster.raft(1).storage_failed(now);
    cluster.drain();
    assert!(cluster.mail.is_empty());
    assert_eq!(cluster.raft(1).stopped(), Some(StopReason::StorageFailed));
    assert_eq!(cluster.raft(1).propose("b".into(), now), Err(ProposeError::Stopped));
    assert_eq!(cluster.raft(1).read(ReadMode::Quorum, now), Err(ReadError::Stopped));
    cluster.elect(2);
    assert!(cluster.take_mail(1, 2).is_empty());
}

#[test]
#[should_panic(expected = "the write of the previous drain was not taken")]
fn drain_with_untaken_write_panics() {
    let mut cluster = Cluster::new(1);
    let mut effects = Effects::default();
    cluster.time_out(1);
    cluster.raft(1).drain(&mut effects);
    cluster.raft(1).drain(&mut effects);
}

/// An entry is replaced by a second leader, and appended again by a third one, while all writes are
/// pending. The first write does not make the last entry durable.
#[test]
fn write_of_truncated_then_reappended_entry_is_not_durable() {
    let mut cluster = Cluster::new(5);
    cluster.sync = false;
    let now = cluster.now;
    let append = |term, prev_log: (u64, u64), entries: Vec<Entry>| {
        Message::AppendEntries(AppendEntries {
            term: Term(term),
            prev_log: LogId::new(Term(prev_log.0), LogIndex(prev_log.1)),
            entries: entries.into(),
            leader_commit: LogIndex(prev_log.1),
        })
    };
    let heartbeat = Heartbeat { term: Term(4), round: 1, commit_index: LogIndex(0) };
    cluster.hand_over(4, 5, append(1, (0, 0), vec![entry(1, 1)]));
    cluster.drain();
    cluster.server(5).sync(now);
    let one_write_each = [
        (1, append(2, (1, 1), vec![entry(2, 2)])),
        (3, append(3, (1, 1), vec![entry(3, 2)])),
        (1, Message::Heartbeat(heartbeat)),
        (1, append(4, (1, 1), vec![entry(2, 2), entry(4, 3)])),
    ];
    for (from, message) in one_write_each {
        cluster.hand_over(from, 5, message);
        cluster.drain();
    }
    cluster.mail.clear();
    // The disk completes all writes except the last one.
    let server = cluster.server(5);
    let last = server.writes.pop_back().unwrap();
    server.sync(now);
    server.writes.push_back(last);
    assert_eq!(server.disk.log.last().map(|entry| entry.id.term), Some(Term(3)));
    assert_eq!(cluster.raft(5).durable_index(), LogIndex(1));
    cluster.drain();
    let acknowledged = |message: &Message| matches!(message, Message::AppendEntriesResponse(response) if matches!(response.result, AppendResult::Accepted { match_index } if match_index > LogIndex(1)));
    assert!(!cluster.take_mail(5, 1).iter().any(acknowledged));
    cluster.server(5).sync(now);
    assert_eq!(cluster.raft(5).durable_index(), LogIndex(3));
}

#[test]
fn token_of_another_server_is_ignored() {
    let mut cluster = Cluster::configured(3, |config| config.pre_vote = false);
    cluster.sync = false;
    cluster.time_out(1);
    cluster.drain();
    let request = RequestVote { term: Term(7), last_log: LogId::default(), transfer: true };
    cluster.hand_over(3, 2, Message::RequestVote(request));
    cluster.drain();
    let foreign = cluster.server(1).writes.pop_front().unwrap().token;
    let now = cluster.now;
    cluster.raft(2).persisted(foreign, now);
    cluster.drain();
    assert!(cluster.take_mail(2, 3).is_empty(), "its vote is on no disk");
}
