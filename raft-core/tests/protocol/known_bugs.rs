//! Bugs of other implementations for which no other test exists. docs/verification/bugs.md lists
//! all of them.

use crate::cluster::{Cluster, TIMEOUT_MIN, entry};
use raft_core::{
    AppendEntries, Heartbeat, LogId, LogIndex, Membership, Message, NodeId, PreVoteResponse,
    RequestVoteResponse, Role, Term, TransferError,
};

/// openraft PR 1220: a message of a later term deposes a candidate, regardless of its content.
#[test]
fn grant_from_later_term_is_not_counted() {
    let mut cluster = Cluster::new(3);
    cluster.time_out(1);
    cluster.deliver_where(|_, _, message| !matches!(message, Message::RequestVote(_)));
    assert_eq!(cluster.raft(1).role(), Role::Candidate);
    for voter in [2, 3] {
        let vote = RequestVoteResponse { term: Term(7), granted: true };
        cluster.hand_over(voter, 1, Message::RequestVoteResponse(vote));
    }
    assert_eq!(cluster.raft(1).role(), Role::Follower);
    assert_eq!(cluster.raft(1).term(), Term(7));
}

/// openraft #2080: a majority in a later term elects, although the old leader still sends
/// heartbeats.
#[test]
fn stale_heartbeat_does_not_delay_election() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    cluster.settle(1);
    cluster.pass(2 * TIMEOUT_MIN);
    // The others are in a later term, which the old leader does not know.
    for id in 2..=5 {
        let later = PreVoteResponse { term: Term(4), campaign_term: Term(4), granted: false };
        cluster.hand_over(id % 5 + 1, id, Message::PreVoteResponse(later));
    }
    for _ in 0..3 {
        for id in 2..=5 {
            let deadline = cluster.raft(id).deadline();
            let old = Heartbeat { term: Term(1), round: 99, commit_index: LogIndex(0) };
            cluster.hand_over(1, id, Message::Heartbeat(old));
            assert_eq!(cluster.raft(id).deadline(), deadline);
        }
    }
    cluster.time_out(3);
    cluster.deliver_among(&[2, 3, 4, 5]);
    assert_eq!(cluster.raft(3).role(), Role::Leader);
}

/// etcd and others: pre-votes arrive after the election.
#[test]
fn stale_pre_vote_grant_is_ignored_by_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let term = cluster.raft(1).term();
    for campaign_term in [term, Term(term.0 + 1)] {
        let promise = PreVoteResponse { term, campaign_term, granted: true };
        cluster.hand_over(2, 1, Message::PreVoteResponse(promise));
        assert_eq!((cluster.raft(1).role(), cluster.raft(1).term()), (Role::Leader, term));
    }
}

/// The server's own vote of an earlier term becomes durable during the next campaign.
#[test]
fn own_vote_counts_only_in_its_term() {
    let mut cluster = Cluster::configured(1, |config| config.pre_vote = false);
    cluster.sync = false;
    cluster.time_out(1);
    cluster.drain();
    cluster.time_out(1);
    cluster.drain();
    assert_eq!(cluster.raft(1).term(), Term(2));
    let (first, now) = (cluster.server(1).writes.pop_front().unwrap(), cluster.now);
    assert_eq!(first.hard_state.unwrap().term, Term(1));
    cluster.raft(1).persisted(first.token, now);
    cluster.drain();
    assert_eq!(cluster.raft(1).role(), Role::Candidate);
    cluster.server(1).sync(now);
    cluster.drain();
    assert_eq!(cluster.raft(1).role(), Role::Leader);
}

/// A new term and its first entries are one write, so a crash leaves both or none.
#[test]
fn term_and_first_entries_are_one_write() {
    let mut cluster = Cluster::new(3);
    cluster.sync = false;
    let request = AppendEntries {
        term: Term(3),
        prev_log: LogId::default(),
        entries: [entry(3, 1)].into(),
        leader_commit: LogIndex(0),
    };
    cluster.hand_over(1, 2, Message::AppendEntries(request));
    cluster.drain();
    let server = cluster.server(2);
    let write = server.writes.back().unwrap();
    assert_eq!(write.hard_state.unwrap().term, Term(3));
    assert_eq!(write.entries.last().map(|entry| entry.id.term), Some(Term(3)));
}

/// A server that is about to lose its vote cannot be the target of a transfer.
#[test]
fn demoted_server_is_not_a_transfer_target() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    let now = cluster.now;
    let demoted = Membership::new([1, 2].map(NodeId)).with_learners([NodeId(3)]);
    cluster.raft(1).change_membership(demoted, now).unwrap();
    assert!(cluster.raft(1).membership().is_voter(NodeId(3)), "until the change is over");
    assert_eq!(
        cluster.raft(1).transfer_leadership(Some(NodeId(3)), now),
        Err(TransferError::CannotLead(NodeId(3)))
    );
    cluster.settle(1);
    assert_eq!(
        cluster.raft(1).transfer_leadership(Some(NodeId(3)), now),
        Err(TransferError::CannotLead(NodeId(3)))
    );
}
