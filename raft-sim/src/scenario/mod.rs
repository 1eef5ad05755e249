//! Scenarios: short runs with a lesson, as files that a person can read and write.
//!
//! `docs/verification/scenarios.md` describes the format; `raft-sim/scenarios/` holds the library.
//! A scenario is played in variants, which differ in two settings of the servers, and each variant
//! has an expected [`ExpectedOutcome`]. Under the feature `sabotage` it is played with broken
//! rules, too.

mod check;
pub(crate) mod expectation;
pub(crate) mod export;
mod play;

use std::collections::BTreeMap;
use std::fmt;

pub use expectation::Expectation;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::check::invariants::{Invariant, Violation};
use crate::timeline::{Script, ScriptError, TimedAction};
use crate::world::World;
use crate::world::action::{Action, Request};
use crate::world::config::WorldConfig;

/// A scenario as it stands in its file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    pub title: String,
    /// What can be learnt from it, in a few sentences.
    pub lesson: String,
    /// Where it was published.
    pub source: Option<String>,
    /// The world, as far as it is unusual. `pre_vote` and `check_quorum` are the variant's.
    #[serde(default)]
    pub config: WorldConfig,
    /// What is done, in order of time.
    pub schedule: Vec<Step>,
    /// When the outcome is observed.
    #[serde(alias = "watch")]
    pub observe: ObservationWindow,
    /// What must have come about when the watch begins. If it has not, availability falls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Expectation>,
    /// What must be seen in each variant.
    pub expected: BTreeMap<Variant, ExpectedOutcome>,
    /// What must be seen when servers break rules.
    #[serde(default)]
    #[serde(alias = "broken")]
    pub sabotaged: Vec<SabotagedRun>,
    /// What keys must hold in the end, on every server that runs.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// What the schedule's reads must find, in order; an empty text stands for nothing.
    #[serde(default)]
    pub reads: Vec<String>,
    /// How often keys must have been written, on every server that runs.
    #[serde(default)]
    pub writes: BTreeMap<String, i64>,
    /// How many of the schedule's requests must have been sent more than once.
    #[serde(default)]
    #[serde(alias = "asked_again")]
    pub retries: Option<usize>,
    /// Which share of the watching client's writes must be answered within half a second.
    #[serde(default)]
    #[serde(alias = "serves")]
    pub availability: BTreeMap<Variant, f64>,
    /// Who must lead in the end.
    #[serde(default)]
    pub leader: Option<u64>,
    /// Who must have a vote in the end, as the leader sees it.
    #[serde(default)]
    pub voters: Option<Vec<u64>>,
    /// Who must have ended itself.
    #[serde(default)]
    pub stopped: Vec<u64>,
    /// Branches of the protocol that must have been taken, by their names in
    /// [`branches`](crate::check::coverage).
    #[serde(default)]
    #[serde(alias = "taken")]
    pub covered: Vec<String>,
    /// Branches that must not have been taken.
    #[serde(default)]
    #[serde(alias = "not_taken")]
    pub not_covered: Vec<String>,
}

/// A variant in which all servers break rules.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SabotagedRun {
    /// The names of the rules, as in `raft-core/src/sabotage.rs`.
    pub rules: Vec<String>,
    /// How the servers are set otherwise.
    pub variant: Variant,
    /// What must be seen.
    pub expected: ExpectedOutcome,
}

/// How a scenario may end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum ExpectedOutcome {
    /// All rules hold.
    Safe(Outcome),
    /// This one falls.
    Violates(Invariant),
}

impl<'de> Deserialize<'de> for ExpectedOutcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let all = Outcome::ALL.into_iter().map(Self::Safe);
        let all = all.chain(Invariant::ALL.into_iter().map(Self::Violates));
        let named: Vec<_> = all.map(|ending| (ending.name(), ending)).collect();
        let found = named.iter().find(|(other, _)| *other == name);
        found.map(|(_, ending)| *ending).ok_or_else(|| {
            let names: Vec<_> = named.into_iter().map(|(name, _)| name).collect();
            D::Error::custom(format!("there is no ending {name:?}; there are {}", names.join(", ")))
        })
    }
}

/// An action and its moment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// In seconds.
    pub at: f64,
    /// It is done again and again, so many seconds apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<f64>,
    /// When that ends, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
}

/// A stretch of time, in seconds, in which the outcome is observed. In it a client writes every
/// quarter of a second.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservationWindow {
    /// When it begins.
    pub from: f64,
    /// When it ends, and the scenario with it.
    pub until: f64,
}

/// How the servers are set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// As in the paper.
    Plain,
    /// With [`pre_vote`](raft_core::Config::pre_vote).
    PreVote,
    /// With [`pre_vote`](raft_core::Config::pre_vote) and
    /// [`check_quorum`](raft_core::Config::check_quorum).
    PreVoteCheckQuorum,
    /// With [`check_quorum`](raft_core::Config::check_quorum). It is played where a file names it
    /// only.
    CheckQuorum,
}

/// What was seen while it was watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// One leader in one term all the time, and writes are answered.
    Stable,
    /// There was another leader or term, but none in the last third, in which writes are answered.
    Recovers,
    /// Leaders or terms go on changing in the last third.
    Restless,
    /// No write was answered in the last third, and no leader or term was new in it.
    Stuck,
}

/// How a variant went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioResult {
    /// What was seen.
    pub ending: ExpectedOutcome,
    /// How often there was another leader or term while it was watched.
    pub changes: usize,
    /// How many of the watching client's writes were answered.
    pub answered: usize,
    /// How many were answered within half a second.
    pub answered_soon: usize,
    /// How many there were.
    pub asked: usize,
    /// What did not come as the scenario says. Empty, if all did.
    pub mismatches: Vec<String>,
    /// The rule that was broken, if one was.
    pub violation: Option<Violation>,
}

/// Why a scenario cannot be played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScenarioError {
    /// The file is no scenario.
    Format(String),
    /// The world or the schedule makes no sense.
    Script(ScriptError),
    /// There is no such rule that could be broken.
    NoSuchRule(String),
}

/// A key that belongs to the client that watches.
const PROBE_KEY: &str = "probe";
/// Time between two of its writes, in microseconds.
const PROBE_EVERY: u64 = 250_000;

impl Variant {
    /// Those in which every scenario is played.
    pub const ALL: [Self; 3] = [Self::Plain, Self::PreVote, Self::PreVoteCheckQuorum];

    /// The one in which servers are set like that.
    #[must_use]
    pub fn of(config: &WorldConfig) -> Self {
        match (config.pre_vote, config.check_quorum) {
            (false, false) => Self::Plain,
            (true, false) => Self::PreVote,
            (true, true) => Self::PreVoteCheckQuorum,
            (false, true) => Self::CheckQuorum,
        }
    }
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Stable, Self::Recovers, Self::Restless, Self::Stuck];
}

impl ExpectedOutcome {
    /// What a file calls it.
    fn name(self) -> String {
        let name = toml::Value::try_from(self).ok();
        let name = name.and_then(|name| name.as_str().map(str::to_owned));
        name.unwrap_or_default()
    }
}

impl Scenario {
    /// Reads a scenario file, which is TOML.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Format`] says where it can't be understood, or can't be meant: what would
    /// have no effect in any run, such as what is done to a node that there is not, is a mistake.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self =
            toml::from_str(text).map_err(|error| ScenarioError::Format(error.to_string()))?;
        scenario.check(text)?;
        Ok(scenario)
    }

    /// The variants that make sense in its world: reads by lease need check-quorum. Those of which
    /// the file says how they end come last.
    #[must_use]
    pub fn variants(&self) -> Vec<Variant> {
        let is_possible = |variant: &Variant| World::new(self.configured(*variant)).is_ok();
        let is_named = |variant: &Variant| self.expected.contains_key(variant);
        let others = Variant::ALL.into_iter().filter(|it| !is_named(it));
        let all = others.chain(self.expected.keys().copied());
        all.filter(is_possible).collect()
    }

    /// The run of a variant whose servers break these rules, which takes the feature `sabotage` if
    /// there are any.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::NoSuchRule`], which without the feature is any.
    pub fn script_without(
        &self,
        variant: Variant,
        rules: &[String],
    ) -> Result<Script, ScenarioError> {
        let mut script = self.script(variant);
        match rules.iter().find(|name| !break_rule(&mut script.config, name)) {
            Some(name) => Err(ScenarioError::NoSuchRule(name.clone())),
            None => Ok(script),
        }
    }

    fn configured(&self, variant: Variant) -> WorldConfig {
        let mut config = self.config.clone();
        config.pre_vote = matches!(variant, Variant::PreVote | Variant::PreVoteCheckQuorum);
        config.check_quorum = matches!(variant, Variant::PreVoteCheckQuorum | Variant::CheckQuorum);
        config.count_coverage = !self.covered.is_empty() || !self.not_covered.is_empty();
        config
    }

    /// The run of a variant: what the page needs to show it.
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

/// Whether there is such a rule.
#[cfg(feature = "sabotage")]
fn break_rule(config: &mut WorldConfig, name: &str) -> bool {
    let rule = raft_core::Rule::ALL.iter().find(|rule| rule.name() == name);
    config.disabled_rules =
        rule.map_or(config.disabled_rules, |rule| config.disabled_rules.and(*rule));
    rule.is_some()
}

#[cfg(not(feature = "sabotage"))]
fn break_rule(_: &mut WorldConfig, _: &str) -> bool {
    false
}

/// Lets servers keep all rules, and returns the names of those that they broke.
#[cfg(feature = "sabotage")]
fn take_disabled_rules(config: &mut WorldConfig) -> Vec<String> {
    let broken = std::mem::take(&mut config.disabled_rules);
    let all = raft_core::Rule::ALL.iter();
    let broken = all.filter(|rule| broken.and(**rule) == broken);
    broken.map(|rule| rule.name().to_owned()).collect()
}

#[cfg(not(feature = "sabotage"))]
fn take_disabled_rules(_: &mut WorldConfig) -> Vec<String> {
    Vec::new()
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

impl fmt::Display for ExpectedOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safe(outcome) => outcome.fmt(f),
            Self::Violates(invariant) => write!(f, "{invariant} falls"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stable => "stable",
            Self::Recovers => "recovers",
            Self::Restless => "restless",
            Self::Stuck => "stuck",
        })
    }
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
            Self::NoSuchRule(name) => write!(f, "there is no rule {name:?} that could be broken"),
        }
    }
}

impl std::error::Error for ScenarioError {}
