//! Playing a scenario, and the comparison with its expectations.

use raft_core::{Raft, Role};

use crate::Operation;
use crate::check::invariants::{Invariant, Violation};
use crate::scenario::{
    ExpectedOutcome, Outcome, PROBE_KEY, SabotagedRun, Scenario, ScenarioError, ScenarioResult,
    Variant, micros,
};
use crate::timeline::{Run, Script};
use crate::workload::kv::OperationState;
use crate::world::World;
use crate::world::action::Request;
use crate::world::view::ProcessView;

/// The time between two observations of the leader, in microseconds.
const SAMPLE: u64 = 5_000;
/// The longest time of a response that counts as soon, in microseconds.
const SOON: u64 = 500_000;
/// The maximum number of steps of the linearizability checker for one key.
const STEPS_MAX: u64 = 1_000_000;

/// The changes of the leader or the term during the observation.
#[derive(Clone, Copy, Default)]
struct LeaderChanges {
    all: usize,
    /// Those in the last third.
    late: usize,
}

/// The writes of the observing client.
#[derive(Clone, Copy)]
struct Probes {
    requested: usize,
    answered: usize,
    answered_soon: usize,
    /// True if a write of the last third was answered.
    is_served_late: bool,
}

impl Scenario {
    /// Plays a variant, and compares the outcome with the expected one.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Script`] if the configuration or the schedule is invalid.
    pub fn play(&self, variant: Variant) -> Result<ScenarioResult, ScenarioError> {
        let expected = self.expected.get(&variant).copied();
        self.play_script(variant, self.script(variant), expected)
    }

    /// Plays a run with disabled rules.
    ///
    /// # Errors
    ///
    /// [`ScenarioError`]; without the feature `sabotage`, every rule is unknown.
    pub fn play_sabotaged(&self, run: &SabotagedRun) -> Result<ScenarioResult, ScenarioError> {
        let script = self.script_without(run.variant, &run.rules)?;
        self.play_script(run.variant, script, Some(run.expected))
    }

    /// Plays a script of this scenario.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Script`] if the script is invalid.
    pub fn play_script(
        &self,
        variant: Variant,
        script: Script,
        expected: Option<ExpectedOutcome>,
    ) -> Result<ScenarioResult, ScenarioError> {
        let mut run = Run::new(script).map_err(ScenarioError::Script)?;
        let from = micros(self.observe.from);
        run.seek(from);
        let unmet = self.awaited.filter(|awaited| awaited.is_unmet(run.world()));
        let unmet = unmet.map(|awaited| Violation {
            invariant: Invariant::Availability,
            text: awaited.message().into(),
            at: from,
        });
        let changes = match unmet {
            Some(_) => LeaderChanges::default(),
            None => self.observe_leaders(&mut run),
        };
        let world = run.world();
        let probes = self.probes(world);
        let violation = { world.violation().cloned().or(unmet) }
            .or_else(|| world.check_stores())
            .or_else(|| world.judge_history(STEPS_MAX));
        let outcome = match &violation {
            Some(violation) => ExpectedOutcome::Violates(violation.invariant),
            None => ExpectedOutcome::Safe(outcome(changes, probes)),
        };
        let mut mismatches = Vec::new();
        match (&violation, expected) {
            (_, Some(expected)) if expected != outcome => {
                mismatches.push(format!("expected outcome: {expected}; actual: {outcome}"));
            }
            (Some(violation), None) => mismatches.push(violation.to_string()),
            _ => {}
        }
        // A world ends with its first violation, so nothing else can be expected of it.
        if violation.is_none() {
            self.compare_availability(variant, probes, &mut mismatches);
            self.compare_requests(world, &mut mismatches);
            self.compare_keys(world, &mut mismatches);
            self.compare_servers(world, &mut mismatches);
        }
        let Probes { requested, answered, answered_soon, .. } = probes;
        let changes = changes.all;
        Ok(ScenarioResult {
            outcome,
            changes,
            requested,
            answered,
            answered_soon,
            mismatches,
            violation,
        })
    }

    /// The start of the last third of the observation.
    fn last_third(&self) -> u64 {
        let (from, until) = (micros(self.observe.from), micros(self.observe.until));
        until - (until - from) / 3
    }

    /// Runs the observation, and counts the changes of the leader or the term.
    fn observe_leaders(&self, run: &mut Run) -> LeaderChanges {
        let until = micros(self.observe.until);
        let mut known = leader(run.world());
        let mut changes = LeaderChanges::default();
        while run.world().now() < until && run.world().violation().is_none() {
            run.seek((run.world().now() + SAMPLE).min(until));
            let observed = leader(run.world());
            if observed.is_some() && observed != known {
                let is_late = run.world().now() > self.last_third();
                changes.all += usize::from(known.is_some());
                changes.late += usize::from(known.is_some() && is_late);
                known = observed;
            }
        }
        changes
    }

    fn probes(&self, world: &World) -> Probes {
        let probes = || world.askings().filter(|operation| operation.request.key() == PROBE_KEY);
        let answered = || probes().filter(|operation| operation.returned.is_some());
        let is_soon = |it: &&Operation| it.returned.is_some_and(|at| at - it.invoked <= SOON);
        Probes {
            requested: probes().count(),
            answered: answered().count(),
            answered_soon: answered().filter(is_soon).count(),
            is_served_late: answered().any(|operation| operation.invoked > self.last_third()),
        }
    }

    fn compare_availability(&self, variant: Variant, probes: Probes, mismatches: &mut Vec<String>) {
        let Some(least) = self.availability.get(&variant) else {
            return;
        };
        let share = probes.answered_soon as f64 / probes.requested as f64;
        // An observation without writes measures nothing.
        if share.is_nan() || share < *least {
            mismatches.push(format!(
                "expected availability: {least}; {} of {} writes were answered within half a second",
                probes.answered_soon, probes.requested
            ));
        }
    }

    /// Compares the reads and the repeated requests of the schedule.
    fn compare_requests(&self, world: &World, mismatches: &mut Vec<String>) {
        // The clients of the world also send requests.
        let is_scheduled = |operation: &&Operation| {
            operation.client > world.config().workload.clients
                && operation.request.key() != PROBE_KEY
        };
        let scheduled = || world.askings().filter(is_scheduled);
        let reads: Vec<_> = scheduled().filter_map(read_result).collect();
        if reads != self.reads {
            mismatches
                .push(format!("expected results of reads: {:?}; actual: {reads:?}", self.reads));
        }
        let retries = scheduled().filter(|operation| operation.attempts > 1).count();
        if let Some(expected) = self.retries
            && retries != expected
        {
            mismatches.push(format!("expected retries: {expected}; actual: {retries}"));
        }
    }

    /// Compares the final keys of all running servers.
    fn compare_keys(&self, world: &World, mismatches: &mut Vec<String>) {
        for node in (1..=world.config().cluster.nodes).filter(|node| world.raft(*node).is_some()) {
            let keys = world.keys(node);
            let stored = |key: &String| keys.iter().find(|stored| stored.key == *key);
            for (key, expected) in &self.keys {
                let value = stored(key).map_or("", |stored| &stored.value);
                if value != expected {
                    mismatches.push(format!(
                        "expected value of {key:?} at n{node}: {expected:?}; actual: {value:?}"
                    ));
                }
            }
            for (key, expected) in &self.writes {
                let writes = stored(key).map_or(0, |stored| stored.version);
                if writes != *expected {
                    mismatches.push(format!(
                        "expected writes of {key:?} at n{node}: {expected}; actual: {writes}"
                    ));
                }
            }
        }
    }

    /// Compares the final leader, voters, stopped servers and coverage.
    fn compare_servers(&self, world: &World, mismatches: &mut Vec<String>) {
        let leader = leader(world).map(|(_, node)| node);
        if self.leader.is_some() && leader != self.leader {
            mismatches.push(format!("expected leader: {:?}; actual: {leader:?}", self.leader));
        }
        if let Some(expected) = &self.voters {
            let membership = leader.and_then(|node| world.raft(node)).map(Raft::membership);
            let voters = membership.map(|membership| {
                let voters = membership.voters().iter().map(|voter| voter.0);
                (voters.collect::<Vec<_>>(), membership.is_joint())
            });
            if voters != Some((expected.clone(), false)) {
                mismatches.push(format!("expected voters: {expected:?}; actual: {voters:?}"));
            }
        }
        for node in 1..=world.config().cluster.nodes {
            let process = world.process(node);
            let has_stopped = matches!(process, Some(ProcessView::Down { reason: Some(_) }));
            if has_stopped != self.stopped.contains(&node) {
                mismatches.push(format!("unexpected process of n{node}: {process:?}"));
            }
        }
        let is_covered = |name: &&String| world.branches().contains_key(name.as_str());
        for name in self.covered.iter().filter(|name| !is_covered(name)) {
            mismatches.push(format!("branch not covered: {name}"));
        }
        for name in self.not_covered.iter().filter(is_covered) {
            mismatches.push(format!("branch covered: {name}"));
        }
    }
}

/// The outcome of an observation without a violation.
fn outcome(changes: LeaderChanges, probes: Probes) -> Outcome {
    if changes.late > 0 {
        Outcome::Restless
    } else if !probes.is_served_late {
        Outcome::Stuck
    } else if changes.all > 0 {
        Outcome::Recovers
    } else {
        Outcome::Stable
    }
}

/// The result of a read; none for other requests.
fn read_result(operation: &Operation) -> Option<String> {
    match (&operation.request, &operation.state) {
        (Request::Get { .. }, OperationState::Done { found, .. }) => {
            Some(found.clone().unwrap_or_default())
        }
        (Request::Get { .. }, _) => Some("not answered".into()),
        _ => None,
    }
}

/// The latest term with a running leader, and that leader.
fn leader(world: &World) -> Option<(u64, u64)> {
    let servers = (1..=world.config().cluster.nodes).filter_map(|node| world.raft(node));
    let leaders = servers.filter(|raft| raft.role() == Role::Leader);
    leaders.map(|raft| (raft.term().0, raft.id().0)).max()
}
