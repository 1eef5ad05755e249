//! Disk faults of a campaign run, and the replacement of servers with ruined disks.
//!
//! A server whose disk is damaged or lost stops permanently, and a new server replaces it. No
//! protocol survives the loss of a majority. In one run, only a minority of the founders is
//! therefore affected, and as many servers are in reserve.

use raft_core::NodeId;

use crate::campaign::{FAULT_PHASE, adversary};
use crate::node::{Node, Process};
use crate::timeline::TimedAction;
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::action::Action;
use crate::world::config::WorldConfig;

/// The disk faults of a run, except slow disks and failed syncs.
pub(super) struct DiskFaultPlan {
    random: SimRng,
    kinds: Vec<DiskFault>,
    /// The nodes whose data may be damaged.
    victims: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DiskFault {
    /// An entry is corrupted.
    BitRot,
    /// A write goes to the wrong position.
    Misdirected,
    /// The whole disk is lost.
    Lost,
    /// One disk or all disks have no free space for a while.
    Full,
}

/// The number of entries after the corrupted one.
const BACK: [u64; 6] = [0, 1, 3, 10, 30, 100];
/// The largest number of positions by which a misdirected write is too low.
const MISDIRECTED_MAX: u64 = 20;
/// The duration of a full disk, in microseconds.
const FULL: (u64, u64) = (10_000, 2_000_000);
/// The longest time between two disk faults, in microseconds.
const PAUSE_MAX: u64 = 2_500_000;

impl DiskFaultPlan {
    /// Generates the plan, with a random generator of its own. Servers with damaged data must be
    /// replaced. A run in which other parts change the membership (`may_damage` is false) therefore
    /// has only full disks.
    pub(super) fn generate(seed: u64, may_damage: bool, config: &mut WorldConfig) -> Self {
        let mut random = SimRng::new(seed ^ 0xd15c_f001);
        let nodes = config.cluster.nodes;
        let mut kinds = vec![DiskFault::Full];
        if may_damage && nodes >= 3 {
            kinds.extend([DiskFault::BitRot, DiskFault::Misdirected, DiskFault::Lost]);
        }
        kinds.retain(|_| random.chance_per_mille(if may_damage { 250 } else { 30 }));
        let mut victims: Vec<_> = (1..=nodes).collect();
        let most = if kinds.iter().any(|kind| *kind != DiskFault::Full) {
            random.within(1..=(nodes - 1) / 2)
        } else {
            0
        };
        while victims.len() as u64 > most {
            victims.swap_remove(random.below(victims.len() as u64) as usize);
        }
        if most > 0 {
            config.cluster.founders = Some(nodes);
            config.cluster.nodes = nodes + most;
            config.cluster.witnesses.clear();
        }
        Self { random, kinds, victims }
    }

    /// Returns true if servers may have to be replaced.
    pub(super) fn damages(&self) -> bool {
        !self.victims.is_empty()
    }

    /// Adds the faults until the end of the fault phase.
    pub(super) fn schedule(mut self, config: &WorldConfig, actions: &mut Vec<TimedAction>) {
        if self.kinds.is_empty() {
            return;
        }
        let mut at = 1 + self.random.below(PAUSE_MAX);
        while at < FAULT_PHASE {
            let kind = self.random.pick(&self.kinds);
            let faults = if kind == DiskFault::Full {
                self.full_disks(at, config)
            } else {
                self.damage(kind, at)
            };
            actions.extend(faults.into_iter().map(|(at, action)| TimedAction { at, action }));
            at += self.random.within(10_000..=PAUSE_MAX);
        }
    }

    fn full_disks(&mut self, at: u64, config: &WorldConfig) -> Vec<(u64, Action)> {
        let random = &mut self.random;
        let lasts = random.within(FULL.0..=FULL.1);
        let one = random.within(1..=config.cluster.nodes);
        let all = random.chance_per_mille(200);
        let mut actions = Vec::new();
        for node in (1..=config.cluster.nodes).filter(|node| all || *node == one) {
            let free_at = at + random.within(1..=lasts);
            actions.extend([
                (at, Action::FillDisk { node }),
                (free_at, Action::FreeDisk { node }),
                // A restart may have failed in the meantime.
                (free_at, Action::Restart { node }),
            ]);
        }
        actions
    }

    fn damage(&mut self, kind: DiskFault, at: u64) -> Vec<(u64, Action)> {
        let random = &mut self.random;
        let node = random.pick(&self.victims);
        let fault = match kind {
            DiskFault::BitRot => Action::CorruptEntry { node, back: random.pick(&BACK) },
            DiskFault::Misdirected => {
                Action::MisdirectWrite { node, back: random.within(1..=MISDIRECTED_MAX) }
            }
            DiskFault::Lost | DiskFault::Full => Action::DestroyDisk { node },
        };
        let mut actions = vec![(at, fault)];
        // Sometimes the node detects the damage soon.
        if random.chance_per_mille(300) {
            let found_at = at + random.below(500_000);
            actions
                .extend([(found_at, Action::Crash { node }), (found_at, Action::Restart { node })]);
        }
        actions
    }
}

/// The action of an operator who looks for servers that stopped because their disks are ruined: a
/// membership without them, and with new servers that start as learners.
pub(super) fn replace_ruined(world: &World) -> Option<Action> {
    let (leader, _) = adversary::leader(world)?;
    let membership = world.raft(leader)?.membership();
    let members: Vec<_> = membership.members().iter().map(|node| node.0).collect();
    let ruined: Vec<_> = members.iter().copied().filter(|node| is_ruined(world, *node)).collect();
    if ruined.is_empty() {
        return None;
    }
    let reserve = founders(world) + 1..=world.config().cluster.nodes;
    let unused = reserve.filter(|node| !members.contains(node));
    let stays = |node: &u64| !ruined.contains(node);
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).filter(stays).collect();
    let mut joining: Vec<_> = ids(membership.auto_promoted());
    joining.extend(unused.take(ruined.len()));
    let (voters, learners) = (ids(membership.voters()), Vec::new());
    Some(Action::ChangeMembership { voters, learners, joining })
}

/// Returns true if the cluster has as many voters as at the beginning, and no voter is known to
/// have a ruined disk.
pub(crate) fn all_ruined_are_replaced(world: &World) -> bool {
    let leader = adversary::leader(world).and_then(|(leader, _)| world.raft(leader));
    leader.is_some_and(|leader| {
        let membership = leader.membership();
        membership.voters().len() as u64 == founders(world)
            && !membership.voters().iter().any(|node| is_ruined(world, node.0))
            && !membership.is_joint()
            && leader.membership_index() <= leader.commit_index()
    })
}

fn founders(world: &World) -> u64 {
    world.config().cluster.founders.unwrap_or(world.config().cluster.nodes)
}

/// Returns true if a server has stopped and its disk does not permit a restart.
fn is_ruined(world: &World, node: u64) -> bool {
    let is_ruined =
        |node: &Node| matches!(node.process, Process::Down { .. }) && node.disk.is_unrecoverable();
    world.node(node).is_some_and(is_ruined)
}
