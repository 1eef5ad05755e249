//! Stale responses: to an earlier leadership or campaign of the same server, or from a server whose
//! disk has lost entries.

use std::time::Duration;

use crate::cluster::{Cluster, TIMEOUT_MIN};
use raft_core::{
    AppendEntriesResponse, AppendResult, Event, HeartbeatResponse, LogId, Message, ReadMode, Role,
};

/// Server 1 leads, loses its leadership and leads again. The selected messages to server 2 stay in
/// flight.
fn leads_again(cluster: &mut Cluster, late: impl Fn(&Message) -> bool) -> Vec<Message> {
    let mut on_the_way = Vec::new();
    for _ in 0..40 {
        cluster.beat(1);
        cluster.drain();
        let (held, mail): (Vec<_>, Vec<_>) = std::mem::take(&mut cluster.mail)
            .into_iter()
            .partition(|(_, to, message)| *to == 2 && late(message));
        on_the_way.extend(held.into_iter().map(|(.., message)| message));
        cluster.mail = mail;
        cluster.deliver_where(|_, to, message| !(to == 2 && late(message)));
    }
    let earlier = cluster.raft(1).term();
    cluster.pass(Duration::from_secs(3));
    let now = cluster.now;
    cluster.raft(1).tick(now);
    assert_ne!(cluster.raft(1).role(), Role::Leader, "no follower was heard");
    cluster.pass(TIMEOUT_MIN * 2);
    cluster.elect(1);
    cluster.deliver();
    assert!(cluster.raft(1).term() > earlier);
    on_the_way
}

/// Round numbers restart in each term. The number alone would confirm reads of the later
/// leadership.
#[test]
fn round_ack_from_earlier_term_confirms_no_read() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let late = leads_again(&mut cluster, |message| matches!(message, Message::Heartbeat(_)));
    assert!(late.len() > 20);
    for message in late {
        cluster.hand_over(1, 2, message);
    }
    cluster.drain();
    let answers = cluster.take_mail(2, 1);
    let term = cluster.raft(1).term();
    let says_the_term = |answer: &Message| matches!(answer, Message::HeartbeatResponse(HeartbeatResponse { term: theirs, round: 0 }) if *theirs == term);
    // One response is to the current leadership.
    assert!(answers.iter().filter(|answer| says_the_term(answer)).count() > 20);
    cluster.settle(1);
    // No other server is heard when a client reads.
    cluster.server(1).reads.clear();
    cluster.read(1, ReadMode::Quorum);
    cluster.deliver_among(&[1]);
    for answer in answers {
        cluster.hand_over(2, 1, answer);
    }
    cluster.drain();
    assert_eq!(cluster.server(1).reads, []);
}

/// The follower rejects the term. It has the whole log.
#[test]
fn rejection_from_earlier_term_is_ignored() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for _ in 0..5 {
        cluster.propose(1, "x");
    }
    cluster.settle(1);
    cluster.propose(1, "y");
    let late = leads_again(&mut cluster, |message| matches!(message, Message::AppendEntries(_)));
    assert!(!late.is_empty());
    cluster.settle(1);
    for message in late {
        cluster.hand_over(1, 2, message);
    }
    cluster.drain();
    let refused = |(_, to, message): &(u64, u64, Message)| {
        let result = AppendResult::Rejected { prev_log: LogId::default(), hint: LogId::default() };
        *to == 1
            && matches!(message, Message::AppendEntriesResponse(AppendEntriesResponse { result: its, .. }) if *its == result)
    };
    assert!(cluster.mail.iter().any(refused));
    cluster.server(1).events.clear();
    cluster.settle(1);
    let goes_back =
        |event: &Event| matches!(event, Event::SnapshotSent { .. } | Event::Backtracked { .. });
    assert!(!cluster.server(1).events.iter().any(goes_back));
}

#[test]
fn refusal_from_earlier_campaign_does_not_hide_grant() {
    let mut cluster = Cluster::configured(3, |config| config.pre_vote = false);
    cluster.pass(TIMEOUT_MIN * 2);
    let mut requests = Vec::new();
    for _ in 0..2 {
        cluster.time_out(1);
        cluster.drain();
        requests.push(cluster.take_mail(1, 2));
        cluster.mail.clear();
        cluster.pass(TIMEOUT_MIN * 2);
    }
    // The later request arrives first and is granted. The earlier one is rejected in the same term.
    for request in requests.into_iter().rev().flatten() {
        cluster.hand_over(1, 2, request);
    }
    cluster.drain();
    for answer in cluster.take_mail(2, 1) {
        cluster.hand_over(2, 1, answer);
    }
    assert_eq!(cluster.raft(1).role(), Role::Leader);
}

/// The follower stops when the entries that it lacks are committed. Probes before that are useless.
#[test]
fn follower_with_lost_log_is_probed_only_at_heartbeats() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.settle(1);
    // Server 3 acknowledges an entry that is not committed: the leader's disk is slow, and server 2
    // receives nothing.
    cluster.sync = false;
    cluster.propose(1, "a");
    cluster.drain();
    cluster.deliver_where(|from, to, _| (from, to) == (1, 3));
    let now = cluster.now;
    cluster.server(3).sync(now);
    cluster.deliver_where(|from, to, _| (from, to) == (3, 1));
    let matched = cluster.raft(1).status().followers[1].match_index;
    let last = cluster.raft(1).last_log().index;
    assert_eq!(matched, last);
    cluster.server(3).disk.log.pop();
    cluster.crash_and_restart(3);
    cluster.propose(1, "b");
    let asked = std::cell::Cell::new(0);
    let count = |from: u64, to: u64, message: &Message| {
        asked.set(asked.get() + usize::from(matches!(message, Message::AppendEntries(_))));
        (from, to) == (1, 3) || (from, to) == (3, 1) && asked.get() < 1000
    };
    for _ in 0..10 {
        cluster.beat(1);
        cluster.deliver_where(count);
    }
    assert!((2..30).contains(&asked.get()), "{}", asked.get());
}
