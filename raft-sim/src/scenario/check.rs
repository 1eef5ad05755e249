//! What a scenario's file must say to be played: whatever can be known from the file alone to have
//! no effect is a mistake.

use serde::Deserialize;
use toml::{Spanned, Table};

use crate::check::coverage;
use crate::scenario::{ObservationWindow, Scenario, ScenarioError, Step};
use crate::world::World;
use crate::world::action::Action;

/// A scenario is over by then, in seconds: more than thirty years.
const SECONDS_MAX: f64 = 1e9;
/// It is watched for no longer than this, in seconds.
const WATCHED_MAX: f64 = 100_000.0;
/// How often steps are repeated, all together, at most.
const REPETITIONS_MAX: f64 = 100_000.0;

/// Where the steps stand in the file, and all that they say.
#[derive(Deserialize)]
struct Places {
    schedule: Vec<Spanned<Table>>,
}

impl Scenario {
    /// Looks for what cannot be meant.
    pub(super) fn check(&self, text: &str) -> Result<(), ScenarioError> {
        let bad = |problem: String| Err(ScenarioError::Format(problem));
        let ObservationWindow { from, until } = self.observe;
        if !(0.0..=SECONDS_MAX).contains(&from) || !(0.0..=SECONDS_MAX).contains(&until) {
            return bad(format!("watch: a moment lies between 0 and {SECONDS_MAX} seconds"));
        }
        if until < from {
            return bad("watch: it must begin before it ends".into());
        }
        if until - from > WATCHED_MAX {
            return bad(format!("watch: it lasts {WATCHED_MAX} seconds at most"));
        }
        self.check_worlds()?;
        let places: Places =
            toml::from_str(text).map_err(|error| ScenarioError::Format(error.to_string()))?;
        let mut repetitions = 0.0;
        for (number, (step, place)) in (1..).zip(self.schedule.iter().zip(&places.schedule)) {
            let problem = match self.problem_of(step, place.get_ref()) {
                Some(problem) => problem,
                None => {
                    repetitions += repetitions_of(step);
                    if repetitions <= REPETITIONS_MAX {
                        continue;
                    }
                    format!("more than {REPETITIONS_MAX} repetitions, with the steps before it")
                }
            };
            let before = text.get(..place.span().start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            return bad(format!("line {line}: schedule, step {number}: {problem}"));
        }
        self.check_demands()
    }

    /// The worlds of the variants that the file names must make sense, or those of some, if it
    /// names none.
    fn check_worlds(&self) -> Result<(), ScenarioError> {
        let named = self.expected.keys().chain(self.availability.keys()).copied();
        let mut named: Vec<_> =
            named.chain(self.sabotaged.iter().map(|broken| broken.variant)).collect();
        if named.is_empty() && self.variants().is_empty() {
            named.extend(crate::scenario::Variant::ALL);
        }
        for variant in named {
            if let Err(error) = World::new(self.configured(variant)) {
                let problem = format!("config: as {variant}, the world makes no sense: {error}");
                return Err(ScenarioError::Format(problem));
            }
        }
        Ok(())
    }

    fn problem_of(&self, step: &Step, written: &Table) -> Option<String> {
        let end = self.observe.until;
        let Step { at, every, until, action } = step;
        if !(0.0..=end).contains(at) {
            return Some(format!("at = {at}: it happens between 0 and {end}, when the watch ends"));
        }
        match (every, until) {
            (None, None) => {}
            (Some(every), Some(until)) => {
                if !(1e-6..=SECONDS_MAX).contains(every) {
                    return Some(format!(
                        "every = {every}: some time passes between two repetitions"
                    ));
                }
                if !(*at..=SECONDS_MAX).contains(until) {
                    return Some(format!("until = {until}: it ends after it begins"));
                }
            }
            (None, Some(_)) | (Some(_), None) => {
                return Some("what is repeated says every and until".into());
            }
        }
        let known = Table::try_from(step).unwrap_or_default();
        let is_known = |name: &&String| {
            let may_be_empty = ["learners", "joining"].contains(&name.as_str())
                && matches!(action, Action::ChangeMembership { .. });
            known.contains_key(*name) || may_be_empty
        };
        if let Some(name) = written.keys().find(|name| !is_known(name)) {
            return Some(format!("{name} says nothing here"));
        }
        if let Err(error) = action.check(&self.config) {
            return Some(error.to_string());
        }
        action.membership(&self.config)?.validate().err().map(|error| error.to_string())
    }

    /// What is demanded of the end must be something that there can be.
    fn check_demands(&self) -> Result<(), ScenarioError> {
        let bad = |problem: String| Err(ScenarioError::Format(problem));
        let nodes = |name: &'static str, nodes: &[u64]| {
            let all = 1..=self.config.nodes;
            let missing = nodes.iter().find(|node| !all.contains(node));
            missing.map(|node| format!("{name}: there is no node {node}"))
        };
        let missing = nodes("leader", self.leader.as_slice())
            .or_else(|| nodes("voters", self.voters.as_deref().unwrap_or_default()))
            .or_else(|| nodes("stopped", &self.stopped));
        if let Some(problem) = missing {
            return bad(problem);
        }
        if let Some(share) = self.availability.values().find(|share| !(0.0..=1.0).contains(*share))
        {
            return bad(format!("serves: {share} is no share, between 0 and 1"));
        }
        let mut names = self.covered.iter().chain(&self.not_covered);
        if let Some(name) = names.find(|name| !coverage::is_coverage_point(name)) {
            return bad(format!("taken, not_taken: there is no branch {name:?}"));
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
