//! A run that breaks a rule, made small: delta debugging over what was done.

pub(crate) mod liveness;

use crate::check::invariants::{Invariant, Violation};
use crate::timeline::{Script, TimedAction};
use crate::util::rng::DurationRange;
use crate::world::World;
use crate::world::action::Action;
use crate::world::config::WorldConfig;

/// A small run that breaks the same rule.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The run.
    pub script: Script,
    /// What is broken, and when.
    pub violation: Violation,
    /// How many runs it took to find it.
    pub runs: u32,
}

/// How many runs may be tried.
const RUNS_MAX: u32 = 8_000;
/// Whatever is left out changes what chance decides afterwards. So a smaller run is tried with this
/// many seeds of the world before it counts as one that breaks nothing.
const SEEDS_PER_CANDIDATE: u64 = 6;

/// Beyond this many actions, to try each with many seeds would use up what may be tried.
const LARGE_SCRIPT: usize = 400;

/// Makes a run that breaks a rule as small as it can: fewer actions, servers and clients, and usual
/// settings. None if the run does not break `invariant`, which must be one that is checked after
/// every event or at the end, and not
/// [`Invariant::Availability`]: what is missing has no moment at which it could be cut off, and
/// [`Campaign::shrink`](crate::campaign::Campaign::shrink) knows what to do about that.
#[must_use]
pub fn shrink(script: &Script, violation: &Violation) -> Option<Shrunk> {
    shrink_by(&find_violation, script, violation)
}

fn shrink_by(judge: &Oracle, script: &Script, violation: &Violation) -> Option<Shrunk> {
    let mut search = Search::new(judge, violation.invariant, RUNS_MAX);
    let (script, violation) = search.run(script, violation.at)?;
    Some(Shrunk { script, violation, runs: search.runs })
}

type FailingScript = (Script, Violation);
/// Plays a script until a moment, and says what it breaks.
type Oracle<'a> = dyn Fn(&Script, u64) -> Option<Violation> + 'a;

pub(super) struct Search<'a> {
    judge: &'a Oracle<'a>,
    invariant: Invariant,
    runs: u32,
    runs_max: u32,
    /// How many seeds a run with many actions is tried with: one, until that leads no further.
    seeds_of_many: u64,
    /// A smaller run may take a little longer to break the rule, in microseconds.
    patience: u64,
}

impl<'a> Search<'a> {
    pub(super) fn new(judge: &'a Oracle<'a>, invariant: Invariant, runs_max: u32) -> Self {
        Self { judge, invariant, runs: 0, runs_max, seeds_of_many: 1, patience: STEPS_PER_RUN_MAX }
    }

    pub(super) fn with_step_limit(self, patience: u64) -> Self {
        Self { patience, ..self }
    }

    /// How many runs were tried.
    pub(super) fn runs(&self) -> u32 {
        self.runs
    }

    /// The smallest run that is found, of one that breaks the rule until a moment.
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
                if self.seeds_of_many == SEEDS_PER_CANDIDATE || best.0.actions.len() <= LARGE_SCRIPT
                {
                    return Some(best);
                }
                self.seeds_of_many = SEEDS_PER_CANDIDATE;
            }
        }
    }

    /// Runs it until `until`, with several seeds, and returns it without what comes after the
    /// violation, if there is one.
    fn attempt(&mut self, script: &Script, until: u64) -> Option<FailingScript> {
        let seeds = match script.actions.len() > LARGE_SCRIPT {
            true => self.seeds_of_many,
            false => SEEDS_PER_CANDIDATE,
        };
        (0..seeds).find_map(|more| {
            if self.runs >= self.runs_max {
                return None;
            }
            self.runs += 1;
            let mut script = script.clone();
            script.config.seed = script.config.seed.wrapping_add(more);
            let violation = (self.judge)(&script, until)?;
            if violation.invariant != self.invariant {
                return None;
            }
            script.actions.retain(|timed| timed.at <= violation.at);
            Some((script, violation))
        })
    }

    /// Lets less time pass between two actions.
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
                && let Some(shorter) = self.attempt(&script, best.1.at - less + self.patience)
            {
                best = shorter;
            }
            position += 1;
        }
        // Who is asked to be over by a moment, and not to break a rule in the meantime, may be so
        // earlier.
        let last = best.0.actions.last().map_or(0, |timed| timed.at);
        if self.patience == 0
            && last + GAP < best.1.at
            && let Some(shorter) = self.attempt(&best.0, last + GAP)
        {
            best = shorter;
        }
        best
    }

    /// Leaves out halves of the actions, then quarters, and so on (Zeller's ddmin, complements
    /// only).
    fn without_actions(&mut self, mut best: FailingScript) -> FailingScript {
        let mut chunk = best.0.actions.len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < best.0.actions.len() {
                let mut script = best.0.clone();
                let to = (from + chunk).min(script.actions.len());
                script.actions.drain(from..to);
                match self.attempt(&script, best.1.at + self.patience) {
                    Some(smaller) => best = smaller,
                    None => from += chunk,
                }
            }
            chunk /= 2;
        }
        best
    }

    /// Takes servers out of the world, and gives it usual settings, one after the other.
    fn simpler_world(&mut self, mut best: FailingScript) -> FailingScript {
        let mut node = best.0.config.nodes;
        while node > 0 && best.0.config.nodes > 1 {
            let script = without_node(&best.0, node);
            if let Some(simpler) = self.attempt(&script, best.1.at + self.patience) {
                best = simpler;
            }
            node -= 1;
        }
        for change in SIMPLIFICATIONS {
            let mut script = best.0.clone();
            change(&mut script.config, &WorldConfig::default());
            if script != best.0
                && let Some(simpler) = self.attempt(&script, best.1.at + self.patience)
            {
                best = simpler;
            }
        }
        best
    }
}

/// How a world becomes simpler: by having less in it, or what is usual.
const SIMPLIFICATIONS: [fn(&mut WorldConfig, &WorldConfig); 37] = [
    |world, _| world.clients = 0,
    |world, _| world.clients = world.clients.min(1),
    |world, _| world.clients = world.clients.saturating_sub(1),
    |world, _| world.watch_clients = 0,
    |world, _| world.watch_clients = world.watch_clients.min(1),
    |world, _| world.txn_clients = 0,
    |world, _| world.txn_clients = world.txn_clients.min(1),
    |world, _| world.lease_clients = 0,
    |world, _| world.lease_clients = world.lease_clients.min(1),
    |world, usual| world.lease_ttl = usual.lease_ttl,
    |world, _| world.key_count = 1,
    |world, usual| {
        world.pre_vote = usual.pre_vote;
        world.check_quorum = usual.check_quorum;
    },
    |world, _| {
        world.pre_vote = false;
        world.check_quorum = false;
    },
    |world, _| world.check_quorum = false,
    |world, usual| world.founders = usual.founders,
    |world, usual| world.witnesses = usual.witnesses.clone(),
    |world, usual| world.lease_drift_ppm = usual.lease_drift_ppm,
    |world, usual| {
        world.election_timeout = usual.election_timeout;
        world.heartbeat_interval = usual.heartbeat_interval;
    },
    |world, usual| world.write_stall_max = usual.write_stall_max,
    |world, usual| world.request_timeout = usual.request_timeout,
    |world, usual| world.snapshot_every = usual.snapshot_every,
    |world, usual| world.snapshot_retain = usual.snapshot_retain,
    |world, usual| world.snapshot_chunk_bytes_max = usual.snapshot_chunk_bytes_max,
    |world, usual| world.log_cache_bytes_max = usual.log_cache_bytes_max,
    |world, usual| world.append_bytes_max = usual.append_bytes_max,
    |world, usual| world.latency_shape = usual.latency_shape,
    |world, usual| world.latency = usual.latency,
    |world, _| world.latency = DurationRange::new(5_000, 5_000),
    |world, usual| world.bandwidth = usual.bandwidth,
    |world, usual| world.loss_per_mille = usual.loss_per_mille,
    |world, usual| world.duplicate_per_mille = usual.duplicate_per_mille,
    |world, usual| world.reorder = usual.reorder,
    |world, usual| world.sync_latency = usual.sync_latency,
    |world, _| world.sync_latency = DurationRange::new(1_000, 1_000),
    |world, usual| world.reorder_syncs = usual.reorder_syncs,
    |world, usual| world.think_time = usual.think_time,
    |world, usual| world.initial_logs = usual.initial_logs.clone(),
];

/// The same without a server: those behind it move up, and nothing is done to it any more.
fn without_node(script: &Script, gone: u64) -> Script {
    let mut script = script.clone();
    let config = &mut script.config;
    config.nodes -= 1;
    if let Some(founders) = &mut config.founders {
        *founders -= u64::from(gone <= *founders);
    }
    if gone as usize <= config.initial_logs.len() {
        config.initial_logs.remove(gone as usize - 1);
    }
    let moved = |node: u64| (node != gone).then(|| node - u64::from(node > gone));
    let all =
        |nodes: &mut Vec<u64>| *nodes = nodes.iter().filter_map(|node| moved(*node)).collect();
    all(&mut config.witnesses);
    script.actions.retain_mut(|timed| {
        let left = |node: &mut u64| match moved(*node) {
            Some(moved) => {
                *node = moved;
                true
            }
            None => false,
        };
        match &mut timed.action {
            Action::Crash { node }
            | Action::Restart { node }
            | Action::Pause { node }
            | Action::Resume { node }
            | Action::FireTimer { node }
            | Action::FailDisk { node }
            | Action::WipeDisk { node }
            | Action::DestroyDisk { node }
            | Action::CorruptEntry { node, .. }
            | Action::MisdirectWrite { node, .. }
            | Action::FillDisk { node }
            | Action::FreeDisk { node }
            | Action::SetSyncLatency { node, .. }
            | Action::SetClock { node, .. }
            | Action::JumpClock { node, .. }
            | Action::Isolate { node }
            | Action::Reconnect { node }
            | Action::Transfer { to: node } => left(node),
            Action::CutLink { from, to }
            | Action::HealLink { from, to }
            | Action::SetLatency { from, to, .. } => left(from) && left(to),
            Action::Partition { groups } => {
                groups.iter_mut().for_each(all);
                true
            }
            Action::ChangeMembership { voters, learners, joining } => {
                [&mut *voters, learners, joining].into_iter().for_each(all);
                !voters.is_empty()
            }
            Action::Request { via, .. } => {
                *via = via.and_then(moved);
                true
            }
            Action::PowerCut
            | Action::HealNetwork
            | Action::SetNetwork { .. }
            | Action::DropMessage { .. }
            | Action::DuplicateMessage { .. }
            | Action::StopClients
            | Action::GoOn => true,
        }
    });
    script
}

/// How much longer a smaller run may usually take to break the rule, in microseconds.
const STEPS_PER_RUN_MAX: u64 = 500_000;

/// A gap that is short enough, in microseconds: an election takes about as long.
const GAP: u64 = 30_000;

/// What is to become smaller: what is done, who is there, and what is unusual.
fn cost(script: &Script) -> u64 {
    let usual = WorldConfig::default();
    let unusual = SIMPLIFICATIONS.iter().filter(|change| {
        let mut simpler = script.config.clone();
        change(&mut simpler, &usual);
        simpler != script.config
    });
    let config = &script.config;
    script.actions.len() as u64
        + config.clients
        + config.lease_clients
        + config.txn_clients
        + config.watch_clients
        + config.nodes
        + unusual.count() as u64
}

/// Plays a script, and looks whether a rule is broken.
fn find_violation(script: &Script, until: u64) -> Option<Violation> {
    let world = play(script, until)?;
    let found = world.violation().cloned().or_else(|| world.check_stores());
    found.or_else(|| world.judge_history(crate::campaign::STEPS_MAX))
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

    /// As if it were a rule that node 1 is not down while node 2 is cut off.
    fn both(script: &Script, until: u64) -> Option<Violation> {
        let world = play(script, until)?;
        let broken = world.raft(1).is_none() && world.is_isolated(2);
        broken.then(|| Violation {
            invariant: Invariant::ElectionSafety,
            text: String::new(),
            at: until,
        })
    }

    #[test]
    fn shrinking_keeps_only_relevant_actions() {
        let mut script = Script::default();
        script.config.clients = 4;
        script.config.watch_clients = 3;
        script.config.lease_clients = 2;
        script.config.txn_clients = 2;
        script.config.nodes = 7;
        script.config.loss_per_mille = 10;
        script.config.latency = DurationRange::new(1, 70_000);
        script.config.snapshot_every = 4;
        script.config.pre_vote = false;
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
        let violation = both(&script, 4_000_000).unwrap();
        let small = shrink_by(&both, &script, &violation).unwrap();
        let left: Vec<_> = small.script.actions.iter().map(|timed| &timed.action).collect();
        assert_eq!(left, [&Action::Crash { node: 1 }, &Action::Isolate { node: 2 }]);
        assert!(small.script.actions[1].at <= 2 * GAP, "{:?}", small.script.actions);
        let usual =
            WorldConfig { nodes: 2, seed: small.script.config.seed, ..WorldConfig::default() };
        let constant = WorldConfig {
            key_count: 1,
            latency: DurationRange::new(5_000, 5_000),
            sync_latency: DurationRange::new(1_000, 1_000),
            pre_vote: false,
            check_quorum: false,
            ..usual
        };
        assert_eq!(small.script.config, constant);
    }

    #[test]
    fn removing_a_node_rewrites_the_script() {
        let mut script = Script::default();
        script.config.nodes = 4;
        script.config.founders = Some(3);
        script.config.witnesses = vec![3];
        let at = |action| TimedAction { at: 1, action };
        let groups = |groups: &[&[u64]]| Action::Partition {
            groups: groups.iter().map(|group| group.to_vec()).collect(),
        };
        let change = |voters: &[u64]| Action::ChangeMembership {
            voters: voters.to_vec(),
            learners: vec![4],
            joining: vec![],
        };
        script.actions = vec![
            at(Action::Crash { node: 2 }),
            at(Action::Crash { node: 3 }),
            at(Action::CutLink { from: 1, to: 2 }),
            at(Action::CutLink { from: 1, to: 4 }),
            at(groups(&[&[1, 2], &[2, 3, 4]])),
            at(change(&[1, 2])),
            at(change(&[2])),
        ];
        let smaller = without_node(&script, 2);
        let config = &smaller.config;
        assert_eq!((config.nodes, config.founders), (3, Some(2)));
        assert_eq!(config.witnesses, [2]);
        let left: Vec<_> = smaller.actions.into_iter().map(|timed| timed.action).collect();
        let change =
            Action::ChangeMembership { voters: vec![1], learners: vec![3], joining: vec![] };
        assert_eq!(
            left,
            [
                Action::Crash { node: 2 },
                Action::CutLink { from: 1, to: 3 },
                groups(&[&[1], &[2, 3]]),
                change,
            ]
        );
    }

    /// What is found by looking back is dated when it happened: a run of which less is done does
    /// not take longer.
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

    /// What may be tried suffices for many actions, and what is not tried is not counted.
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
        let violation = both(&script, 1_400_000).unwrap();
        let small = shrink_by(&both, &script, &violation).unwrap();
        assert_eq!(small.script.actions.len(), 2);
        assert!(small.runs < RUNS_MAX, "{}", small.runs);
        let mut search = Search::new(&both, violation.invariant, 10);
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
