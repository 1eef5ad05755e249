//! Linearizable reads by ReadIndex: dissertation 6.4.

use crate::cluster::Cluster;
use raft_core::{HeartbeatResponse, Message, NodeId, ReadError, ReadOutcome, Term};

#[test]
fn a_read_is_confirmed_by_a_round_that_began_after_it() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.deliver();
    // A round is under way when the read arrives.
    cluster.beat(1);
    cluster.drain();
    let now = cluster.now;
    let id = cluster.raft(1).read(now).unwrap();
    let early = cluster.take_mail(1, 2);
    for message in early {
        cluster.hand_over(1, 2, message);
    }
    cluster.server(1).reads.clear();
    cluster.drain();
    for message in cluster.take_mail(2, 1) {
        cluster.hand_over(2, 1, message);
    }
    cluster.drain();
    assert!(
        cluster.server(1).reads.is_empty(),
        "an answer to the earlier round confirms nothing"
    );
    cluster.deliver();
    let read_index = cluster.raft(1).commit_index();
    assert_eq!(
        cluster.server(1).reads,
        [ReadOutcome::Ready { id, read_index }]
    );
}

#[test]
fn reads_that_wait_share_a_round() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let now = cluster.now;
    for _ in 0..10 {
        cluster.raft(1).read(now).unwrap();
    }
    cluster.drain();
    assert_eq!(cluster.take_mail(1, 2).len(), 1);
    cluster.deliver();
    assert_eq!(cluster.server(1).reads.len(), 10);
}

/// A new leader may not know what is committed before it has committed an entry of its own
/// (etcd #7331).
#[test]
fn a_new_leader_lets_reads_wait_for_its_first_commit() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.deliver_where(|_, to, _| to != 3);
    cluster.time_out(2);
    cluster.pass(crate::cluster::TIMEOUT_MIN);
    cluster.deliver_where(|_, _, message| !matches!(message, Message::AppendEntries(_)));
    cluster.time_out(2);
    cluster.deliver_where(|_, _, message| !matches!(message, Message::AppendEntries(_)));
    let now = cluster.now;
    cluster.raft(2).read(now).unwrap();
    cluster.deliver_where(|_, _, message| !matches!(message, Message::AppendEntries(_)));
    assert!(cluster.server(2).reads.is_empty());
    for _ in 0..3 {
        cluster.beat(2);
        cluster.deliver();
    }
    let read_index = cluster.raft(2).last_log().index;
    assert!(
        matches!(cluster.server(2).reads[..], [ReadOutcome::Ready { read_index: r, .. }] if r == read_index)
    );
}

#[test]
fn a_leader_cut_off_confirms_nothing_and_gives_up_its_reads() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let now = cluster.now;
    let id = cluster.raft(1).read(now).unwrap();
    cluster.deliver_among(&[1]);
    assert!(cluster.server(1).reads.is_empty());
    cluster.pass(crate::cluster::TIMEOUT_MIN);
    cluster.time_out(2);
    cluster.deliver_among(&[2, 3]);
    cluster.beat(2);
    cluster.deliver();
    assert_eq!(cluster.server(1).reads, [ReadOutcome::Aborted { id }]);
}

#[test]
fn a_forged_round_confirms_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let now = cluster.now;
    cluster.raft(1).read(now).unwrap();
    cluster.drain();
    cluster.mail.clear();
    let response = HeartbeatResponse {
        term: Term(1),
        round: 99,
    };
    cluster.hand_over(2, 1, Message::HeartbeatResponse(response));
    cluster.drain();
    assert!(cluster.server(1).reads.is_empty());
}

#[test]
fn reads_are_refused_with_a_reason() {
    let mut cluster = Cluster::configured(3, |config| config.reads_max = 2);
    let now = cluster.now;
    assert_eq!(
        cluster.raft(1).read(now),
        Err(ReadError::NotLeader { leader: None })
    );
    cluster.elect(1);
    let leader = Some(NodeId(1));
    assert_eq!(
        cluster.raft(2).read(now),
        Err(ReadError::NotLeader { leader })
    );
    let now = cluster.now;
    cluster.raft(1).read(now).unwrap();
    cluster.raft(1).read(now).unwrap();
    assert_eq!(cluster.raft(1).read(now), Err(ReadError::Overloaded));
}
