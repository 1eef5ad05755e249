//! Changes of the membership: §6, dissertation 4.

use std::time::Duration;

use crate::cluster::{Cluster, TIMEOUT_MIN, entry};
use raft_core::{
    AppendEntries, AppendResult, ChangeError, ChangeStage, Entry, Event, LogId, LogIndex,
    Membership, MembershipError, Message, NodeId, Payload, ProposeError, ReadError, ReadMode, Role,
    Term,
};

fn nodes(ids: &[u64]) -> impl Iterator<Item = NodeId> {
    ids.iter().map(|id| NodeId(*id))
}

fn voters(ids: &[u64]) -> Membership {
    Membership::new(nodes(ids))
}

fn change(cluster: &mut Cluster, leader: u64, target: Membership) -> Result<LogId, ChangeError> {
    let now = cluster.now;
    cluster.raft(leader).change_membership(target, now)
}

/// A cluster of the servers 1 to `size` with leader 1, and servers that can be added.
fn led(size: u64, waiting: &[u64]) -> Cluster {
    let mut cluster = Cluster::new(size);
    for id in waiting {
        cluster.add(*id, Membership::default());
    }
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.settle(1);
    cluster
}

fn accepted(index: u64) -> AppendResult {
    AppendResult::Accepted { match_index: LogIndex(index) }
}

fn is_membership(message: &Message) -> bool {
    let carries = |entry: &Entry| matches!(entry.payload, Payload::Membership(_));
    matches!(message, Message::AppendEntries(append) if append.entries.iter().any(carries))
}

#[test]
fn three_servers_grow_to_five_and_are_replaced() {
    let mut cluster = led(3, &[4, 5]);
    change(&mut cluster, 1, voters(&[1, 2, 3, 4, 5])).unwrap();
    cluster.settle(1);
    for id in 1..=5 {
        assert_eq!(*cluster.raft(id).membership(), voters(&[1, 2, 3, 4, 5]));
        assert_eq!(cluster.commands(id), ["a"]);
    }
    change(&mut cluster, 1, voters(&[1, 4, 5])).unwrap();
    cluster.settle(1);
    assert_eq!(*cluster.raft(5).membership(), voters(&[1, 4, 5]));
    cluster.propose(1, "b");
    cluster.deliver_among(&[1, 4, 5]);
    assert_eq!(cluster.commands(1), ["a", "b"]);
}

#[test]
fn all_servers_are_replaced_at_once() {
    let mut cluster = led(3, &[4, 5, 6]);
    change(&mut cluster, 1, voters(&[4, 5, 6])).unwrap();
    cluster.settle(1);
    assert_eq!(cluster.raft(1).role(), Role::Follower, "the leader left");
    let leader = (4..=6).find(|id| cluster.raft(*id).role() == Role::Leader).unwrap();
    cluster.propose(leader, "b");
    cluster.deliver_among(&[4, 5, 6]);
    assert_eq!(cluster.commands(leader), ["a", "b"]);
}

/// etcd #11284, #12359: a membership that takes effect only when it is applied allows two leaders.
#[test]
fn change_takes_effect_on_append() {
    let mut cluster = led(3, &[4, 5]);
    change(&mut cluster, 1, voters(&[1, 2, 3, 4, 5])).unwrap();
    assert!(cluster.raft(1).membership().is_joint());
    cluster.deliver_where(|from, to, message| {
        (from, to) == (1, 2) && !matches!(message, Message::Heartbeat(_))
    });
    assert!(cluster.raft(2).membership().is_joint());
    assert!(cluster.raft(2).commit_index() < cluster.raft(2).last_log().index);
}

/// Neither of the two majorities decides alone.
#[test]
fn joint_commit_needs_both_quorums() {
    let mut cluster = led(3, &[4, 5, 6]);
    let joint = change(&mut cluster, 1, voters(&[4, 5, 6])).unwrap();
    cluster.deliver_among(&[1, 2, 3]);
    cluster.beat(1);
    cluster.deliver_among(&[1, 2, 3]);
    assert!(cluster.raft(1).commit_index() < joint.index, "only the old half");
    for _ in 0..4 {
        cluster.beat(1);
        cluster.deliver_where(|from, to, message| {
            is_membership(message) || (from, to) == (1, 4) || (from, to) == (4, 1)
        });
    }
    assert!(cluster.raft(1).commit_index() < joint.index, "one of the new half");
    cluster.settle(1);
    assert!((4..=6).any(|id| cluster.raft(id).commit_index() > joint.index));
}

#[test]
fn joint_election_needs_both_quorums() {
    let mut cluster = led(3, &[4, 5, 6]);
    change(&mut cluster, 1, voters(&[4, 5, 6])).unwrap();
    // All servers have the change, and none knows that it is committed.
    let is_ack = |message: &Message| matches!(message, Message::AppendEntriesResponse(r) if r.result == accepted(3));
    for _ in 0..3 {
        cluster.deliver_where(|_, _, message| !is_ack(message));
        cluster.beat(1);
    }
    assert!((1..=6).all(|id| cluster.raft(id).membership().is_joint()));
    cluster.drain();
    cluster.mail.clear();
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(2);
    cluster.deliver_among(&[1, 2, 3]);
    assert_eq!(cluster.raft(2).role(), Role::PreCandidate);
    cluster.time_out(2);
    cluster.deliver();
    let leads = |event: &Event| matches!(event, Event::BecameLeader { .. });
    assert!(cluster.server(2).events.iter().any(leads));
}

#[test]
fn truncated_change_is_reverted() {
    let mut cluster = led(3, &[4]);
    change(&mut cluster, 1, voters(&[1, 2, 3, 4])).unwrap();
    cluster.deliver_among(&[1]);
    assert!(cluster.raft(1).membership().is_joint());
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(2);
    cluster.deliver_among(&[2, 3]);
    assert_eq!(cluster.raft(2).role(), Role::Leader);
    cluster.settle(2);
    assert_eq!(*cluster.raft(1).membership(), voters(&[1, 2, 3]));
}

/// camunda #60086, etcd #12136: the next leader completes the change, once.
#[test]
fn new_leader_finishes_pending_change() {
    let mut cluster = led(3, &[4, 5]);
    let joint = change(&mut cluster, 1, voters(&[1, 4, 5])).unwrap();
    // All servers have the joint membership, and none knows that it is committed.
    cluster.deliver_where(|_, _, message| !matches!(message, Message::AppendEntriesResponse(_)));
    for _ in 0..2 {
        cluster.beat(1);
        cluster.deliver_where(|from, _, message| {
            from == 1 || !matches!(message, Message::AppendEntriesResponse(_))
        });
    }
    let caught_up: Vec<_> =
        (1..=5).filter(|id| cluster.raft(*id).last_log().index >= joint.index).collect();
    assert!(caught_up.contains(&2), "{caught_up:?}");
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(2);
    cluster.deliver_where(|from, to, _| from != 1 && to != 1);
    for _ in 0..6 {
        cluster.beat(2);
        cluster.deliver_where(|from, to, _| from != 1 && to != 1);
        if cluster.raft(2).role() != Role::Leader {
            break;
        }
    }
    let membership_entries = |cluster: &mut Cluster, id| {
        let entries = cluster.raft(id).entries(LogIndex(1));
        let is_membership = |entry: &&Entry| matches!(entry.payload, Payload::Membership(_));
        entries.filter(is_membership).count()
    };
    assert_eq!(membership_entries(&mut cluster, 2), 2, "into it and out of it");
    assert_eq!(*cluster.raft(4).membership(), voters(&[1, 4, 5]));
}

/// The joint membership must be committed before it is left.
#[test]
fn joint_membership_is_left_when_committed() {
    let mut cluster = led(3, &[4]);
    let joint = change(&mut cluster, 1, voters(&[1, 2, 3, 4])).unwrap();
    cluster.drain();
    assert_eq!(cluster.raft(1).last_log(), joint);
    cluster.settle(1);
    assert_eq!(cluster.raft(1).last_log().index, joint.index.next());
    assert!(!cluster.raft(1).membership().is_joint());
}

/// The bug of single-server changes from 2015: two leaders each start a change that the other does
/// not know.
#[test]
fn change_needs_commit_in_own_term() {
    let mut cluster = led(4, &[5]);
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(2);
    cluster.deliver_where(|_, _, message| !matches!(message, Message::AppendEntries(_)));
    assert_eq!(cluster.raft(2).role(), Role::Leader);
    let refused = change(&mut cluster, 2, voters(&[2, 3, 4]));
    assert_eq!(refused, Err(ChangeError::NotReady));
    cluster.settle(2);
    change(&mut cluster, 2, voters(&[2, 3, 4])).unwrap();
}

#[test]
fn rejected_changes_have_reasons() {
    let mut cluster = led(3, &[4]);
    let leader = Some(NodeId(1));
    assert_eq!(change(&mut cluster, 2, voters(&[1])), Err(ChangeError::NotLeader { leader }));
    assert_eq!(
        change(&mut cluster, 1, Membership::default()),
        Err(ChangeError::Invalid(MembershipError::NoVoters))
    );
    assert_eq!(change(&mut cluster, 1, voters(&[1, 2, 3])), Err(ChangeError::NoChange));
    assert_eq!(
        change(&mut cluster, 1, voters(&[1, 2, 3]).with_witnesses(nodes(&[3]))),
        Err(ChangeError::WitnessChanged(NodeId(3)))
    );
    change(&mut cluster, 1, voters(&[1, 2, 3, 4])).unwrap();
    assert_eq!(change(&mut cluster, 1, voters(&[1, 2])), Err(ChangeError::ChangeInProgress));
}

#[test]
fn removed_leader_steps_down_and_is_not_counted() {
    let mut cluster = led(3, &[]);
    change(&mut cluster, 1, voters(&[2, 3])).unwrap();
    // The leader may not leave the joint membership yet.
    cluster.deliver_where(|from, to, _| from != 3 && to != 3);
    cluster.beat(1);
    cluster.deliver_where(|from, to, _| from != 3 && to != 3);
    assert_eq!(cluster.raft(1).role(), Role::Leader);
    assert!(cluster.raft(1).membership().is_joint(), "one of two new voters is no majority");
    cluster.settle(1);
    assert_eq!(cluster.raft(1).role(), Role::Follower);
    assert_eq!(cluster.raft(1).deadline(), None, "it never stands again");
    let leads = |id| cluster.servers[&id].raft.role() == Role::Leader;
    assert!(leads(2) || leads(3), "it handed over");
}

fn is_command(message: &Message) -> bool {
    let carries = |entry: &Entry| matches!(entry.payload, Payload::Command(_));
    matches!(message, Message::AppendEntries(append) if append.entries.iter().any(carries))
}

/// A leader whose removal is in progress, and which appends a command after it.
fn leaving() -> Cluster {
    let mut cluster = led(3, &[]);
    change(&mut cluster, 1, voters(&[2, 3])).unwrap();
    while cluster.raft(1).membership().is_joint() {
        cluster.drain();
        for (from, to, message) in std::mem::take(&mut cluster.mail) {
            cluster.hand_over(from, to, message);
        }
    }
    cluster.drain();
    cluster.propose(1, "b");
    cluster
}

/// E4: TimeoutNow overtook entries, and the target lost the election because it lacked them.
#[test]
fn removed_leader_transfers_to_server_with_last_entry() {
    let mut cluster = leaving();
    for _ in 0..3 {
        cluster.beat(1);
        cluster.deliver_where(|_, _, message| !is_command(message));
    }
    let (commit, index) = (cluster.raft(1).commit_index(), cluster.raft(1).membership_index());
    assert!(commit >= index && cluster.raft(1).last_log().index > commit);
    let stands = |cluster: &Cluster| {
        let is_told = |event: &Event| matches!(event, Event::TimeoutNowReceived { .. });
        cluster.servers.values().any(|server| server.events.iter().any(is_told))
    };
    assert!(!stands(&cluster), "no server has the command");
    let now = cluster.now;
    let refused = cluster.raft(1).propose("c".into(), now);
    assert!(matches!(refused, Err(ProposeError::Transferring { .. })), "{refused:?}");
    cluster.settle(1);
    assert!(stands(&cluster));
    assert_eq!(cluster.raft(1).role(), Role::Follower);
    let leader = [2, 3].into_iter().find(|id| cluster.raft(*id).role() == Role::Leader).unwrap();
    assert_eq!(cluster.raft(leader).term(), Term(2), "the first election was won");
    assert_eq!(cluster.commands(leader), ["a", "b"]);
}

#[test]
fn removed_leader_steps_down_if_no_server_catches_up() {
    let mut cluster = leaving();
    let mut led_on = 0;
    for _ in 0..40 {
        cluster.beat(1);
        cluster.deliver_where(|_, _, message| !is_command(message));
        led_on += usize::from(cluster.raft(1).role() == Role::Leader);
    }
    assert!((15..25).contains(&led_on), "for an election timeout: {led_on} heartbeats");
    assert_eq!(cluster.raft(1).role(), Role::Follower);
}

/// E1: the change seemed complete, and the next step of a replacement removed another voter.
#[test]
fn change_is_in_progress_until_joining_servers_are_voters() {
    let mut cluster = led(3, &[]);
    assert_eq!(cluster.raft(1).change_in_progress(), None);
    let (founders, joining) = (voters(&[1, 2, 3]), vec![NodeId(4)]);
    let target = founders.clone().with_auto_promoted(nodes(&[4]));
    let entry = change(&mut cluster, 1, target).unwrap().index;
    assert_eq!(cluster.raft(1).change_in_progress(), Some(ChangeStage::Commit { entry }));
    cluster.settle_among(1, &[1, 2, 3]);
    let waits = Some(ChangeStage::CatchUp { joining });
    for id in 1..=3 {
        assert_eq!(cluster.raft(id).change_in_progress(), waits);
    }
    // Server 4 starts, and becomes a voter.
    cluster.add(4, Membership::default());
    let mut stages = Vec::new();
    for _ in 0..40 {
        cluster.beat(1);
        cluster.drain();
        for (from, to, message) in std::mem::take(&mut cluster.mail) {
            cluster.hand_over(from, to, message);
        }
        stages.push(cluster.raft(1).change_in_progress());
    }
    assert!(stages.iter().any(|stage| matches!(stage, Some(ChangeStage::Joint { .. }))));
    assert_eq!(stages.last(), Some(&None));
    assert!(cluster.raft(1).membership().voters().contains(&NodeId(4)));
    // The addition of a server that does not start is cancelled.
    let current = cluster.raft(1).membership().clone();
    change(&mut cluster, 1, current.clone().with_auto_promoted(nodes(&[5]))).unwrap();
    cluster.settle_among(1, &[1, 2, 3, 4]);
    assert!(cluster.raft(1).change_in_progress().is_some());
    let without = cluster.raft(1).membership().clone().without(nodes(&[5]));
    assert_eq!(without, current);
    change(&mut cluster, 1, without).unwrap();
    cluster.settle_among(1, &[1, 2, 3, 4]);
    assert_eq!(cluster.raft(1).change_in_progress(), None);
}

/// E1: after a change of the leader, the change seemed complete although it was lost.
#[test]
fn lost_change_is_not_in_progress_and_adds_no_voter() {
    let mut cluster = led(3, &[]);
    let founders = voters(&[1, 2, 3]);
    change(&mut cluster, 1, founders.clone().with_auto_promoted(nodes(&[4]))).unwrap();
    assert!(cluster.raft(1).change_in_progress().is_some());
    cluster.deliver_among(&[1]);
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(2);
    cluster.deliver();
    cluster.settle(2);
    assert_eq!(cluster.raft(2).role(), Role::Leader);
    for id in 1..=3 {
        assert_eq!(cluster.raft(id).change_in_progress(), None);
        assert_eq!(*cluster.raft(id).membership(), founders);
    }
}

/// E13: clients of a removed leader waited for an election without end.
#[test]
fn removed_server_rejects_reads_as_non_member() {
    let mut cluster = led(3, &[4]);
    assert!(cluster.raft(1).is_member() && !cluster.raft(4).is_member());
    change(&mut cluster, 1, voters(&[2, 3]).with_learners(nodes(&[4]))).unwrap();
    cluster.settle(1);
    let leader = [2, 3].into_iter().find(|id| cluster.raft(*id).role() == Role::Leader).unwrap();
    cluster.settle(leader);
    cluster.pass(3 * TIMEOUT_MIN);
    let now = cluster.now;
    cluster.raft(1).tick(now);
    assert!(!cluster.raft(1).is_member() && cluster.raft(4).is_member());
    let read = cluster.raft(1).read(ReadMode::Quorum, now);
    assert_eq!(read, Err(ReadError::NotAMember));
}

/// Removed servers do not interrupt the members.
#[test]
fn removed_server_does_not_disrupt() {
    let mut cluster = led(4, &[]);
    change(&mut cluster, 1, voters(&[1, 2, 3])).unwrap();
    cluster.deliver_where(|_, to, _| to != 4);
    cluster.settle(1);
    let term = cluster.raft(1).term();
    for _ in 0..20 {
        cluster.beat(1);
        cluster.deliver_where(|from, to, _| from != 4 && to != 4);
        if cluster.raft(4).deadline().is_some_and(|deadline| deadline <= cluster.now) {
            let now = cluster.now;
            cluster.raft(4).tick(now);
        }
        cluster.deliver_where(|_, to, _| to != 4);
    }
    assert_eq!(cluster.raft(1).term(), term);
    assert_eq!(cluster.raft(1).role(), Role::Leader);
}

#[test]
fn learners_replicate_but_do_not_vote() {
    let mut cluster = led(3, &[4, 5, 6]);
    let target = voters(&[1, 2, 3]).with_learners(nodes(&[4, 5, 6]));
    change(&mut cluster, 1, target).unwrap();
    cluster.settle(1);
    assert_eq!(cluster.commands(4), ["a"]);
    assert_eq!(cluster.raft(4).status().election_timer, None);
    let proposed = cluster.propose(1, "b");
    cluster.deliver_among(&[1, 4, 5, 6]);
    assert!(cluster.raft(1).commit_index() < proposed.index);
}

/// The candidate's log may contain a membership with this server as a voter that its own log lacks.
#[test]
fn learner_grants_vote_to_candidate_that_counts_it() {
    let mut cluster = led(3, &[4]);
    change(&mut cluster, 1, voters(&[1, 2, 3]).with_learners(nodes(&[4]))).unwrap();
    cluster.settle(1);
    change(&mut cluster, 1, voters(&[2, 3, 4])).unwrap();
    cluster.deliver_where(|_, to, _| to != 4);
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(2);
    cluster.deliver_where(|from, to, message| {
        let votes = matches!(
            message,
            Message::PreVote(_)
                | Message::PreVoteResponse(_)
                | Message::RequestVote(_)
                | Message::RequestVoteResponse(_)
        );
        votes && from != 3 && to != 3
    });
    assert!(!cluster.raft(4).membership().is_voter(NodeId(4)));
    assert_eq!(cluster.raft(2).role(), Role::Leader);
}

#[test]
fn caught_up_learner_is_promoted() {
    let mut cluster = led(3, &[4]);
    for _ in 0..100 {
        cluster.propose(1, "x");
    }
    cluster.settle(1);
    let target = voters(&[1, 2, 3]).with_auto_promoted(nodes(&[4]));
    change(&mut cluster, 1, target).unwrap();
    // A learner that is too slow stays a learner.
    for _ in 0..20 {
        cluster.propose(1, "y");
        cluster.pass(Duration::from_millis(100));
        let now = cluster.now;
        cluster.raft(1).tick(now);
        cluster.deliver_where(|from, _, _| from != 4);
    }
    assert!(!cluster.raft(1).membership().is_voter(NodeId(4)));
    cluster.settle(1);
    cluster.settle(1);
    assert_eq!(*cluster.raft(4).membership(), voters(&[1, 2, 3, 4]));
}

/// The learner had caught up earlier, when it was not joining.
#[test]
fn dead_learner_is_not_promoted_for_past_progress() {
    let mut cluster = led(3, &[4]);
    let target = voters(&[1, 2, 3]).with_learners(nodes(&[4]));
    change(&mut cluster, 1, target).unwrap();
    cluster.settle(1);
    for _ in 0..50 {
        cluster.propose(1, "x");
        cluster.beat(1);
        cluster.deliver_among(&[1, 2, 3]);
    }
    let target = voters(&[1, 2, 3]).with_auto_promoted(nodes(&[4]));
    change(&mut cluster, 1, target).unwrap();
    for _ in 0..20 {
        cluster.beat(1);
        cluster.deliver_among(&[1, 2, 3]);
    }
    assert!(!cluster.raft(1).membership().is_voter(NodeId(4)));
    // The learner responds, and has not caught up because its disk is slow.
    cluster.full.insert(4);
    cluster.settle(1);
    assert!(!cluster.raft(1).membership().is_voter(NodeId(4)));
    cluster.full.clear();
    let now = cluster.now;
    cluster.server(4).sync(now);
    cluster.settle(1);
    cluster.settle(1);
    assert_eq!(*cluster.raft(4).membership(), voters(&[1, 2, 3, 4]));
}

#[test]
fn dead_caught_up_learner_is_not_promoted() {
    let mut cluster = led(3, &[4]);
    let target = voters(&[1, 2, 3]).with_auto_promoted(nodes(&[4]));
    change(&mut cluster, 1, target).unwrap();
    // No change starts during a leadership transfer.
    let now = cluster.now;
    cluster.raft(1).transfer_leadership(Some(NodeId(3)), now).unwrap();
    for _ in 0..5 {
        cluster.beat(1);
        cluster.deliver_among(&[1, 2, 4]);
    }
    for _ in 0..50 {
        cluster.beat(1);
        cluster.deliver_among(&[1, 2]);
    }
    cluster.propose(1, "the transfer has been given up");
    assert!(!cluster.raft(1).membership().is_voter(NodeId(4)));
    cluster.settle(1);
    cluster.settle(1);
    assert_eq!(*cluster.raft(4).membership(), voters(&[1, 2, 3, 4]));
}

/// The only remaining voter lacks the change, and cannot win against the servers that have it.
#[test]
fn outgoing_voter_may_lead_until_commit() {
    let mut cluster = led(5, &[]);
    let target = || voters(&[5]).with_learners(nodes(&[1, 2, 3, 4]));
    change(&mut cluster, 1, target()).unwrap();
    let leaves = |message: &Message| {
        match message {
        Message::AppendEntries(append) => append.entries.iter().any(|entry| {
            matches!(&entry.payload, Payload::Membership(membership) if !membership.is_joint())
        }),
        _ => false,
    }
    };
    cluster.deliver_where(|_, to, message| to != 5 || !leaves(message));
    assert_eq!(*cluster.raft(2).membership(), target());
    assert!(cluster.raft(5).membership().is_joint());
    for id in 1..=3 {
        cluster.crash_and_restart(id);
    }
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(5);
    cluster.deliver();
    assert_ne!(cluster.raft(5).role(), Role::Leader);
    cluster.time_out(2);
    cluster.deliver();
    cluster.settle(2);
    assert_eq!(*cluster.raft(5).membership(), target());
    assert_eq!(cluster.raft(5).role(), Role::Leader, "it was handed over");
    assert_eq!(cluster.raft(2).status().election_timer, None);
}

#[test]
fn invalid_membership_entry_is_rejected() {
    let mut cluster = Cluster::new(3);
    let mut senseless = entry(1, 1);
    senseless.payload = Payload::Membership(Box::default());
    let request = AppendEntries {
        term: Term(1),
        prev_log: LogId::default(),
        entries: [senseless].into(),
        leader_commit: LogIndex(1),
    };
    cluster.hand_over(1, 2, Message::AppendEntries(request));
    cluster.deliver();
    assert_eq!(cluster.raft(2).last_log(), LogId::default());
    assert_eq!(*cluster.raft(2).membership(), voters(&[1, 2, 3]));
}

/// A joining server took a snapshot before it had the entry that added it. It does not know the
/// founders, so the snapshot has no members. When this server leads, no follower accepts the
/// snapshot.
#[test]
fn server_without_membership_takes_no_snapshot() {
    let mut cluster = Cluster::configured(3, |config| config.append_bytes_max = 60);
    cluster.elect(1);
    for command in ["a", "b", "c", "d"] {
        cluster.propose(1, command);
    }
    cluster.settle(1);
    let joins = |cluster: &mut Cluster, leader, id| {
        cluster.add(id, Membership::default());
        let now = cluster.now;
        let target = cluster.raft(leader).membership().clone().with_auto_promoted([NodeId(id)]);
        cluster.raft(leader).change_membership(target, now).unwrap();
    };
    joins(&mut cluster, 1, 4);
    let is_change = |m: &Message| matches!(m, Message::AppendEntries(a) if a.entries.iter().any(|e| matches!(e.payload, Payload::Membership(_))));
    cluster.deliver_where(|_, to, m| to != 4 || !is_change(m));
    cluster.take_snapshot(4, 0);
    assert_eq!(cluster.raft(4).stopped(), None);
    for _ in 0..5 {
        cluster.settle(1);
    }
    assert!(cluster.raft(4).membership().voters().contains(&NodeId(4)));
    let now = cluster.now;
    cluster.raft(1).transfer_leadership(Some(NodeId(4)), now).unwrap();
    cluster.deliver();
    cluster.settle(4);
    assert_eq!(cluster.raft(4).role(), Role::Leader);
    joins(&mut cluster, 4, 5);
    for _ in 0..50 {
        cluster.settle(4);
    }
    assert_eq!(cluster.raft(5).commit_index(), cluster.raft(4).commit_index());
}
