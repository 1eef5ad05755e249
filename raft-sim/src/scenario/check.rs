//! Validation of scenario files. A part of a file that cannot have an effect in any run is an
//! error.

use serde::Deserialize;
use toml::{Spanned, Table};

use crate::check::coverage;
use crate::scenario::{ObservationWindow, Scenario, ScenarioError, Step};
use crate::world::World;
use crate::world::action::Action;

/// The latest time in a scenario, in seconds: more than thirty years.
const SECONDS_MAX: f64 = 1e9;
/// The longest observation, in seconds.
const OBSERVED_MAX: f64 = 100_000.0;
/// The maximum number of repetitions of all steps together.
const REPETITIONS_MAX: f64 = 100_000.0;

/// The positions of the steps in the file, and all their fields.
#[derive(Deserialize)]
struct Positions {
    schedule: Vec<Spanned<Table>>,
}

impl Scenario {
    /// Checks everything that the types of the fields do not ensure.
    pub(super) fn check(&self, text: &str) -> Result<(), ScenarioError> {
        let bad = |problem: String| Err(ScenarioError::Format(problem));
        let ObservationWindow { from, until } = self.observe;
        if !(0.0..=SECONDS_MAX).contains(&from) || !(0.0..=SECONDS_MAX).contains(&until) {
            return bad(format!(
                "observe: invalid time; use times between 0 and {SECONDS_MAX} seconds"
            ));
        }
        if until < from {
            return bad("observe: until is before from; use a later end".into());
        }
        if until - from > OBSERVED_MAX {
            return bad(format!("observe: too long; observe at most {OBSERVED_MAX} seconds"));
        }
        self.check_configs()?;
        let positions: Positions =
            toml::from_str(text).map_err(|error| ScenarioError::Format(error.to_string()))?;
        let mut repetitions = 0.0;
        let steps = self.schedule.iter().zip(&positions.schedule);
        for (number, (step, position)) in (1..).zip(steps) {
            let problem = match self.problem_of(step, position.get_ref()) {
                Some(problem) => problem,
                None => {
                    repetitions += repetitions_of(step);
                    if repetitions <= REPETITIONS_MAX {
                        continue;
                    }
                    format!("too many repetitions; use at most {REPETITIONS_MAX} in all steps")
                }
            };
            let before = text.get(..position.span().start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            return bad(format!("line {line}: schedule, step {number}: {problem}"));
        }
        self.check_expectations()
    }

    /// The configuration of each variant that the file names must be valid. If the file names none,
    /// at least one must be valid.
    fn check_configs(&self) -> Result<(), ScenarioError> {
        let named = self.expected.keys().chain(self.availability.keys()).copied();
        let mut named: Vec<_> = named.chain(self.sabotaged.iter().map(|run| run.variant)).collect();
        if named.is_empty() && self.variants().is_empty() {
            named.extend(crate::scenario::Variant::ALL);
        }
        for variant in named {
            if let Err(error) = World::new(self.configured(variant)) {
                let problem = format!("config: invalid for variant {variant}: {error}");
                return Err(ScenarioError::Format(problem));
            }
        }
        Ok(())
    }

    /// The error in a step, of which `written` has all fields of the file.
    fn problem_of(&self, step: &Step, written: &Table) -> Option<String> {
        let end = self.observe.until;
        let Step { at, every, until, action } = step;
        if !(0.0..=end).contains(at) {
            return Some(format!(
                "invalid time: at = {at}; use a time between 0 and {end}, the end of the observation"
            ));
        }
        match (every, until) {
            (None, None) => {}
            (Some(every), Some(until)) => {
                if !(1e-6..=SECONDS_MAX).contains(every) {
                    return Some(format!(
                        "invalid interval: every = {every}; use at least a microsecond"
                    ));
                }
                if !(*at..=SECONDS_MAX).contains(until) {
                    return Some(format!("invalid end: until = {until}; use a time after at"));
                }
            }
            (None, Some(_)) | (Some(_), None) => {
                return Some("incomplete repetition; use both every and until".into());
            }
        }
        let known = Table::try_from(step).unwrap_or_default();
        let is_known = |name: &&String| {
            let may_be_empty = ["learners", "joining"].contains(&name.as_str())
                && matches!(action, Action::ChangeMembership { .. });
            known.contains_key(*name) || may_be_empty
        };
        if let Some(name) = written.keys().find(|name| !is_known(name)) {
            return Some(format!("field without effect: {name}; remove it"));
        }
        if let Err(error) = action.check(&self.config) {
            return Some(error.to_string());
        }
        action.membership(&self.config)?.validate().err().map(|error| error.to_string())
    }

    /// Expectations must refer to existing nodes and branches.
    fn check_expectations(&self) -> Result<(), ScenarioError> {
        let bad = |problem: String| Err(ScenarioError::Format(problem));
        let nodes = |name: &'static str, nodes: &[u64]| {
            let all = 1..=self.config.cluster.nodes;
            let missing = nodes.iter().find(|node| !all.contains(node));
            missing.map(|node| format!("{name}: unknown node: {node}; use 1 to {}", all.end()))
        };
        let missing = nodes("leader", self.leader.as_slice())
            .or_else(|| nodes("voters", self.voters.as_deref().unwrap_or_default()))
            .or_else(|| nodes("stopped", &self.stopped));
        if let Some(problem) = missing {
            return bad(problem);
        }
        if let Some(share) = self.availability.values().find(|share| !(0.0..=1.0).contains(*share))
        {
            return bad(format!("availability: invalid share: {share}; use a number from 0 to 1"));
        }
        let mut names = self.covered.iter().chain(&self.not_covered);
        if let Some(name) = names.find(|name| !coverage::is_coverage_point(name)) {
            return bad(format!(
                "covered, not_covered: unknown branch: {name:?}; use a name of check/coverage.rs"
            ));
        }
        Ok(())
    }
}

fn repetitions_of(step: &Step) -> f64 {
    match (step.every, step.until) {
        (Some(every), Some(until)) => (until - step.at) / every,
        _ => 0.0,
    }
}
