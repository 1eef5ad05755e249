//! Messages of an earlier leadership that arrive when the same server leads again.

use crate::campaign::adversary::{is_written, leader, running};
use crate::util::rng::{DurationRange, SimRng};
use crate::world::World;
use crate::world::action::{Action, Request};

/// Keeps what a leader and a follower say to each other on a long way, has the leader replaced and
/// elected again, and leaves it one other follower only. While a third server leads the rest, what
/// was said long ago arrives.
#[derive(Clone, Debug, Default)]
pub(in crate::campaign) struct DelayedMessages {
    stage: Step,
    late: DelayedKind,
    next_at: u64,
    deadline: u64,
    /// Who leads, is replaced, and leads again.
    leader: u64,
    /// Whose messages are late.
    follower: u64,
    /// Who goes on hearing the leader.
    friend: u64,
    /// Who replaces the leader, twice.
    rival: u64,
    /// The latest term that was led when the stage began.
    term: u64,
    written: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Step {
    #[default]
    Resting,
    /// A server is to lead from the beginning of a term on.
    Standing,
    /// What will be late is said.
    Holding,
    /// The rival is to lead, and the log of the other two is to be its own.
    Replacing,
    /// The leader is to lead again.
    Returning,
    /// The follower hears what was said to it long ago.
    Hearing,
    /// The rival is to lead the rest.
    Splitting,
    /// A client writes at the rival.
    Writing,
    /// A client reads at the leader, and the late messages arrive.
    Reading,
}

/// What is late.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum DelayedKind {
    /// The follower acknowledges entries that are replaced later.
    #[default]
    Acknowledgements,
    /// The follower hears heartbeats of the earlier leadership in the later one, and its answers
    /// are late again.
    Heartbeats,
}

impl DelayedMessages {
    pub(in crate::campaign) fn look(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let now = world.now();
        if self.stage != Step::Resting && now > self.deadline {
            return self.rest(world, random);
        }
        match self.stage {
            Step::Resting if now >= self.next_at => self.begin(world, random),
            Step::Standing if self.leads(world) => self.hold_messages(world),
            Step::Holding if self.has_request_in_flight(world) => self.replace(world),
            Step::Replacing if self.has_new_leader(world) => self.heal(world),
            Step::Returning if self.leads(world) => self.come_back(world),
            Step::Hearing if now >= self.next_at => self.split(world),
            Step::Splitting => self.write(world),
            Step::Writing => self.read(world),
            _ => Vec::new(),
        }
    }

    fn rest(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let timeout = world.config().election_timeout.max;
        self.stage = Step::Resting;
        self.next_at = world.now() + random.within(timeout / 2..=timeout);
        let mut actions = vec![Action::HealNetwork];
        actions.extend(self.mend(world));
        actions
    }

    /// All messages are quick again.
    pub(in crate::campaign) fn mend(&self, world: &World) -> Vec<Action> {
        let usual = world.config().latency;
        vec![self.to_follower(usual), self.to_leader(usual)]
    }

    fn begin(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let mut others = running(world);
        if others.len() < 5 {
            return Vec::new();
        }
        let mut take = || others.swap_remove(random.below(others.len() as u64) as usize);
        let [stands, follower, friend, rival] = [take(), take(), take(), take()];
        (self.leader, self.follower) = (stands, follower);
        (self.friend, self.rival) = (friend, rival);
        self.late = random.pick(&[DelayedKind::Acknowledgements, DelayedKind::Heartbeats]);
        self.term = leader(world).map_or(0, |(_, term)| term);
        self.stage = Step::Standing;
        self.deadline =
            world.now() + 4 * world.config().election_timeout.max + 40 * heartbeat(world);
        vec![Action::FireTimer { node: stands }]
    }

    /// What is said from now on takes long.
    fn hold_messages(&mut self, world: &World) -> Vec<Action> {
        let now = world.now();
        self.stage = Step::Holding;
        match self.late {
            DelayedKind::Acknowledgements => {
                self.deadline = now + 2 * LONG * heartbeat(world);
                let mut actions = vec![self.to_leader(heartbeats(world, LONG))];
                actions.extend(self.cut_off(world, &[self.leader], &[self.follower]));
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

    fn has_request_in_flight(&self, world: &World) -> bool {
        match self.late {
            DelayedKind::Heartbeats => world.now() >= self.next_at,
            DelayedKind::Acknowledgements => {
                let last = |node| world.raft(node).map(|raft| raft.status().durable_index);
                let written = world.raft(self.leader).map(raft_core::Raft::last_log);
                written.is_some_and(|written| {
                    let others = last(self.rival);
                    last(self.follower) == Some(written.index) && others < Some(written.index)
                })
            }
        }
    }

    fn replace(&mut self, world: &World) -> Vec<Action> {
        self.stage = Step::Replacing;
        self.term = world.raft(self.leader).map_or(0, |raft| raft.term().0);
        let mut actions = Vec::new();
        if self.late == DelayedKind::Acknowledgements {
            actions.push(Action::CutLink { from: self.leader, to: self.follower });
        }
        actions.push(Action::FireTimer { node: self.rival });
        actions
    }

    fn has_new_leader(&self, world: &World) -> bool {
        let Some((_, term)) = leader(world).filter(|(node, _)| *node == self.rival) else {
            return false;
        };
        let follows = |node| {
            let raft = world.raft(node);
            raft.is_some_and(|raft| raft.last_log().term.0 == term)
        };
        match self.late {
            DelayedKind::Acknowledgements => follows(self.follower),
            DelayedKind::Heartbeats => follows(self.leader),
        }
    }

    /// All hear each other again, and the leader, which follows now, stands as soon as it may win.
    fn heal(&mut self, world: &World) -> Vec<Action> {
        let last = |node| world.raft(node).map(raft_core::Raft::last_log);
        let usual = world.config().latency;
        if last(self.leader) != last(self.rival) {
            return match world.network.connects(self.rival, self.leader) {
                true => Vec::new(),
                false => vec![Action::HealNetwork, self.to_leader(usual)],
            };
        }
        self.stage = Step::Returning;
        self.term = leader(world).map_or(0, |(_, term)| term);
        vec![self.to_follower(usual), Action::FireTimer { node: self.leader }]
    }

    fn leads(&self, world: &World) -> bool {
        leader(world).is_some_and(|(node, term)| node == self.leader && term > self.term)
    }

    fn come_back(&mut self, world: &World) -> Vec<Action> {
        match self.late {
            DelayedKind::Acknowledgements => self.split(world),
            DelayedKind::Heartbeats => {
                self.stage = Step::Hearing;
                self.next_at = world.now() + SHORT * heartbeat(world);
                vec![self.to_leader(heartbeats(world, LONG))]
            }
        }
    }

    /// The leader is left with its friend and with what comes late, and the rival leads the others.
    fn split(&mut self, world: &World) -> Vec<Action> {
        self.stage = Step::Splitting;
        self.term = world.raft(self.leader).map_or(0, |raft| raft.term().0);
        let pair = [self.leader, self.friend];
        let mut actions = self.cut_off(world, &pair, &pair);
        // It hears the follower, and nobody hears it.
        actions.push(Action::HealLink { from: self.follower, to: self.leader });
        actions.extend((0..2 * WRITES).map(|_| self.put(self.leader)));
        actions.push(Action::FireTimer { node: self.rival });
        actions
    }

    fn write(&mut self, world: &World) -> Vec<Action> {
        let Some((new, _)) = leader(world).filter(|(_, term)| *term > self.term) else {
            return Vec::new();
        };
        self.stage = Step::Writing;
        self.written += 1;
        vec![self.put(new)]
    }

    fn read(&mut self, world: &World) -> Vec<Action> {
        if !is_written(world, &self.value()) {
            return Vec::new();
        }
        self.stage = Step::Reading;
        let (key, via) = (KEY.into(), Some(self.leader));
        vec![Action::Request { via, request: Request::Get { key } }]
    }

    fn value(&self) -> String {
        format!("l{}", self.written)
    }

    fn put(&self, node: u64) -> Action {
        let (key, value) = (KEY.into(), self.value());
        Action::Request { via: Some(node), request: Request::Put { key, value } }
    }

    /// Nothing gets from these servers to any but `kept`, or back.
    fn cut_off(&self, world: &World, these: &[u64], kept: &[u64]) -> Vec<Action> {
        let mut cuts = Vec::new();
        for one in these {
            let nodes = 1..=world.config().nodes;
            for other in nodes.filter(|other| other != one && !kept.contains(other)) {
                cuts.extend([(*one, other), (other, *one)]);
            }
        }
        cuts.into_iter().map(|(from, to)| Action::CutLink { from, to }).collect()
    }

    fn to_leader(&self, latency: DurationRange) -> Action {
        let (from, to) = (self.follower, self.leader);
        Action::SetLatency { from, to, latency }
    }

    fn to_follower(&self, latency: DurationRange) -> Action {
        let (from, to) = (self.leader, self.follower);
        Action::SetLatency { from, to, latency }
    }
}

const KEY: &str = "l";
/// How many writes are acknowledged by messages that are late.
const WRITES: u64 = 3;
/// How many heartbeats are late.
const HELD: u64 = 12;
/// How late messages are, in heartbeat intervals: less than an election timeout, and longer than
/// the rest of it takes.
const SHORT: u64 = 2;
const LONG: u64 = 16;

fn heartbeat(world: &World) -> u64 {
    world.config().heartbeat_interval
}

fn heartbeats(world: &World, count: u64) -> DurationRange {
    let most = count * heartbeat(world);
    DurationRange::new(most, most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Campaign;
    use crate::campaign::adversary::Adversary;

    /// Without a broken rule it only keeps clients waiting.
    #[test]
    fn leader_returns_before_delayed_messages() {
        let mut reads = 0;
        let ours = (0..1_000)
            .map(Campaign::new)
            .filter(|campaign| matches!(campaign.adversary, Some(Adversary::LateAnswers(_))));
        for campaign in ours {
            let (world, report) = campaign.run_to_the_end();
            assert_eq!(report.violation, None, "seed {}", report.seed);
            let is_ours = |request: &Request| matches!(request, Request::Get { key } if key == KEY);
            let askings = world.askings();
            reads += askings.filter(|asking| is_ours(&asking.request)).count();
        }
        assert!(reads > 30, "{reads}");
    }
}
