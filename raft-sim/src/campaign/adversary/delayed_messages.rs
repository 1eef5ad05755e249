//! Messages of an earlier leadership that arrive when the same server leads again.

use raft_core::{LogId, Raft};

use crate::campaign::adversary::{Adversary, is_written, leader, running, term_of};
use crate::network::latency::DurationRange;
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::action::{Action, Request};

/// Delays the messages between a leader and a follower while the leader is replaced and elected
/// again. The leader then keeps only one other follower, and a rival leads the remaining servers.
/// At that time the delayed messages arrive.
#[derive(Debug, Default)]
pub(super) struct DelayedMessages {
    step: Step,
    delayed: DelayedKind,
    /// The time at which the present step may end.
    next_at: u64,
    /// The time at which this attempt is abandoned.
    deadline: u64,
    /// The server that leads, is replaced and leads again.
    leader: u64,
    /// The follower whose messages are delayed.
    follower: u64,
    /// The follower that the leader keeps.
    friend: u64,
    /// The server that replaces the leader, twice.
    rival: u64,
    /// The latest term with a leader when the step started.
    term: u64,
    /// The number of writes so far.
    written: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Step {
    #[default]
    Idle,
    /// The leader campaigns.
    Campaigning,
    /// The messages that will be delayed are sent.
    Holding,
    /// The rival becomes leader, and its log replaces those of the leader and the follower.
    Replacing,
    /// The leader becomes leader again.
    Returning,
    /// The follower receives the delayed messages.
    Receiving,
    /// The rival becomes leader of the remaining servers.
    Splitting,
    /// A client writes at the rival.
    Writing,
    /// A client reads at the leader, and the delayed messages arrive.
    Reading,
}

/// The messages that are delayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum DelayedKind {
    /// Acknowledgements of entries that are replaced later.
    #[default]
    Acknowledgements,
    /// Heartbeats of the earlier leadership. The follower receives them during the later one, and
    /// its responses are delayed again.
    Heartbeats,
}

/// The key that is written and read.
const KEY: &str = "l";
/// The number of writes whose acknowledgements are delayed.
const WRITES: u64 = 3;
/// The number of heartbeats that are delayed.
const HELD: u64 = 12;
/// Latencies in heartbeat intervals. The short one is less than an election timeout. The long one
/// exceeds the duration of the remaining steps.
const SHORT: u64 = 2;
const LONG: u64 = 16;

impl Adversary for DelayedMessages {
    fn next_actions(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let now = world.now();
        if self.step != Step::Idle && now > self.deadline {
            return self.abandon(world, random);
        }
        match self.step {
            Step::Idle if now >= self.next_at => self.begin(world, random),
            Step::Campaigning if self.leads(world) => self.hold_messages(world),
            Step::Holding if self.are_messages_held(world) => self.replace(world),
            Step::Replacing if self.has_new_leader(world) => self.heal(world),
            Step::Returning if self.leads(world) => self.come_back(world),
            Step::Receiving if now >= self.next_at => self.split(world),
            Step::Splitting => self.write(world),
            Step::Writing => self.read(world),
            _ => Vec::new(),
        }
    }

    fn leave(&self, world: &World) -> Vec<Action> {
        self.reset_latency(world).into()
    }
}

impl DelayedMessages {
    fn abandon(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let timeout = world.config().cluster.election_timeout.max;
        self.step = Step::Idle;
        self.next_at = world.now() + random.within(timeout / 2..=timeout);
        let mut actions = vec![Action::HealNetwork];
        actions.extend(self.reset_latency(world));
        actions
    }

    fn reset_latency(&self, world: &World) -> [Action; 2] {
        let usual = world.config().network.latency;
        [self.to_follower(usual), self.to_leader(usual)]
    }

    /// Selects the servers and lets the first one campaign.
    fn begin(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let mut others = running(world);
        if others.len() < 5 {
            return Vec::new();
        }
        let mut take = || others.swap_remove(random.below(others.len() as u64) as usize);
        [self.leader, self.follower, self.friend, self.rival] = [take(), take(), take(), take()];
        self.delayed = random.pick(&[DelayedKind::Acknowledgements, DelayedKind::Heartbeats]);
        self.term = latest_term(world);
        self.step = Step::Campaigning;
        self.deadline =
            world.now() + 4 * world.config().cluster.election_timeout.max + 40 * heartbeat(world);
        vec![Action::FireTimer { node: self.leader }]
    }

    /// Raises the latency of the messages that will be delayed.
    fn hold_messages(&mut self, world: &World) -> Vec<Action> {
        let now = world.now();
        self.step = Step::Holding;
        match self.delayed {
            DelayedKind::Acknowledgements => {
                self.deadline = now + 2 * LONG * heartbeat(world);
                let mut actions = vec![self.to_leader(heartbeats(world, LONG))];
                actions.extend(cut_off(world, &[self.leader], &[self.follower]));
                actions.extend((0..WRITES).map(|_| self.put(self.leader)));
                actions
            }
            DelayedKind::Heartbeats => {
                self.next_at = now + HELD * heartbeat(world);
                self.deadline = now + 4 * LONG * heartbeat(world);
                vec![self.to_follower(heartbeats(world, SHORT))]
            }
        }
    }

    /// Returns true if the messages that will be delayed are in flight.
    fn are_messages_held(&self, world: &World) -> bool {
        match self.delayed {
            DelayedKind::Heartbeats => world.now() >= self.next_at,
            DelayedKind::Acknowledgements => {
                let durable = |node| world.raft(node).map(|raft| raft.status().durable_index);
                last_log(world, self.leader).is_some_and(|written| {
                    durable(self.follower) == Some(written.index)
                        && durable(self.rival) < Some(written.index)
                })
            }
        }
    }

    fn replace(&mut self, world: &World) -> Vec<Action> {
        self.step = Step::Replacing;
        self.term = term_of(world, self.leader);
        let mut actions = Vec::new();
        if self.delayed == DelayedKind::Acknowledgements {
            actions.push(Action::CutLink { from: self.leader, to: self.follower });
        }
        actions.push(Action::FireTimer { node: self.rival });
        actions
    }

    /// Returns true if the rival leads, and has replaced the log of the follower or the leader.
    fn has_new_leader(&self, world: &World) -> bool {
        let Some((_, term)) = leader(world).filter(|(node, _)| *node == self.rival) else {
            return false;
        };
        let node = match self.delayed {
            DelayedKind::Acknowledgements => self.follower,
            DelayedKind::Heartbeats => self.leader,
        };
        last_log(world, node).is_some_and(|last| last.term.0 == term)
    }

    /// Heals the network. The old leader, which is a follower now, campaigns as soon as it can win.
    fn heal(&mut self, world: &World) -> Vec<Action> {
        let usual = world.config().network.latency;
        if last_log(world, self.leader) != last_log(world, self.rival) {
            if world.network().connects(self.rival, self.leader) {
                return Vec::new();
            }
            return vec![Action::HealNetwork, self.to_leader(usual)];
        }
        self.step = Step::Returning;
        self.term = latest_term(world);
        vec![self.to_follower(usual), Action::FireTimer { node: self.leader }]
    }

    fn leads(&self, world: &World) -> bool {
        leader(world).is_some_and(|(node, term)| node == self.leader && term > self.term)
    }

    fn come_back(&mut self, world: &World) -> Vec<Action> {
        match self.delayed {
            DelayedKind::Acknowledgements => self.split(world),
            DelayedKind::Heartbeats => {
                self.step = Step::Receiving;
                self.next_at = world.now() + SHORT * heartbeat(world);
                vec![self.to_leader(heartbeats(world, LONG))]
            }
        }
    }

    /// Leaves the leader with its friend and the delayed messages, and lets the rival campaign
    /// among the others.
    fn split(&mut self, world: &World) -> Vec<Action> {
        self.step = Step::Splitting;
        self.term = term_of(world, self.leader);
        let pair = [self.leader, self.friend];
        let mut actions = cut_off(world, &pair, &pair);
        // The leader receives messages from the follower, and the follower receives none from it.
        actions.push(Action::HealLink { from: self.follower, to: self.leader });
        actions.extend((0..2 * WRITES).map(|_| self.put(self.leader)));
        actions.push(Action::FireTimer { node: self.rival });
        actions
    }

    fn write(&mut self, world: &World) -> Vec<Action> {
        let Some((new, _)) = leader(world).filter(|(_, term)| *term > self.term) else {
            return Vec::new();
        };
        self.step = Step::Writing;
        self.written += 1;
        vec![self.put(new)]
    }

    fn read(&mut self, world: &World) -> Vec<Action> {
        if !is_written(world, &self.value()) {
            return Vec::new();
        }
        self.step = Step::Reading;
        let request = Request::Get { key: KEY.into() };
        vec![Action::Request { via: Some(self.leader), request }]
    }

    fn value(&self) -> String {
        format!("l{}", self.written)
    }

    fn put(&self, node: u64) -> Action {
        let request = Request::Put { key: KEY.into(), value: self.value() };
        Action::Request { via: Some(node), request }
    }

    /// Sets the latency of messages from the follower to the leader.
    fn to_leader(&self, latency: DurationRange) -> Action {
        Action::SetLatency { from: self.follower, to: self.leader, latency }
    }

    /// Sets the latency of messages from the leader to the follower.
    fn to_follower(&self, latency: DurationRange) -> Action {
        Action::SetLatency { from: self.leader, to: self.follower, latency }
    }
}

/// Cuts all links of `nodes` in both directions, except those to `kept`.
fn cut_off(world: &World, nodes: &[u64], kept: &[u64]) -> Vec<Action> {
    let mut cuts = Vec::new();
    for node in nodes {
        let all = 1..=world.config().cluster.nodes;
        for other in all.filter(|other| other != node && !kept.contains(other)) {
            cuts.extend([(*node, other), (other, *node)]);
        }
    }
    cuts.into_iter().map(|(from, to)| Action::CutLink { from, to }).collect()
}

fn last_log(world: &World, node: u64) -> Option<LogId> {
    world.raft(node).map(Raft::last_log)
}

/// The latest term with a leader that is running; 0 if there is none.
fn latest_term(world: &World) -> u64 {
    leader(world).map_or(0, |(_, term)| term)
}

fn heartbeat(world: &World) -> u64 {
    world.config().cluster.heartbeat_interval
}

/// The latency of so many heartbeat intervals.
fn heartbeats(world: &World, count: u64) -> DurationRange {
    let latency = count * heartbeat(world);
    DurationRange::new(latency, latency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Campaign;
    use crate::campaign::adversary::AdversaryKind;

    /// Without a disabled rule, the adversary only delays clients.
    #[test]
    fn leader_returns_before_delayed_messages() {
        let mut reads = 0;
        let campaigns = (0..1_000)
            .map(Campaign::new)
            .filter(|campaign| campaign.adversary == Some(AdversaryKind::DelayedMessages));
        for campaign in campaigns {
            let (world, report) = campaign.run_to_the_end();
            assert_eq!(report.violation, None, "seed {}", report.seed);
            let is_ours = |request: &Request| matches!(request, Request::Get { key } if key == KEY);
            reads += world.askings().filter(|operation| is_ours(&operation.request)).count();
        }
        assert!(reads > 30, "{reads}");
    }
}
