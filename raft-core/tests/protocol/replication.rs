//! Replication: §5.3, §5.4.2, dissertation 10.2.

use std::time::Duration;

use crate::cluster::{Cluster, TIMEOUT_MIN, entry};
use bytes::Bytes;
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendResult, Entries, Event, Fetch, FetchPurpose,
    HardState, LogId, LogIndex, Message, NodeId, ProposeError, Role, StopReason, Term,
};

fn appends(messages: &[Message]) -> Vec<&AppendEntries> {
    let mut found = Vec::new();
    for message in messages {
        if let Message::AppendEntries(append) = message {
            found.push(append);
        }
    }
    found
}

#[test]
fn command_is_applied_in_order_on_all_servers() {
    let mut cluster = Cluster::new(3);
    cluster.elect(2);
    for command in ["a", "b", "c"] {
        cluster.propose(2, command);
        cluster.deliver();
    }
    cluster.beat(2);
    cluster.deliver();
    for id in 1..=3 {
        assert_eq!(cluster.commands(id), ["a", "b", "c"]);
    }
}

#[test]
fn queued_commands_share_write_and_message() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.sync = false;
    for command in ["a", "b", "c"] {
        cluster.propose(1, command);
    }
    cluster.drain();
    assert_eq!(cluster.server(1).writes.len(), 1);
    let sent = cluster.take_mail(1, 2);
    assert_eq!(appends(&sent).iter().map(|append| append.entries.len()).collect::<Vec<_>>(), [3]);
}

#[test]
fn entries_are_sent_while_leader_syncs() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.sync = false;
    let proposed = cluster.propose(1, "a");
    cluster.drain();
    assert_eq!(cluster.raft(1).durable_index(), proposed.index.previous());
    assert_eq!(cluster.take_mail(1, 2).len(), 1);
}

#[test]
fn commit_counts_only_durable_copies() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.sync = false;
    let proposed = cluster.propose(1, "a");
    cluster.deliver();
    let now = cluster.now;
    assert!(cluster.raft(1).commit_index() < proposed.index);
    // On the disk of one follower, and in the memory of all servers: not a majority.
    cluster.server(2).sync(now);
    cluster.deliver();
    assert!(cluster.raft(1).commit_index() < proposed.index);
    // Committed on the disks of two followers, and not delivered where it is not durable.
    cluster.server(3).sync(now);
    cluster.deliver();
    assert_eq!(cluster.raft(1).commit_index(), proposed.index);
    assert!(cluster.commands(1).is_empty());
    cluster.server(1).sync(now);
    cluster.deliver();
    assert_eq!(cluster.commands(1), ["a"]);
}

/// Figure 8: an entry of an earlier term on a majority is not committed by counting.
#[test]
fn old_term_entry_commits_only_with_current_term_entry() {
    let mut cluster = Cluster::with_logs(&[&[1, 2], &[1, 2], &[1], &[1], &[1, 3]], |config| {
        config.check_quorum = false;
        config.append_bytes_max = 1;
    });
    cluster.time_out(1);
    // All messages except entries of the leader's own term are delivered, and none to server 5.
    let is_own_term = |message: &Message| match message {
        Message::AppendEntries(append) => append.entries.iter().any(|e| e.id.term == Term(4)),
        _ => false,
    };
    for _ in 0..8 {
        cluster.deliver_where(|from, to, message| from != 5 && to != 5 && !is_own_term(message));
        cluster.beat(1);
    }
    assert_eq!(cluster.raft(1).term(), Term(4));
    for id in [1, 2, 3] {
        assert_eq!(cluster.terms(id)[..2], [1, 2], "the entry of term 2 is on a majority");
    }
    assert_eq!(cluster.raft(1).commit_index(), LogIndex(0));
    cluster.beat(1);
    cluster.deliver_among(&[1, 2, 3, 4]);
    cluster.beat(1);
    cluster.deliver_among(&[1, 2, 3, 4]);
    cluster.beat(1);
    cluster.deliver_among(&[1, 2, 3, 4]);
    assert_eq!(cluster.raft(1).commit_index(), LogIndex(3));
}

/// Figure 7: all logs of followers become equal to the leader's log.
#[test]
fn every_log_of_figure_7_is_repaired() {
    let mut cluster = Cluster::with_logs(
        &[
            &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
            &[1, 1, 1, 4, 4, 5, 5, 6, 6],
            &[1, 1, 1, 4],
            &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
            &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
            &[1, 1, 1, 4, 4, 4, 4],
            &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
        ],
        |_| {},
    );
    cluster.time_out(1);
    cluster.deliver();
    assert_eq!(cluster.raft(1).role(), Role::Leader, "elected by the servers with shorter logs");
    cluster.beat(1);
    cluster.deliver();
    for id in 2..=7 {
        assert_eq!(cluster.terms(id), [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8], "server {id}");
    }
}

#[test]
fn backtracking_skips_terms() {
    let (mut leader, mut follower) = (vec![1; 10], vec![1; 10]);
    leader.extend([5; 500]);
    follower.extend([2; 200]);
    follower.extend([3; 200]);
    let mut cluster = Cluster::with_logs(&[&leader, &follower, &leader], |_| {});
    cluster.time_out(1);
    cluster.deliver();
    cluster.beat(1);
    cluster.deliver();
    let backtracks =
        |event: &&Event| matches!(event, Event::Backtracked { follower: NodeId(2), .. });
    let count = cluster.server(1).events.iter().filter(backtracks).count();
    assert!((1..=2).contains(&count), "one refusal for each term at most, not {count}");
    assert_eq!(cluster.terms(2), cluster.terms(1));
}

/// A delayed AppendEntries that matches must not remove later entries.
#[test]
fn stale_append_truncates_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.drain();
    let late = cluster.take_mail(1, 2).pop().unwrap();
    cluster.hand_over(1, 2, late.clone());
    cluster.propose(1, "b");
    cluster.deliver();
    let before = cluster.terms(2);
    cluster.hand_over(1, 2, late);
    cluster.drain();
    assert_eq!(cluster.terms(2), before);
}

/// An acknowledgement of only the previous entry would make the leader send the entries again while
/// they are written.
#[test]
fn repair_entries_are_sent_once() {
    let mut cluster = Cluster::with_logs(&[&[1, 1, 2, 2], &[1], &[1, 1]], |_| {});
    cluster.time_out(1);
    cluster.drain();
    let mut sent = 0;
    while !cluster.mail.is_empty() {
        let (from, to, message) = cluster.mail.remove(0);
        if let (2, Message::AppendEntries(request)) = (to, &message) {
            sent += request.entries.len();
        }
        cluster.hand_over(from, to, message);
        cluster.drain();
    }
    assert_eq!(cluster.terms(2), [1, 1, 2, 2, 3]);
    // The first attempt has only the empty entry of the new term, and is refused.
    assert_eq!(sent, 1 + 4);
}

#[test]
fn lost_append_is_detected_and_resent() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.deliver_where(|_, to, _| to != 3);
    cluster.propose(1, "b");
    cluster
        .deliver_where(|_, to, message| to != 3 || !matches!(message, Message::AppendEntries(_)));
    for _ in 0..3 {
        cluster.beat(1);
        cluster.deliver();
    }
    assert_eq!(cluster.commands(3), ["a", "b"]);
}

#[test]
fn duplicated_and_reordered_messages_are_harmless() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for command in ["a", "b", "c", "d"] {
        cluster.propose(1, command);
        cluster.drain();
    }
    for _ in 0..6 {
        let mail = cluster.mail.clone();
        cluster.mail.extend(mail);
        cluster.mail.reverse();
        for (from, to, message) in std::mem::take(&mut cluster.mail) {
            cluster.hand_over(from, to, message);
        }
        cluster.drain();
        cluster.mail.truncate(64);
    }
    cluster.mail.clear();
    for _ in 0..3 {
        cluster.beat(1);
        cluster.deliver();
    }
    for id in 1..=3 {
        assert_eq!(cluster.commands(id), ["a", "b", "c", "d"]);
    }
}

/// A server that restarts without acknowledged entries may also have lost its vote (etcd #21178).
#[test]
fn server_with_lost_acknowledged_log_stops() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let proposed = cluster.propose(1, "a");
    cluster.deliver();
    let server = cluster.server(2);
    server.disk.log.clear();
    server.disk.hard_state = HardState::default();
    cluster.crash_and_restart(2);
    cluster.beat(1);
    cluster.deliver();
    let reason = StopReason::LogLost { acknowledged: proposed.index, last: LogIndex(0) };
    assert_eq!(cluster.raft(2).stopped(), Some(reason));
    cluster.propose(1, "b");
    cluster.settle(1);
    assert_eq!(cluster.commands(3), ["a", "b"]);
}

/// Durable entries are delivered when the server learns that they are committed, even without new
/// entries.
#[test]
fn heartbeat_commits_restored_entries() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.propose(1, "b");
    cluster.settle(1);
    cluster.crash_and_restart(2);
    assert!(cluster.commands(2).is_empty());
    cluster.beat(1);
    cluster.deliver();
    assert_eq!(cluster.commands(2), ["a", "b"]);
}

#[test]
fn malformed_entries_are_ignored() {
    let mut cluster = Cluster::new(3);
    for entries in
        [vec![entry(1, 2)], vec![entry(1, 1), entry(1, 3)], vec![entry(2, 1)], vec![entry(0, 1)]]
    {
        let request = AppendEntries {
            term: Term(1),
            prev_log: LogId::default(),
            entries: entries.into(),
            leader_commit: LogIndex(9),
        };
        cluster.hand_over(1, 2, Message::AppendEntries(request));
        cluster.drain();
        assert_eq!(cluster.raft(2).last_log(), LogId::default());
    }
}

#[test]
fn overwriting_committed_entry_stops_server() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.deliver();
    cluster.beat(1);
    cluster.deliver();
    let request = AppendEntries {
        term: Term(2),
        prev_log: LogId::new(Term(1), LogIndex(1)),
        entries: [entry(2, 2)].into(),
        leader_commit: LogIndex(0),
    };
    cluster.hand_over(3, 2, Message::AppendEntries(request));
    let reason = StopReason::CommittedEntryConflict { index: LogIndex(2) };
    assert_eq!(cluster.raft(2).stopped(), Some(reason));
    assert_eq!(cluster.raft(2).deadline(), None);
}

#[test]
fn rejected_proposals_have_reasons() {
    let mut cluster = Cluster::configured(3, |config| {
        config.command_bytes_max = 1000;
        config.uncommitted_bytes_max = 3000;
    });
    let now = cluster.now;
    let propose = |cluster: &mut Cluster, id, bytes| {
        cluster.raft(id).propose(Bytes::from(vec![0; bytes]), now)
    };
    assert_eq!(propose(&mut cluster, 1, 1), Err(ProposeError::NotLeader { leader: None }));
    cluster.elect(1);
    let leader = Some(NodeId(1));
    assert_eq!(propose(&mut cluster, 2, 1), Err(ProposeError::NotLeader { leader }));
    let too_large = ProposeError::TooLarge { bytes: 1001, bytes_max: 1000 };
    assert_eq!(propose(&mut cluster, 1, 1001), Err(too_large));
    let taken = (0..100).take_while(|_| propose(&mut cluster, 1, 1000).is_ok()).count();
    assert_eq!(taken, 3);
    assert!(matches!(propose(&mut cluster, 1, 1), Err(ProposeError::Overloaded { .. })));
    cluster.deliver();
    assert!(propose(&mut cluster, 1, 1000).is_ok());
}

#[test]
fn in_flight_entries_are_bounded() {
    let mut cluster = Cluster::configured(3, |config| {
        config.append_bytes_max = 1;
        config.in_flight_messages_max = 4;
    });
    cluster.elect(1);
    cluster.mail.clear();
    for _ in 0..10 {
        cluster.propose(1, "x");
        cluster.drain();
    }
    assert_eq!(appends(&cluster.take_mail(1, 2)).len(), 4);
}

#[test]
fn lagging_follower_is_served_from_disk() {
    let mut cluster = Cluster::configured(3, |config| config.log_cache_bytes_max = 0);
    cluster.elect(1);
    for _ in 0..20 {
        cluster.propose(1, "x");
        cluster.deliver_among(&[1, 2]);
    }
    for _ in 0..40 {
        cluster.beat(1);
        cluster.deliver();
        let now = cluster.now;
        let server = cluster.server(1);
        for fetch in std::mem::take(&mut server.fetches) {
            assert_eq!(fetch.purpose, FetchPurpose::Follower(NodeId(3)));
            let (from, through) = (fetch.from.0 as usize - 1, fetch.through.0 as usize);
            let entries = server.disk.log[from..through.min(from + 3)].to_vec();
            server.raft.fetched(fetch, entries, now);
        }
        cluster.deliver();
    }
    assert_eq!(cluster.commands(3).len(), 20);
}

#[test]
fn lagging_state_machine_is_served_from_disk() {
    let mut cluster = Cluster::configured(1, |config| config.log_cache_bytes_max = 0);
    cluster.elect(1);
    for _ in 0..20 {
        cluster.propose(1, "x");
        cluster.deliver();
    }
    cluster.crash_and_restart(1);
    cluster.elect(1);
    for _ in 0..10 {
        let now = cluster.now;
        let server = cluster.server(1);
        for fetch in std::mem::take(&mut server.fetches) {
            assert_eq!(fetch.purpose, FetchPurpose::StateMachine);
            let from = fetch.from.0 as usize - 1;
            let entries = server.disk.log[from..(from + 5).min(server.disk.log.len())].to_vec();
            server.raft.fetched(fetch, entries, now);
        }
        cluster.deliver();
    }
    let applied: Vec<_> = cluster.server(1).applied.iter().map(|entry| entry.id.index.0).collect();
    assert_eq!(applied, (1..=22).collect::<Vec<_>>());
}

#[test]
fn wrong_fetched_entries_stop_server() {
    let mut cluster = Cluster::configured(1, |config| config.log_cache_bytes_max = 0);
    cluster.elect(1);
    cluster.propose(1, "x");
    cluster.deliver();
    cluster.crash_and_restart(1);
    cluster.elect(1);
    let now = cluster.now;
    let fetch = Fetch {
        purpose: FetchPurpose::StateMachine,
        from: LogIndex(1),
        through: LogIndex(1),
        bytes_max: 1,
    };
    cluster.raft(1).fetched(fetch, vec![entry(9, 1)], now);
    let reason = StopReason::FetchedWrongEntries { index: LogIndex(1) };
    assert_eq!(cluster.raft(1).stopped(), Some(reason));
}

/// A rejection of a follower is contact, too (redpanda PR 30817).
#[test]
fn rejected_append_counts_as_leader_contact() {
    let mut cluster = Cluster::new(3);
    cluster.pass(Duration::from_millis(500));
    let request = AppendEntries {
        term: Term(1),
        prev_log: LogId::new(Term(1), LogIndex(7)),
        entries: Entries::default(),
        leader_commit: LogIndex(0),
    };
    cluster.hand_over(1, 2, Message::AppendEntries(request));
    assert_eq!(cluster.raft(2).leader(), Some(NodeId(1)));
    cluster.drain();
    let answers = cluster.take_mail(2, 1);
    let [Message::AppendEntriesResponse(response)] = &answers[..] else { panic!("{answers:?}") };
    assert!(
        matches!(response.result, AppendResult::Rejected { prev_log, .. } if prev_log.index == LogIndex(7))
    );
}

/// Entries acknowledged in an earlier leadership of this server may have been replaced.
#[test]
fn ack_from_earlier_term_is_ignored() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    let proposed = LogIndex(cluster.raft(1).last_log().index.0 + 3);
    for leader in [2, 1] {
        cluster.pass(2 * TIMEOUT_MIN);
        cluster.elect(leader);
        cluster.settle(leader);
    }
    assert_eq!(cluster.propose(1, "a").index, proposed);
    cluster.drain();
    cluster.mail.clear();
    let late = AppendEntriesResponse {
        term: Term(1),
        result: AppendResult::Accepted { match_index: proposed },
    };
    cluster.hand_over(2, 1, Message::AppendEntriesResponse(late));
    assert!(cluster.raft(1).commit_index() < proposed);
}
