//! Responses and tokens of earlier requests and earlier boots. These rules cannot be disabled
//! (docs/verification/mutation-testing.md), so each has a test that fails without it.

use crate::cluster::Cluster;
use raft_core::{LogIndex, Message, NodeId, ReadId, ReadIndexResponse, ReadMode, ReadOutcome};

/// Delivers all messages except the leader's response to a ReadIndex of server 2, which is
/// returned.
fn answer(cluster: &mut Cluster) -> ReadIndexResponse {
    let kept = std::cell::RefCell::new(None);
    cluster.deliver_where(|_, _, message| match message {
        Message::ReadIndexResponse(answer) => {
            *kept.borrow_mut() = Some(answer.clone());
            false
        }
        _ => true,
    });
    kept.take().unwrap()
}

fn ready(cluster: &mut Cluster) -> Vec<ReadId> {
    cluster.drain();
    let reads = cluster.server(2).reads.iter();
    let ready = |outcome: &ReadOutcome| match outcome {
        ReadOutcome::Ready { id, .. } => Some(*id),
        ReadOutcome::Aborted { .. } => None,
    };
    reads.filter_map(ready).collect()
}

/// The leader committed an entry between the two requests.
#[test]
fn response_serves_only_its_batch() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    let first = cluster.read(2, ReadMode::Quorum);
    let late = answer(&mut cluster);
    let written = cluster.propose(1, "a");
    cluster.deliver_among(&[1, 3]);
    assert!(cluster.raft(1).commit_index() >= written.index);
    let second = cluster.read(2, ReadMode::Quorum);
    cluster.drain();
    assert!(late.read_index < written.index);
    cluster.hand_over(1, 2, Message::ReadIndexResponse(late));
    assert_eq!(ready(&mut cluster), [first]);
    cluster.settle(1);
    assert_eq!(ready(&mut cluster), [first, second]);
}

#[test]
fn unrequested_read_response_is_ignored() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    let read = cluster.read(2, ReadMode::Quorum);
    let honest = answer(&mut cluster);
    let mut forged = honest.clone();
    forged.batch = u64::MAX;
    forged.read_index = LogIndex(0);
    cluster.hand_over(1, 2, Message::ReadIndexResponse(forged));
    assert_eq!(ready(&mut cluster), []);
    cluster.hand_over(1, 2, Message::ReadIndexResponse(honest));
    assert_eq!(ready(&mut cluster), [read]);
}

/// The restart removed the snapshot that was being installed.
#[test]
fn install_token_from_earlier_boot_is_ignored() {
    let mut cluster = Cluster::new(3);
    cluster.time_out(1);
    cluster
        .deliver_where(|_, to, message| to != 3 || !matches!(message, Message::AppendEntries(_)));
    cluster.propose(1, "a");
    cluster.deliver_among(&[1, 2]);
    cluster.take_snapshot(1, 0);
    cluster.install = false;
    cluster.settle(1);
    let earlier = cluster.server(3).install.take().unwrap().installed();
    cluster.crash_and_restart(3);
    cluster.settle(1);
    assert!(cluster.server(3).install.is_some(), "it was sent again");
    let (now, known) = (cluster.now, |cluster: &mut Cluster| {
        let followers = cluster.raft(1).status().followers;
        let mut third = followers.iter().filter(|known| known.id == NodeId(3));
        third.next().unwrap().match_index
    });
    cluster.raft(3).snapshot_installed(earlier, now);
    cluster.settle(1);
    assert_eq!(known(&mut cluster), LogIndex(0));
    let now = cluster.now;
    cluster.server(3).install(now);
    cluster.settle(1);
    assert!(known(&mut cluster) > LogIndex(0));
}
