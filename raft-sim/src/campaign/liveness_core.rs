//! A mended quorum, while the rest stays broken for ever.

use crate::campaign::{CampaignRun, heal_actions, recovery_timeout, timeout_text};
use crate::check::invariants::{Invariant, Violation};
use crate::util::rng::{DurationRange, SimRng};
use crate::world::World;
use crate::world::action::{Action, Request};
use crate::world::config::WorldConfig;

/// What becomes of a server outside the quorum.
#[derive(Clone, Copy)]
enum OutsiderFault {
    Down,
    Isolated,
    /// It sends, and hears nothing.
    Deaf,
    /// It hears, and nobody hears it.
    Mute,
    /// Some of its links work in one direction only, or in none.
    Partly,
    /// Its disk takes up to half an election timeout for a write.
    Slow,
}

/// What is written to see whether it can be.
const KEY: &str = "mended";

/// Mends a random quorum, breaks the others, and looks whether a write succeeds in time. None if no
/// quorum was found that could do without the others.
pub(super) fn check_liveness_core(
    stage: &mut CampaignRun,
    random: &mut SimRng,
) -> Option<Result<(), Violation>> {
    for repair in heal_actions(&stage.world) {
        stage.act(repair);
    }
    if stage.world.violation().is_some() {
        return Some(Ok(()));
    }
    let chosen = choose_core(&stage.world, random)?;
    let config = stage.world.config().clone();
    let is_out = |node: u64| !chosen.contains(&node);
    let careful =
        config.pre_vote && config.check_quorum && !stage.world.is_majority_with_witnesses(is_out);
    for node in (1..=config.nodes).filter(|node| is_out(*node)) {
        for action in fault_actions(node, &config, careful, random) {
            stage.act(action);
        }
    }
    let began = stage.world.now();
    let timeout = config.election_timeout.max;
    let deadline = began + recovery_timeout(&stage.world);
    let is_answered = |world: &World| {
        let mut ours = world.askings().filter(|asking| asking.invoked >= began);
        ours.any(|asking| asking.request.key() == KEY && asking.returned.is_some())
    };
    while stage.world.violation().is_none() && !is_answered(&stage.world) {
        if stage.world.now() >= deadline {
            let names: Vec<_> = chosen.iter().map(|node| format!("n{node}")).collect();
            let text = timeout_text(&format!("{} are mended and are a quorum", names.join(", ")));
            let (invariant, at) = (Invariant::Availability, stage.world.now());
            return Some(Err(Violation { invariant, text, at }));
        }
        if stage.world.now() > began {
            stage.turn_off_the_removed();
        }
        let leader = crate::campaign::adversary::leader(&stage.world).map(|(leader, _)| leader);
        stage.act(Action::Request {
            via: leader,
            request: Request::Put { key: KEY.into(), value: "in part".into() },
        });
        stage.advance(stage.world.now() + timeout);
    }
    // What clients still wait for shall have its time, too.
    stage.advance(stage.world.now() + 2 * config.request_timeout);
    Some(Ok(()))
}

/// A random set of servers that can do without the others.
fn choose_core(world: &World, random: &mut SimRng) -> Option<Vec<u64>> {
    let mut rest: Vec<_> = (1..=world.config().nodes).collect();
    let mut chosen = Vec::new();
    while !rest.is_empty() {
        chosen.push(rest.swap_remove(random.below(rest.len() as u64) as usize));
        if world.is_self_sufficient(&chosen) {
            chosen.sort_unstable();
            return Some(chosen);
        }
    }
    None
}

/// Without pre-vote and check-quorum together, a server that reaches others in one direction may
/// disturb for ever; and if it needs only witnesses to commit, it may go on to give them what they
/// cannot hand on.
fn fault_actions(
    node: u64,
    config: &WorldConfig,
    careful: bool,
    random: &mut SimRng,
) -> Vec<Action> {
    let broken = random.pick(match careful {
        true => &[
            OutsiderFault::Down,
            OutsiderFault::Isolated,
            OutsiderFault::Deaf,
            OutsiderFault::Mute,
            OutsiderFault::Partly,
            OutsiderFault::Partly,
            OutsiderFault::Slow,
        ][..],
        false => &[OutsiderFault::Down, OutsiderFault::Isolated],
    });
    let others = || (1..=config.nodes).filter(|other| *other != node);
    let to_it = |from| Action::CutLink { from, to: node };
    let from_it = |to| Action::CutLink { from: node, to };
    match broken {
        OutsiderFault::Down => vec![Action::Crash { node }],
        OutsiderFault::Isolated => vec![Action::Isolate { node }],
        OutsiderFault::Deaf => others().map(to_it).collect(),
        OutsiderFault::Mute => others().map(from_it).collect(),
        OutsiderFault::Partly => others()
            .flat_map(|other| [to_it(other), from_it(other)])
            .filter(|_| random.chance_per_mille(500))
            .collect(),
        OutsiderFault::Slow => {
            let most = config.election_timeout.min / 2;
            let sync = DurationRange::new(most / 2, most);
            vec![Action::SetSyncLatency { node, sync_latency: sync }]
        }
    }
}
