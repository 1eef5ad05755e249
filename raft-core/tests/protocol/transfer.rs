//! Leadership transfer: dissertation 3.10.

use crate::cluster::{Cluster, TIMEOUT_MIN};
use raft_core::{
    Event, IgnoreReason, LogId, Membership, Message, NodeId, ProposeError, RequestVote, Role, Term,
    TimeoutNow, TransferError,
};

fn transfer(cluster: &mut Cluster, from: u64, to: u64) -> Result<(), TransferError> {
    let now = cluster.now;
    cluster.raft(from).transfer_leadership(Some(NodeId(to)), now)
}

fn propose(cluster: &mut Cluster, id: u64) -> Result<LogId, ProposeError> {
    let now = cluster.now;
    cluster.raft(id).propose("x".into(), now)
}

#[test]
fn leader_transfers_immediately() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    transfer(&mut cluster, 1, 3).unwrap();
    cluster.deliver();
    assert_eq!((cluster.raft(3).role(), cluster.raft(3).term()), (Role::Leader, Term(2)));
    assert_eq!(cluster.raft(1).leader(), Some(NodeId(3)));
}

/// E14: the caller had to choose the target, and knows less than the leader.
#[test]
fn leader_chooses_target_if_caller_does_not() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    cluster.propose(1, "a");
    for _ in 0..15 {
        cluster.beat(1);
        cluster.deliver_where(|from, to, _| from != 3 && to != 3);
    }
    let now = cluster.now;
    cluster.raft(1).transfer_leadership(None, now).unwrap();
    cluster.deliver();
    assert_eq!(cluster.raft(2).role(), Role::Leader);
    let mut alone = Cluster::new(1);
    alone.elect(1);
    let now = alone.now;
    let refused = alone.raft(1).transfer_leadership(None, now);
    assert_eq!(refused, Err(TransferError::NoTarget));
}

#[test]
fn timeout_now_waits_for_full_log() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.deliver_where(|_, to, _| to != 3);
    transfer(&mut cluster, 1, 3).unwrap();
    cluster.deliver_where(|_, to, _| to != 3);
    assert_eq!(cluster.raft(1).role(), Role::Leader);
    let told = |cluster: &mut Cluster| {
        let is_told = |event: &Event| matches!(event, Event::TimeoutNowReceived { .. });
        cluster.server(3).events.iter().any(is_told)
    };
    cluster.beat(1);
    cluster.drain();
    assert!(!cluster.mail.iter().any(|(.., message)| matches!(message, Message::TimeoutNow(_))));
    cluster.settle(1);
    assert!(told(&mut cluster));
    assert_eq!(cluster.raft(3).role(), Role::Leader);
    assert_eq!(cluster.commands(3), ["a"]);
}

#[test]
fn proposals_are_rejected_during_transfer() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    transfer(&mut cluster, 1, 3).unwrap();
    let to = NodeId(3);
    assert_eq!(propose(&mut cluster, 1), Err(ProposeError::Transferring { to }));
    for _ in 0..20 {
        cluster.beat(1);
        cluster.deliver_where(|from, to, _| from != 3 && to != 3);
    }
    assert!(cluster.server(1).events.contains(&Event::TransferTimedOut { to }));
    propose(&mut cluster, 1).unwrap();
}

#[test]
fn lost_timeout_now_is_resent() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    transfer(&mut cluster, 1, 2).unwrap();
    cluster.deliver_where(|_, _, message| !matches!(message, Message::TimeoutNow(_)));
    assert_eq!(cluster.raft(1).role(), Role::Leader);
    cluster.settle(1);
    assert_eq!(cluster.raft(2).role(), Role::Leader);
}

#[test]
fn timeout_now_of_other_term_is_ignored() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for term in [0, 2, 9] {
        let word = TimeoutNow { term: Term(term) };
        cluster.hand_over(1, 2, Message::TimeoutNow(word));
        assert_eq!(cluster.raft(2).role(), Role::Follower);
        assert_eq!(cluster.ignored(2), Some(IgnoreReason::WrongTerm));
    }
}

#[test]
fn transfer_target_must_be_voter() {
    let mut cluster = Cluster::new(3);
    cluster.add(4, Membership::default());
    cluster.elect(1);
    cluster.settle(1);
    let now = cluster.now;
    let target = Membership::new([1, 2, 3].map(NodeId)).with_learners([NodeId(4)]);
    cluster.raft(1).change_membership(target, now).unwrap();
    cluster.settle(1);
    assert_eq!(transfer(&mut cluster, 1, 4), Err(TransferError::CannotLead(NodeId(4))));
    assert_eq!(transfer(&mut cluster, 1, 1), Err(TransferError::AlreadyLeader));
    let leader = Some(NodeId(1));
    assert_eq!(transfer(&mut cluster, 2, 3), Err(TransferError::NotLeader { leader }));
    let term = cluster.raft(4).term();
    cluster.hand_over(1, 4, Message::TimeoutNow(TimeoutNow { term }));
    assert_eq!(cluster.raft(4).role(), Role::Follower);
    transfer(&mut cluster, 1, 2).unwrap();
    let to = NodeId(2);
    assert_eq!(transfer(&mut cluster, 1, 3), Err(TransferError::Transferring { to }));
}

/// A server with a handicap leads only if no other server does.
#[test]
fn handicap_delays_election_deadline() {
    let mut cluster = Cluster::configured(3, |config| {
        if config.id != NodeId(2) {
            config.election_handicap = TIMEOUT_MIN;
        }
    });
    let deadlines: Vec<_> = (1..=3).map(|id| cluster.raft(id).deadline().unwrap()).collect();
    assert!(deadlines[1] < deadlines[0] && deadlines[1] < deadlines[2]);
    assert!(deadlines[0].0 >= 2_000_000);
}

/// hashicorp/raft #683: a leader with a stalled disk prevents the election of another leader.
#[test]
fn stalled_leader_steps_down() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    cluster.sync = false;
    cluster.propose(1, "a");
    for _ in 0..25 {
        cluster.beat(1);
        cluster.deliver_where(|_, _, message| !matches!(message, Message::AppendEntries(_)));
        if cluster.raft(1).role() != Role::Leader {
            break;
        }
    }
    assert_eq!(cluster.raft(1).role(), Role::Follower);
    // The server does not campaign before its disk responds.
    cluster.time_out(1);
    assert_eq!(cluster.raft(1).role(), Role::Follower);
    let now = cluster.now;
    cluster.server(1).sync(now);
    cluster.time_out(1);
    assert_ne!(cluster.raft(1).role(), Role::Follower);
}

/// There is no later term, so the server would vote twice in this one.
#[test]
fn max_term_blocks_campaigns() {
    let mut cluster = Cluster::new(3);
    let term = Term(u64::MAX);
    let request = RequestVote { term, last_log: LogId::default(), transfer: true };
    cluster.hand_over(1, 2, Message::RequestVote(request));
    cluster.drain();
    cluster.hand_over(1, 2, Message::TimeoutNow(TimeoutNow { term }));
    assert_eq!(cluster.ignored(2), Some(IgnoreReason::LastTerm));
    assert_eq!(cluster.server(2).disk.hard_state.vote, Some(NodeId(1)));
}

#[test]
fn stalled_server_ignores_timeout_now() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    cluster.full.insert(2);
    cluster.propose(1, "a");
    for _ in 0..30 {
        cluster.beat(1);
        cluster.deliver();
    }
    let term = cluster.raft(1).term();
    cluster.hand_over(1, 2, Message::TimeoutNow(TimeoutNow { term }));
    let reason = cluster.ignored(2).unwrap();
    assert_eq!(reason, IgnoreReason::DiskFull);
    // The disk is not full.
    assert_eq!(reason.to_string(), "it requests a campaign, and the disk is full or stalled");
    cluster.beat(1);
    cluster.deliver();
    assert_eq!((cluster.raft(1).role(), cluster.raft(1).term()), (Role::Leader, term));
}
