//! Elections: §5.2, §5.4.1, dissertation 4.2.3, 6.2 and 9.6.

use std::time::Duration;

use crate::cluster::{Cluster, TIMEOUT_MIN};
use raft_core::{
    Event, HardState, Heartbeat, LogId, LogIndex, Message, NodeId, PreVote, PreVoteResponse,
    RequestVote, Role, StepDownReason, Term, VoteRefusal,
};

#[test]
fn quorum_elects_leader() {
    let mut cluster = Cluster::new(5);
    cluster.elect(3);
    for id in 1..=5 {
        assert_eq!(
            (cluster.raft(id).leader(), cluster.raft(id).term()),
            (Some(NodeId(3)), Term(1))
        );
    }
}

#[test]
fn single_server_elects_itself_after_vote_sync() {
    let mut cluster = Cluster::new(1);
    cluster.sync = false;
    cluster.time_out(1);
    cluster.drain();
    assert_eq!(cluster.raft(1).role(), Role::Candidate);
    let now = cluster.now;
    cluster.server(1).sync(now);
    assert_eq!(cluster.raft(1).role(), Role::Leader);
    // The leader's own entry is not committed before it is durable (etcd #14370).
    cluster.drain();
    assert_eq!(cluster.raft(1).commit_index(), LogIndex(0));
    cluster.server(1).sync(now);
    assert_eq!(cluster.raft(1).commit_index(), LogIndex(1));
}

#[test]
fn minority_cannot_elect() {
    let mut cluster = Cluster::new(4);
    cluster.time_out(1);
    cluster.deliver_among(&[1, 2]);
    assert_eq!(cluster.raft(1).role(), Role::PreCandidate);
    assert_eq!(cluster.raft(1).term(), Term(0));
}

#[test]
fn server_grants_one_vote_per_term() {
    let mut cluster = Cluster::configured(3, |config| config.pre_vote = false);
    cluster.time_out(1);
    cluster.time_out(2);
    cluster.deliver_where(|from, to, _| from != 3 && to == 3 && from == 1);
    cluster.hand_over(
        2,
        3,
        Message::RequestVote(RequestVote {
            term: Term(1),
            last_log: Default::default(),
            transfer: false,
        }),
    );
    cluster.drain();
    let refused = cluster.server(3).events.contains(&Event::VoteRefused {
        term: Term(1),
        candidate: NodeId(2),
        pre_vote: false,
        reason: VoteRefusal::AlreadyVoted { candidate: NodeId(1) },
    });
    assert!(refused);
}

#[test]
fn vote_survives_crash() {
    let mut cluster = Cluster::configured(3, |config| config.pre_vote = false);
    cluster.time_out(1);
    cluster.deliver_where(|_, to, _| to == 3);
    cluster.crash_and_restart(3);
    assert_eq!(
        cluster.server(3).disk.hard_state,
        HardState { term: Term(1), vote: Some(NodeId(1)) }
    );
    cluster.hand_over(
        2,
        3,
        Message::RequestVote(RequestVote {
            term: Term(1),
            last_log: Default::default(),
            transfer: false,
        }),
    );
    cluster.drain();
    assert!(matches!(
        cluster.take_mail(3, 2)[..],
        [Message::RequestVoteResponse(ref response)] if !response.granted
    ));
}

#[test]
fn votes_and_vote_requests_wait_for_sync() {
    let mut cluster = Cluster::configured(3, |config| config.pre_vote = false);
    cluster.sync = false;
    cluster.time_out(1);
    cluster.drain();
    assert!(cluster.mail.is_empty(), "the candidate's own vote is not on its disk");
    let now = cluster.now;
    cluster.server(1).sync(now);
    cluster.drain();
    let request = cluster.take_mail(1, 2).pop().unwrap();
    cluster.hand_over(1, 2, request);
    cluster.drain();
    assert!(cluster.take_mail(2, 1).is_empty(), "the vote is not on its disk");
    cluster.server(2).sync(now);
    cluster.drain();
    assert_eq!(cluster.take_mail(2, 1).len(), 1);
}

#[test]
fn most_complete_log_wins() {
    let mut cluster = Cluster::with_logs(&[&[1, 1, 2], &[1, 1, 1, 1], &[1, 1, 2]], |_| {});
    cluster.time_out(2);
    cluster.deliver();
    assert_eq!(cluster.raft(2).role(), Role::Follower, "a longer log of an older term loses");
    cluster.elect(3);
    assert_eq!(cluster.terms(2), [1, 1, 2, 3]);
}

/// A leader must not count votes of an earlier term (openraft PR 1220).
#[test]
fn stale_vote_is_not_counted() {
    let mut cluster = Cluster::configured(3, |config| config.pre_vote = false);
    cluster.time_out(1);
    cluster.drain();
    for message in cluster.take_mail(1, 2) {
        cluster.hand_over(1, 2, message);
    }
    cluster.drain();
    let late = cluster.take_mail(2, 1);
    cluster.mail.clear();
    cluster.time_out(1);
    cluster.drain();
    assert_eq!(cluster.raft(1).term(), Term(2));
    for message in late {
        cluster.hand_over(2, 1, message);
    }
    assert_eq!(cluster.raft(1).role(), Role::Candidate);
}

#[test]
fn pre_vote_does_not_change_voter_state() {
    let mut cluster = Cluster::new(3);
    let before = cluster.raft(2).clone();
    let request = PreVote { campaign_term: Term(1), last_log: Default::default() };
    cluster.hand_over(1, 2, Message::PreVote(request));
    cluster.drain();
    cluster.server(2).events.clear();
    assert_eq!(*cluster.raft(2), before);
}

#[test]
fn isolated_server_does_not_disrupt_on_return() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for _ in 0..100 {
        cluster.time_out(3);
        cluster.deliver_among(&[1, 2]);
        cluster.beat(1);
        cluster.deliver_among(&[1, 2]);
    }
    cluster.beat(1);
    cluster.deliver();
    assert_eq!((cluster.raft(1).role(), cluster.raft(1).term()), (Role::Leader, Term(1)));
    assert_eq!(cluster.raft(3).leader(), Some(NodeId(1)));
}

/// A server may learn of a later term without a vote request. Its responses extend the leader's
/// lease, so it must not vote before the lease ends. Found by the campaign: a lease read missed a
/// write.
#[test]
fn leader_contact_blocks_vote_in_learned_term() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.beat(1);
    cluster.deliver();
    let answer = PreVoteResponse { term: Term(2), campaign_term: Term(2), granted: false };
    cluster.hand_over(3, 2, Message::PreVoteResponse(answer));
    assert_eq!(cluster.raft(2).term(), Term(2));
    let request =
        RequestVote { term: Term(2), last_log: cluster.raft(2).last_log(), transfer: false };
    let granted = |cluster: &mut Cluster| {
        cluster.hand_over(3, 2, Message::RequestVote(request.clone()));
        cluster.drain();
        let answers = cluster.take_mail(2, 3);
        answers
            .iter()
            .any(|answer| matches!(answer, Message::RequestVoteResponse(answer) if answer.granted))
    };
    assert!(!granted(&mut cluster));
    cluster.pass(TIMEOUT_MIN);
    assert!(granted(&mut cluster));
}

/// Without pre-vote, the rejection of a server in a later term with a shorter log spreads that term
/// (etcd #8501).
#[test]
fn higher_term_with_shorter_log_does_not_block_elections() {
    let mut cluster = Cluster::with_logs(&[&[1, 1], &[1, 1], &[1]], |_| {});
    cluster.server(3).disk.hard_state = HardState { term: Term(7), vote: Some(NodeId(3)) };
    cluster.crash_and_restart(3);
    // Only servers 1 and 3 are up.
    for _ in 0..3 {
        cluster.time_out(1);
        cluster.deliver_among(&[1, 3]);
        cluster.time_out(3);
        cluster.deliver_among(&[1, 3]);
        if cluster.raft(1).role() == Role::Leader {
            break;
        }
    }
    cluster.time_out(1);
    cluster.deliver_among(&[1, 3]);
    assert_eq!((cluster.raft(1).role(), cluster.raft(1).term()), (Role::Leader, Term(8)));
}

#[test]
fn leader_contact_blocks_votes() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.pass(TIMEOUT_MIN / 2);
    let request =
        RequestVote { term: Term(9), last_log: cluster.raft(3).last_log(), transfer: false };
    cluster.hand_over(3, 2, Message::RequestVote(request.clone()));
    cluster.hand_over(3, 1, Message::RequestVote(request.clone()));
    cluster.drain();
    assert_eq!((cluster.raft(2).term(), cluster.raft(1).role()), (Term(1), Role::Leader));
    cluster.pass(TIMEOUT_MIN / 2);
    cluster.hand_over(3, 2, Message::RequestVote(request));
    assert_eq!(cluster.raft(2).term(), Term(9));
}

#[test]
fn leader_without_quorum_steps_down() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    for _ in 0..19 {
        cluster.beat(1);
        cluster.deliver_among(&[1, 2]);
    }
    assert_eq!(cluster.raft(1).role(), Role::Leader);
    cluster.beat(1);
    cluster.deliver_among(&[1, 2]);
    assert_eq!(cluster.raft(1).role(), Role::Follower);
    let reason = StepDownReason::QuorumLost;
    assert!(cluster.server(1).events.contains(&Event::SteppedDown { term: Term(1), reason }));
}

#[test]
fn leader_with_quorum_contact_stays_leader() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    for _ in 0..100 {
        cluster.beat(1);
        cluster.deliver_among(&[1, 2, 3]);
    }
    assert_eq!(cluster.raft(1).role(), Role::Leader);
}

#[test]
fn candidate_follows_leader_of_same_term() {
    let mut cluster = Cluster::configured(3, |config| config.pre_vote = false);
    cluster.time_out(2);
    cluster.drain();
    let heartbeat = Heartbeat { term: Term(1), round: 1, commit_index: LogIndex(0) };
    cluster.hand_over(3, 2, Message::Heartbeat(heartbeat));
    assert_eq!(
        (cluster.raft(2).role(), cluster.raft(2).leader()),
        (Role::Follower, Some(NodeId(3)))
    );
}

#[test]
fn election_timer_resets_on_leader_contact_and_vote() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.pass(Duration::from_millis(900));
    let now = cluster.now;
    cluster.raft(1).tick(now);
    cluster.deliver();
    assert!(cluster.raft(2).deadline().unwrap() >= now + TIMEOUT_MIN);
}

#[test]
fn granted_vote_ends_pre_vote() {
    let mut cluster = Cluster::new(3);
    cluster.pass(TIMEOUT_MIN * 2);
    let later = PreVoteResponse { term: Term(1), campaign_term: Term(1), granted: false };
    cluster.hand_over(3, 2, Message::PreVoteResponse(later));
    cluster.time_out(2);
    assert_eq!(cluster.raft(2).role(), Role::PreCandidate);
    let request = RequestVote { term: Term(1), last_log: LogId::default(), transfer: false };
    cluster.hand_over(1, 2, Message::RequestVote(request));
    assert_eq!(cluster.raft(2).role(), Role::Follower);
    let promise = PreVoteResponse { term: Term(1), campaign_term: Term(2), granted: true };
    cluster.hand_over(3, 2, Message::PreVoteResponse(promise));
    assert_eq!((cluster.raft(2).role(), cluster.raft(2).term()), (Role::Follower, Term(1)));
}
