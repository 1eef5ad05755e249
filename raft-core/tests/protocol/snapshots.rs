//! Compaction and snapshots: §7.

use crate::cluster::{Cluster, TIMEOUT_MIN, entry};
use bytes::Bytes;
use raft_core::{
    AppendEntries, AppendResult, Event, InstallSnapshot, LogId, LogIndex, Membership, Message,
    NodeId, Role, Snapshot, StopReason, Term,
};

pub const ABC: [&str; 3] = ["a", "b", "c"];

/// Server 3 lacks all entries, and the leader's log is compacted.
pub fn one_behind(configure: fn(&mut raft_core::Config)) -> Cluster {
    let mut cluster = Cluster::configured(3, configure);
    cluster.time_out(1);
    cluster
        .deliver_where(|_, to, message| to != 3 || !matches!(message, Message::AppendEntries(_)));
    for command in ABC {
        cluster.propose(1, command);
    }
    cluster.deliver_among(&[1, 2]);
    cluster.take_snapshot(1, 0);
    cluster
}

pub fn in_small_pieces(config: &mut raft_core::Config) {
    config.snapshot_chunk_bytes_max = 1;
}

pub fn pieces(cluster: &mut Cluster) -> usize {
    let is_piece =
        |(.., message): &&(u64, u64, Message)| matches!(message, Message::InstallSnapshot(_));
    cluster.mail.iter().filter(is_piece).count()
}

#[test]
fn compacted_follower_gets_snapshot_then_entries() {
    let mut cluster = one_behind(|_| {});
    cluster.settle(1);
    cluster.propose(1, "d");
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ["a", "b", "c", "d"]);
    let applied = cluster.server(3).applied.iter();
    let applied: Vec<_> = applied.map(|entry| entry.id.index.0).collect();
    assert_eq!(applied, [5], "the rest came with the snapshot");
    assert_eq!(cluster.raft(3).log_start(), cluster.raft(1).log_start());
    assert_eq!(cluster.server(3).disk.log_start, at(4));
}

#[test]
fn retained_entries_avoid_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for command in ABC {
        cluster.propose(1, command);
    }
    cluster.deliver_among(&[1, 2]);
    cluster.take_snapshot(1, 99);
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ABC);
    assert_eq!(cluster.server(3).disk.snapshot, None);
}

#[test]
fn snapshot_chunks_are_sent_in_order() {
    let mut cluster = one_behind(in_small_pieces);
    let mut most = 0;
    for _ in 0..99 {
        cluster.beat(1);
        cluster.drain();
        most = most.max(pieces(&mut cluster));
        for (from, to, message) in std::mem::take(&mut cluster.mail) {
            cluster.hand_over(from, to, message);
        }
    }
    assert_eq!(most, 1);
    assert_eq!(cluster.commands(3), ABC);
}

/// ClickHouse and others restart the transfer from the beginning.
#[test]
fn only_lost_chunk_is_resent() {
    let mut cluster = one_behind(in_small_pieces);
    let sent = std::cell::Cell::new(0_usize);
    for _ in 0..40 {
        cluster.beat(1);
        cluster.deliver_where(|_, _, message| match message {
            Message::InstallSnapshot(request) if !request.data.is_empty() => {
                sent.set(sent.get() + 1);
                !sent.get().is_multiple_of(3)
            }
            _ => true,
        });
    }
    assert_eq!(cluster.commands(3), ABC);
    let size = cluster.server(1).disk.snapshot.as_ref().unwrap().0.size as usize;
    assert!(sent.get() <= 2 * size, "{} messages for {size} pieces", sent.get());
}

#[test]
fn slow_chunk_read_is_requested_once() {
    let mut cluster = one_behind(in_small_pieces);
    cluster.read_snapshots = false;
    cluster.settle(1);
    let now = cluster.now;
    cluster.raft(1).report_unreachable(NodeId(3), now);
    cluster.settle(1);
    cluster.settle(1);
    let reads = cluster.server(1).snapshot_reads.clone();
    assert_eq!(reads.len(), 1, "{reads:?}");
    // The transfer stalls, and the next snapshot replaces it.
    for _ in 0..25 {
        cluster.beat(1);
        cluster.deliver_among(&[1, 2]);
    }
    cluster.propose(1, "d");
    cluster.deliver_among(&[1, 2]);
    cluster.take_snapshot(1, 0);
    cluster.settle(1);
    let mut reads = std::mem::take(&mut cluster.server(1).snapshot_reads);
    assert_eq!(reads.len(), 2, "{reads:?}");
    assert_eq!((reads[1].offset, reads[1].snapshot.last), (0, at(5)));
    // The stale response is ignored. The current chunk is in flight for a whole interval, and is
    // lost.
    let now = cluster.now;
    cluster.raft(1).provide_snapshot_chunk(reads.remove(0), "a".into(), now);
    let latest = reads.remove(0);
    let piece = Bytes::from_static(b"a");
    cluster.raft(1).provide_snapshot_chunk(latest, piece, now);
    cluster.drain();
    let sent = cluster.take_mail(1, 3);
    assert_eq!(sent.len(), 1, "{sent:?}");
    cluster.beat(1);
    cluster.deliver();
    assert!(cluster.server(1).snapshot_reads.is_empty());
    cluster.read_snapshots = true;
    cluster.settle(1);
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ["a", "b", "c", "d"]);
}

#[test]
fn restarted_follower_gets_snapshot_from_start() {
    let mut cluster = one_behind(in_small_pieces);
    let count = std::cell::Cell::new(0);
    cluster.beat(1);
    cluster.deliver_where(|_, _, message| {
        count.set(count.get() + usize::from(matches!(message, Message::InstallSnapshot(_))));
        count.get() < 4
    });
    cluster.crash_and_restart(3);
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ABC);
}

#[test]
fn snapshot_is_acked_after_install() {
    let mut cluster = one_behind(|_| {});
    cluster.install = false;
    cluster.settle(1);
    assert!(cluster.server(3).install.is_some());
    let match_index = |cluster: &mut Cluster| {
        let status = cluster.raft(1).status();
        let follower = status.followers.iter().find(|follower| follower.id == NodeId(3));
        follower.unwrap().match_index
    };
    assert_eq!(match_index(&mut cluster), LogIndex(0));
    let now = cluster.now;
    cluster.server(3).install(now);
    cluster.deliver();
    assert_eq!(match_index(&mut cluster), LogIndex(4));
}

/// No entries are delivered until the snapshot replaces the state machine (openraft #2116).
#[test]
fn entries_are_not_delivered_during_installation() {
    let mut cluster = one_behind(|_| {});
    cluster.install = false;
    cluster.settle(1);
    let entries = (1..=5).map(|index| entry(1, index)).collect();
    let request = AppendEntries {
        term: Term(1),
        prev_log: LogId::default(),
        entries,
        leader_commit: LogIndex(5),
    };
    cluster.hand_over(1, 3, Message::AppendEntries(request));
    cluster.drain();
    assert!(cluster.server(3).applied.is_empty());
    let now = cluster.now;
    cluster.server(3).install(now);
    cluster.drain();
    let applied: Vec<_> = cluster.server(3).applied.iter().map(|entry| entry.id.index.0).collect();
    assert_eq!(applied, [5], "what comes after the snapshot, and the log kept it");
}

#[test]
fn damaged_snapshot_is_sent_again() {
    let mut cluster = one_behind(|_| {});
    cluster.install = false;
    cluster.settle(1);
    let now = cluster.now;
    let install = cluster.server(3).install.take().unwrap();
    cluster.raft(3).snapshot_damaged(install, now);
    cluster.install = true;
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ABC);
}

pub fn piece(last: LogId, identity: u64, size: u64, offset: u64, data: &'static [u8]) -> Message {
    let membership = Membership::new([1, 2, 3].map(NodeId));
    Message::InstallSnapshot(Box::new(InstallSnapshot {
        term: Term(1),
        snapshot: Snapshot { last, membership, identity, size },
        offset,
        data: Bytes::from_static(data),
    }))
}

pub fn at(index: u64) -> LogId {
    LogId::new(Term(1), LogIndex(index))
}

#[test]
fn chunks_of_two_snapshots_never_mix() {
    let mut cluster = Cluster::new(3);
    for message in [piece(at(5), 1, 4, 0, b"ab"), piece(at(5), 2, 4, 2, b"CD")] {
        cluster.hand_over(1, 2, message);
        cluster.drain();
    }
    assert_eq!(cluster.raft(2).commit_index(), LogIndex(0));
    for message in [piece(at(5), 2, 4, 0, b"AB"), piece(at(5), 2, 4, 2, b"CD")] {
        cluster.hand_over(1, 2, message);
        cluster.drain();
    }
    assert_eq!(cluster.commands(2), ["ABCD"]);
}

#[test]
fn malformed_chunks_are_ignored() {
    let mut cluster = Cluster::new(3);
    let messages = [
        piece(at(5), 1, 4, 0, b"ab"),
        piece(at(5), 1, 4, 0, b"ab"),
        piece(at(5), 1, 4, 2, b""),
        piece(at(5), 1, 4, 2, b"cde"),
        piece(at(5), 1, 4, u64::MAX, b"x"),
        piece(at(5), 1, 4, 3, b"d"),
        piece(at(0), 1, 4, 0, b"abcd"),
        piece(at(5), 1, 4, 2, b"cd"),
        piece(at(5), 1, 4, 2, b"cd"),
    ];
    for message in messages {
        cluster.hand_over(1, 2, message);
        cluster.drain();
    }
    assert_eq!(cluster.commands(2), ["abcd"]);
}

/// An old snapshot must not remove entries that were acknowledged later.
#[test]
fn stale_snapshot_is_ignored() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for command in ABC {
        cluster.propose(1, command);
    }
    cluster.settle(1);
    let last = cluster.raft(2).last_log();
    cluster.hand_over(1, 2, piece(at(2), 1, 1, 0, b"z"));
    cluster.drain();
    assert_eq!(cluster.raft(2).last_log(), last);
    assert_eq!(cluster.commands(2), ABC);
    assert_eq!(cluster.raft(2).log_start(), LogId::default());
}

/// The entries after the snapshot stay if the log contains the last entry of the snapshot.
#[test]
fn snapshot_keeps_matching_suffix() {
    let mut cluster = Cluster::with_logs(&[&[1, 1, 1], &[1, 1, 1], &[]], |_| {});
    cluster.hand_over(1, 2, piece(at(2), 1, 1, 0, b"z"));
    cluster.drain();
    assert_eq!(cluster.raft(2).last_log(), at(3));
    assert_eq!((cluster.raft(2).log_start(), cluster.raft(2).commit_index()), (at(2), LogIndex(2)));
    assert_eq!(cluster.server(2).disk.log.len(), 1);
}

#[test]
fn snapshot_replaces_conflicting_log() {
    let mut cluster = Cluster::with_logs(&[&[1, 2], &[1, 1, 1], &[2]], |_| {});
    let snapshot = LogId::new(Term(2), LogIndex(2));
    let Message::InstallSnapshot(mut request) = piece(snapshot, 1, 1, 0, b"z") else {
        unreachable!("that is what a piece is");
    };
    request.term = Term(2);
    cluster.hand_over(1, 2, Message::InstallSnapshot(request));
    cluster.drain();
    assert_eq!(cluster.raft(2).last_log(), snapshot);
    assert!(cluster.server(2).disk.log.is_empty());
}

/// Entries that are committed during the installation must not be removed with the log.
#[test]
fn snapshot_conflicting_with_committed_entry_stops_server() {
    let mut cluster = Cluster::with_logs(&[&[1, 1], &[1, 1], &[]], |_| {});
    cluster.install = false;
    let snapshot = LogId::new(Term(2), LogIndex(1));
    let Message::InstallSnapshot(mut request) = piece(snapshot, 1, 1, 0, b"z") else {
        unreachable!("that is what a piece is");
    };
    request.term = Term(2);
    cluster.hand_over(1, 2, Message::InstallSnapshot(request));
    cluster.drain();
    let request = AppendEntries {
        term: Term(2),
        prev_log: at(2),
        entries: [].into(),
        leader_commit: LogIndex(2),
    };
    cluster.hand_over(1, 2, Message::AppendEntries(request));
    assert_eq!(cluster.raft(2).commit_index(), LogIndex(2));
    let now = cluster.now;
    cluster.server(2).install(now);
    let index = LogIndex(1);
    let reason = StopReason::CommittedEntryConflict { index };
    assert_eq!(cluster.raft(2).stopped(), Some(reason));
    assert_eq!(cluster.raft(2).last_log(), at(2));
}

/// An elected leader has all committed entries, so one of the two servers has lost data.
#[test]
fn leader_lacking_its_snapshots_last_entry_stops() {
    let mut cluster = Cluster::new(3);
    cluster.install = false;
    cluster.hand_over(1, 2, piece(at(5), 1, 1, 0, b"z"));
    cluster.drain();
    cluster.time_out(2);
    cluster.deliver_where(|_, _, message| !matches!(message, Message::AppendEntries(_)));
    assert_eq!(cluster.raft(2).role(), Role::Leader);
    let now = cluster.now;
    cluster.server(2).install(now);
    let index = LogIndex(5);
    let reason = StopReason::CommittedEntryConflict { index };
    assert_eq!(cluster.raft(2).stopped(), Some(reason));
}

/// openraft #1808: with a membership that only its own log had, the server would use wrong quorums.
#[test]
fn snapshot_carries_membership() {
    let mut cluster = Cluster::new(3);
    let Message::InstallSnapshot(mut request) = piece(at(5), 1, 1, 0, b"z") else {
        unreachable!("that is what a piece is");
    };
    request.snapshot.membership = Membership::new([1, 2, 4].map(NodeId));
    let membership = request.snapshot.membership.clone();
    cluster.hand_over(1, 2, Message::InstallSnapshot(request));
    cluster.drain();
    assert_eq!(*cluster.raft(2).membership(), membership);
    cluster.crash_and_restart(2);
    assert_eq!(*cluster.raft(2).membership(), membership);
}

/// The previous entry is compacted, so it is committed and cannot conflict.
#[test]
fn append_after_compacted_prefix_is_accepted() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for command in ABC {
        cluster.propose(1, command);
    }
    cluster.settle(1);
    cluster.take_snapshot(2, 0);
    let entries: Vec<_> = cluster.raft(1).entries(LogIndex(2)).cloned().collect();
    let request = AppendEntries {
        term: Term(1),
        prev_log: at(1),
        entries: entries.clone().into(),
        leader_commit: LogIndex(4),
    };
    cluster.hand_over(1, 2, Message::AppendEntries(request));
    cluster.drain();
    let answers = cluster.take_mail(2, 1);
    let accepted = AppendResult::Accepted { match_index: LogIndex(4) };
    assert!(
        matches!(&answers[..], [Message::AppendEntriesResponse(r)] if r.result == accepted),
        "{answers:?}"
    );
}

#[test]
fn append_into_compacted_prefix_stops_server() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.settle(1);
    cluster.take_snapshot(2, 0);
    let request = AppendEntries {
        term: Term(1),
        prev_log: at(1),
        entries: [entry(1, 2)]
            .into_iter()
            .map(|mut e| {
                e.id.term = Term(2);
                e
            })
            .collect(),
        leader_commit: LogIndex(0),
    };
    let request = AppendEntries { term: Term(2), ..request };
    cluster.hand_over(3, 2, Message::AppendEntries(request));
    let index = LogIndex(2);
    assert_eq!(cluster.raft(2).stopped(), Some(StopReason::CommittedEntryConflict { index }));
}

#[test]
fn crash_between_snapshot_and_log_recovers() {
    let mut cluster = one_behind(|_| {});
    // The snapshot is durable, and the new start of the log is not.
    cluster.sync = false;
    cluster.settle(1);
    assert!(cluster.server(3).disk.snapshot.is_some());
    cluster.crash_and_restart(3);
    cluster.sync = true;
    assert_eq!(cluster.raft(3).last_log(), at(4));
    cluster.settle(1);
    cluster.propose(1, "d");
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ["a", "b", "c", "d"]);
    assert_eq!(cluster.server(3).disk.log_start, at(4));
}

/// A learner or follower that got what it needed from somewhere else is not waited for.
/// A snapshot may be durable before the term in which it came.
#[test]
fn crash_between_snapshot_and_term_recovers() {
    let mut cluster = Cluster::new(3);
    cluster.sync = false;
    cluster.hand_over(1, 2, piece(at(5), 1, 1, 0, b"z"));
    cluster.drain();
    cluster.crash_and_restart(2);
    assert_eq!(cluster.server(2).disk.hard_state.term, Term(0));
    assert_eq!(cluster.raft(2).term(), Term(1));
    assert_eq!(cluster.raft(2).commit_index(), LogIndex(5));
    // The term is durable before any promise in it.
    cluster.sync = true;
    cluster.drain();
    assert_eq!(cluster.server(2).disk.hard_state.term, Term(1));
}

#[test]
fn caught_up_follower_leaves_snapshot_mode() {
    let mut cluster = one_behind(|_| {});
    cluster.beat(1);
    cluster.deliver_where(|_, _, message| !matches!(message, Message::InstallSnapshot(_)));
    let response = raft_core::AppendEntriesResponse {
        term: Term(1),
        result: AppendResult::Accepted { match_index: LogIndex(4) },
    };
    cluster.hand_over(3, 1, Message::AppendEntriesResponse(response));
    cluster.propose(1, "d");
    cluster.drain();
    let sent = cluster.take_mail(1, 3);
    assert!(sent.iter().any(|message| matches!(message, Message::AppendEntries(_))), "{sent:?}");
}

/// Found by the campaign: messages were reordered, and the leader did not see that its log was
/// sufficient.
#[test]
fn caught_up_follower_gets_no_more_chunks() {
    let mut cluster = Cluster::configured(3, in_small_pieces);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.settle(1);
    let mut late = Vec::new();
    for command in ["b", "c"] {
        cluster.propose(1, command);
        cluster.drain();
        late.extend(cluster.take_mail(1, 3));
        cluster.deliver_where(|_, to, _| to != 3);
    }
    cluster.hand_over(1, 3, late.pop().unwrap());
    cluster.deliver_where(|_, to, _| to != 3);
    cluster.take_snapshot(1, 1);
    cluster.deliver_where(|_, to, _| to != 3);
    let sent = cluster.raft(1).status().followers[1].snapshot;
    assert!(sent.is_some(), "it lacks what the log has no more");
    cluster.hand_over(1, 3, late.pop().unwrap());
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ABC);
    assert_eq!(cluster.server(3).disk.snapshot, None);
}

#[test]
fn snapshot_of_unapplied_entries_stops_server() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let now = cluster.now;
    let last = at(9);
    let snapshot =
        Snapshot { last, membership: Membership::new([NodeId(1)]), identity: 0, size: 0 };
    cluster.raft(1).report_snapshot(snapshot, LogIndex(9), now);
    assert_eq!(cluster.raft(1).stopped(), Some(StopReason::SnapshotNotOfThisLog { last }));
}

#[test]
fn new_leader_sends_snapshot_after_compaction() {
    let mut cluster = one_behind(|_| {});
    cluster.settle(1);
    cluster.propose(1, "d");
    cluster.settle(1);
    cluster.crash_and_restart(1);
    cluster.add(4, Membership::default());
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(1);
    cluster.deliver();
    assert_eq!(cluster.raft(1).role(), Role::Leader);
    cluster.settle(1);
    let now = cluster.now;
    let target = Membership::new([1, 2, 3].map(NodeId)).with_auto_promoted([NodeId(4)]);
    cluster.raft(1).change_membership(target, now).unwrap();
    cluster.settle(1);
    cluster.settle(1);
    assert_eq!(cluster.commands(4), ["a", "b", "c", "d"]);
    assert!(cluster.raft(4).membership().is_voter(NodeId(4)));
    let sent = |event: &Event| matches!(event, Event::SnapshotSent { to, .. } if *to == NodeId(4));
    assert!(cluster.server(1).events.iter().any(sent));
}
