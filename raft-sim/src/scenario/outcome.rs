//! Outcomes of scenarios.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::check::invariants::{Invariant, Violation};

/// The outcome of a run that violates no invariant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// There was one leader in one term, and writes were answered.
    Stable,
    /// The leader or the term changed, but not in the last third, in which writes were answered.
    Recovers,
    /// The leader or the term still changed in the last third.
    Restless,
    /// In the last third no write was answered, and the leader and the term did not change.
    Stuck,
}

/// The outcome of any run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum ExpectedOutcome {
    /// The run violates no invariant.
    Safe(Outcome),
    /// The run violates this invariant.
    Violates(Invariant),
}

/// The result of playing a variant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioResult {
    /// The actual outcome.
    pub outcome: ExpectedOutcome,
    /// The number of changes of the leader or the term during the observation.
    pub changes: usize,
    /// The number of the observing client's writes.
    pub requested: usize,
    /// The number of these writes that were answered.
    pub answered: usize,
    /// The number of these writes that were answered within half a second.
    pub answered_soon: usize,
    /// The differences from the expectations of the scenario.
    pub mismatches: Vec<String>,
    /// The violation of an invariant, if there was one.
    pub violation: Option<Violation>,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Stable, Self::Recovers, Self::Restless, Self::Stuck];

    fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Recovers => "recovers",
            Self::Restless => "restless",
            Self::Stuck => "stuck",
        }
    }
}

impl ExpectedOutcome {
    /// The name in a scenario file.
    fn name(self) -> String {
        let name = toml::Value::try_from(self).ok();
        let name = name.and_then(|name| name.as_str().map(str::to_owned));
        name.unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for ExpectedOutcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let all = Outcome::ALL.into_iter().map(Self::Safe);
        let all = all.chain(Invariant::ALL.into_iter().map(Self::Violates));
        let named: Vec<_> = all.map(|outcome| (outcome.name(), outcome)).collect();
        let found = named.iter().find(|(other, _)| *other == name);
        found.map(|(_, outcome)| *outcome).ok_or_else(|| {
            let names: Vec<_> = named.into_iter().map(|(name, _)| name).collect();
            D::Error::custom(format!("unknown outcome: {name:?}; use one of {}", names.join(", ")))
        })
    }
}

impl fmt::Display for ExpectedOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safe(outcome) => outcome.fmt(f),
            Self::Violates(invariant) => write!(f, "violates {invariant}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
