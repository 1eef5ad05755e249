//! What goes wrong with disks, and who replaces servers that have lost theirs.
//!
//! A server whose disk is damaged or lost ends for good, and its place is taken by a new one. No
//! protocol can do without a majority: so in one run only a minority of the founders is ever hit,
//! and there are as many servers in reserve.

use crate::campaign::FAULT_PHASE;
use crate::node::{Node, Process};
use crate::timeline::TimedAction;
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::action::Action;
use crate::world::config::WorldConfig;

/// What a run does to disks, besides making them slow or letting a sync fail.
pub(super) struct DiskFaultPlan {
    random: SimRng,
    kinds: Vec<DiskFault>,
    /// Those whose data may be damaged.
    victims: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DiskFault {
    /// An entry decays.
    Rot,
    /// A write lands in a wrong place.
    Misdirected,
    /// The whole disk is gone.
    Lost,
    /// There is no room for a while, on one disk or on all.
    Full,
}

/// How far before the end of a log an entry decays.
const BACK: [u64; 6] = [0, 1, 3, 10, 30, 100];
/// How many places too early a write lands, at most.
const MISDIRECTED_MAX: u64 = 20;
/// How long a disk is full, in microseconds.
const FULL: (u64, u64) = (10_000, 2_000_000);
/// The longest time between two faults of disks, in microseconds.
const PAUSE_MAX: u64 = 2_500_000;

impl DiskFaultPlan {
    /// Draws what happens, from a generator of its own. Servers whose data is damaged have to be
    /// replaced, so whoever has other plans with the membership (`quiet` is false) meets full disks
    /// only.
    pub(super) fn draw(seed: u64, quiet: bool, config: &mut WorldConfig) -> Self {
        let mut random = SimRng::new(seed ^ 0xd15c_f001);
        let nodes = config.nodes;
        let damages = quiet && nodes >= 3;
        let mut kinds = vec![DiskFault::Full];
        if damages {
            kinds.extend([DiskFault::Rot, DiskFault::Misdirected, DiskFault::Lost]);
        }
        kinds.retain(|_| random.chance_per_mille(if quiet { 250 } else { 30 }));
        let mut victims: Vec<_> = (1..=nodes).collect();
        let most = match kinds.iter().any(|kind| *kind != DiskFault::Full) {
            true => random.within(1..=(nodes - 1) / 2),
            false => 0,
        };
        while victims.len() as u64 > most {
            victims.swap_remove(random.below(victims.len() as u64) as usize);
        }
        if most > 0 {
            config.founders = Some(nodes);
            config.nodes = nodes + most;
            config.witnesses.clear();
        }
        Self { random, kinds, victims }
    }

    /// Whether servers may have to be replaced.
    pub(super) fn damages(&self) -> bool {
        !self.victims.is_empty()
    }

    pub(super) fn schedule(mut self, config: &WorldConfig, actions: &mut Vec<TimedAction>) {
        if self.kinds.is_empty() {
            return;
        }
        let random = &mut self.random;
        let mut add = |at, action| actions.push(TimedAction { at, action });
        let mut at = 1 + random.below(PAUSE_MAX);
        while at < FAULT_PHASE {
            let kind = random.pick(&self.kinds);
            if kind == DiskFault::Full {
                let lasts = random.within(FULL.0..=FULL.1);
                let one = random.within(1..=config.nodes);
                let all = random.chance_per_mille(200);
                for node in (1..=config.nodes).filter(|node| all || *node == one) {
                    add(at, Action::FillDisk { node });
                    let free_at = at + random.within(1..=lasts);
                    add(free_at, Action::FreeDisk { node });
                    // It may have tried to start in the meantime.
                    add(free_at, Action::Restart { node });
                }
            } else {
                let node = random.pick(&self.victims);
                add(
                    at,
                    match kind {
                        DiskFault::Rot => Action::CorruptEntry { node, back: random.pick(&BACK) },
                        DiskFault::Misdirected => Action::MisdirectWrite {
                            node,
                            back: random.within(1..=MISDIRECTED_MAX),
                        },
                        DiskFault::Lost | DiskFault::Full => Action::DestroyDisk { node },
                    },
                );
                // Now and then it finds out soon.
                if random.chance_per_mille(300) {
                    let found_at = at + random.below(500_000);
                    add(found_at, Action::Crash { node });
                    add(found_at, Action::Restart { node });
                }
            }
            at += random.within(10_000..=PAUSE_MAX);
        }
    }
}

/// What an operator does about servers that have ended because their disks are ruined: they are
/// removed, and others, which are new, take their places, first as learners.
pub(super) fn replace(world: &World) -> Option<Action> {
    let (leader, _) = crate::campaign::adversary::leader(world)?;
    let membership = world.raft(leader)?.membership();
    let members: Vec<_> = membership.members().iter().map(|node| node.0).collect();
    let gone: Vec<_> =
        members.iter().copied().filter(|node| world.node(*node).is_some_and(is_ruined)).collect();
    if gone.is_empty() {
        return None;
    }
    let mut fresh = world.nodes.iter().filter(|node| {
        let is_new = node.id > world.config.founders.unwrap_or(world.config.nodes);
        is_new && !members.contains(&node.id)
    });
    let stays = |node: &u64| !gone.contains(node);
    let ids = |nodes: &[raft_core::NodeId]| nodes.iter().map(|node| node.0).filter(stays).collect();
    let mut joining: Vec<_> = ids(membership.auto_promoted());
    joining.extend(fresh.by_ref().take(gone.len()).map(|node| node.id));
    Some(Action::ChangeMembership {
        voters: ids(membership.voters()),
        learners: Vec::new(),
        joining,
    })
}

/// Whether every place is taken by a server whose disk is not known to be ruined.
pub(crate) fn is_complete(world: &World) -> bool {
    let leader =
        crate::campaign::adversary::leader(world).and_then(|(leader, _)| world.raft(leader));
    leader.is_some_and(|leader| {
        let membership = leader.membership();
        let sound = |node: &raft_core::NodeId| !world.node(node.0).is_some_and(is_ruined);
        let founders = world.config.founders.unwrap_or(world.config.nodes);
        membership.voters().len() as u64 == founders
            && membership.voters().iter().all(sound)
            && !membership.is_joint()
            && leader.membership_index() <= leader.commit_index()
    })
}

/// It has ended, and will not start again.
fn is_ruined(node: &Node) -> bool {
    matches!(node.process, Process::Down { .. }) && node.disk.is_unrecoverable()
}
