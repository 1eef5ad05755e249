//! Witnesses: votes without data.

use crate::cluster::{Cluster, TIMEOUT_MIN, entry};
use raft_core::*;

fn voters(ids: &[u64]) -> Membership {
    Membership::new(ids.iter().copied().map(NodeId))
}

/// Server 1 leads. The last one of three servers is a witness, or the last two of five.
fn led(size: u64) -> Cluster {
    let configure: fn(&mut Config) = match size {
        3 => |config| config.witness = config.id == NodeId(3),
        _ => |config| config.witness = config.id >= NodeId(4),
    };
    let mut cluster = Cluster::configured(0, configure);
    let witnesses = (size / 2 + 2..=size).map(NodeId);
    let founders = Membership::new((1..=size).map(NodeId)).with_witnesses(witnesses);
    for id in 1..=size {
        cluster.add(id, founders.clone());
    }
    cluster.elect(1);
    cluster.settle(1);
    cluster
}

/// The others have been down for so long that they do not keep up.
fn without(cluster: &mut Cluster, leader: u64, island: &[u64]) {
    for _ in 0..15 {
        cluster.beat(leader);
        cluster.deliver_among(island);
    }
}

/// Returns true if one of these servers is elected.
fn one_is_elected(cluster: &mut Cluster, island: &[u64]) -> bool {
    for id in island.repeat(20) {
        cluster.pass(2 * TIMEOUT_MIN);
        if cluster.raft(id).deadline().is_some() {
            cluster.time_out(id);
            cluster.deliver_among(island);
        }
        if cluster.raft(id).role() == Role::Leader {
            return true;
        }
    }
    false
}

#[test]
fn witness_votes_without_payloads() {
    let with_witness = || voters(&[1, 2, 3]).with_witnesses([NodeId(3)]);
    let mut cluster = Cluster::configured(0, |config| config.witness = config.id == NodeId(3));
    for id in 1..=3 {
        cluster.add(id, with_witness());
    }
    cluster.elect(1);
    let proposed = cluster.propose(1, "a");
    without(&mut cluster, 1, &[1, 3]);
    assert!(cluster.raft(1).commit_index() >= proposed.index);
    let entry = cluster.server(3).disk.log.last().unwrap();
    assert_eq!((entry.id, &entry.payload), (proposed, &Payload::Stripped));
    assert!(cluster.server(3).applied.is_empty());
    // The server that lacks the entry cannot win, and the one that has it can.
    assert_eq!(cluster.raft(3).status().election_timer, None);
    cluster.pass(TIMEOUT_MIN);
    cluster.time_out(2);
    cluster.deliver_among(&[2, 3]);
    assert_ne!(cluster.raft(2).role(), Role::Leader);
    cluster.time_out(1);
    cluster.deliver();
    cluster.time_out(1);
    cluster.deliver();
    cluster.settle(1);
    assert_eq!(cluster.commands(2), ["a"]);
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(2);
    cluster.deliver_among(&[2, 3]);
    assert_eq!(cluster.raft(2).role(), Role::Leader);
}

#[test]
fn non_witness_rejects_stripped_entries() {
    let mut cluster = Cluster::new(3);
    let mut withheld = entry(1, 1);
    withheld.payload = Payload::Stripped;
    let request = AppendEntries {
        term: Term(1),
        prev_log: LogId::default(),
        entries: [withheld].into(),
        leader_commit: LogIndex(1),
    };
    cluster.hand_over(1, 2, Message::AppendEntries(request));
    cluster.deliver();
    assert_eq!(cluster.raft(2).last_log(), LogId::default());
}

/// A witness cannot replicate the entry, and rejects candidates that lack it.
#[test]
fn witness_never_holds_only_copy() {
    let mut cluster = led(3);
    without(&mut cluster, 1, &[1, 3]);
    cluster.sync = false;
    cluster.propose(1, "a");
    cluster.deliver_where(|from, to, _| from != 2 && to != 2);
    assert_eq!(cluster.raft(3).last_log().index, LogIndex(1));
    let now = cluster.now;
    cluster.server(1).sync(now);
    cluster.deliver_where(|from, to, _| from != 2 && to != 2);
    assert_eq!(cluster.raft(3).last_log().index, LogIndex(2));
}

/// The witness would reject the others, which need its vote and do not need the entry.
#[test]
fn witness_gets_no_unneeded_entry() {
    let founders = voters(&[1, 2, 3, 4, 5]).with_witnesses([NodeId(5)]);
    let mut cluster = Cluster::configured(0, |config| config.witness = config.id == NodeId(5));
    for id in 1..=5 {
        cluster.add(id, founders.clone());
    }
    cluster.elect(1);
    cluster.settle(1);
    let agreed = cluster.raft(1).last_log();
    cluster.propose(1, "alone");
    for _ in 0..3 {
        cluster.beat(1);
        cluster.deliver_among(&[1, 5]);
    }
    assert_eq!(cluster.raft(5).last_log(), agreed);
    // Servers 1 and 4 are down.
    cluster.pass(TIMEOUT_MIN * 2);
    cluster.time_out(2);
    cluster.deliver_among(&[2, 3, 5]);
    assert_eq!(cluster.raft(2).role(), Role::Leader);
    // The witness completes a majority with one of the others.
    cluster.propose(2, "together");
    without(&mut cluster, 2, &[2, 3, 5]);
    assert_eq!(cluster.commands(3), ["together"]);
}

/// Server 5 of five is the witness, and the log caches are small.
fn led_with_small_window() -> Cluster {
    let mut cluster = Cluster::configured(0, |config| {
        config.witness = config.id == NodeId(5);
        config.log_cache_bytes_max = 0;
    });
    for id in 1..=5 {
        cluster.add(id, voters(&[1, 2, 3, 4, 5]).with_witnesses([NodeId(5)]));
    }
    cluster.elect(1);
    cluster
}

/// Found by the campaign: a new leader fetched entries that the witness must not have yet.
#[test]
fn witness_fetch_excludes_forbidden_entries() {
    let mut cluster = led_with_small_window();
    for command in ["a", "b", "c"] {
        cluster.propose(1, command);
        cluster.deliver_among(&[1, 2, 3, 4]);
    }
    cluster.crash_and_restart(1);
    cluster.pass(2 * TIMEOUT_MIN);
    cluster.time_out(1);
    let is_append = |message: &Message| matches!(message, Message::AppendEntries(_));
    cluster.deliver_where(|_, to, message| to == 5 || !is_append(message));
    assert_eq!(cluster.raft(1).role(), Role::Leader);
    assert!(cluster.server(1).fetches.is_empty());
    cluster.beat(1);
    cluster.deliver_among(&[1, 2, 3, 4]);
    cluster.beat(1);
    cluster.deliver();
    let fetches = &cluster.server(1).fetches;
    let of_witness = FetchPurpose::Follower(NodeId(5));
    let fetch = fetches.iter().find(|fetch| fetch.purpose == of_witness);
    let fetch = fetch.expect("the others have the entries now");
    assert_eq!((fetch.from, fetch.through), (LogIndex(2), LogIndex(4)));
}

/// All servers run, the witness is slightly faster than the other follower, and the leader crashes.
#[test]
fn any_one_of_three_may_fail() {
    let mut cluster = led(3);
    cluster.propose(1, "a");
    let is_append = |message: &Message| matches!(message, Message::AppendEntries(_));
    cluster.deliver_where(|_, to, message| to == 3 && is_append(message));
    cluster.mail.clear();
    assert!(one_is_elected(&mut cluster, &[2, 3]));
}

#[test]
fn any_one_of_five_may_fail() {
    let mut cluster = led(5);
    cluster.propose(1, "a");
    cluster.deliver_where(|from, to, _| (from == 1 && to >= 4) || (to == 1 && from >= 4));
    cluster.mail.clear();
    assert!(one_is_elected(&mut cluster, &[2, 3, 4, 5]));
}

/// The other witness replaces no voter that keeps up.
#[test]
fn witness_and_leader_of_five_may_fail() {
    let mut cluster = led(5);
    without(&mut cluster, 1, &[1, 2, 3, 4]);
    cluster.propose(1, "a");
    cluster.deliver_where(|from, to, _| from == 1 && to == 4);
    cluster.mail.clear();
    assert!(one_is_elected(&mut cluster, &[2, 3, 4]));
}

/// One data-bearing server and a witness: the server alone is not a majority.
#[test]
fn witness_completes_quorum() {
    let mut cluster = Cluster::configured(0, |config| config.witness = config.id == NodeId(2));
    for id in 1..=2 {
        cluster.add(id, voters(&[1, 2]).with_witnesses([NodeId(2)]));
    }
    cluster.elect(1);
    let proposed = cluster.propose(1, "a");
    cluster.deliver();
    assert!(cluster.raft(1).commit_index() >= proposed.index);
}

/// The follower answers heartbeats, and its disk is full.
#[test]
fn witness_replaces_full_disk() {
    let mut cluster = led(3);
    cluster.full.insert(2);
    let proposed = cluster.propose(1, "a");
    cluster.deliver();
    assert!(cluster.raft(1).commit_index() < proposed.index);
    without(&mut cluster, 1, &[1, 2, 3]);
    assert!(cluster.raft(1).commit_index() >= proposed.index);
}

/// A leader under load crashes at any time, and messages arrive in any order.
#[test]
fn leader_crash_never_blocks_remaining_quorum() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 8) % below
    };
    for _ in 0..200 {
        let mut cluster = led(3);
        for _ in 0..20 + next(40) {
            if next(3) == 0 {
                cluster.propose(1, "x");
            }
            cluster.drain();
            if !cluster.mail.is_empty() {
                let (from, to, message) =
                    cluster.mail.remove(next(cluster.mail.len() as u64) as usize);
                cluster.hand_over(from, to, message);
            }
            cluster.drain();
        }
        cluster.mail.retain(|(from, to, _)| *from != 1 && *to != 1);
        assert!(one_is_elected(&mut cluster, &[2, 3]));
    }
}

#[test]
fn overlong_fetch_is_cut_for_witness() {
    let mut cluster = led_with_small_window();
    for command in ["a", "b", "c"] {
        cluster.propose(1, command);
        cluster.deliver_among(&[1, 2, 3, 4]);
    }
    // Only on the leader's disk.
    let agreed = cluster.raft(1).commit_index();
    cluster.propose(1, "alone");
    cluster.deliver_among(&[1]);
    for _ in 0..6 {
        cluster.beat(1);
        cluster.deliver_among(&[1, 5]);
    }
    let fetches = std::mem::take(&mut cluster.server(1).fetches);
    let fetch =
        fetches.into_iter().find(|f| f.purpose == FetchPurpose::Follower(NodeId(5))).unwrap();
    let log = cluster.server(1).disk.log.clone();
    let mut bytes = 0;
    let answer: Vec<Entry> = log
        .into_iter()
        .filter(|e| e.id.index >= fetch.from)
        .take_while(|e| {
            bytes += e.bytes();
            bytes <= fetch.bytes_max
        })
        .collect();
    let now = cluster.now;
    cluster.raft(1).fetched(fetch, answer, now);
    cluster.deliver_among(&[1, 5]);
    assert!(
        cluster.raft(5).last_log().index <= agreed,
        "{:?} {agreed:?}",
        cluster.raft(5).last_log()
    );
}
