//! Whether a follower gets what its leader has committed.
//!
//! While one server leads, and it and a follower run undisturbed and reach each other, the follower
//! must come to have everything that was committed when this began, within a time that depends on
//! how much it lacks. Without this check, a follower could wait forever for a snapshot whose
//! transfer starts again and again, while a majority commits.

use raft_core::{LogIndex, Raft, Role, Term};

use crate::check::invariants::Invariant;
use crate::check::liveness::{Disturbance, LOSS_PER_MILLE_MAX};
use crate::node::Node;
use crate::util::units::duration;
use crate::world::{World, note};

#[derive(Clone, Debug, Default)]
pub(crate) struct CatchUp {
    /// When the followers are looked at next.
    look_at: u64,
    /// For each node, what it is to have. None for servers of which nothing can be expected.
    goals: Vec<Option<Goal>>,
}

#[derive(Clone, Copy, Debug)]
struct Goal {
    leader: u64,
    term: Term,
    /// What the follower must have committed.
    index: LogIndex,
    since: u64,
    /// How long that may take.
    time_max: u64,
}

/// How many of the longest election timeouts a follower has, beyond the time for what it lacks.
const TIMEOUTS: u64 = 10;
/// How many times the time for what it lacks it has: a snapshot that was begun before does not
/// count, the next one may be twice as large, and clocks may be slow.
const TRANSFERS: u64 = 4;

impl CatchUp {
    pub(crate) fn disturb(&mut self, disturbed: Disturbance) {
        // An action may have cut a link.
        self.look_at = 0;
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
    /// Looks whether the followers catch up, once in an election timeout.
    pub(crate) fn watch_catch_up(&mut self) {
        if self.now < self.catch_up.look_at {
            return;
        }
        self.catch_up.look_at = self.now + self.config.election_timeout.max;
        let mut goals = std::mem::take(&mut self.catch_up.goals);
        goals.resize(self.nodes.len(), None);
        let mut late = None;
        let leader = self.steady_leader();
        for (node, goal) in self.nodes.iter().zip(&mut goals) {
            let expected = leader.and_then(|leader| self.expected_of(node, leader, *goal));
            if let Some(Goal { leader, since, index, time_max, .. }) = expected
                && self.now - since > time_max
            {
                let text = format!(
                    "n{} has been connected to leader n{leader} for {}, and still lacks entries up to {index}",
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

    /// Whether each server of which that can be expected has all that its leader has committed.
    pub(crate) fn all_have_caught_up(&self) -> bool {
        let leader = self.steady_leader();
        leader.is_none_or(|leader| {
            let committed = commit_index(leader);
            let mut nodes = self.nodes.iter();
            nodes.all(|node| {
                let goal = self.expected_of(node, leader, None);
                goal.is_none() || commit_index(node) >= committed
            })
        })
    }

    /// How long it may take at most until a follower is found that does not catch up, if nothing is
    /// written meanwhile.
    pub(crate) fn catch_up_time(&self) -> u64 {
        let leader = self.steady_leader();
        let time_max = leader.and_then(|leader| {
            let goals = self.nodes.iter().filter_map(|node| self.expected_of(node, leader, None));
            goals.map(|goal| goal.time_max).max()
        });
        // A goal may have been reached just now, so that the next one is set with the next look.
        2 * time_max.unwrap_or_default()
    }

    /// The latest leader, if it can write in time.
    fn steady_leader(&self) -> Option<&Node> {
        if self.network.loss_per_mille > LOSS_PER_MILLE_MAX || self.network.has_bandwidth() {
            return None;
        }
        let leads = |node: &&Node| awake(node).is_some_and(|raft| raft.role() == Role::Leader);
        let leaders = self.nodes.iter().filter(leads);
        let latest = leaders.max_by_key(|node| awake(node).map(Raft::term));
        latest.filter(|leader| self.is_fit(leader))
    }

    /// What a follower is to have now, if it had this goal before.
    fn expected_of(&self, node: &Node, leader: &Node, goal: Option<Goal>) -> Option<Goal> {
        let (raft, leading) = (awake(node)?, awake(leader)?);
        let follows = raft.leader() == Some(leading.id()) && raft.term() == leading.term();
        let is_member = leading.membership().members().contains(&raft.id());
        if node.id == leader.id || !follows || !is_member || !self.is_fit(node) {
            return None;
        }
        let round = self.round_trip(node.id, leader.id)?;
        let known = goal.filter(|goal| {
            goal.leader == leader.id
                && goal.term == leading.term()
                && goal.index > raft.commit_index()
        });
        let time_max = self.time_to_catch_up(raft, leading, round + node.sync.max);
        Some(match known {
            Some(goal) => Goal { time_max: goal.time_max.max(time_max), ..goal },
            None => Goal {
                leader: leader.id,
                term: leading.term(),
                index: leading.commit_index(),
                since: self.now,
                time_max,
            },
        })
    }

    fn time_to_catch_up(&self, follower: &Raft, leader: &Raft, round: u64) -> u64 {
        let lacks = |from: LogIndex| leader.last_log().index.0.saturating_sub(from.0);
        let entries = lacks(follower.commit_index().max(leader.log_start().index));
        // A message is sent again after two heartbeats; it or its answer was lost.
        let resent =
            2 * self.config.heartbeat_interval * 2 * u64::from(self.network.loss_per_mille);
        let step = round + resent / 1_000;
        let steps = self.snapshot_pieces() + entries;
        TIMEOUTS * self.config.election_timeout.max + TRANSFERS * steps * step
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

    /// Server 5 needs a snapshot, and clients write so much that the leader takes the next one
    /// before it has arrived.
    #[test]
    fn follower_that_needs_a_snapshot_catches_up_while_clients_write() {
        let config =
            WorldConfig { seed: 7, clients: 5, snapshot_every: 100, ..WorldConfig::default() };
        let mut world = World::new(config).unwrap();
        world.run_until(120_000_000);
        world.act(&Action::Crash { node: 5 }).unwrap();
        world.run_until(135_000_000);
        world.act(&Action::Restart { node: 5 }).unwrap();
        world.run_until(245_000_000);
        assert_eq!(world.violation(), None);
        let last = |node| world.raft(node).map(|raft| raft.commit_index().0);
        assert!(last(5) > Some(4_000), "{:?}", last(5));
    }

    /// Server 3 needs a snapshot of which no piece arrives, and something is done again and again.
    fn without_snapshot(action: impl Fn(u64) -> Vec<Action>) -> Option<Invariant> {
        let config =
            WorldConfig { nodes: 3, clients: 2, snapshot_every: 10, ..WorldConfig::default() };
        let mut world = World::new(config).unwrap();
        world.act(&Action::FireTimer { node: 1 }).unwrap();
        world.run_until(1_000_000);
        world.act(&Action::Crash { node: 3 }).unwrap();
        world.run_until(4_000_000);
        world.act(&Action::Restart { node: 3 }).unwrap();
        let mut next = 0;
        while world.now() < 60_000_000 && world.step() {
            let pieces = world.messages();
            let pieces = pieces.filter(|it| matches!(it.message, Message::InstallSnapshot(_)));
            let pieces: Vec<_> = pieces.map(|it| it.id).collect();
            for piece in pieces {
                world.network.drop_message(piece, world.now);
            }
            if world.now() >= next {
                next = world.now() + 1_000_000;
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
    fn nothing_is_expected_of_a_disturbed_follower() {
        let paused = |_| vec![Action::Pause { node: 3 }, Action::Resume { node: 3 }];
        assert_eq!(without_snapshot(paused), None);
        let cut_off = |now: u64| match now / 1_000_000 % 2 {
            0 => vec![Action::CutLink { from: 3, to: 1 }],
            _ => vec![Action::HealLink { from: 3, to: 1 }],
        };
        assert_eq!(without_snapshot(cut_off), None);
    }
}
