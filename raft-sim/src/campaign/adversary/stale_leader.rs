//! A leader that is replaced without noticing, and receives a read afterwards.

use raft_core::{Message, Role};

use crate::campaign::adversary::{
    Adversary, is_written, leader, restart_briefly, running, set_latency, term_of,
};
use crate::network::latency::DurationRange;
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::action::{Action, Request};

/// Isolates a leader at the worst time, and requests a read from it as soon as another leader has
/// acknowledged a write. Clocks are as wrong as leases permit.
#[derive(Debug, Default)]
pub(super) struct StaleLeader {
    step: Step,
    /// The time of the next attempt.
    next_at: u64,
    /// The time at which this attempt is abandoned.
    deadline: u64,
    old: u64,
    successor: u64,
    replacement: Replacement,
    /// The number of writes so far.
    written: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Step {
    #[default]
    Idle,
    /// A follower loses contact to the leader, or the leader transfers its leadership.
    Replacing,
    /// Followers have received a heartbeat, and their responses have a high latency.
    Responding,
    /// The leader is isolated, and another one is elected.
    Isolated,
    /// A client writes at the new leader.
    Writing,
    /// A client reads at the old leader.
    Reading,
}

/// How the leader is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Replacement {
    /// No follower receives its messages.
    #[default]
    Isolation,
    /// One follower does not receive its messages. The others do until that follower has their
    /// votes.
    DeafFollower,
    /// One follower does not receive its messages, and the others restart when that follower
    /// campaigns.
    Restart,
    /// The leader is requested to transfer its leadership.
    Transfer,
    /// The responses to its last heartbeat arrive after it was replaced.
    DelayedResponses,
}

/// The key that is written and read.
const KEY: &str = "a";

impl Adversary for StaleLeader {
    fn next_actions(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let now = world.now();
        if self.step != Step::Idle && now > self.deadline {
            return self.abandon(world, random);
        }
        match self.step {
            Step::Idle if now >= self.next_at => self.begin(world, random),
            Step::Replacing => self.isolate(world),
            Step::Responding => self.isolate_from_all_but_responses(world),
            Step::Isolated => self.write(world),
            Step::Writing => self.read(world),
            Step::Idle | Step::Reading => Vec::new(),
        }
    }
}

impl StaleLeader {
    fn abandon(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let timeout = world.config().cluster.election_timeout.max;
        self.step = Step::Idle;
        self.next_at = world.now() + random.within(timeout / 2..=2 * timeout);
        vec![Action::HealNetwork, set_latency(world, world.config().network.latency)]
    }

    /// Selects a leader, its successor and the way of replacement.
    fn begin(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let Some((old, _)) = leader(world) else {
            return Vec::new();
        };
        let followers: Vec<_> = running(world).into_iter().filter(|node| *node != old).collect();
        if followers.len() < 2 {
            return Vec::new();
        }
        let successor = random.pick(&followers);
        let has_leases = world.config().cluster.lease_drift_ppm.is_some();
        let replacement = if has_leases || random.chance_per_mille(300) {
            random.pick(&[
                Replacement::Isolation,
                Replacement::DeafFollower,
                Replacement::Restart,
                Replacement::Transfer,
            ])
        } else {
            Replacement::DelayedResponses
        };
        (self.old, self.successor, self.replacement) = (old, successor, replacement);
        self.step = Step::Replacing;
        self.deadline = world.now() + 4 * world.config().cluster.election_timeout.max;
        let mut actions = set_clocks(world, old, 0);
        actions.extend(match replacement {
            Replacement::Isolation => {
                self.step = Step::Isolated;
                vec![Action::Isolate { node: old }]
            }
            Replacement::DeafFollower | Replacement::Restart => vec![
                Action::CutLink { from: old, to: successor },
                Action::CutLink { from: successor, to: old },
            ],
            Replacement::Transfer => vec![Action::Transfer { to: successor }],
            Replacement::DelayedResponses => Vec::new(),
        });
        actions
    }

    /// Isolates the leader when its successor can be elected.
    fn isolate(&mut self, world: &World) -> Vec<Action> {
        let isolate = Action::Isolate { node: self.old };
        match self.replacement {
            Replacement::DelayedResponses => self.delay_responses(world),
            Replacement::Restart | Replacement::Transfer => {
                let successor = world.raft(self.successor);
                if successor.is_none_or(|raft| raft.role() == Role::Follower) {
                    return Vec::new();
                }
                self.step = Step::Isolated;
                let mut actions = vec![isolate];
                if self.replacement == Replacement::Restart {
                    let others = running(world).into_iter().filter(|node| self.is_other(*node));
                    actions.extend(others.flat_map(restart_briefly));
                }
                actions
            }
            Replacement::DeafFollower | Replacement::Isolation => {
                let is_later = |node| term_of(world, node) > term_of(world, self.old);
                let mut others = running(world).into_iter().filter(|node| self.is_other(*node));
                if !others.any(is_later) {
                    return Vec::new();
                }
                self.step = Step::Isolated;
                vec![isolate]
            }
        }
    }

    /// Returns true for servers besides the old leader and its successor.
    fn is_other(&self, node: u64) -> bool {
        ![self.old, self.successor].contains(&node)
    }

    /// Raises the latency when a heartbeat is in flight.
    fn delay_responses(&mut self, world: &World) -> Vec<Action> {
        let is_heartbeat = |message: &Message| matches!(message, Message::Heartbeat(_));
        if !self.is_in_flight(world, self.old, is_heartbeat) {
            return Vec::new();
        }
        self.step = Step::Responding;
        let timeout = world.config().cluster.election_timeout.max;
        // Without leases, safety does not depend on clocks. A slow clock delays the next heartbeat
        // of the leader.
        let mut actions = set_clocks(world, self.old, -900_000);
        actions.push(set_latency(world, DurationRange::new(3 * timeout, 4 * timeout)));
        actions
    }

    /// Resets the latency when the responses are in flight. The leader then receives nothing but
    /// these responses.
    fn isolate_from_all_but_responses(&mut self, world: &World) -> Vec<Action> {
        let is_response = |message: &Message| matches!(message, Message::HeartbeatResponse(_));
        let voter = (1..=world.config().cluster.nodes).find(|node| self.is_other(*node));
        if !voter.is_some_and(|voter| self.is_in_flight(world, voter, is_response)) {
            return Vec::new();
        }
        self.step = Step::Isolated;
        let mut actions = vec![set_latency(world, world.config().network.latency)];
        let others = (1..=world.config().cluster.nodes).filter(|node| *node != self.old);
        actions.extend(others.map(|to| Action::CutLink { from: self.old, to }));
        actions.push(Action::CutLink { from: self.successor, to: self.old });
        actions
    }

    fn is_in_flight(&self, world: &World, from: u64, is: impl Fn(&Message) -> bool) -> bool {
        let mut messages = world.messages();
        messages.any(|message| {
            message.from == from && message.to != self.successor && is(&message.message)
        })
    }

    fn write(&mut self, world: &World) -> Vec<Action> {
        let Some((new, _)) = leader(world).filter(|(new, _)| *new != self.old) else {
            return Vec::new();
        };
        self.step = Step::Writing;
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
        // The old leader stays isolated until it has responded, or has received the delayed
        // responses.
        self.step = Step::Reading;
        if self.replacement != Replacement::DelayedResponses {
            self.deadline = world.now() + 4 * world.config().network.latency.max + 10_000;
        }
        let request = Request::Get { key: KEY.into() };
        vec![Action::Request { via: Some(self.old), request }]
    }
}

/// Sets the clock of the old leader as slow, and the other clocks as fast, as leases permit.
/// Without leases, the clock of the old leader has the drift `without_leases`.
fn set_clocks(world: &World, old: u64, without_leases: i32) -> Vec<Action> {
    let bound = world.config().cluster.lease_drift_ppm.map(|bound| bound as i32);
    let slow = bound.map_or(without_leases, |bound| -bound);
    let fast = bound.unwrap_or(0);
    let set = |node| Action::SetClock { node, drift: if node == old { slow } else { fast } };
    (1..=world.config().cluster.nodes).map(set).collect()
}
