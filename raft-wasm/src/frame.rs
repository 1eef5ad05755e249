//! The picture of a moment, as numbers.
//!
//! | part | numbers |
//! | --- | --- |
//! | header | now, nodes, messages, lost messages, letters, records of the story, actions done, violated (0 or 1) |
//! | each node | process (0 runs, 1 paused, 2 down), isolated, role (0 follower, 1 pre-candidate, 2 candidate, 3 leader), term, vote, leader, commit index, applied index, last index, durable index, timer armed at, timer fires at, votes, votes needed |
//! | each pair of nodes, by sender and then receiver | 1 if the way is cut |
//! | each message | id, from, to, kind, entries, term, sent at, arrives at |
//! | each lost message | the same, with the time of its loss in the place of its arrival |
//! | each letter between a client and a node | id, request, node, is an answer, sent at, arrives at |
//!
//! Nodes are numbered from 1, and 0 stands for none. Kinds of messages: 0 PreVote, 1 its answer, 2
//! RequestVote, 3 its answer, 4 AppendEntries, 5 its answer accepted, 6 its answer refused, 7 Heartbeat, 8 its answer.

use raft_core::{AppendResult, Message, NodeId, Role};
use raft_sim::{InFlight, ProcessView, Run, World};

/// Losses are shown for this long.
const LOSS_SHOWN: u64 = 400_000;

pub(crate) fn pack(run: &Run) -> Vec<f64> {
    let world = run.world();
    let nodes = world.config().nodes;
    let messages: Vec<_> = world.messages().collect();
    let since = world.now().saturating_sub(LOSS_SHOWN);
    let lost: Vec<_> = world
        .lost()
        .iter()
        .filter(|lost| lost.at >= since)
        .collect();
    let letters: Vec<_> = world.letters().collect();
    let counts = [nodes as usize, messages.len(), lost.len(), letters.len()];
    let mut frame = vec![world.now() as f64];
    frame.extend(counts.map(|count| count as f64));
    frame.push(world.story_since(0).len() as f64);
    frame.push(run.script().actions.len() as f64);
    frame.push(f64::from(u8::from(world.violation().is_some())));
    for node in 1..=nodes {
        frame.extend(pack_node(world, node));
    }
    for from in 1..=nodes {
        for to in 1..=nodes {
            frame.push(f64::from(u8::from(world.is_cut(from, to))));
        }
    }
    for message in messages {
        frame.extend(pack_message(message, message.arrives_at));
    }
    for lost in lost {
        frame.extend(pack_message(&lost.message, lost.at));
    }
    for letter in letters {
        let numbers = [
            letter.id,
            letter.asking,
            letter.node,
            u64::from(letter.is_answer),
            letter.sent_at,
        ];
        frame.extend(numbers.map(|number| number as f64));
        frame.push(letter.arrives_at as f64);
    }
    frame
}

fn pack_node(world: &World, node: u64) -> [f64; 14] {
    let process = match world.process(node) {
        Some(ProcessView::Running) => 0,
        Some(ProcessView::Paused) => 1,
        Some(ProcessView::Down { .. }) | None => 2,
    };
    let isolated = u64::from(world.is_isolated(node));
    let Some(status) = world.status(node) else {
        let mut down = [0.0; 14];
        (down[0], down[1]) = (f64::from(process), isolated as f64);
        return down;
    };
    let role = match status.role {
        Role::Follower => 0,
        Role::PreCandidate => 1,
        Role::Candidate => 2,
        Role::Leader => 3,
    };
    let number = |node: Option<NodeId>| node.map_or(0, |node| node.0);
    let (armed, fires) = world.election_timer(node).unwrap_or_default();
    let votes = status.votes.iter().filter(|(_, granted)| *granted).count() as u64;
    let needed = world
        .raft(node)
        .map_or(0, |raft| raft.membership().majority()) as u64;
    let numbers = [
        u64::from(process as u8),
        isolated,
        role,
        status.term.0,
        number(status.vote),
        number(status.leader),
        status.commit_index.0,
        world.applied_index(node).unwrap_or(0),
        status.last_log.index.0,
        status.durable_index.0,
        armed,
        fires,
        votes,
        needed,
    ];
    numbers.map(|number| number as f64)
}

fn pack_message(flight: &InFlight, until: u64) -> [f64; 8] {
    let (kind, entries, term) = match &flight.message {
        Message::PreVote(m) => (0, 0, m.campaign_term),
        Message::PreVoteResponse(m) => (1, 0, m.term),
        Message::RequestVote(m) => (2, 0, m.term),
        Message::RequestVoteResponse(m) => (3, 0, m.term),
        Message::AppendEntries(m) => (4, m.entries.len() as u64, m.term),
        Message::AppendEntriesResponse(m) => match m.result {
            AppendResult::Accepted { .. } => (5, 0, m.term),
            AppendResult::Rejected { .. } => (6, 0, m.term),
        },
        Message::Heartbeat(m) => (7, 0, m.term),
        Message::HeartbeatResponse(m) => (8, 0, m.term),
        Message::InstallSnapshot(m) => (9, 0, m.term),
        Message::InstallSnapshotResponse(m) => (10, 0, m.term),
        Message::TimeoutNow(m) => (11, 0, m.term),
        Message::ReadIndex(m) => (12, 0, m.term),
        Message::ReadIndexResponse(m) => (13, 0, m.term),
    };
    let numbers = [
        flight.id,
        flight.from,
        flight.to,
        kind,
        entries,
        term.0,
        flight.sent_at,
        until,
    ];
    numbers.map(|number| number as f64)
}
