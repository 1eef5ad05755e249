//! Reduction of a failing run: delta debugging of its actions, servers and settings.

pub(crate) mod liveness;
mod simplify;

use crate::campaign::STEPS_MAX;
use crate::check::invariants::{Invariant, Violation};
use crate::timeline::{Script, TimedAction};
use crate::world::World;
use crate::world::config::WorldConfig;

use simplify::{SIMPLIFICATIONS, cost, without_node};

/// A small run that violates the same invariant.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The run.
    pub script: Script,
    /// The violation, and its time.
    pub violation: Violation,
    /// The number of runs that the search took.
    pub runs: u32,
}

/// The maximum number of runs.
const RUNS_MAX: u32 = 8_000;
/// The number of seeds with which a smaller run is tried before it counts as passing. The removal
/// of an action changes all later random values.
const SEEDS_PER_CANDIDATE: u64 = 6;
/// A script with more actions than this is tried with one seed at first. Otherwise [`RUNS_MAX`]
/// would be reached too early.
const LARGE_SCRIPT: usize = 400;
/// The additional time in which a smaller run may violate the invariant, in microseconds.
const EXTRA_TIME: u64 = 500_000;
/// The smallest gap between two actions that is shortened, in microseconds: about the duration of
/// an election.
const GAP: u64 = 30_000;

/// Reduces a failing run: fewer actions, servers and clients, and default settings. Returns none if
/// the run does not violate the invariant of `violation`.
///
/// The invariant must be one that is checked after every event or at the end. A violation of
/// [`Invariant::Availability`] has no time at which the run could be cut;
/// [`Campaign::shrink`](crate::campaign::Campaign::shrink) reduces such runs.
#[must_use]
pub fn shrink(script: &Script, violation: &Violation) -> Option<Shrunk> {
    shrink_by(&find_violation, script, violation)
}

fn shrink_by(oracle: &Oracle, script: &Script, violation: &Violation) -> Option<Shrunk> {
    let mut search = Search::new(oracle, violation.invariant, RUNS_MAX);
    let (script, violation) = search.run(script, violation.at)?;
    Some(Shrunk { script, violation, runs: search.runs })
}

type FailingScript = (Script, Violation);
/// Plays a script until a time, and returns the violation.
type Oracle<'a> = dyn Fn(&Script, u64) -> Option<Violation> + 'a;

/// A search for a smaller failing run.
pub(super) struct Search<'a> {
    oracle: &'a Oracle<'a>,
    invariant: Invariant,
    runs: u32,
    runs_max: u32,
    /// The number of seeds for large scripts: one, until that makes no further progress.
    seeds_of_large: u64,
    /// The additional time of a smaller run, in microseconds. Zero if the violation is the absence
    /// of recovery after the end of the script.
    extra_time: u64,
}

impl<'a> Search<'a> {
    pub(super) fn new(oracle: &'a Oracle<'a>, invariant: Invariant, runs_max: u32) -> Self {
        let (seeds_of_large, extra_time) = (1, EXTRA_TIME);
        Self { oracle, invariant, runs: 0, runs_max, seeds_of_large, extra_time }
    }

    pub(super) fn with_extra_time(self, extra_time: u64) -> Self {
        Self { extra_time, ..self }
    }

    /// The number of runs so far.
    pub(super) fn runs(&self) -> u32 {
        self.runs
    }

    /// Reduces a run that violates the invariant before a time.
    pub(super) fn run(&mut self, script: &Script, until: u64) -> Option<FailingScript> {
        let mut best = self.attempt(script, until)?;
        loop {
            let before = cost(&best.0);
            best = self.without_actions(best);
            best = self.shorter_gaps(best);
            best = self.simpler_world(best);
            if self.runs >= self.runs_max {
                return Some(best);
            }
            if cost(&best.0) >= before {
                if self.seeds_of_large == SEEDS_PER_CANDIDATE
                    || best.0.actions.len() <= LARGE_SCRIPT
                {
                    return Some(best);
                }
                self.seeds_of_large = SEEDS_PER_CANDIDATE;
            }
        }
    }

    /// Plays a script until a time, with several seeds. Returns the script without the actions
    /// after the violation, if there is one.
    fn attempt(&mut self, script: &Script, until: u64) -> Option<FailingScript> {
        let is_large = script.actions.len() > LARGE_SCRIPT;
        let seeds = if is_large { self.seeds_of_large } else { SEEDS_PER_CANDIDATE };
        (0..seeds).find_map(|more| {
            if self.runs >= self.runs_max {
                return None;
            }
            self.runs += 1;
            let mut script = script.clone();
            script.config.seed = script.config.seed.wrapping_add(more);
            let violation = (self.oracle)(&script, until)?;
            if violation.invariant != self.invariant {
                return None;
            }
            script.actions.retain(|timed| timed.at <= violation.at);
            Some((script, violation))
        })
    }

    /// Shortens the time between two actions.
    fn shorter_gaps(&mut self, mut best: FailingScript) -> FailingScript {
        let mut position = 0;
        while position < best.0.actions.len() {
            let mut script = best.0.clone();
            let before = position.checked_sub(1).map_or(0, |before| script.actions[before].at);
            let gap = script.actions[position].at - before;
            let less = gap - gap.min(GAP);
            for timed in &mut script.actions[position..] {
                timed.at -= less;
            }
            if less > GAP
                && let Some(shorter) = self.attempt(&script, best.1.at - less + self.extra_time)
            {
                best = shorter;
            }
            position += 1;
        }
        // A run that does not recover may be healed at any time after its last action.
        let last = best.0.actions.last().map_or(0, |timed| timed.at);
        if self.extra_time == 0
            && last + GAP < best.1.at
            && let Some(shorter) = self.attempt(&best.0, last + GAP)
        {
            best = shorter;
        }
        best
    }

    /// Removes halves of the actions, then quarters, and so on (Zeller's ddmin, complements only).
    fn without_actions(&mut self, mut best: FailingScript) -> FailingScript {
        let mut chunk = best.0.actions.len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < best.0.actions.len() {
                let mut script = best.0.clone();
                let to = (from + chunk).min(script.actions.len());
                script.actions.drain(from..to);
                match self.attempt(&script, best.1.at + self.extra_time) {
                    Some(smaller) => best = smaller,
                    None => from += chunk,
                }
            }
            chunk /= 2;
        }
        best
    }

    /// Removes servers, and then simplifies the settings one after the other.
    fn simpler_world(&mut self, mut best: FailingScript) -> FailingScript {
        let mut node = best.0.config.cluster.nodes;
        while node > 0 && best.0.config.cluster.nodes > 1 {
            let script = without_node(&best.0, node);
            if let Some(simpler) = self.attempt(&script, best.1.at + self.extra_time) {
                best = simpler;
            }
            node -= 1;
        }
        for simplify in SIMPLIFICATIONS {
            let mut script = best.0.clone();
            simplify(&mut script.config, &WorldConfig::default());
            if script != best.0
                && let Some(simpler) = self.attempt(&script, best.1.at + self.extra_time)
            {
                best = simpler;
            }
        }
        best
    }
}

/// Plays a script until a time, and returns the violation of an invariant.
fn find_violation(script: &Script, until: u64) -> Option<Violation> {
    let world = play(script, until)?;
    let found = world.violation().cloned().or_else(|| world.check_stores());
    found.or_else(|| world.judge_history(STEPS_MAX))
}

fn play(script: &Script, until: u64) -> Option<World> {
    let mut world = World::new(script.config.clone()).ok()?;
    let mut at = None;
    let in_time = script.actions.iter().take_while(|timed| timed.at <= until);
    for TimedAction { at: time, action } in in_time {
        if at < Some(*time) {
            world.run_until(*time);
            at = Some(*time);
        }
        let _ = world.act(action);
    }
    world.run_until(until);
    Some(world)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::latency::DurationRange;
    use crate::world::action::Action;
    use crate::world::config::{ClusterConfig, DiskConfig, NetworkConfig, WorkloadConfig};

    /// An oracle with the invariant that node 1 is not down while node 2 is isolated.
    fn down_and_isolated(script: &Script, until: u64) -> Option<Violation> {
        let world = play(script, until)?;
        let is_violated = world.raft(1).is_none() && world.is_isolated(2);
        is_violated.then(|| Violation {
            invariant: Invariant::ElectionSafety,
            text: String::new(),
            at: until,
        })
    }

    #[test]
    fn shrinking_keeps_only_relevant_actions() {
        let mut script = Script::default();
        script.config.workload.clients = 4;
        script.config.workload.watch_clients = 3;
        script.config.workload.lease_clients = 2;
        script.config.workload.txn_clients = 2;
        script.config.cluster.nodes = 7;
        script.config.network.loss_per_mille = 10;
        script.config.network.latency = DurationRange::new(1, 70_000);
        script.config.cluster.snapshot_every = 4;
        script.config.cluster.pre_vote = false;
        let actions = (1..=40).map(|step| TimedAction {
            at: step * 100_000,
            action: match step {
                11 => Action::Crash { node: 1 },
                33 => Action::Isolate { node: 2 },
                _ if step % 2 == 0 => Action::FireTimer { node: 3 },
                _ => Action::CutLink { from: 4, to: 5 },
            },
        });
        script.actions = actions.collect();
        let violation = down_and_isolated(&script, 4_000_000).unwrap();
        let small = shrink_by(&down_and_isolated, &script, &violation).unwrap();
        let left: Vec<_> = small.script.actions.iter().map(|timed| &timed.action).collect();
        assert_eq!(left, [&Action::Crash { node: 1 }, &Action::Isolate { node: 2 }]);
        assert!(small.script.actions[1].at <= 2 * GAP, "{:?}", small.script.actions);
        let fewer = WorldConfig {
            cluster: ClusterConfig { nodes: 2, ..ClusterConfig::default() },
            seed: small.script.config.seed,
            ..WorldConfig::default()
        };
        let constant = WorldConfig {
            workload: WorkloadConfig { key_count: 1, ..fewer.workload },
            network: NetworkConfig { latency: DurationRange::new(5_000, 5_000), ..fewer.network },
            disk: DiskConfig { sync_latency: DurationRange::new(1_000, 1_000), ..fewer.disk },
            cluster: ClusterConfig { pre_vote: false, check_quorum: false, ..fewer.cluster },
            ..fewer
        };
        assert_eq!(small.script.config, constant);
    }

    /// A violation that is found at the end has the time at which it happened, so a smaller run
    /// does not take longer.
    #[cfg(feature = "scenarios")]
    #[test]
    fn shrinking_keeps_stale_read() {
        use crate::scenario::{Scenario, Variant};
        let text = include_str!("../../../scenarios/lease-drift-beyond.toml");
        let scenario = Scenario::parse(text).unwrap();
        let script = scenario.script(Variant::PreVoteCheckQuorum);
        let end = script.actions.last().unwrap().at + 1_000_000;
        let violation = find_violation(&script, end).unwrap();
        assert_eq!(violation.invariant, Invariant::Linearizability);
        assert!(violation.at + 1_000_000 < end, "{violation}");
        assert_eq!(find_violation(&script, violation.at - 1), None);
        let small = shrink(&script, &violation).unwrap();
        assert!(small.script.actions.len() < script.actions.len());
        assert!(small.violation.at <= violation.at, "{}", small.violation);
        let again = find_violation(&small.script, small.violation.at);
        assert_eq!(again.as_ref(), Some(&small.violation));
    }

    /// The limit of runs is sufficient for many actions, and only actual runs are counted.
    #[test]
    fn shrinking_respects_run_limit() {
        let mut script = Script::default();
        let actions = (1..=1_400).map(|step| TimedAction {
            at: step * 1_000,
            action: match step {
                311 => Action::Crash { node: 1 },
                1_033 => Action::Isolate { node: 2 },
                _ => Action::CutLink { from: 4, to: 5 },
            },
        });
        script.actions = actions.collect();
        let violation = down_and_isolated(&script, 1_400_000).unwrap();
        let small = shrink_by(&down_and_isolated, &script, &violation).unwrap();
        assert_eq!(small.script.actions.len(), 2);
        assert!(small.runs < RUNS_MAX, "{}", small.runs);
        let mut search = Search::new(&down_and_isolated, violation.invariant, 10);
        assert!(search.run(&script, violation.at).is_some());
        assert_eq!(search.runs(), 10);
    }

    #[test]
    fn passing_run_is_not_shrunk() {
        let violation =
            Violation { invariant: Invariant::ElectionSafety, text: String::new(), at: 1_000_000 };
        assert!(shrink(&Script::default(), &violation).is_none());
    }
}
