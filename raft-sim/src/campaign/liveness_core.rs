//! The liveness phase with a core: a random quorum is healed, and the other servers stay faulty
//! forever.

use crate::campaign::adversary::leader;
use crate::campaign::run::{CampaignRun, heal_actions, recovery_timeout, timeout_text};
use crate::check::invariants::{Invariant, Violation};
use crate::network::latency::DurationRange;
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::action::{Action, Request};
use crate::world::config::WorldConfig;

/// The permanent fault of a server outside the core.
#[derive(Clone, Copy)]
enum OutsiderFault {
    Down,
    Isolated,
    /// The server sends, and receives nothing.
    Deaf,
    /// The server receives, and its messages are lost.
    Mute,
    /// Some links of the server work in one direction only, or not at all.
    PartlyConnected,
    /// A write of the server takes up to half an election timeout.
    Slow,
}

/// The key of the writes that test whether the cluster makes progress.
const KEY: &str = crate::campaign::run::PROBE_KEY;
/// The value of these writes.
pub(super) const VALUE: &str = "in part";

/// Heals a random quorum, keeps the other servers faulty, and checks that a write succeeds in time.
/// Returns none if no quorum is self-sufficient.
pub(super) fn check_liveness_core(
    run: &mut CampaignRun,
    random: &mut SimRng,
) -> Option<Result<(), Violation>> {
    for action in heal_actions(&run.world) {
        run.act(action);
    }
    if run.world.violation().is_some() {
        return Some(Ok(()));
    }
    let core = choose_core(&run.world, random)?;
    add_outsider_faults(run, &core, random);
    let checked = wait_for_write(run, &core);
    if checked.is_ok() {
        // The clients get the time to receive their outstanding responses.
        let timeout = run.world.config().workload.request_timeout;
        run.advance(run.world.now() + 2 * timeout);
    }
    Some(checked)
}

/// A random set of servers that can make progress without the others.
fn choose_core(world: &World, random: &mut SimRng) -> Option<Vec<u64>> {
    let mut rest: Vec<_> = (1..=world.config().cluster.nodes).collect();
    let mut core = Vec::new();
    while !rest.is_empty() {
        core.push(rest.swap_remove(random.below(rest.len() as u64) as usize));
        if world.is_self_sufficient(&core) {
            core.sort_unstable();
            return Some(core);
        }
    }
    None
}

fn add_outsider_faults(run: &mut CampaignRun, core: &[u64], random: &mut SimRng) {
    let config = run.world.config().clone();
    let is_outside = |node: u64| !core.contains(&node);
    // Without pre-vote and check-quorum, a server that reaches others in one direction may disrupt
    // them forever. A server that needs only witnesses to commit may continue to send them entries
    // that witnesses cannot replicate.
    let is_protected = config.cluster.pre_vote
        && config.cluster.check_quorum
        && !run.world.is_majority_with_witnesses(is_outside);
    for node in (1..=config.cluster.nodes).filter(|node| is_outside(*node)) {
        for action in fault_actions(node, &config, is_protected, random) {
            run.act(action);
        }
    }
}

fn fault_actions(
    node: u64,
    config: &WorldConfig,
    is_protected: bool,
    random: &mut SimRng,
) -> Vec<Action> {
    let fault = if is_protected {
        random.pick(&[
            OutsiderFault::Down,
            OutsiderFault::Isolated,
            OutsiderFault::Deaf,
            OutsiderFault::Mute,
            OutsiderFault::PartlyConnected,
            OutsiderFault::PartlyConnected,
            OutsiderFault::Slow,
        ])
    } else {
        random.pick(&[OutsiderFault::Down, OutsiderFault::Isolated])
    };
    let others = || (1..=config.cluster.nodes).filter(|other| *other != node);
    let to_it = |from| Action::CutLink { from, to: node };
    let from_it = |to| Action::CutLink { from: node, to };
    match fault {
        OutsiderFault::Down => vec![Action::Crash { node }],
        OutsiderFault::Isolated => vec![Action::Isolate { node }],
        OutsiderFault::Deaf => others().map(to_it).collect(),
        OutsiderFault::Mute => others().map(from_it).collect(),
        OutsiderFault::PartlyConnected => others()
            .flat_map(|other| [to_it(other), from_it(other)])
            .filter(|_| random.chance_per_mille(500))
            .collect(),
        OutsiderFault::Slow => {
            let most = config.cluster.election_timeout.min / 2;
            let sync_latency = DurationRange::new(most / 2, most);
            vec![Action::SetSyncLatency { node, sync_latency }]
        }
    }
}

/// Requests a write once per election timeout until one succeeds.
fn wait_for_write(run: &mut CampaignRun, core: &[u64]) -> Result<(), Violation> {
    let began = run.world.now();
    let timeout = run.world.config().cluster.election_timeout.max;
    let deadline = began + recovery_timeout(&run.world);
    let is_answered = |world: &World| {
        let mut ours = world.askings().filter(|operation| operation.invoked >= began);
        ours.any(|operation| operation.request.key() == KEY && operation.returned.is_some())
    };
    while run.world.violation().is_none() && !is_answered(&run.world) {
        if run.world.now() >= deadline {
            let names: Vec<_> = core.iter().map(|node| format!("n{node}")).collect();
            let text = timeout_text(&format!("the quorum {} is healed", names.join(", ")));
            let (invariant, at) = (Invariant::Availability, run.world.now());
            return Err(Violation { invariant, text, at });
        }
        if run.world.now() > began {
            run.shut_down_removed();
        }
        run.act(Action::Request {
            via: leader(&run.world).map(|(leader, _)| leader),
            request: Request::Put { key: KEY.into(), value: VALUE.into() },
        });
        run.advance(run.world.now() + timeout);
    }
    Ok(())
}
