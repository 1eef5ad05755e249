//! Faults that watch the servers, and strike where a rule could break.
//!
//! What they do is recorded as actions, so that a run can be repeated without them.

pub(crate) mod delayed_messages;
pub(crate) mod stale_leader;

use raft_core::Role;

use crate::campaign::adversary::delayed_messages::DelayedMessages;
use crate::campaign::adversary::stale_leader::StaleLeader;
use crate::node::Node;
use crate::util::rng::{DurationRange, SimRng};
use crate::workload::kv::OperationState;
use crate::world::World;
use crate::world::action::{Action, Request};

/// Who watches.
#[derive(Clone, Debug)]
pub(super) enum Adversary {
    /// Lets two servers stand at once, and crashes every voter whose vote is not on its disk yet:
    /// if such a vote counted, it would be given twice. A leader's own vote is one of them.
    ContestedVotes { next_at: u64, until: u64, candidates: [u64; 2] },
    /// Lets each leader reach only some followers, crashes it in the midst of replicating, and
    /// chooses the next one: so Figure 8 comes about.
    LeaderChain {
        /// Whether leaders are asked to change the membership, too, as soon as they lead.
        changes: bool,
        /// Whether this one is to commit something before.
        waits: bool,
        term: u64,
        strike_at: u64,
        next_at: u64,
        returning: Vec<(u64, u64)>,
    },
    /// Lets a leader believe that it leads while another one does.
    OldLeader(StaleLeader),
    /// Lets a server lead again, and hear then what belongs to its earlier leadership.
    LateAnswers(DelayedMessages),
}

impl Adversary {
    pub(super) fn contested_votes() -> Self {
        Self::ContestedVotes { next_at: 0, until: 0, candidates: [0, 0] }
    }

    pub(super) fn old_leader() -> Self {
        Self::OldLeader(StaleLeader::default())
    }

    pub(super) fn late_answers() -> Self {
        Self::LateAnswers(DelayedMessages::default())
    }

    pub(super) fn leader_chain(changes: bool) -> Self {
        Self::LeaderChain {
            changes,
            waits: false,
            term: 0,
            strike_at: u64::MAX,
            next_at: 0,
            returning: Vec::new(),
        }
    }

    /// Whether it lets timers fire, so that clocks jump.
    pub(super) fn fires_timers(&self) -> bool {
        match self {
            Self::ContestedVotes { .. } | Self::LeaderChain { .. } | Self::LateAnswers(_) => true,
            Self::OldLeader(_) => false,
        }
    }

    /// What it does now.
    pub(super) fn next_actions(&mut self, world: &World, random: &mut SimRng) -> Vec<Action> {
        match self {
            Self::ContestedVotes { next_at, until, candidates } => {
                if world.now() >= *next_at {
                    let pace = round_trip(world);
                    *until = world.now() + 2 * pace;
                    *next_at = world.now() + random.within(3 * pace..=12 * pace);
                    return contest_election(world, random, candidates);
                }
                if world.now() > *until {
                    return Vec::new();
                }
                unreliable_voters(world, *candidates)
            }
            Self::OldLeader(old) => old.look(world, random),
            Self::LateAnswers(late) => late.look(world, random),
            Self::LeaderChain { changes, waits, term, strike_at, next_at, returning } => {
                let now = world.now();
                let mut actions = Vec::new();
                returning.retain(|(at, node)| {
                    let due = *at <= now;
                    if due {
                        actions.push(Action::Restart { node: *node });
                    }
                    !due
                });
                let leader = leader(world);
                if let Some((node, leads)) = leader.filter(|(_, leads)| *leads > *term) {
                    *term = leads;
                    *waits = *changes && random.chance_per_mille(500);
                    if *waits {
                        *strike_at = now + 4 * round_trip(world);
                    } else {
                        *strike_at = now + random.below(round_trip(world));
                        actions.extend(isolate_quorum_edge(world, node, *changes, random));
                    }
                } else if let Some((node, _)) = leader.filter(|_| *waits && is_ready(world, *term))
                {
                    *waits = false;
                    *strike_at = now + random.below(2 * round_trip(world));
                    actions.extend(isolate_quorum_edge(world, node, true, random));
                } else if let Some((node, _)) = leader.filter(|_| *strike_at <= now) {
                    *strike_at = u64::MAX;
                    *next_at = now;
                    actions.push(Action::HealNetwork);
                    actions.push(latency(world, world.config().latency));
                    if random.chance_per_mille(300) {
                        // The others lose what they have not synced, too.
                        actions.push(Action::PowerCut);
                        let nodes = (1..=world.config().nodes).filter(|other| *other != node);
                        actions.extend(nodes.map(|node| Action::Restart { node }));
                        returning.push((now + random.below(4 * round_trip(world)), node));
                    } else if *changes && random.chance_per_mille(500) {
                        // It lives to see what becomes of its log.
                        let node = random.within(1..=world.config().nodes);
                        actions.push(Action::FireTimer { node });
                    } else {
                        actions.push(Action::Crash { node });
                        returning.push((now + random.below(4 * round_trip(world)), node));
                    }
                } else if *next_at <= now && leader.is_none() {
                    *next_at = now + random.within(round_trip(world) / 4..=round_trip(world));
                    let running = running(world);
                    if !running.is_empty() {
                        let node = random.pick(&running);
                        actions.push(Action::FireTimer { node });
                    }
                }
                actions
            }
        }
    }

    /// What it mends when its time is over, besides what is mended after all faults.
    pub(super) fn leave(&self, world: &World) -> Vec<Action> {
        match self {
            Self::LateAnswers(late) => late.mend(world),
            _ => Vec::new(),
        }
    }
}

/// About the time of a round trip and a write.
fn round_trip(world: &World) -> u64 {
    let config = world.config();
    (2 * config.latency.max + config.sync_latency.max).max(1_000)
}

pub(super) fn running(world: &World) -> Vec<u64> {
    let runs = |node: &Node| node.running().is_some_and(|running| running.paused.is_none());
    let running = world.nodes.iter().filter(|node| runs(node));
    running.map(|node| node.id).collect()
}

/// The leader of the latest term, and that term.
pub(super) fn leader(world: &World) -> Option<(u64, u64)> {
    let servers = world.nodes.iter().filter_map(|node| {
        let raft = &node.running()?.raft;
        (raft.role() == Role::Leader).then(|| (node.id, raft.term().0))
    });
    servers.max_by_key(|(_, term)| *term)
}

/// Whether a client was told before this moment that the value is written: a read that begins in
/// the moment in which the write ends may come before it.
pub(super) fn is_written(world: &World, value: &str) -> bool {
    world.clients.askings.values().rev().any(|asking| {
        let is_it = matches!(&asking.request, Request::Put { value: put, .. } if put == value);
        let is_done = matches!(asking.state, OperationState::Done { .. });
        is_it && is_done && asking.returned < Some(world.now())
    })
}

/// The leader blinks, so that nobody leads, and two others stand.
fn contest_election(world: &World, random: &mut SimRng, candidates: &mut [u64; 2]) -> Vec<Action> {
    let leader = leader(world).map(|(node, _)| node);
    let mut others: Vec<_> =
        running(world).into_iter().filter(|node| Some(*node) != leader).collect();
    if others.len() < 2 {
        return Vec::new();
    }
    let first = others.swap_remove(random.below(others.len() as u64) as usize);
    *candidates = [first, random.pick(&others)];
    let blink = leader.map(restart_briefly).into_iter().flatten();
    let stand = candidates.map(|node| Action::FireTimer { node });
    blink.chain(stand).collect()
}

/// Voters that have given their vote to one of the candidates, and candidates that have won, and do
/// not have it on the disk.
fn unreliable_voters(world: &World, candidates: [u64; 2]) -> Vec<Action> {
    let doubtful = |node: &&Node| {
        let Some(running) = node.running().filter(|running| running.paused.is_none()) else {
            return false;
        };
        if running.raft.term() <= node.disk.hard_state.term {
            return false;
        }
        if candidates.contains(&node.id) {
            return running.raft.role() == Role::Leader;
        }
        let vote = running.raft.status().vote;
        vote.is_some_and(|vote| candidates.contains(&vote.0))
    };
    let voters = world.nodes.iter().filter(doubtful);
    voters.flat_map(|node| restart_briefly(node.id)).collect()
}

pub(super) fn restart_briefly(node: u64) -> [Action; 2] {
    [Action::Crash { node }, Action::Restart { node }]
}

/// Whether a leader has committed an entry of its term.
fn is_ready(world: &World, term: u64) -> bool {
    let ready = |node: &Node| {
        let raft = node.running().map(|running| &running.raft);
        raft.is_some_and(|raft| {
            let leads = raft.role() == Role::Leader && raft.term().0 == term;
            leads && raft.term_at(raft.commit_index()) == Some(raft.term())
        })
    };
    world.nodes.iter().any(ready)
}

/// Leaves a leader only some followers, and asks it to change the membership, if so.
fn isolate_quorum_edge(
    world: &World,
    leader: u64,
    changes: bool,
    random: &mut SimRng,
) -> Vec<Action> {
    let mut unreached: Vec<_> = (1..=world.config().nodes).filter(|node| *node != leader).collect();
    for _ in 0..random.below(unreached.len() as u64) {
        unreached.swap_remove(random.below(unreached.len() as u64) as usize);
    }
    let mut actions = Vec::new();
    if changes {
        actions.extend(change_membership(world, leader, &unreached, random));
    }
    let cut = |to| Action::CutLink { from: leader, to };
    actions.extend(unreached.into_iter().map(cut));
    // What is said now arrives when others lead.
    if random.chance_per_mille(100) {
        let timeout = world.config().election_timeout;
        actions.push(latency(world, timeout));
    }
    actions
}

/// Asks a leader for memberships that it could decide by itself, with those whom it reaches; now
/// and then for two at once, of which only the first may begin.
fn change_membership(
    world: &World,
    leader: u64,
    unreached: &[u64],
    random: &mut SimRng,
) -> Vec<Action> {
    let mut changes = Vec::new();
    while changes.is_empty() || (changes.len() < 3 && random.chance_per_mille(400)) {
        let with_all = random.chance_per_mille(200);
        let voters = (1..=world.config().nodes).filter(|node| {
            *node == leader || with_all || unreached.contains(node) == random.chance_per_mille(100)
        });
        let (voters, learners, joining) = (voters.collect(), Vec::new(), Vec::new());
        changes.push(Action::ChangeMembership { voters, learners, joining });
    }
    changes.retain(|_| random.chance_per_mille(600));
    changes
}

pub(super) fn latency(world: &World, latency: DurationRange) -> Action {
    Action::SetNetwork {
        latency,
        loss_per_mille: world.config().loss_per_mille,
        duplicate_per_mille: world.config().duplicate_per_mille,
    }
}
