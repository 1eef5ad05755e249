//! Chains of leaders that crash while they replicate.

use raft_core::Role;

use crate::campaign::adversary::{Adversary, leader, round_trip, running, set_latency};
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::action::Action;

/// Lets each leader reach only some followers, crashes it while it replicates, and selects the next
/// one. This produces Figure 8 of the paper.
#[derive(Debug)]
pub(super) struct LeaderChain {
    /// True if leaders also receive requests for membership changes.
    changes: bool,
    /// True until the present leader has committed an entry of its term. Its links are cut then.
    waits: bool,
    /// The latest term whose leader was attacked.
    term: u64,
    /// The time at which the present leader crashes.
    crash_at: u64,
    /// The time of the next campaign, if there is no leader.
    next_at: u64,
    /// The times at which crashed nodes restart.
    returning: Vec<(u64, u64)>,
}

impl LeaderChain {
    pub(super) fn new(changes: bool) -> Self {
        Self {
            changes,
            waits: false,
            term: 0,
            crash_at: u64::MAX,
            next_at: 0,
            returning: Vec::new(),
        }
    }

    /// Restarts the nodes whose time has come.
    fn restart_crashed(&mut self, now: u64) -> Vec<Action> {
        let is_due = |(at, _): &mut (u64, u64)| *at <= now;
        let due = self.returning.extract_if(.., is_due);
        due.map(|(_, node)| Action::Restart { node }).collect()
    }

    /// Attacks a new leader at once, or after its first commit.
    fn attack(
        &mut self,
        world: &World,
        (node, term): (u64, u64),
        random: &mut SimRng,
    ) -> Vec<Action> {
        self.term = term;
        self.waits = self.changes && random.chance_per_mille(500);
        if self.waits {
            self.crash_at = world.now() + 4 * round_trip(world);
            return Vec::new();
        }
        self.crash_at = world.now() + random.below(round_trip(world));
        self.isolate_quorum_edge(world, node, random)
    }

    /// Ends the present leadership: by a crash of all servers or of the leader, or by the campaign
    /// of another server.
    fn end_leadership(&mut self, world: &World, leader: u64, random: &mut SimRng) -> Vec<Action> {
        let (now, nodes) = (world.now(), world.config().cluster.nodes);
        self.crash_at = u64::MAX;
        self.next_at = now;
        let mut actions =
            vec![Action::HealNetwork, set_latency(world, world.config().network.latency)];
        if random.chance_per_mille(300) {
            // The others lose their unsynced data, too.
            actions.push(Action::PowerCut);
            let others = (1..=nodes).filter(|other| *other != leader);
            actions.extend(others.map(|node| Action::Restart { node }));
        } else if self.changes && random.chance_per_mille(500) {
            // The leader keeps running while its log is replaced.
            actions.push(Action::FireTimer { node: random.within(1..=nodes) });
            return actions;
        } else {
            actions.push(Action::Crash { node: leader });
        }
        self.returning.push((now + random.below(4 * round_trip(world)), leader));
        actions
    }

    /// Lets a random server campaign.
    fn campaign(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let pace = round_trip(world);
        self.next_at = world.now() + random.within(pace / 4..=pace);
        let running = running(world);
        if running.is_empty() {
            return Vec::new();
        }
        vec![Action::FireTimer { node: random.pick(&running) }]
    }

    /// Cuts the links from a leader to random followers. Requests membership changes before, if
    /// this chain has any.
    fn isolate_quorum_edge(&self, world: &World, leader: u64, random: &mut SimRng) -> Vec<Action> {
        let mut unreached: Vec<_> =
            (1..=world.config().cluster.nodes).filter(|node| *node != leader).collect();
        for _ in 0..random.below(unreached.len() as u64) {
            unreached.swap_remove(random.below(unreached.len() as u64) as usize);
        }
        let mut actions = Vec::new();
        if self.changes {
            actions.extend(change_membership(world, leader, &unreached, random));
        }
        let cut = |to| Action::CutLink { from: leader, to };
        actions.extend(unreached.into_iter().map(cut));
        // Messages that are sent now arrive under later leaders.
        if random.chance_per_mille(100) {
            actions.push(set_latency(world, world.config().cluster.election_timeout));
        }
        actions
    }
}

impl Adversary for LeaderChain {
    fn next_actions(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        let now = world.now();
        let mut actions = self.restart_crashed(now);
        actions.extend(match leader(world) {
            Some(leader) if leader.1 > self.term => self.attack(world, leader, random),
            Some((node, _)) if self.waits && has_committed_in(world, self.term) => {
                self.waits = false;
                self.crash_at = now + random.below(2 * round_trip(world));
                self.isolate_quorum_edge(world, node, random)
            }
            Some((node, _)) if self.crash_at <= now => self.end_leadership(world, node, random),
            None if self.next_at <= now => self.campaign(world, random),
            Some(_) | None => Vec::new(),
        });
        actions
    }
}

/// Returns true if the leader of a term has committed an entry of that term.
fn has_committed_in(world: &World, term: u64) -> bool {
    (1..=world.config().cluster.nodes).filter_map(|node| world.raft(node)).any(|raft| {
        let leads = raft.role() == Role::Leader && raft.term().0 == term;
        leads && raft.term_at(raft.commit_index()) == Some(raft.term())
    })
}

/// Requests for memberships that the leader could commit with just the servers that it reaches.
/// Sometimes there are two requests at once, of which the leader may execute only the first.
fn change_membership(
    world: &World,
    leader: u64,
    unreached: &[u64],
    random: &mut SimRng,
) -> Vec<Action> {
    let mut changes = Vec::new();
    while changes.is_empty() || (changes.len() < 3 && random.chance_per_mille(400)) {
        let with_all = random.chance_per_mille(200);
        let voters = (1..=world.config().cluster.nodes).filter(|node| {
            *node == leader || with_all || unreached.contains(node) == random.chance_per_mille(100)
        });
        let (voters, learners, joining) = (voters.collect(), Vec::new(), Vec::new());
        changes.push(Action::ChangeMembership { voters, learners, joining });
    }
    changes.retain(|_| random.chance_per_mille(600));
    changes
}
