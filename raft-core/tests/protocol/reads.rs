//! Linearizable reads by ReadIndex: dissertation 6.4.

use std::collections::VecDeque;
use std::time::Duration;

use crate::cluster::{Cluster, TIMEOUT_MIN};
use raft_core::{
    Config, HeartbeatResponse, IgnoreReason, Membership, Message, NodeId, ReadError, ReadId,
    ReadIndex, ReadMode, ReadOutcome, RequestVote, Role, Term,
};

#[test]
fn read_needs_round_started_after_it() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.deliver();
    // A heartbeat round is in flight when the read arrives.
    cluster.beat(1);
    cluster.drain();
    let now = cluster.now;
    let id = cluster.raft(1).read(ReadMode::Quorum, now).unwrap();
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
    assert!(cluster.server(1).reads.is_empty(), "an answer to the earlier round confirms nothing");
    cluster.deliver();
    let read_index = cluster.raft(1).commit_index();
    assert_eq!(cluster.server(1).reads, [ReadOutcome::Ready { id, read_index }]);
}

#[test]
fn queued_reads_share_round() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let now = cluster.now;
    for _ in 0..10 {
        cluster.raft(1).read(ReadMode::Quorum, now).unwrap();
    }
    cluster.drain();
    assert_eq!(cluster.take_mail(1, 2).len(), 1);
    cluster.deliver();
    assert_eq!(cluster.server(1).reads.len(), 10);
}

/// A new leader does not know the commit index before it has committed an entry of its own term
/// (etcd #7331).
#[test]
fn reads_wait_for_first_commit_of_term() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.deliver_where(|_, to, _| to != 3);
    cluster.time_out(2);
    cluster.pass(TIMEOUT_MIN);
    cluster.deliver_where(|_, _, message| !matches!(message, Message::AppendEntries(_)));
    cluster.time_out(2);
    cluster.deliver_where(|_, _, message| !matches!(message, Message::AppendEntries(_)));
    let now = cluster.now;
    cluster.raft(2).read(ReadMode::Quorum, now).unwrap();
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
fn isolated_leader_aborts_reads() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let now = cluster.now;
    let id = cluster.raft(1).read(ReadMode::Quorum, now).unwrap();
    cluster.deliver_among(&[1]);
    assert!(cluster.server(1).reads.is_empty());
    cluster.pass(TIMEOUT_MIN);
    cluster.time_out(2);
    cluster.deliver_among(&[2, 3]);
    cluster.beat(2);
    cluster.deliver();
    assert_eq!(cluster.server(1).reads, [ReadOutcome::Aborted { id }]);
}

#[test]
fn forged_round_ack_confirms_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let now = cluster.now;
    cluster.raft(1).read(ReadMode::Quorum, now).unwrap();
    cluster.drain();
    cluster.mail.clear();
    let response = HeartbeatResponse { term: Term(1), round: 99 };
    cluster.hand_over(2, 1, Message::HeartbeatResponse(response));
    cluster.drain();
    assert!(cluster.server(1).reads.is_empty());
}

/// The message is not a stale response.
#[test]
fn rejected_read_index_is_ignored_with_reason() {
    let mut cluster = Cluster::configured(3, |config| config.reads_max = 1);
    cluster.elect(1);
    cluster.settle(1);
    let mut ask = |leader| {
        let question = ReadIndex { term: Term(1), boot: 1, batch: 1, lease: false };
        cluster.hand_over(3, leader, Message::ReadIndex(question));
    };
    ask(1);
    ask(1);
    ask(2);
    assert_eq!(cluster.ignored(1), Some(IgnoreReason::Overloaded));
    assert_eq!(cluster.ignored(2), Some(IgnoreReason::NotLeader));
}

#[test]
fn rejected_reads_have_reasons() {
    let mut cluster = Cluster::configured(3, |config| config.reads_max = 2);
    let now = cluster.now;
    assert_eq!(cluster.raft(1).read(ReadMode::Quorum, now), Err(ReadError::NoLeader));
    cluster.elect(1);
    let now = cluster.now;
    cluster.raft(1).read(ReadMode::Quorum, now).unwrap();
    cluster.raft(1).read(ReadMode::Quorum, now).unwrap();
    for id in [1, 2] {
        let reads = [(); 3].map(|()| cluster.raft(id).read(ReadMode::Quorum, now));
        let refused = reads.iter().filter(|read| **read == Err(ReadError::Overloaded));
        assert_eq!(refused.count(), if id == 1 { 3 } else { 1 });
    }
}

fn outcome(cluster: &mut Cluster, server: u64, id: ReadId) -> Option<ReadOutcome> {
    let is_it = |outcome: &&ReadOutcome| match outcome {
        ReadOutcome::Ready { id: other, .. } | ReadOutcome::Aborted { id: other } => *other == id,
    };
    cluster.server(server).reads.iter().find(is_it).copied()
}

#[test]
fn follower_forwards_read_to_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let proposed = cluster.propose(1, "a");
    cluster.deliver_where(|_, to, _| to != 2);
    let id = cluster.read(2, ReadMode::Quorum);
    cluster.deliver();
    let read_index = proposed.index;
    assert_eq!(outcome(&mut cluster, 2, id), Some(ReadOutcome::Ready { id, read_index }));
}

#[test]
fn lost_read_index_is_resent() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let id = cluster.read(2, ReadMode::Quorum);
    cluster.deliver_where(|_, _, message| !matches!(message, Message::ReadIndex(_)));
    assert_eq!(outcome(&mut cluster, 2, id), None);
    cluster.settle(1);
    assert!(matches!(outcome(&mut cluster, 2, id), Some(ReadOutcome::Ready { .. })));
}

/// A response to a request from before a restart is too old for the current reads.
#[test]
fn restart_voids_outstanding_read_index() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let is_answer = |message: &Message| matches!(message, Message::ReadIndexResponse(_));
    cluster.read(2, ReadMode::Quorum);
    let late = std::cell::RefCell::new(None);
    cluster.deliver_where(|_, _, message| {
        if is_answer(message) {
            *late.borrow_mut() = Some(message.clone());
        }
        !is_answer(message)
    });
    cluster.crash_and_restart(2);
    cluster.settle(1);
    let id = cluster.read(2, ReadMode::Quorum);
    cluster.drain();
    cluster.hand_over(1, 2, late.take().unwrap());
    cluster.drain();
    assert_eq!(outcome(&mut cluster, 2, id), None);
    cluster.settle(1);
    assert!(matches!(outcome(&mut cluster, 2, id), Some(ReadOutcome::Ready { .. })));
}

#[test]
fn new_leader_aborts_forwarded_reads() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let id = cluster.read(2, ReadMode::Quorum);
    cluster.deliver_among(&[2, 3]);
    cluster.pass(TIMEOUT_MIN);
    cluster.time_out(3);
    cluster.deliver_among(&[2, 3]);
    assert_eq!(outcome(&mut cluster, 2, id), Some(ReadOutcome::Aborted { id }));
}

/// A server that cannot campaign also forgets its leader.
#[test]
fn unelectable_server_aborts_reads_on_leader_loss() {
    let learns = |cluster: &mut Cluster| {
        cluster.add(4, Membership::default());
        let now = cluster.now;
        let target = Membership::new([1, 2, 3].map(NodeId)).with_learners([NodeId(4)]);
        cluster.raft(1).change_membership(target, now).unwrap();
        4
    };
    let is_full = |cluster: &mut Cluster| {
        let now = cluster.now;
        cluster.full.insert(3);
        cluster.raft(3).set_disk_full(true, now);
        3
    };
    let is_stalled = |cluster: &mut Cluster| {
        cluster.full.insert(3);
        cluster.propose(1, "x");
        3
    };
    for cause in [learns, is_full, is_stalled] {
        let mut cluster = Cluster::new(3);
        cluster.elect(1);
        cluster.settle(1);
        let id = cause(&mut cluster);
        for _ in 0..30 {
            cluster.beat(1);
            cluster.deliver();
        }
        let read = cluster.read(id, ReadMode::Quorum);
        assert_eq!(cluster.raft(id).leader(), Some(NodeId(1)));
        cluster.time_out(id);
        cluster.deliver_where(|_, _, _| false);
        assert_eq!(cluster.raft(id).role(), Role::Follower);
        assert_eq!(cluster.raft(id).leader(), None);
        let aborted = ReadOutcome::Aborted { id: read };
        assert_eq!(outcome(&mut cluster, id, read), Some(aborted));
        let now = cluster.now;
        let again = cluster.raft(id).read(ReadMode::Quorum, now);
        assert_eq!(again, Err(ReadError::NoLeader));
        // The server follows the next leader.
        cluster.beat(1);
        cluster.deliver();
        while cluster.raft(1).role() != Role::Leader {
            cluster.time_out(1);
            cluster.deliver();
        }
        cluster.settle(1);
        let read = cluster.read(id, ReadMode::Quorum);
        cluster.deliver();
        let ready = outcome(&mut cluster, id, read);
        assert!(matches!(ready, Some(ReadOutcome::Ready { .. })), "{id}");
    }
}

fn with_leases(config: &mut Config) {
    config.lease_drift_ppm = Some(100_000);
}

/// A cluster with leases whose servers started long ago.
fn leased(size: u64) -> Cluster {
    let mut cluster = Cluster::configured(size, with_leases);
    cluster.pass(TIMEOUT_MIN);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.settle(1);
    cluster
}

#[test]
fn lease_read_needs_no_round() {
    let mut cluster = leased(3);
    let id = cluster.read(1, ReadMode::Lease);
    cluster.drain();
    let read_index = cluster.raft(1).commit_index();
    assert_eq!(outcome(&mut cluster, 1, id), Some(ReadOutcome::Ready { id, read_index }));
    let id = cluster.read(1, ReadMode::Quorum);
    cluster.drain();
    assert_eq!(outcome(&mut cluster, 1, id), None, "who asks for more gets more");
}

/// With a drift of 10 %, 9/11 of the promised second remain.
#[test]
fn lease_is_shortened_by_twice_the_drift() {
    for (millis, is_answered) in [(817, true), (820, false)] {
        let mut cluster = leased(3);
        cluster.pass(Duration::from_millis(millis));
        let id = cluster.read(1, ReadMode::Lease);
        cluster.drain();
        assert_eq!(outcome(&mut cluster, 1, id).is_some(), is_answered, "{millis}");
    }
}

/// The leader has sent TimeoutNow, so the target may win at any time (openraft #1747).
/// Each read starts a round, and hundreds of rounds are in flight.
#[test]
fn quorum_reads_do_not_block_lease_renewal() {
    let mut cluster = leased(3);
    let mut wire: VecDeque<(_, u64, u64, Message)> = VecDeque::new();
    for step in 1..20_000 {
        cluster.pass(Duration::from_micros(100));
        let now = cluster.now;
        cluster.raft(1).tick(now);
        while let Some((_, from, to, message)) = wire.pop_front_if(|(at, ..)| *at <= now) {
            cluster.hand_over(from, to, message);
        }
        cluster.read(1, ReadMode::Quorum);
        cluster.drain();
        cluster.server(1).reads.clear();
        if step % 100 == 0 {
            let id = cluster.read(1, ReadMode::Lease);
            cluster.drain();
            assert!(outcome(&mut cluster, 1, id).is_some(), "{now:?}");
        }
        let later = now + Duration::from_millis(15);
        let sent = cluster.mail.drain(..);
        wire.extend(sent.map(|(from, to, message)| (later, from, to, message)));
        for server in cluster.servers.values_mut() {
            server.events.clear();
        }
    }
}

#[test]
fn transferring_leader_forfeits_lease() {
    let mut cluster = leased(3);
    let now = cluster.now;
    cluster.raft(1).transfer_leadership(Some(NodeId(2)), now).unwrap();
    cluster.drain();
    cluster.mail.clear();
    for _ in 0..25 {
        cluster.beat(1);
        cluster.deliver_where(|_, _, message| !matches!(message, Message::TimeoutNow(_)));
    }
    assert_eq!(cluster.raft(1).role(), Role::Leader);
    cluster.propose(1, "b");
    cluster.deliver();
    let id = cluster.read(1, ReadMode::Lease);
    cluster.drain();
    assert_eq!(outcome(&mut cluster, 1, id), None);
    cluster.deliver();
    assert!(matches!(outcome(&mut cluster, 1, id), Some(ReadOutcome::Ready { .. })));
}

/// A restarted server has forgotten its contact to the leader, and the leader's lease.
#[test]
fn restarted_server_withholds_votes() {
    let mut cluster = leased(3);
    cluster.crash_and_restart(3);
    cluster.pass(Duration::from_millis(500));
    let request =
        RequestVote { term: Term(2), last_log: cluster.raft(2).last_log(), transfer: false };
    cluster.hand_over(2, 3, Message::RequestVote(request.clone()));
    cluster.deliver_among(&[3]);
    assert_eq!(cluster.server(3).disk.hard_state.vote, Some(NodeId(1)));
    cluster.pass(Duration::from_millis(500));
    cluster.hand_over(2, 3, Message::RequestVote(request));
    cluster.deliver_among(&[3]);
    assert_eq!(cluster.server(3).disk.hard_state.vote, Some(NodeId(2)));
}

/// A server that learns of a later term still has recent contact to its leader.
#[test]
fn higher_term_does_not_end_vote_promise() {
    let mut cluster = leased(3);
    let answer =
        raft_core::PreVoteResponse { term: Term(5), campaign_term: Term(5), granted: false };
    cluster.hand_over(2, 3, Message::PreVoteResponse(answer));
    assert_eq!(cluster.raft(3).term(), Term(5));
    let request =
        RequestVote { term: Term(6), last_log: cluster.raft(2).last_log(), transfer: false };
    cluster.hand_over(2, 3, Message::RequestVote(request));
    cluster.deliver_among(&[3]);
    assert_eq!(cluster.server(3).disk.hard_state.vote, None);
}

/// The lease confirms a later request, which must not confirm the earlier one.
#[test]
fn forwarded_quorum_read_needs_round() {
    let mut cluster = Cluster::configured(3, |config| config.lease_drift_ppm = Some(1000));
    cluster.pass(TIMEOUT_MIN * 2);
    cluster.elect(1);
    cluster.settle(1);
    cluster.server(2).reads.clear();
    let quorum = cluster.read(2, ReadMode::Quorum);
    cluster.drain();
    cluster.take_mail(2, 1);
    cluster.read(2, ReadMode::Lease);
    // No follower confirms the leader.
    cluster.deliver_where(|_, _, message| {
        !matches!(message, Message::Heartbeat(_) | Message::HeartbeatResponse(_))
    });
    let is_it =
        |outcome: &ReadOutcome| matches!(outcome, ReadOutcome::Ready { id, .. } if *id == quorum);
    assert!(!cluster.server(2).reads.iter().any(is_it));
    cluster.settle(1);
    assert!(cluster.server(2).reads.iter().any(is_it));
    // Aborted reads have no influence on later reads.
    cluster.server(2).reads.clear();
    cluster.read(2, ReadMode::Lease);
    cluster.deliver_where(|_, _, message| !matches!(message, Message::HeartbeatResponse(_)));
    assert_eq!(cluster.server(2).reads.len(), 1);
}
