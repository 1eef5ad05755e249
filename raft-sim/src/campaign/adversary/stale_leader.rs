//! A leader that is replaced without knowing it, and asked what the others have changed since.

use raft_core::{Message, Role};

use crate::campaign::adversary::{is_written, latency, leader, restart_briefly, running};
use crate::util::rng::{DurationRange, SimRng};
use crate::world::World;
use crate::world::action::{Action, Request};

/// Cuts a leader off at the worst moment, and as soon as another leader has answered a write, reads
/// at the old one. Clocks are as wrong as leases allow for.
#[derive(Clone, Debug, Default)]
pub(in crate::campaign) struct StaleLeader {
    stage: Stage,
    next_at: u64,
    deadline: u64,
    old: u64,
    heir: u64,
    way: Replacement,
    written: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    #[default]
    Resting,
    /// A follower is made to believe that there is no leader.
    Luring,
    /// The leader's question was heard, and the answers are on a long way.
    Answering,
    /// The leader is cut off, and another one is to be elected.
    CutOff,
    /// A client writes at the new leader.
    Writing,
    /// A client reads at the old one.
    Reading,
}

/// How the leader is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Replacement {
    /// Nobody hears it.
    #[default]
    Isolation,
    /// One follower does not hear it, and the others do until this one has their votes.
    DeafFollower,
    /// One follower does not hear it, and the others restart when this one stands.
    Restart,
    /// It is asked to hand over.
    Transfer,
    /// The answers to its last heartbeat arrive when it is over.
    LateAnswers,
}

impl StaleLeader {
    pub(in crate::campaign) fn look(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let now = world.now();
        if self.stage != Stage::Resting && now > self.deadline {
            return self.rest(world, random);
        }
        match self.stage {
            Stage::Resting if now >= self.next_at => self.begin(world, random),
            Stage::Resting => Vec::new(),
            Stage::Luring => self.isolate_leader(world),
            Stage::Answering => self.answer(world),
            Stage::CutOff => self.write(world),
            Stage::Writing => self.read(world),
            Stage::Reading => Vec::new(),
        }
    }

    fn rest(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let timeout = world.config().election_timeout.max;
        self.stage = Stage::Resting;
        self.next_at = world.now() + random.within(timeout / 2..=2 * timeout);
        vec![Action::HealNetwork, latency(world, world.config().latency)]
    }

    fn begin(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let Some((old, _)) = leader(world) else {
            return Vec::new();
        };
        let followers: Vec<_> = running(world).into_iter().filter(|node| *node != old).collect();
        if followers.len() < 2 {
            return Vec::new();
        }
        let heir = random.pick(&followers);
        let ways = [
            Replacement::Isolation,
            Replacement::DeafFollower,
            Replacement::Restart,
            Replacement::Transfer,
        ];
        let has_leases = world.config().lease_drift_ppm.is_some();
        let way = if has_leases || random.chance_per_mille(300) {
            random.pick(&ways)
        } else {
            Replacement::LateAnswers
        };
        (self.old, self.heir, self.way) = (old, heir, way);
        self.stage = Stage::Luring;
        self.deadline = world.now() + 4 * world.config().election_timeout.max;
        let mut actions = clocks(world, old, 0);
        actions.extend(match way {
            Replacement::Isolation => {
                self.stage = Stage::CutOff;
                vec![Action::Isolate { node: old }]
            }
            Replacement::DeafFollower | Replacement::Restart => vec![
                Action::CutLink { from: old, to: heir },
                Action::CutLink { from: heir, to: old },
            ],
            Replacement::Transfer => vec![Action::Transfer { to: heir }],
            Replacement::LateAnswers => Vec::new(),
        });
        actions
    }

    fn isolate_leader(&mut self, world: &World) -> Vec<Action> {
        let cut_off = Action::Isolate { node: self.old };
        match self.way {
            Replacement::LateAnswers => {
                let asks = |message: &Message| matches!(message, Message::Heartbeat(_));
                if !self.is_in_flight(world, self.old, asks) {
                    return Vec::new();
                }
                self.stage = Stage::Answering;
                let timeout = world.config().election_timeout.max;
                // Without leases safety depends on no clock. The leader's next heartbeat is far
                // away.
                let mut actions = clocks(world, self.old, -900_000);
                actions.push(latency(world, DurationRange::new(3 * timeout, 4 * timeout)));
                actions
            }
            Replacement::Restart | Replacement::Transfer => {
                let heir = world.raft(self.heir);
                if heir.is_none_or(|heir| heir.role() == Role::Follower) {
                    return Vec::new();
                }
                self.stage = Stage::CutOff;
                if self.way == Replacement::Transfer {
                    return vec![cut_off];
                }
                let others =
                    running(world).into_iter().filter(|node| ![self.old, self.heir].contains(node));
                let mut actions = vec![cut_off];
                actions.extend(others.flat_map(restart_briefly));
                actions
            }
            Replacement::DeafFollower | Replacement::Isolation => {
                let term = |node| world.raft(node).map_or(0, |raft| raft.term().0);
                let is_over = running(world).into_iter().any(|node| {
                    ![self.old, self.heir].contains(&node) && term(node) > term(self.old)
                });
                if !is_over {
                    return Vec::new();
                }
                self.stage = Stage::CutOff;
                vec![cut_off]
            }
        }
    }

    /// When the answers are on their way, the network is quick again, and the leader hears nothing
    /// but them.
    fn answer(&mut self, world: &World) -> Vec<Action> {
        let answers = |message: &Message| matches!(message, Message::HeartbeatResponse(_));
        let voter = (1..=world.config().nodes).find(|node| ![self.old, self.heir].contains(node));
        if !voter.is_some_and(|voter| self.is_in_flight(world, voter, answers)) {
            return Vec::new();
        }
        self.stage = Stage::CutOff;
        let mut actions = vec![latency(world, world.config().latency)];
        let others = (1..=world.config().nodes).filter(|node| *node != self.old);
        actions.extend(others.map(|to| Action::CutLink { from: self.old, to }));
        actions.push(Action::CutLink { from: self.heir, to: self.old });
        actions
    }

    fn is_in_flight(&self, world: &World, from: u64, is: impl Fn(&Message) -> bool) -> bool {
        let mut messages = world.messages();
        messages.any(|flight| flight.from == from && flight.to != self.heir && is(&flight.message))
    }

    fn write(&mut self, world: &World) -> Vec<Action> {
        let Some((new, _)) = leader(world).filter(|(new, _)| *new != self.old) else {
            return Vec::new();
        };
        self.stage = Stage::Writing;
        self.written += 1;
        let request = Request::Put { key: KEY.into(), value: self.value() };
        vec![Action::Request { via: Some(new), request }]
    }

    fn value(&self) -> String {
        format!("a{}", self.written)
    }

    fn read(&mut self, world: &World) -> Vec<Action> {
        if !is_written(world, &self.value()) {
            return Vec::new();
        }
        // The old leader is left alone until its answer is there, or those to its heartbeat.
        self.stage = Stage::Reading;
        if self.way != Replacement::LateAnswers {
            self.deadline = world.now() + 4 * world.config().latency.max + 10_000;
        }
        let request = Request::Get { key: KEY.into() };
        let via = Some(self.old);
        vec![Action::Request { via, request }]
    }
}

const KEY: &str = "a";

/// The old leader's clock is slow, and those of the others are fast, as far as leases allow for.
fn clocks(world: &World, old: u64, without_leases: i32) -> Vec<Action> {
    let bound = world.config().lease_drift_ppm.map(|bound| bound as i32);
    let slow = bound.map_or(without_leases, |bound| -bound);
    let fast = bound.unwrap_or(0);
    let set = |node| Action::SetClock { node, drift: if node == old { slow } else { fast } };
    (1..=world.config().nodes).map(set).collect()
}
