//! The catch-up checker: a follower receives the entries that its leader has committed.
//!
//! Consider a period in which one server leads, and in which the leader and a follower run
//! undisturbed and reach each other. The follower must receive everything that was committed at the
//! start of the period, within a time that depends on the missing entries. Without this check, a
//! follower could wait forever for a snapshot whose transfer starts again and again, while a quorum
//! commits.

use raft_core::{LogIndex, Raft, Term};

use crate::check::Checked;
use crate::check::invariants::Invariant;
use crate::check::liveness::Disturbance;
use crate::check::reachability::Reachability;
use crate::node::Node;
use crate::util::units::duration;

/// The goals of the followers.
#[derive(Clone, Debug, Default)]
pub(crate) struct CatchUp {
    /// The time of the next check.
    check_at: u64,
    /// The goal of each server. None for servers of which nothing can be expected.
    goals: Vec<Option<Goal>>,
}

/// The log index that a follower must reach, and its time limit.
#[derive(Clone, Copy, Debug)]
struct Goal {
    leader: u64,
    term: Term,
    /// The index that the follower must commit: the commit index of the leader when the goal was
    /// set.
    index: LogIndex,
    /// When the goal was set.
    since: u64,
    /// The number of steps that the follower needed when the goal was set.
    steps: u64,
    /// The longest duration of a step that was measured since then.
    step: u64,
    /// The time limit.
    time_max: u64,
}

/// The time of a follower beyond that of its steps, in longest election timeouts.
const TIMEOUTS: u64 = 10;
/// The number of times that the steps of a goal may be repeated: a stalled transfer starts again
/// with a later snapshot.
const TRANSFERS: u64 = 2;

impl CatchUp {
    /// Returns true if it is time for a check, once per election timeout.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.check_at
    }

    /// Checks all followers.
    pub(crate) fn check(&mut self, view: Reachability<'_>) -> Checked {
        let now = view.cluster().now;
        self.check_at = now + view.config().election_timeout.max;
        let nodes = &view.cluster().nodes;
        self.goals.resize(nodes.len(), None);
        let leader = steady_leader(view);
        let mut result = Ok(());
        for (node, goal) in nodes.iter().zip(&mut self.goals) {
            *goal = leader.and_then(|leader| goal_of(view, node, leader, *goal));
            if let Some(Goal { leader, since, index, time_max, .. }) = *goal
                && now - since > time_max
                && result.is_ok()
            {
                let text = format!(
                    "n{} followed leader n{leader} for {} without interruption, and still lacks entries up to {index}",
                    node.id,
                    duration(now - since),
                );
                result = Err((Invariant::Progress, text));
            }
        }
        result
    }

    /// Considers an action that delays servers.
    pub(crate) fn disturb(&mut self, disturbance: Disturbance) {
        // The action may have cut a link.
        self.check_at = 0;
        match disturbance {
            Disturbance::None => {}
            Disturbance::One(node) => {
                if let Some(goal) = self.goals.get_mut(node as usize - 1) {
                    *goal = None;
                }
            }
            Disturbance::All => self.goals.clear(),
        }
    }
}

/// Returns true if each server of which this can be expected has all entries that its leader has
/// committed.
pub(crate) fn all_have_caught_up(view: Reachability<'_>) -> bool {
    let Some(leader) = steady_leader(view) else {
        return true;
    };
    let committed = commit_index(leader);
    view.cluster()
        .nodes
        .iter()
        .all(|node| goal_of(view, node, leader, None).is_none() || commit_index(node) >= committed)
}

/// The longest time until the checker finds a follower that does not catch up, without writes
/// meanwhile.
pub(crate) fn catch_up_time(view: Reachability<'_>) -> u64 {
    let time_max = steady_leader(view).and_then(|leader| {
        let nodes = view.cluster().nodes.iter();
        nodes.filter_map(|node| Some(goal_of(view, node, leader, None)?.time_max)).max()
    });
    // A goal may have just been reached. The next check then sets a new goal.
    2 * time_max.unwrap_or_default()
}

/// The latest leader, if its disk and clock are good enough.
fn steady_leader(view: Reachability<'_>) -> Option<&Node> {
    if !view.is_network_usable() {
        return None;
    }
    let leads = |node: &&Node| node.awake().is_some() && node.is_leader();
    let leaders = view.cluster().nodes.iter().filter(leads);
    let latest = leaders.max_by_key(|node| awake_raft(node).map(Raft::term));
    latest.filter(|leader| view.is_fit(leader))
}

/// The goal of a follower: `earlier`, if the follower has not reached it and nothing disturbed the
/// two servers, or a new one.
fn goal_of(
    view: Reachability<'_>,
    node: &Node,
    leader: &Node,
    earlier: Option<Goal>,
) -> Option<Goal> {
    let (now, network) = (view.cluster().now, &view.cluster().network);
    let (raft, leader_raft) = (awake_raft(node)?, awake_raft(leader)?);
    let follows = raft.leader() == Some(leader_raft.id()) && raft.term() == leader_raft.term();
    let is_member = leader_raft.membership().members().contains(&raft.id());
    if node.id == leader.id || !follows || !is_member || !view.is_fit(node) {
        return None;
    }
    let directions = [(node.id, leader.id), (leader.id, node.id)];
    let round_trip = view.round_trip(node.id, leader.id)?;
    let queues = directions.map(|(from, to)| network.queueing_time(from, to, now));
    let steps = steps_to_catch_up(view, raft, leader_raft);
    let step = step_time(view, round_trip + node.sync_latency.max + queues.iter().sum::<u64>());
    let earlier = earlier.filter(|goal| {
        let has_overflowed = |(from, to)| network.has_overflowed(from, to, goal.since);
        goal.leader == leader.id
            && goal.term == leader_raft.term()
            && goal.index > raft.commit_index()
            && !directions.into_iter().any(has_overflowed)
    });
    let mut goal = earlier.unwrap_or(Goal {
        leader: leader.id,
        term: leader_raft.term(),
        index: leader_raft.commit_index(),
        since: now,
        steps,
        step,
        time_max: 0,
    });
    goal.step = goal.step.max(step);
    // A later snapshot may replace the one that the follower needed first. Without the fixed number
    // of steps, a follower that starves would have more time with each snapshot.
    let steps = TRANSFERS * goal.steps + steps;
    let time_max = TIMEOUTS * view.config().election_timeout.max + steps * goal.step;
    goal.time_max = goal.time_max.max(time_max);
    Some(goal)
}

/// The number of messages that a follower needs one by one: the chunks of a snapshot, and the
/// missing entries.
fn steps_to_catch_up(view: Reachability<'_>, follower: &Raft, leader: &Raft) -> u64 {
    let last = leader.last_log().index.0;
    let from = follower.commit_index().max(leader.log_start().index);
    let chunks = view.cluster().snapshot_chunks(view.config().snapshot_chunk_bytes_max);
    chunks + last.saturating_sub(from.0)
}

/// The mean time of a step with this round trip.
fn step_time(view: Reachability<'_>, round_trip: u64) -> u64 {
    // The leader sends a message again after two heartbeats if the message or its response was
    // lost.
    let loss = u64::from(view.cluster().network.loss_max());
    let resend = 2 * view.config().heartbeat_interval * 2 * loss;
    round_trip + resend / 1_000
}

fn awake_raft(node: &Node) -> Option<&Raft> {
    Some(&node.awake()?.raft)
}

fn commit_index(node: &Node) -> LogIndex {
    awake_raft(node).map(Raft::commit_index).unwrap_or_default()
}
