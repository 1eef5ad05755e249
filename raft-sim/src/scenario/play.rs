//! Playing a scenario, and looking what comes of it.

use raft_core::Role;

use crate::check::invariants::{Invariant, Violation};
use crate::scenario::{
    ExpectedOutcome, ObservationWindow, Outcome, PROBE_KEY, Scenario, ScenarioError,
    ScenarioResult, Variant, micros,
};
use crate::timeline::{Run, Script};
use crate::workload::kv::OperationState;
use crate::world::World;
use crate::world::action::Request;
use crate::world::view::ProcessView;

/// How often the leader is looked at, in microseconds.
const SAMPLE: u64 = 5_000;
/// What is answered within this time, in microseconds, is answered soon.
const SOON: u64 = 500_000;
const STEPS_MAX: u64 = 1_000_000;

impl Scenario {
    /// Plays a variant, and compares what is seen with what is expected.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Script`], if it cannot be played.
    pub fn play(&self, variant: Variant) -> Result<ScenarioResult, ScenarioError> {
        let expected = self.expected.get(&variant).copied();
        self.play_script(variant, self.script(variant), expected)
    }

    /// Plays it with servers that break rules.
    ///
    /// # Errors
    ///
    /// [`ScenarioError`], if it cannot be played; without the feature `sabotage` it never can.
    pub fn play_broken(
        &self,
        broken: &crate::scenario::SabotagedRun,
    ) -> Result<ScenarioResult, ScenarioError> {
        let script = self.script_without(broken.variant, &broken.rules)?;
        self.play_script(broken.variant, script, Some(broken.expected))
    }

    /// Plays a script of this scenario.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Script`], if it cannot be played.
    pub fn play_script(
        &self,
        variant: Variant,
        script: Script,
        expected: Option<ExpectedOutcome>,
    ) -> Result<ScenarioResult, ScenarioError> {
        let mut run = Run::new(script).map_err(ScenarioError::Script)?;
        let ObservationWindow { from, until } = self.observe;
        let (from, until) = (micros(from), micros(until));
        let calm_from = until - (until - from) / 3;
        run.seek(from);
        let is_missing = |awaited: &crate::scenario::Expectation| awaited.is_missing(run.world());
        let missing = self.awaited.filter(is_missing).map(|awaited| Violation {
            invariant: Invariant::Availability,
            text: awaited.message().into(),
            at: from,
        });
        let mut known = leader(run.world());
        let (mut changes, mut late_changes) = (0, 0);
        while run.world().now() < until && missing.is_none() && run.world().violation().is_none() {
            run.seek((run.world().now() + SAMPLE).min(until));
            let seen = leader(run.world());
            if seen.is_some() && seen != known {
                changes += usize::from(known.is_some());
                late_changes += usize::from(known.is_some() && run.world().now() > calm_from);
                known = seen;
            }
        }
        let world = run.world();
        let probes = || world.askings().filter(|asking| asking.request.key() == PROBE_KEY);
        let answered = probes().filter(|asking| asking.returned.is_some()).count();
        let soon = |asking: &&crate::Operation| {
            asking.returned.is_some_and(|at| at - asking.invoked <= SOON)
        };
        let answered_soon = probes().filter(soon).count();
        let served = probes().any(|asking| asking.invoked > calm_from && asking.returned.is_some());
        let outcome = match (served, changes, late_changes) {
            (_, _, 1..) => Outcome::Restless,
            (true, 0, _) => Outcome::Stable,
            (true, ..) => Outcome::Recovers,
            (false, ..) => Outcome::Stuck,
        };
        let violation = { world.violation().cloned().or(missing) }
            .or_else(|| world.check_stores())
            .or_else(|| world.judge_history(STEPS_MAX));
        let ending = match &violation {
            Some(violation) => ExpectedOutcome::Violates(violation.invariant),
            None => ExpectedOutcome::Safe(outcome),
        };
        let mut played = ScenarioResult {
            ending,
            changes,
            answered,
            answered_soon,
            asked: probes().count(),
            mismatches: Vec::new(),
            violation,
        };
        match (&played.violation, expected) {
            (_, Some(expected)) if expected != ending => {
                let text = format!("{expected} was expected, and it was {ending}");
                played.mismatches.push(text);
            }
            (Some(violation), None) => played.mismatches.push(violation.to_string()),
            _ => {}
        }
        // Where a rule has fallen, the world has ended, and nothing else can be demanded.
        if played.violation.is_none() {
            self.compare_service(variant, &mut played);
            self.compare_answers(world, &mut played.mismatches);
            self.compare_servers(world, &mut played.mismatches);
        }
        Ok(played)
    }

    fn compare_service(&self, variant: Variant, played: &mut ScenarioResult) {
        let Some(least) = self.availability.get(&variant) else {
            return;
        };
        let share = played.answered_soon as f64 / played.asked as f64;
        // A watch that asks nothing shows nothing.
        if share.is_nan() || share < *least {
            played.mismatches.push(format!(
                "{} of {} writes were answered soon, fewer than {least} of them",
                played.answered_soon, played.asked
            ));
        }
    }

    fn compare_answers(&self, world: &World, surprises: &mut Vec<String>) {
        // The world's own clients read, too.
        let by_schedule = |asking: &&crate::Operation| {
            asking.client > world.config().clients && asking.request.key() != PROBE_KEY
        };
        let asked = || world.askings().filter(by_schedule);
        let found: Vec<_> = asked().filter_map(read_of).collect();
        if found != self.reads {
            surprises.push(format!("reads found {found:?} instead of {:?}", self.reads));
        }
        let again = asked().filter(|asking| asking.attempts > 1).count();
        if self.retries.is_some_and(|expected| again != expected) {
            surprises.push(format!("{again} requests were sent again"));
        }
        for node in (1..=world.config().nodes).filter(|node| world.raft(*node).is_some()) {
            let keys = world.keys(node);
            let held = |key: &String| keys.iter().find(|held| held.key == *key);
            for (key, expected) in &self.keys {
                let held = held(key).map_or("", |held| &held.value);
                if held != expected {
                    surprises.push(format!("n{node} holds {held:?} at {key:?}, not {expected:?}"));
                }
            }
            for (key, expected) in &self.writes {
                let times = held(key).map_or(0, |held| held.version);
                if times != *expected {
                    surprises.push(format!(
                        "at n{node}, {key:?} was written {times} times, not {expected}"
                    ));
                }
            }
        }
    }

    fn compare_servers(&self, world: &World, surprises: &mut Vec<String>) {
        let leads = leader(world).map(|(_, node)| node);
        if self.leader.is_some_and(|expected| leads != Some(expected)) {
            surprises.push(format!("in the end {leads:?} leads, not {:?}", self.leader));
        }
        if let Some(expected) = &self.voters {
            let leader = leads.and_then(|node| world.raft(node));
            let voters = leader.map(|leader| {
                let membership = leader.membership();
                let voters = membership.voters().iter().map(|voter| voter.0);
                (voters.collect::<Vec<_>>(), membership.is_joint())
            });
            if voters != Some((expected.clone(), false)) {
                surprises.push(format!("the voters are {voters:?}, not {expected:?}"));
            }
        }
        for node in 1..=world.config().nodes {
            let process = world.process(node);
            let has_stopped = matches!(process, Some(ProcessView::Down { reason: Some(_) }));
            if has_stopped != self.stopped.contains(&node) {
                surprises.push(format!("n{node} is {process:?}"));
            }
        }
        let was_taken = |name: &&String| world.branches().contains_key(name.as_str());
        for name in self.covered.iter().filter(|name| !was_taken(name)) {
            surprises.push(format!("never taken: {name}"));
        }
        for name in self.not_covered.iter().filter(was_taken) {
            surprises.push(format!("taken: {name}"));
        }
    }
}

fn read_of(asking: &crate::Operation) -> Option<String> {
    match (&asking.request, &asking.state) {
        (Request::Get { .. }, OperationState::Done { found, .. }) => {
            Some(found.clone().unwrap_or_default())
        }
        (Request::Get { .. }, _) => Some("not answered".into()),
        _ => None,
    }
}

/// The leader of the latest term.
fn leader(world: &World) -> Option<(u64, u64)> {
    let servers = (1..=world.config().nodes).filter_map(|node| world.raft(node));
    servers
        .filter(|server| server.role() == Role::Leader)
        .map(|server| (server.term().0, server.id().0))
        .max()
}
