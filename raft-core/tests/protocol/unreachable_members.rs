//! Membership changes to unreachable servers, and their repair as described in the guide.

use crate::cluster::{Cluster, TIMEOUT_MIN};
use raft_core::{ChangeError, LogId, Membership, NodeId, Role};

fn voters(ids: &[u64]) -> Membership {
    Membership::new(ids.iter().copied().map(NodeId))
}

fn change(cluster: &mut Cluster, target: Membership) -> Result<LogId, ChangeError> {
    let now = cluster.now;
    cluster.raft(1).change_membership(target, now)
}

fn led() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    cluster
}

/// Lets heartbeat intervals pass, and delivers between the running servers.
fn settle(cluster: &mut Cluster, leader: u64, there: &[u64]) {
    for _ in 0..6 {
        cluster.beat(leader);
        cluster.deliver_among(there);
    }
}

/// Servers 7 and 8 are wrong ids.
#[test]
fn change_to_unreachable_members_completes_when_they_start() {
    let (founders, mut cluster) = ([1, 2, 3], led());
    let committed = cluster.raft(1).commit_index();
    change(&mut cluster, voters(&[3, 7, 8])).unwrap();
    cluster.propose(1, "a");
    settle(&mut cluster, 1, &founders);
    assert_eq!(cluster.raft(1).commit_index(), committed);
    assert_eq!(change(&mut cluster, voters(&[1, 2, 3])), Err(ChangeError::ChangeInProgress));
    // The leader steps down, and no server can be elected.
    cluster.pass(4 * TIMEOUT_MIN);
    let now = cluster.now;
    cluster.raft(1).tick(now);
    for id in founders {
        cluster.time_out(id);
        cluster.deliver_among(&founders);
    }
    assert!(founders.iter().all(|id| cluster.raft(*id).role() != Role::Leader));
    // One of them completes a majority of the new voters.
    let there = [1, 2, 3, 7];
    cluster.add(7, Membership::default());
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(1);
    cluster.deliver_among(&there);
    settle(&mut cluster, 1, &there);
    let membership = cluster.raft(3).membership().clone();
    assert_eq!(membership, voters(&[3, 7, 8]));
    for id in [3, 7] {
        assert_eq!(cluster.commands(id), ["a"]);
    }
}

#[test]
fn unreachable_joining_learner_is_harmless() {
    let (founders, mut cluster) = ([1, 2, 3], led());
    let target = voters(&founders).with_auto_promoted([NodeId(7)]);
    change(&mut cluster, target).unwrap();
    cluster.propose(1, "a");
    settle(&mut cluster, 1, &founders);
    assert_eq!(cluster.commands(2), ["a"]);
    assert!(!cluster.raft(1).membership().is_voter(NodeId(7)));
    let corrected = change(&mut cluster, voters(&founders)).unwrap();
    settle(&mut cluster, 1, &founders);
    assert!(cluster.raft(1).commit_index() >= corrected.index);
    assert_eq!(*cluster.raft(2).membership(), voters(&founders));
}
