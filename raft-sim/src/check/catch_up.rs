//! The catch-up checker: a follower receives the entries that its leader has committed.
//!
//! Consider a period in which one server leads, and in which the leader and a follower run
//! undisturbed and reach each other. The follower must receive everything that was committed at the
//! start of the period, within a time that depends on the missing entries. Without this check, a
//! follower could wait forever for a snapshot whose transfer starts again and again, while a
//! majority commits.

use raft_core::{LogIndex, Raft, Role, Term};

use crate::check::invariants::Invariant;
use crate::check::liveness::{Disturbance, LOSS_PER_MILLE_MAX};
use crate::node::Node;
use crate::util::units::duration;
use crate::world::{World, note};

/// The state of the check.
#[derive(Clone, Debug, Default)]
pub(crate) struct CatchUp {
    /// The time of the next comparison.
    check_at: u64,
    /// The goal of each node; none for a server without a guarantee.
    goals: Vec<Option<Goal>>,
}

/// What a follower must reach, and the time that it has.
#[derive(Clone, Copy, Debug)]
struct Goal {
    leader: u64,
    term: Term,
    /// The index that the follower must have committed: the commit index of the leader when the
    /// goal was set.
    index: LogIndex,
    /// The time at which the goal was set.
    since: u64,
    /// The number of steps that the follower needed when the goal was set.
    steps: u64,
    /// The longest duration of a step that was measured since then.
    step: u64,
    time_max: u64,
}

/// The time of a follower beyond that of its steps, in longest election timeouts.
const TIMEOUTS: u64 = 10;
/// The number of times that the steps of a goal may be repeated: a stalled transfer starts again
/// with a later snapshot.
const TRANSFERS: u64 = 2;

impl CatchUp {
    /// Removes the goals that an action makes void.
    pub(crate) fn disturb(&mut self, disturbed: Disturbance) {
        // The action may have cut a link.
        self.check_at = 0;
        match disturbed {
            Disturbance::Nobody => {}
            Disturbance::One(node) => {
                if let Some(goal) = self.goals.get_mut(node as usize - 1) {
                    *goal = None;
                }
            }
            Disturbance::Everybody => self.goals.clear(),
        }
    }
}

impl World {
    /// Compares the followers with their goals, once per election timeout.
    pub(crate) fn watch_catch_up(&mut self) {
        if self.now < self.catch_up.check_at {
            return;
        }
        self.catch_up.check_at = self.now + self.config.election_timeout.max;
        let mut goals = std::mem::take(&mut self.catch_up.goals);
        goals.resize(self.nodes.len(), None);
        let mut late = None;
        let leader = self.steady_leader();
        for (node, goal) in self.nodes.iter().zip(&mut goals) {
            let expected = leader.and_then(|leader| self.goal_of(node, leader, *goal));
            if let Some(Goal { leader, since, index, time_max, .. }) = expected
                && self.now - since > time_max
            {
                let text = format!(
                    "n{} followed leader n{leader} for {} without interruption, and still lacks entries up to {index}",
                    node.id,
                    duration(self.now - since),
                );
                late = late.or(Some((Invariant::Progress, text)));
            }
            *goal = expected;
        }
        self.catch_up.goals = goals;
        note(&mut self.violation, self.now, late.map_or(Ok(()), Err));
    }

    /// Returns true if each follower with a guarantee has all entries that its leader has
    /// committed.
    pub(crate) fn all_have_caught_up(&self) -> bool {
        let leader = self.steady_leader();
        leader.is_none_or(|leader| {
            let committed = commit_index(leader);
            let mut nodes = self.nodes.iter();
            nodes.all(|node| {
                let goal = self.goal_of(node, leader, None);
                goal.is_none() || commit_index(node) >= committed
            })
        })
    }

    /// The longest time until the check detects a follower that does not catch up, if no client
    /// writes in the meantime.
    pub(crate) fn catch_up_time(&self) -> u64 {
        let leader = self.steady_leader();
        let time_max = leader.and_then(|leader| {
            let goals = self.nodes.iter().filter_map(|node| self.goal_of(node, leader, None));
            goals.map(|goal| goal.time_max).max()
        });
        // A goal may have been reached just now, so that the next comparison sets the next one.
        2 * time_max.unwrap_or_default()
    }

    /// The leader of the latest term, if its disk and its clock permit a guarantee.
    fn steady_leader(&self) -> Option<&Node> {
        if self.network.loss_max() > LOSS_PER_MILLE_MAX || self.network.holds() {
            return None;
        }
        let leads = |node: &&Node| awake(node).is_some_and(|raft| raft.role() == Role::Leader);
        let leaders = self.nodes.iter().filter(leads);
        let latest = leaders.max_by_key(|node| awake(node).map(Raft::term));
        latest.filter(|leader| self.is_fit(leader))
    }

    /// The goal of a follower: the given one, if the follower has not reached it and nothing
    /// disturbed the two servers, or a new one.
    fn goal_of(&self, node: &Node, leader: &Node, goal: Option<Goal>) -> Option<Goal> {
        let (raft, leading) = (awake(node)?, awake(leader)?);
        let follows = raft.leader() == Some(leading.id()) && raft.term() == leading.term();
        let is_member = leading.membership().members().contains(&raft.id());
        if node.id == leader.id || !follows || !is_member || !self.is_fit(node) {
            return None;
        }
        let ways = [(node.id, leader.id), (leader.id, node.id)];
        let round = self.round_trip(node.id, leader.id)?;
        let queues = ways.map(|(from, to)| self.network.queueing_time(from, to, self.now));
        let steps = self.steps_to_catch_up(raft, leading);
        let step = self.step_time(round + node.sync.max + queues.iter().sum::<u64>());
        let goal = goal.filter(|goal| {
            let overflows = |(from, to)| self.network.has_overflowed(from, to, goal.since);
            goal.leader == leader.id
                && goal.term == leading.term()
                && goal.index > raft.commit_index()
                && !ways.into_iter().any(overflows)
        });
        let mut goal = goal.unwrap_or(Goal {
            leader: leader.id,
            term: leading.term(),
            index: leading.commit_index(),
            since: self.now,
            steps,
            step,
            time_max: 0,
        });
        goal.step = goal.step.max(step);
        // A later snapshot may replace the one that the follower needed first. Without the fixed
        // number of steps, a follower that starves would have more time with each snapshot.
        let steps = TRANSFERS * goal.steps + steps;
        let time_max = TIMEOUTS * self.config.election_timeout.max + steps * goal.step;
        goal.time_max = goal.time_max.max(time_max);
        Some(goal)
    }

    /// The number of messages that a follower needs one by one: the chunks of a snapshot, and the
    /// entries that it lacks.
    fn steps_to_catch_up(&self, follower: &Raft, leader: &Raft) -> u64 {
        let last = leader.last_log().index.0;
        let from = follower.commit_index().max(leader.log_start().index);
        self.snapshot_pieces() + last.saturating_sub(from.0)
    }

    /// The mean time of a step with this round trip.
    fn step_time(&self, round: u64) -> u64 {
        // The leader sends a message again after two heartbeats if the message or its response was
        // lost.
        let resent = 2 * self.config.heartbeat_interval * 2 * u64::from(self.network.loss_max());
        round + resent / 1_000
    }
}

fn awake(node: &Node) -> Option<&Raft> {
    let running = node.running().filter(|running| running.paused.is_none())?;
    Some(&running.raft)
}

fn commit_index(node: &Node) -> LogIndex {
    awake(node).map(Raft::commit_index).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::action::Action;
    use crate::world::config::WorldConfig;
    use raft_core::Message;

    const SECOND: u64 = 1_000_000;

    /// A run in which node 5 is down for some seconds and then needs a snapshot, while clients
    /// write and the leader takes snapshots.
    fn restarted(config: WorldConfig, crash_at: u64, restart_at: u64, end: u64) -> World {
        let mut world = World::new(config).unwrap();
        world.run_until(crash_at * SECOND);
        world.act(&Action::Crash { node: 5 }).unwrap();
        world.run_until(restart_at * SECOND);
        world.act(&Action::Restart { node: 5 }).unwrap();
        world.run_until(end * SECOND);
        world
    }

    /// F3: the leader takes the next snapshot before the follower has the previous one.
    #[test]
    fn follower_that_needs_a_snapshot_catches_up_while_clients_write() {
        let config =
            WorldConfig { seed: 7, clients: 5, snapshot_every: 100, ..WorldConfig::default() };
        let world = restarted(config, 120, 135, 245);
        assert_eq!(world.violation(), None);
        let last = |node| world.raft(node).map(|raft| raft.commit_index().0);
        assert!(last(5) > Some(4_000), "{:?}", last(5));
    }

    /// Snapshots that are taken more often than they can be transferred.
    fn frequent_snapshots(seed: u64, change: fn(&mut WorldConfig)) -> WorldConfig {
        let mut config = WorldConfig {
            seed,
            clients: 5,
            snapshot_every: 20,
            snapshot_chunk_bytes_max: 200,
            record_events: false,
            ..WorldConfig::default()
        };
        change(&mut config);
        config
    }

    /// Networks in which a follower must catch up.
    const NETWORKS: [fn(&mut WorldConfig); 4] = [
        |_| {},
        |config| config.loss_per_mille = 20,
        |config| config.bandwidth = 100_000,
        |config| (config.bandwidth, config.loss_per_mille) = (1_000_000, 20),
    ];

    #[test]
    fn frequent_snapshots_are_not_starvation() {
        for seed in 1..=2 {
            for network in NETWORKS {
                let world = restarted(frequent_snapshots(seed, network), 10, 15, 60);
                assert_eq!(world.violation(), None, "{:?}", world.config());
            }
        }
    }

    /// E4: the leader starts the transfer of each new snapshot from its beginning.
    #[cfg(feature = "sabotage")]
    #[test]
    fn starvation_by_newer_snapshots_is_found() {
        let rules = raft_core::DisabledRules::default();
        let disabled_rules = rules.and(raft_core::Rule::RunningTransferFinishes);
        let violated = |config: WorldConfig, crash_at, restart_at, end| {
            let config = WorldConfig { disabled_rules, ..config };
            let world = restarted(config, crash_at, restart_at, end);
            world.violation().map(|violation| violation.invariant)
        };
        for seed in 1..=3 {
            for network in NETWORKS {
                let config = frequent_snapshots(seed, network);
                let found = violated(config.clone(), 10, 15, 60);
                assert_eq!(found, Some(Invariant::Progress), "{config:?}");
            }
        }
        let lossy = WorldConfig {
            seed: 4,
            clients: 5,
            snapshot_every: 100,
            loss_per_mille: 20,
            ..WorldConfig::default()
        };
        assert_eq!(violated(lossy, 120, 135, 245), Some(Invariant::Progress));
    }

    /// The violated invariant of a run in which node 3 needs a snapshot, no chunk arrives, and an
    /// action is repeated every second.
    fn without_snapshot(action: impl Fn(u64) -> Vec<Action>) -> Option<Invariant> {
        let config =
            WorldConfig { nodes: 3, clients: 2, snapshot_every: 10, ..WorldConfig::default() };
        let mut world = World::new(config).unwrap();
        world.act(&Action::FireTimer { node: 1 }).unwrap();
        world.run_until(SECOND);
        world.act(&Action::Crash { node: 3 }).unwrap();
        world.run_until(4 * SECOND);
        world.act(&Action::Restart { node: 3 }).unwrap();
        let mut next = 0;
        while world.now() < 60 * SECOND && world.step() {
            let messages = world.messages();
            let chunks = messages.filter(|it| matches!(it.message, Message::InstallSnapshot(_)));
            let chunks: Vec<_> = chunks.map(|it| it.id).collect();
            for chunk in chunks {
                world.network.drop_message(chunk, world.now);
            }
            if world.now() >= next {
                next = world.now() + SECOND;
                for action in action(world.now()) {
                    world.act(&action).unwrap();
                }
            }
        }
        world.violation().map(|violation| violation.invariant)
    }

    #[test]
    fn follower_that_does_not_catch_up_is_found() {
        assert_eq!(without_snapshot(|_| Vec::new()), Some(Invariant::Progress));
        let elsewhere = |_| vec![Action::Pause { node: 2 }, Action::Resume { node: 2 }];
        assert_eq!(without_snapshot(elsewhere), Some(Invariant::Progress));
    }

    #[test]
    fn disturbed_follower_has_no_guarantee() {
        let paused = |_| vec![Action::Pause { node: 3 }, Action::Resume { node: 3 }];
        assert_eq!(without_snapshot(paused), None);
        let cut_off = |now: u64| {
            let (from, to) = (3, 1);
            let is_even = (now / SECOND).is_multiple_of(2);
            vec![if is_even { Action::CutLink { from, to } } else { Action::HealLink { from, to } }]
        };
        assert_eq!(without_snapshot(cut_off), None);
    }
}
