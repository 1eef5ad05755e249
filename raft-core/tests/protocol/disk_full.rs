//! Full disks: waiting writes, and the transfer of leadership.

use crate::cluster::Cluster;
use raft_core::{
    ChangeError, Event, IgnoreReason, Membership, Message, NodeId, ProposeError, ReadMode,
    ReadOutcome, Role,
};

/// Makes the disks of these servers full: their writes stay pending.
fn fill(cluster: &mut Cluster, full: &[u64]) {
    cluster.full = full.iter().copied().collect();
    let now = cluster.now;
    for id in cluster.servers.keys().copied().collect::<Vec<_>>() {
        cluster.raft(id).set_disk_full(full.contains(&id), now);
    }
}

fn propose(cluster: &mut Cluster, id: u64) -> Result<raft_core::LogId, ProposeError> {
    let now = cluster.now;
    cluster.raft(id).propose("x".into(), now)
}

fn beats(cluster: &mut Cluster, leader: u64, times: usize) {
    for _ in 0..times {
        cluster.beat(leader);
        cluster.deliver();
    }
}

#[test]
fn full_leader_transfers() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    fill(&mut cluster, &[1]);
    assert_eq!(propose(&mut cluster, 1), Err(ProposeError::DiskFull));
    let now = cluster.now;
    let change = cluster.raft(1).change_membership(Membership::new([NodeId(1), NodeId(2)]), now);
    assert_eq!(change, Err(ChangeError::DiskFull));
    beats(&mut cluster, 1, 2);
    let leaders: Vec<_> = (1..=3).filter(|id| cluster.raft(*id).role() == Role::Leader).collect();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
    // The disk has space again, and the server catches up.
    let entry = propose(&mut cluster, leaders[0]).unwrap();
    cluster.deliver();
    assert!(cluster.raft(1).durable_index() < entry.index);
    fill(&mut cluster, &[]);
    cluster.settle(leaders[0]);
    assert_eq!(cluster.raft(1).durable_index(), entry.index);
    assert_eq!(cluster.commands(1), ["x"]);
}

/// All followers have the whole log, and one of them does not take over the leadership.
#[test]
fn full_leader_changes_unresponsive_target() {
    for (dead, deaf) in [(2, 0), (3, 0), (4, 0), (5, 0), (0, 2), (0, 3), (0, 4), (0, 5)] {
        let mut cluster = Cluster::new(5);
        cluster.elect(1);
        cluster.settle(1);
        fill(&mut cluster, &[1]);
        cluster.deliver();
        for _ in 0..60 {
            cluster.beat(1);
            cluster.deliver_where(|from, to, message| {
                let is_lost = to == deaf && matches!(message, Message::TimeoutNow(_));
                from != dead && to != dead && !is_lost
            });
        }
        let role = cluster.raft(1).role();
        assert_eq!(role, Role::Follower, "{dead} is dead, {deaf} is deaf");
    }
}

/// Another candidate could not be elected, and would only depose the leader that serves reads.
#[test]
fn full_leader_stays_without_quorum() {
    for full in [&[1, 2][..], &[1, 2, 3]] {
        let mut cluster = Cluster::new(3);
        cluster.elect(1);
        cluster.settle(1);
        fill(&mut cluster, full);
        beats(&mut cluster, 1, 60);
        assert_eq!(cluster.raft(1).role(), Role::Leader, "{full:?}");
        let read = cluster.read(1, ReadMode::Quorum);
        beats(&mut cluster, 1, 1);
        let ready =
            |outcome: &ReadOutcome| matches!(outcome, ReadOutcome::Ready { id, .. } if *id == read);
        assert!(cluster.server(1).reads.iter().any(ready), "{full:?}");
        assert_eq!(propose(&mut cluster, 1), Err(ProposeError::DiskFull));
        fill(&mut cluster, &[]);
        cluster.settle(1);
        propose(&mut cluster, 1).unwrap();
        cluster.settle(1);
        assert_eq!(cluster.commands(2), ["x"], "{full:?}");
    }
}

#[test]
fn full_follower_acknowledges_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    fill(&mut cluster, &[3]);
    let now = cluster.now;
    cluster.raft(1).transfer_leadership(Some(NodeId(3)), now).unwrap();
    beats(&mut cluster, 1, 1);
    assert_eq!(cluster.raft(1).role(), Role::Leader);
    let ignored = Event::MessageIgnored { from: NodeId(1), reason: IgnoreReason::DiskFull };
    assert!(cluster.server(3).events.contains(&ignored));
    let term = cluster.raft(3).term();
    cluster.time_out(3);
    cluster.deliver();
    assert_eq!((cluster.raft(3).role(), cluster.raft(3).term()), (Role::Follower, term));
}
