//! The status of followers.

use crate::cluster::Cluster;
use raft_core::{FollowerStatus, LogIndex, Membership, Message, NodeId};

fn known(cluster: &mut Cluster, id: u64) -> FollowerStatus {
    let followers = cluster.raft(1).status().followers;
    let mut known = followers.into_iter().filter(|known| known.id == NodeId(id));
    known.next().unwrap()
}

/// Server 1 leads, and server 3 has none of the proposed entries.
fn one_behind(configure: fn(&mut raft_core::Config)) -> Cluster {
    let mut cluster = Cluster::configured(3, configure);
    cluster.time_out(1);
    let appends = |message: &Message| matches!(message, Message::AppendEntries(_));
    cluster.deliver_where(|_, to, message| to != 3 || !appends(message));
    for command in ["a", "b", "c"] {
        cluster.propose(1, command);
    }
    cluster.deliver_among(&[1, 2]);
    cluster
}

#[test]
fn status_reports_snapshot_progress() {
    let mut cluster = one_behind(|config| config.snapshot_chunk_bytes_max = 1);
    assert_eq!(known(&mut cluster, 3).snapshot, None);
    cluster.take_snapshot(1, 0);
    cluster.install = false;
    let (last, mut received) = (cluster.raft(1).last_log(), Vec::new());
    let mut size = 0;
    for _ in 0..99 {
        cluster.beat(1);
        cluster.drain();
        for (from, to, message) in std::mem::take(&mut cluster.mail) {
            cluster.hand_over(from, to, message);
        }
        if let Some(progress) = known(&mut cluster, 3).snapshot {
            assert_eq!(progress.last, last);
            received.push(progress.received);
            size = progress.size;
        }
    }
    received.dedup();
    assert_eq!(size, cluster.raft(1).snapshot().unwrap().size);
    assert_eq!(received, (0..=size).collect::<Vec<_>>());
    let now = cluster.now;
    cluster.server(3).install(now);
    cluster.settle(1);
    let known = known(&mut cluster, 3);
    assert_eq!((known.snapshot, known.match_index), (None, last.index));
}

#[test]
fn status_reports_pending_fetch() {
    let mut cluster = one_behind(|config| config.log_cache_bytes_max = 0);
    assert!(!known(&mut cluster, 3).fetching);
    let mut seen = false;
    for _ in 0..40 {
        cluster.beat(1);
        cluster.deliver();
        seen |= known(&mut cluster, 3).fetching;
        let now = cluster.now;
        let server = cluster.server(1);
        for fetch in std::mem::take(&mut server.fetches) {
            let entries =
                server.disk.log[fetch.from.0 as usize - 1..fetch.through.0 as usize].to_vec();
            server.raft.fetched(fetch, entries, now);
        }
        cluster.deliver();
    }
    assert!(seen);
    let known = known(&mut cluster, 3);
    assert!(!known.fetching);
    assert!(known.match_index >= LogIndex(4));
}

#[test]
fn status_reports_learner_catch_up() {
    let mut cluster = Cluster::new(3);
    cluster.add(4, Membership::default());
    cluster.elect(1);
    cluster.settle(1);
    let now = cluster.now;
    let target = Membership::new([1, 2, 3].map(NodeId)).with_learners([NodeId(4)]);
    cluster.raft(1).change_membership(target, now).unwrap();
    assert!(!known(&mut cluster, 4).caught_up);
    cluster.settle(1);
    cluster.settle(1);
    assert!(known(&mut cluster, 4).caught_up);
}
