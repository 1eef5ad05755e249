//! Snapshots between a leader and a follower: §7.

use std::time::Duration;

use crate::cluster::{Cluster, TIMEOUT_MIN};
use crate::snapshots::{ABC, at, in_small_pieces, one_behind, piece};
use raft_core::{LogId, LogIndex, Message, NodeId, StopReason, Term};

/// Delivers `rounds` rounds of messages, and lets time pass between them.
fn exchange(cluster: &mut Cluster, rounds: usize, allow: impl Fn(u64, u64, &Message) -> bool) {
    for _ in 0..rounds {
        cluster.pass(Duration::from_millis(20));
        let now = cluster.now;
        cluster.raft(1).tick(now);
        cluster.drain();
        for (from, to, message) in std::mem::take(&mut cluster.mail) {
            if allow(from, to, &message) {
                cluster.hand_over(from, to, message);
            }
        }
    }
    cluster.drain();
}

fn chunks_in(mail: &[(u64, u64, Message)]) -> Vec<usize> {
    let chunk = |(_, _, message): &(u64, u64, Message)| match message {
        Message::InstallSnapshot(request) => Some(request.data.len()),
        _ => None,
    };
    mail.iter().filter_map(chunk).collect()
}

fn received(cluster: &mut Cluster) -> (LogId, u64) {
    let status = cluster.raft(1).status();
    let follower = status.followers.into_iter().find(|follower| follower.id == NodeId(3));
    let snapshot = follower.and_then(|follower| follower.snapshot).expect("a transfer is running");
    (snapshot.last, snapshot.received)
}

/// F3: a transfer that restarted with each snapshot of the leader never ended.
#[test]
fn snapshot_during_transfer_does_not_restart_it() {
    let mut cluster = one_behind(in_small_pieces);
    let mut commands = Vec::from(ABC.map(String::from));
    for _ in 0..20 {
        cluster.propose(1, "d");
        commands.push("d".into());
        exchange(&mut cluster, 4, |_, _, _| true);
        cluster.take_snapshot(1, 0);
        cluster.take_snapshot(2, 0);
    }
    assert!(!cluster.server(3).state.is_empty(), "the follower never got a whole snapshot");
    cluster.settle(1);
    assert_eq!(cluster.commands(3), commands);
}

/// F3: a snapshot is useless if the log after it is compacted before the transfer ends.
#[test]
fn log_after_snapshot_under_transfer_is_retained() {
    let mut cluster = one_behind(in_small_pieces);
    exchange(&mut cluster, 4, |_, _, _| true);
    let (last, some) = received(&mut cluster);
    assert!(some > 0);
    cluster.propose(1, "d");
    exchange(&mut cluster, 2, |_, _, _| true);
    cluster.take_snapshot(1, 0);
    assert_eq!(cluster.raft(1).log_start(), last);
    let mut later = 0;
    for _ in 0..40 {
        exchange(&mut cluster, 1, |_, _, _| true);
        let sent = cluster.mail.iter().filter(|(_, _, message)| {
            matches!(message, Message::InstallSnapshot(request) if request.snapshot.last != last)
        });
        later += sent.count();
    }
    assert_eq!(later, 0, "entries do");
    assert_eq!(cluster.commands(3), ["a", "b", "c", "d"]);
    // No transfer retains the log.
    cluster.propose(1, "e");
    cluster.settle(1);
    cluster.take_snapshot(1, 0);
    assert_eq!(cluster.raft(1).log_start(), cluster.raft(1).last_log());
}

/// Otherwise a dead follower would retain an old snapshot, and the log after it, forever.
#[test]
fn later_snapshot_replaces_stalled_transfer() {
    let mut cluster = one_behind(in_small_pieces);
    exchange(&mut cluster, 4, |_, _, _| true);
    let (first, _) = received(&mut cluster);
    exchange(&mut cluster, 150, |from, to, _| from != 3 && to != 3);
    cluster.propose(1, "d");
    exchange(&mut cluster, 4, |from, to, _| from != 3 && to != 3);
    cluster.take_snapshot(1, 0);
    let (second, some) = received(&mut cluster);
    assert!(second.index > first.index && some == 0);
    assert_eq!(cluster.raft(1).log_start(), second);
    assert!(cluster.server(1).kept.is_empty(), "the earlier snapshot is not needed any more");
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ["a", "b", "c", "d"]);
}

/// F3: a chunk that took longer than an election timeout made each later snapshot restart the
/// transfer.
#[test]
fn transfer_over_slow_link_is_not_restarted() {
    let mut cluster = one_behind(in_small_pieces);
    let mut commands = Vec::from(ABC.map(String::from));
    for _ in 0..20 {
        cluster.propose(1, "d");
        commands.push("d".into());
        // The chunks arrive after 3 s, and all other messages immediately.
        let mut pieces = Vec::new();
        for _ in 0..150 {
            cluster.pass(Duration::from_millis(20));
            let now = cluster.now;
            cluster.raft(1).tick(now);
            cluster.drain();
            for (from, to, message) in std::mem::take(&mut cluster.mail) {
                if matches!(message, Message::InstallSnapshot(_)) {
                    pieces.push((from, to, message));
                } else {
                    cluster.hand_over(from, to, message);
                }
            }
        }
        cluster.take_snapshot(1, 0);
        cluster.take_snapshot(2, 0);
        for (from, to, message) in pieces {
            cluster.hand_over(from, to, message);
        }
    }
    assert!(!cluster.server(3).state.is_empty(), "the follower never got a whole snapshot");
    cluster.settle(1);
    assert_eq!(cluster.commands(3), commands);
}

/// Otherwise a follower that responds and accepts no chunk would retain an old snapshot forever.
#[test]
fn transfer_without_progress_gives_way_at_last() {
    let mut cluster = one_behind(in_small_pieces);
    exchange(&mut cluster, 4, |_, _, _| true);
    let (first, _) = received(&mut cluster);
    let no_pieces = |_, _, message: &Message| !matches!(message, Message::InstallSnapshot(_));
    cluster.propose(1, "d");
    exchange(&mut cluster, 500, no_pieces);
    cluster.take_snapshot(1, 0);
    assert_eq!(received(&mut cluster).0, first, "10 s without progress");
    cluster.propose(1, "e");
    exchange(&mut cluster, 600, no_pieces);
    cluster.take_snapshot(1, 0);
    assert!(received(&mut cluster).0.index > first.index, "22 s without progress");
    assert!(cluster.server(1).kept.is_empty());
}

/// The caller keeps the latest snapshot and those under transfer, and no other.
#[test]
fn snapshots_under_transfer_are_needed_until_they_have_arrived() {
    let mut cluster = one_behind(in_small_pieces);
    exchange(&mut cluster, 4, |_, _, _| true);
    let (first, _) = received(&mut cluster);
    for _ in 0..3 {
        cluster.propose(1, "d");
        exchange(&mut cluster, 1, |_, to, _| to != 3);
        exchange(&mut cluster, 1, |_, _, _| true);
        cluster.take_snapshot(1, 0);
    }
    let kept: Vec<_> = cluster.server(1).kept.iter().map(|(snapshot, _)| snapshot.last).collect();
    assert_eq!(kept, [first], "those in between were never sent");
    let [(old, _)] = &cluster.server(1).kept[..] else { unreachable!("there is one") };
    let old = old.clone();
    let latest = cluster.raft(1).snapshot().cloned().expect("it was taken");
    assert!(cluster.raft(1).needs_snapshot(&old) && cluster.raft(1).needs_snapshot(&latest));
    exchange(&mut cluster, 40, |_, _, _| true);
    assert!(!cluster.raft(1).needs_snapshot(&old) && cluster.raft(1).needs_snapshot(&latest));
    assert!(!cluster.raft(2).needs_snapshot(&latest), "it is another server's");
}

/// E5: 256 KiB were read and sent repeatedly for a stopped server.
#[test]
fn dead_follower_is_probed_with_empty_chunks() {
    let mut cluster = one_behind(|_| {});
    let mut sent = Vec::new();
    for _ in 0..50 {
        cluster.beat(1);
        cluster.drain();
        sent.extend(chunks_in(&cluster.mail));
        cluster.deliver_among(&[1, 2]);
    }
    assert!(!sent.is_empty() && sent.iter().all(|bytes| *bytes == 0), "{sent:?}");
    // The follower responds, and receives the remaining chunks.
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ABC);
}

#[test]
fn follower_that_restarts_during_transfer_resumes() {
    let mut cluster = one_behind(in_small_pieces);
    exchange(&mut cluster, 6, |_, _, _| true);
    let (_, some) = received(&mut cluster);
    assert!(some > 0);
    cluster.mail.clear();
    for _ in 0..2 {
        cluster.beat(1);
        cluster.drain();
        cluster.mail.clear();
    }
    for _ in 0..10 {
        cluster.beat(1);
        cluster.drain();
        let sent = chunks_in(&std::mem::take(&mut cluster.mail));
        assert_eq!(sent, [0]);
    }
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ABC);
}

/// E6: each report caused another message, so reports cost more than they saved.
#[test]
fn unreachable_reports_cause_no_messages() {
    let sent = |reports: bool, mut cluster: Cluster| {
        let mut sent = 0;
        for _ in 0..20 {
            cluster.beat(1);
            for _ in 0..5 {
                cluster.drain();
                let taken = cluster.take_mail(1, 3).into_iter();
                sent += taken.filter(|message| !matches!(message, Message::Heartbeat(_))).count();
                cluster.deliver_where(|_, to, _| to != 3);
                let now = cluster.now;
                if reports {
                    cluster.raft(1).report_unreachable(NodeId(3), now);
                }
            }
        }
        sent
    };
    let with_entries = || {
        let mut cluster = Cluster::new(3);
        cluster.elect(1);
        cluster.settle(1);
        cluster.propose(1, "a");
        cluster
    };
    for begin in [&(|| one_behind(in_small_pieces)) as &dyn Fn() -> Cluster, &with_entries] {
        let (without, with) = (sent(false, begin()), sent(true, begin()));
        assert!(with <= without + 1, "{with} messages with reports, {without} without");
    }
}

/// The two servers contradict each other, so one of them has lost data.
#[test]
fn snapshot_that_contradicts_committed_entry_stops_server() {
    for (term, index, conflict) in [(2, 4, 4), (2, 2, 2), (2, 1, 1), (1, 9, 4)] {
        let mut cluster = Cluster::new(3);
        cluster.elect(1);
        if term == 1 {
            cluster.pass(2 * TIMEOUT_MIN);
            // The committed entries are of a later term than the snapshot's last one.
            cluster.elect(3);
        }
        for command in ABC {
            cluster.propose(if term == 1 { 3 } else { 1 }, command);
        }
        cluster.settle(if term == 1 { 3 } else { 1 });
        let conflict = if term == 1 { cluster.raft(2).commit_index().0 } else { conflict };
        if index == 1 {
            cluster.take_snapshot(2, 1);
        }
        let Message::InstallSnapshot(mut request) =
            piece(LogId::new(Term(term), LogIndex(index)), 1, 1, 0, b"z")
        else {
            unreachable!("that is what a piece is");
        };
        request.term = Term(9);
        cluster.hand_over(1, 2, Message::InstallSnapshot(request));
        let reason = StopReason::CommittedEntryConflict { index: LogIndex(conflict) };
        assert_eq!(cluster.raft(2).stopped(), Some(reason), "{term} {index}");
    }
}

#[test]
fn empty_snapshot_replaces_partial_snapshot() {
    let mut cluster = Cluster::new(3);
    for message in [piece(at(5), 1, 4, 0, b"ab"), piece(at(6), 2, 0, 0, b"")] {
        cluster.hand_over(1, 2, message);
        cluster.drain();
    }
    assert_eq!(cluster.raft(2).commit_index(), LogIndex(6));
    assert_eq!(cluster.commands(2), [""; 0]);
}
