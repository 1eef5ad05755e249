//! Scenarios: short runs with a lesson, as files that a person can read and write.
//!
//! `docs/scenarios.md` describes the format; `raft-sim/scenarios/` holds the library. A scenario is played in variants, which differ
//! in two settings of the servers, and each variant has an expected [`Outcome`].

use std::collections::BTreeMap;
use std::fmt;

use raft_core::Role;
use serde::{Deserialize, Serialize};

use crate::action::{Action, Request};
use crate::client::AskingState;
use crate::config::WorldConfig;
use crate::invariants::Violation;
use crate::run::{Run, Script, ScriptError, Timed};
use crate::world::World;

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
    pub watch: Watch,
    /// What must be seen in each variant.
    pub expected: BTreeMap<Variant, Outcome>,
    /// What keys must hold in the end, on every server that runs.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// What the schedule's reads must find, in order; an empty text stands for nothing.
    #[serde(default)]
    pub reads: Vec<String>,
}

/// An action and its moment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// In seconds.
    pub at: f64,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
}

/// A stretch of time, in seconds, in which the outcome is observed. In it a client writes every quarter of a second.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
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
    /// With [`pre_vote`](raft_core::Config::pre_vote) and [`check_quorum`](raft_core::Config::check_quorum).
    PreVoteCheckQuorum,
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
pub struct Played {
    /// What was seen.
    pub outcome: Outcome,
    /// How often there was another leader or term while it was watched.
    pub changes: usize,
    /// How many of the watching client's writes were answered.
    pub answered: usize,
    /// How many there were.
    pub asked: usize,
    /// What did not come as the scenario says. Empty, if all did.
    pub surprises: Vec<String>,
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
}

/// A key that belongs to the client that watches.
const PROBE_KEY: &str = "probe";
/// Time between two of its writes, in microseconds.
const PROBE_EVERY: u64 = 250_000;
/// How often the leader is looked at, in microseconds.
const SAMPLE: u64 = 5_000;
const STEPS_MAX: u64 = 1_000_000;

impl Variant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::PreVote, Self::PreVoteCheckQuorum];
}

impl Scenario {
    /// Reads a scenario file, which is TOML.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Format`] says where it can't be understood.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self =
            toml::from_str(text).map_err(|error| ScenarioError::Format(error.to_string()))?;
        let Watch { from, until } = scenario.watch;
        if !(0.0..=until).contains(&from) || until > 100_000.0 {
            let text = "watch: it must begin before it ends";
            return Err(ScenarioError::Format(text.into()));
        }
        Ok(scenario)
    }

    /// The run of a variant: what the page needs to show it.
    #[must_use]
    pub fn script(&self, variant: Variant) -> Script {
        let mut config = self.config.clone();
        config.pre_vote = variant != Variant::Plain;
        config.check_quorum = variant == Variant::PreVoteCheckQuorum;
        let step = |step: &Step| Timed {
            at: micros(step.at),
            action: step.action.clone(),
        };
        let mut actions: Vec<_> = self.schedule.iter().map(step).collect();
        let mut at = micros(self.watch.from);
        while at < micros(self.watch.until) {
            let request = Request::Put {
                key: PROBE_KEY.into(),
                value: (at / 1000).to_string(),
            };
            let action = Action::Request { via: None, request };
            actions.push(Timed { at, action });
            at += PROBE_EVERY;
        }
        actions.sort_by_key(|timed| timed.at);
        Script { config, actions }
    }

    /// Plays a variant, and compares what is seen with what is expected.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Script`], if it cannot be played.
    pub fn play(&self, variant: Variant) -> Result<Played, ScenarioError> {
        let mut run = Run::new(self.script(variant)).map_err(ScenarioError::Script)?;
        let (from, until) = (micros(self.watch.from), micros(self.watch.until));
        let calm_from = until - (until - from) / 3;
        run.seek(from);
        let mut known = leader(run.world());
        let (mut changes, mut late_changes) = (0, 0);
        while run.world().now() < until && run.world().violation().is_none() {
            run.seek((run.world().now() + SAMPLE).min(until));
            let seen = leader(run.world());
            if seen.is_some() && seen != known {
                changes += usize::from(known.is_some());
                late_changes += usize::from(known.is_some() && run.world().now() > calm_from);
                known = seen;
            }
        }
        let world = run.world();
        let probes = || {
            world
                .askings()
                .filter(|asking| asking.request.key() == PROBE_KEY)
        };
        let answered = probes().filter(|asking| asking.returned.is_some()).count();
        let served = probes().any(|asking| asking.invoked > calm_from && asking.returned.is_some());
        let outcome = match (served, changes, late_changes) {
            (_, _, 1..) => Outcome::Restless,
            (true, 0, _) => Outcome::Stable,
            (true, ..) => Outcome::Recovers,
            (false, ..) => Outcome::Stuck,
        };
        Ok(Played {
            outcome,
            changes,
            answered,
            asked: probes().count(),
            surprises: self.surprises(variant, outcome, world),
            violation: world
                .violation()
                .cloned()
                .or_else(|| world.judge_history(STEPS_MAX)),
        })
    }

    fn surprises(&self, variant: Variant, outcome: Outcome, world: &World) -> Vec<String> {
        let mut surprises = Vec::new();
        if let Some(expected) = self.expected.get(&variant)
            && *expected != outcome
        {
            surprises.push(format!("{expected} was expected, and it was {outcome}"));
        }
        // The world's own clients read, too.
        let asked = world
            .askings()
            .filter(|asking| asking.client > world.config().clients);
        let found: Vec<_> = asked.filter_map(read_of).collect();
        if found != self.reads {
            surprises.push(format!("reads found {found:?} instead of {:?}", self.reads));
        }
        for (key, expected) in &self.keys {
            for node in (1..=world.config().nodes).filter(|node| world.raft(*node).is_some()) {
                let held = world.keys(node).into_iter().find(|held| held.key == *key);
                let held = held.map_or(String::new(), |held| held.value);
                if held != *expected {
                    surprises.push(format!(
                        "n{node} holds {held:?} at {key:?}, not {expected:?}"
                    ));
                }
            }
        }
        surprises
    }
}

fn read_of(asking: &crate::Asking) -> Option<String> {
    match (&asking.request, &asking.state) {
        (Request::Get { .. }, AskingState::Done { found, .. }) => {
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

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
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
        })
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(problem) => f.write_str(problem),
            Self::Script(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ScenarioError {}
