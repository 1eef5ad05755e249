//! Scenarios: short runs with a lesson, as files that a person can read and write.
//!
//! `docs/verification/scenarios.md` describes the format; `raft-sim/scenarios/` contains the
//! library. A scenario is played in variants, which differ in two settings of the servers. Each
//! variant has an [`ExpectedOutcome`]. With the feature `sabotage`, scenarios are also played with
//! disabled rules.

mod check;
mod disabled_rules;
mod expectation;
mod export;
mod outcome;
mod play;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::scenario::expectation::Expectation;
pub use crate::scenario::outcome::{ExpectedOutcome, Outcome, ScenarioResult};
use crate::timeline::{Script, ScriptError, TimedAction};
use crate::world::World;
use crate::world::action::{Action, Request};
use crate::world::config::WorldConfig;

/// The content of a scenario file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The title.
    pub title: String,
    /// The lesson, in a few sentences.
    pub lesson: String,
    /// Where the scenario was published.
    pub source: Option<String>,
    /// The settings that differ from the defaults. The variant sets `pre_vote` and `check_quorum`.
    #[serde(default)]
    pub config: WorldConfig,
    /// The actions, in order of time.
    pub schedule: Vec<Step>,
    /// The period in which the outcome is observed.
    #[serde(alias = "watch")]
    pub observe: ObservationWindow,
    /// A condition that must hold when the observation starts. Otherwise availability is violated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Expectation>,
    /// The expected outcome of each variant.
    pub expected: BTreeMap<Variant, ExpectedOutcome>,
    /// Further runs, with disabled rules.
    #[serde(default)]
    #[serde(alias = "broken")]
    pub sabotaged: Vec<SabotagedRun>,
    /// The final values of keys, on every running server.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// The results of the reads of the schedule, in order; an empty text is a missing key.
    #[serde(default)]
    pub reads: Vec<String>,
    /// The number of writes of keys, on every running server.
    #[serde(default)]
    pub writes: BTreeMap<String, i64>,
    /// The number of requests of the schedule that were sent more than once.
    #[serde(default)]
    #[serde(alias = "asked_again")]
    pub retries: Option<usize>,
    /// The share of the observing client's writes that must be answered within half a second.
    #[serde(default)]
    #[serde(alias = "serves")]
    pub availability: BTreeMap<Variant, f64>,
    /// The final leader.
    #[serde(default)]
    pub leader: Option<u64>,
    /// The final voters, according to the leader.
    #[serde(default)]
    pub voters: Option<Vec<u64>>,
    /// The servers that have stopped permanently.
    #[serde(default)]
    pub stopped: Vec<u64>,
    /// Branches of the protocol that must be taken, by their names in
    /// [`coverage`](crate::check::coverage).
    #[serde(default)]
    #[serde(alias = "taken")]
    pub covered: Vec<String>,
    /// Branches that must not be taken.
    #[serde(default)]
    #[serde(alias = "not_taken")]
    pub not_covered: Vec<String>,
}

/// A run in which all servers have rules disabled.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SabotagedRun {
    /// The names of the rules, as in `raft-core/src/sabotage.rs`.
    pub rules: Vec<String>,
    /// The variant of the servers.
    pub variant: Variant,
    /// The expected outcome.
    pub expected: ExpectedOutcome,
}

/// An action and its time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// The time, in seconds.
    pub at: f64,
    /// The interval between repetitions, in seconds; none for an action that occurs once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<f64>,
    /// The end of the repetitions, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
    /// The action.
    #[serde(flatten)]
    pub action: Action,
}

/// The period in which the outcome is observed, in seconds. During this period a client writes
/// every quarter of a second.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservationWindow {
    /// The start.
    pub from: f64,
    /// The end, which is also the end of the scenario.
    pub until: f64,
}

/// The settings of the servers in which a scenario is played.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Neither pre-vote nor check-quorum, as in the paper.
    Plain,
    /// With [`pre_vote`](raft_core::Config::pre_vote).
    PreVote,
    /// With [`pre_vote`](raft_core::Config::pre_vote) and
    /// [`check_quorum`](raft_core::Config::check_quorum).
    PreVoteCheckQuorum,
    /// With [`check_quorum`](raft_core::Config::check_quorum). This variant is played only if the
    /// file names it.
    CheckQuorum,
}

/// Why a scenario cannot be played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScenarioError {
    /// The file is not a valid scenario. The text names the place.
    Format(String),
    /// The configuration or the schedule is invalid.
    Script(ScriptError),
    /// There is no rule with this name, or the program was built without the feature `sabotage`.
    UnknownRule(String),
}

/// The key that the observing client writes.
const PROBE_KEY: &str = "probe";
/// The time between two of its writes, in microseconds.
const PROBE_EVERY: u64 = 250_000;

impl Variant {
    /// The variants in which every scenario is played.
    pub const ALL: [Self; 3] = [Self::Plain, Self::PreVote, Self::PreVoteCheckQuorum];

    /// The variant of a configuration.
    #[must_use]
    pub fn of(config: &WorldConfig) -> Self {
        match (config.cluster.pre_vote, config.cluster.check_quorum) {
            (false, false) => Self::Plain,
            (true, false) => Self::PreVote,
            (true, true) => Self::PreVoteCheckQuorum,
            (false, true) => Self::CheckQuorum,
        }
    }
}

impl Scenario {
    /// Parses a scenario file, which is TOML.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Format`] names the invalid place. A step that has no effect in any run,
    /// such as an action on a node that does not exist, is also an error.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self =
            toml::from_str(text).map_err(|error| ScenarioError::Format(error.to_string()))?;
        scenario.check(text)?;
        Ok(scenario)
    }

    /// The variants whose configuration is valid: lease reads need check-quorum. Variants with an
    /// expected outcome are last.
    #[must_use]
    pub fn variants(&self) -> Vec<Variant> {
        let is_possible = |variant: &Variant| World::new(self.configured(*variant)).is_ok();
        let is_named = |variant: &Variant| self.expected.contains_key(variant);
        let others = Variant::ALL.into_iter().filter(|it| !is_named(it));
        let all = others.chain(self.expected.keys().copied());
        all.filter(is_possible).collect()
    }

    /// The script of a variant whose servers have these rules disabled.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::UnknownRule`]. Without the feature `sabotage`, every rule is unknown.
    pub fn script_without(
        &self,
        variant: Variant,
        rules: &[String],
    ) -> Result<Script, ScenarioError> {
        let mut script = self.script(variant);
        match rules.iter().find(|name| !disabled_rules::disable(&mut script.config, name)) {
            Some(name) => Err(ScenarioError::UnknownRule(name.clone())),
            None => Ok(script),
        }
    }

    /// The configuration of a variant.
    fn configured(&self, variant: Variant) -> WorldConfig {
        let mut config = self.config.clone();
        config.cluster.pre_vote = matches!(variant, Variant::PreVote | Variant::PreVoteCheckQuorum);
        config.cluster.check_quorum =
            matches!(variant, Variant::PreVoteCheckQuorum | Variant::CheckQuorum);
        config.count_coverage = !self.covered.is_empty() || !self.not_covered.is_empty();
        config
    }

    /// The script of a variant, including the writes of the observing client.
    #[must_use]
    pub fn script(&self, variant: Variant) -> Script {
        let mut actions = Vec::new();
        for step in &self.schedule {
            let mut at = micros(step.at);
            loop {
                let action = step.action.clone();
                actions.push(TimedAction { at, action });
                let Some(every) = step.every.map(micros).filter(|every| *every > 0) else {
                    break;
                };
                at += every;
                if at >= step.until.map_or(0, micros) {
                    break;
                }
            }
        }
        let mut at = micros(self.observe.from);
        while at < micros(self.observe.until) {
            let request = Request::Put { key: PROBE_KEY.into(), value: (at / 1000).to_string() };
            let action = Action::Request { via: None, request };
            actions.push(TimedAction { at, action });
            at += PROBE_EVERY;
        }
        actions.sort_by_key(|timed| timed.at);
        let config = self.configured(variant);
        Script { config, actions }
    }
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::PreVote => "pre-vote",
            Self::PreVoteCheckQuorum => "pre-vote-check-quorum",
            Self::CheckQuorum => "check-quorum",
        })
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(problem) => f.write_str(problem),
            Self::Script(error) => error.fmt(f),
            Self::UnknownRule(name) => write!(
                f,
                "unknown rule: {name:?}; use a name from raft-core/src/sabotage.rs and the feature sabotage"
            ),
        }
    }
}

impl std::error::Error for ScenarioError {}
