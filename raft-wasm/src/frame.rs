//! The frame of one time, as numbers.
//!
//! | part | numbers |
//! | --- | --- |
//! | header | now, nodes, messages, lost messages, client messages, records of the event log, actions, violated (0 no, 1 yes and the run has ended, 2 yes and the run goes on), the node whose membership is shown, actions applied so far, entries known to be committed |
//! | each node | process (0 runs, 1 paused, 2 down), isolated, role (0 follower, 1 pre-candidate, 2 candidate, 3 leader), term, vote, leader, commit index, applied index, last index, durable index, timer armed at, timer fires at, votes, votes needed, role in the membership, last entry of the snapshot before its log |
//! | each pair of nodes, by sender and then receiver | 1 if the link is cut |
//! | each message | id, from, to, kind, entries, term, sent at, arrives at |
//! | each lost message | the same, and the time of the loss, which may be in the future |
//! | each client message | id, request, node, is a response, sent at, arrives at |
//!
//! Nodes are numbered from 1, and 0 is no node. Kinds of messages: 0 PreVote, 1 its response, 2
//! RequestVote, 3 its response, 4 AppendEntries, 5 its response if accepted, 6 its response if
//! rejected, 7 Heartbeat, 8 its response, 9 InstallSnapshot, 10 its response, 11 TimeoutNow, 12
//! ReadIndex, 13 its response.
//!
//! The role in the membership is a sum: 1 voter, 2 voter of the outgoing membership of a joint one,
//! 4 learner, 8 learner that becomes a voter when it has caught up, 16 witness. The shown
//! membership is that of the leader. Without a leader it is that of the server with the most
//! complete log, and if no member runs, that of the most complete log on a disk.

use std::borrow::Cow;

use raft_core::{Membership, NodeId, Role};
use raft_sim::{InFlight, MessageKind, ProcessView, Run, World};

/// The time for which losses are shown, in microseconds.
const LOSS_SHOWN: u64 = 400_000;

/// The frame of the present time.
pub(crate) fn encode_frame(run: &Run) -> Vec<f64> {
    let world = run.world();
    let nodes = world.config().cluster.nodes;
    let messages: Vec<_> = world.messages().collect();
    let since = world.now().saturating_sub(LOSS_SHOWN);
    let lost: Vec<_> = world.lost().iter().filter(|lost| lost.at >= since).collect();
    let letters: Vec<_> = world.letters().collect();
    let counts = [nodes as usize, messages.len(), lost.len(), letters.len()];
    let mut frame = vec![world.now() as f64];
    frame.extend(counts.map(|count| count as f64));
    frame.push(world.story_length() as f64);
    frame.push(run.script().actions.len() as f64);
    let violated = match (world.violation(), world.has_ended()) {
        (None, _) => 0.0,
        (Some(_), true) => 1.0,
        (Some(_), false) => 2.0,
    };
    frame.push(violated);
    let decider = reference_node(world);
    frame.push(decider.as_ref().map_or(0, |(node, _)| *node) as f64);
    frame.push(run.done() as f64);
    frame.push(world.committed_entries() as f64);
    let membership = decider.as_ref().map(|(_, membership)| &**membership);
    for node in 1..=nodes {
        frame.extend(pack_node(world, node));
        let standing = membership.map_or(0, |membership| member_role(membership, NodeId(node)));
        let start = world.raft(node).map_or(0, |raft| raft.log_start().index.0);
        frame.extend([standing as f64, start as f64]);
    }
    for from in 1..=nodes {
        for to in 1..=nodes {
            frame.push(f64::from(u8::from(world.is_cut(from, to))));
        }
    }
    for message in messages {
        frame.extend(pack_message(message));
    }
    for lost in lost {
        frame.extend(pack_message(&lost.message));
        frame.push(lost.at as f64);
    }
    for letter in letters {
        let numbers =
            [letter.id, letter.asking, letter.node, u64::from(letter.is_answer), letter.sent_at];
        frame.extend(numbers.map(|number| number as f64));
        frame.push(letter.arrives_at as f64);
    }
    frame
}

/// The shown membership, and its node. A node that was not added yet has no membership.
fn reference_node(world: &World) -> Option<(u64, Cow<'_, Membership>)> {
    let running =
        (1..=world.config().cluster.nodes).filter_map(|node| Some((node, world.raft(node)?)));
    let rank = |raft: &raft_core::Raft| (raft.role() == Role::Leader).then(|| raft.term());
    let members = running.filter(|(_, raft)| !raft.membership().voters().is_empty());
    let best = members.max_by_key(|(_, raft)| (rank(raft), raft.last_log()));
    let best = best.map(|(node, raft)| (node, Cow::Borrowed(raft.membership())));
    best.or_else(|| world.stored_membership().map(|(node, stored)| (node, Cow::Owned(stored))))
}

fn member_role(membership: &Membership, node: NodeId) -> u64 {
    let has = |nodes: &[NodeId], bit| if nodes.contains(&node) { bit } else { 0 };
    has(membership.voters(), 1)
        + has(membership.outgoing(), 2)
        + has(membership.learners(), 4)
        + has(membership.auto_promoted(), 8)
        + has(membership.witnesses(), 16)
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
    let needed = world.raft(node).map_or(0, |raft| raft.membership().majority()) as u64;
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

fn pack_message(flight: &InFlight) -> [f64; 8] {
    let (kind, entries, term) = MessageKind::of(&flight.message);
    let numbers = [
        flight.id,
        flight.from,
        flight.to,
        u64::from(kind as u8),
        entries,
        term,
        flight.sent_at,
        flight.arrives_at,
    ];
    numbers.map(|number| number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_sim::{Action, ClusterConfig, NetworkConfig, Script, WorldConfig};

    /// The number of numbers of the header and of each node.
    const HEADER: usize = 11;
    const NODE: usize = 16;

    fn run(config: WorldConfig) -> Run {
        let script = Script { config, actions: Vec::new() };
        Run::new(script).expect("the configuration is valid")
    }

    fn standings(run: &Run) -> Vec<u64> {
        let frame = encode_frame(run);
        let nodes = frame[1] as usize;
        let place = |node: usize| HEADER + node * NODE + 14;
        (0..nodes).map(|node| frame[place(node)] as u64).collect()
    }

    #[test]
    fn frame_length_matches_documentation() {
        let mut run = run(WorldConfig {
            network: NetworkConfig { loss_per_mille: 300, ..NetworkConfig::default() },
            ..WorldConfig::default()
        });
        run.seek(1_000_000);
        let frame = encode_frame(&run);
        let count = |position: usize| frame[position] as usize;
        assert!(count(3) > 0, "messages are lost in this run");
        let (nodes, messages, lost, letters) = (count(1), count(2), count(3), count(4));
        let expected =
            HEADER + nodes * NODE + nodes * nodes + messages * 8 + lost * 9 + letters * 6;
        assert_eq!(frame.len(), expected);
    }

    #[test]
    fn founders_are_voters_before_first_election() {
        let run = run(WorldConfig {
            cluster: ClusterConfig { founders: Some(3), ..ClusterConfig::default() },
            ..WorldConfig::default()
        });
        assert_eq!(run.world().now(), 0);
        assert_eq!(standings(&run), [1, 1, 1, 0, 0]);
    }

    #[test]
    fn committed_entries_are_counted_after_power_cut() {
        let mut run = run(WorldConfig { seed: 42, ..WorldConfig::default() });
        run.seek(1_000_000);
        run.act(Action::PowerCut).expect("nodes are running");
        assert_eq!(encode_frame(&run)[10], 1.0);
    }

    #[test]
    fn membership_is_shown_while_no_member_runs() {
        let mut run = run(WorldConfig {
            cluster: ClusterConfig { founders: Some(3), ..ClusterConfig::default() },
            ..WorldConfig::default()
        });
        run.seek(1_000_000);
        for node in 1..=3 {
            run.act(Action::Crash { node }).expect("the node runs");
        }
        run.seek(1_500_000);
        assert_eq!(standings(&run), [1, 1, 1, 0, 0], "the founders are down");
        for node in 1..=3 {
            run.act(Action::Restart { node }).expect("the node is down");
        }
        run.seek(3_000_000);
        let learner =
            Action::ChangeMembership { voters: vec![1, 2], learners: vec![4], joining: vec![] };
        run.act(learner).expect("there is a leader");
        run.seek(5_000_000);
        run.act(Action::PowerCut).expect("nodes run");
        assert_eq!(standings(&run), [1, 1, 0, 4, 0], "all nodes are down");
    }

    #[test]
    fn actions_done_are_those_before_this_moment() {
        let crash = |at, node| raft_sim::TimedAction { at, action: Action::Crash { node } };
        let actions = vec![crash(400_000, 1), crash(900_000, 2)];
        let script = Script { config: WorldConfig::default(), actions };
        let mut run = Run::new(script).expect("a valid script");
        run.seek(500_000);
        let frame = encode_frame(&run);
        assert_eq!([frame[6], frame[9]], [2.0, 1.0]);
    }

    #[test]
    fn frame_shows_member_roles_during_change() {
        let mut run = run(WorldConfig {
            cluster: ClusterConfig {
                founders: Some(3),
                witnesses: vec![3],
                ..ClusterConfig::default()
            },
            ..WorldConfig::default()
        });
        run.seek(1_000_000);
        assert_eq!(standings(&run), [1, 1, 17, 0, 0]);
        let learner =
            Action::ChangeMembership { voters: vec![1, 2, 3], learners: vec![4], joining: vec![] };
        run.act(learner).expect("there is a leader");
        run.seek(2_000_000);
        assert_eq!(standings(&run), [1, 1, 17, 4, 0]);
        let swap =
            Action::ChangeMembership { voters: vec![1, 2, 4], learners: vec![], joining: vec![] };
        run.act(swap).expect("there is a leader");
        assert_eq!(standings(&run), [3, 3, 18, 1, 0], "the membership is joint");
        run.seek(3_000_000);
        assert_eq!(standings(&run), [1, 1, 0, 1, 0]);
    }
}
