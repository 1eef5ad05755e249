//! Export of a run as a scenario file, which a person can read, play and change.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use toml::{Table, Value};

use crate::check::invariants::{Invariant, Violation};
use crate::scenario::{
    Expectation, ExpectedOutcome, ObservationWindow, SabotagedRun, Scenario, Step, Variant,
    disabled_rules,
};
use crate::timeline::{Run, Script};
use crate::world::config::{ClusterConfig, WorldConfig};

/// The duration of the observation of a cluster that did not recover, in seconds.
const OBSERVED: f64 = 20.0;

impl Scenario {
    /// The scenario of a run that violates an invariant. The same violation is expected when the
    /// scenario is played. If the cluster did not recover, the scenario names the awaited
    /// condition, and observes the cluster for a while if the condition holds. If rules were
    /// disabled, the scenario has a run with these rules disabled, and a run with all rules
    /// enabled.
    #[must_use]
    pub fn of_failure(script: &Script, violation: &Violation) -> Self {
        let variant = Variant::of(&script.config);
        let is_unavailable = violation.invariant == Invariant::Availability;
        let mut scenario = Self::without_expectations(script, violation);
        if is_unavailable && let Ok(mut run) = Run::new(script.clone()) {
            run.seek(violation.at);
            scenario.awaited = Expectation::first_unmet(run.world());
        }
        let violates = ExpectedOutcome::Violates(violation.invariant);
        let rules = disabled_rules::enable_all(&mut scenario.config);
        let expected = match scenario.play(variant) {
            Ok(played) if is_unavailable || !rules.is_empty() => played.outcome,
            _ => violates,
        };
        scenario.expected.insert(variant, expected);
        if !rules.is_empty() {
            let mut run = SabotagedRun { rules, variant, expected: violates };
            if is_unavailable && let Ok(played) = scenario.play_sabotaged(&run) {
                run.expected = played.outcome;
            }
            scenario.sabotaged.push(run);
        }
        scenario
    }

    /// The scenario of a run that ends with a violation, without an expected outcome.
    fn without_expectations(script: &Script, violation: &Violation) -> Self {
        let usual = WorldConfig::default();
        let seconds = |micros: u64| micros as f64 / 1e6;
        let schedule = script.actions.iter().map(|timed| Step {
            at: seconds(timed.at),
            every: None,
            until: None,
            action: timed.action.clone(),
        });
        let at = seconds(violation.at);
        let is_unavailable = violation.invariant == Invariant::Availability;
        let until = if is_unavailable { at + OBSERVED } else { at };
        Self {
            title: violation.invariant.to_string(),
            lesson: violation.to_string(),
            source: None,
            config: WorldConfig {
                cluster: ClusterConfig {
                    pre_vote: usual.cluster.pre_vote,
                    check_quorum: usual.cluster.check_quorum,
                    ..script.config.clone().cluster
                },
                record_events: true,
                count_coverage: usual.count_coverage,
                ..script.config.clone()
            },
            schedule: schedule.collect(),
            observe: ObservationWindow { from: at, until },
            awaited: None,
            expected: BTreeMap::new(),
            sabotaged: Vec::new(),
            keys: BTreeMap::new(),
            reads: Vec::new(),
            writes: BTreeMap::new(),
            retries: None,
            availability: BTreeMap::new(),
            leader: None,
            voters: None,
            stopped: Vec::new(),
            covered: Vec::new(),
            not_covered: Vec::new(),
        }
    }

    /// The text of the file: the settings that differ from the defaults, the schedule, and the
    /// expected outcomes.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut config = table(&self.config);
        let usual = table(&WorldConfig::default());
        let variants = ["pre_vote", "check_quorum"];
        config.retain(|name, value| !variants.contains(&name) && usual.get(name) != Some(value));
        let mut text = String::new();
        let _ = writeln!(text, "title = {}", quoted(&self.title));
        let _ = writeln!(text, "lesson = {}", quoted(&self.lesson));
        let _ = writeln!(text, "config = {}", inline(&Value::Table(config)));
        text.push_str("schedule = [\n");
        for step in &self.schedule {
            let _ = writeln!(text, "  {},", inline(&Value::Table(table(step))));
        }
        let observe = Value::Table(table(&self.observe));
        let _ = writeln!(text, "]\nobserve = {}", inline(&observe));
        if let Some(awaited) = self.awaited.and_then(|it| Value::try_from(it).ok()) {
            let _ = writeln!(text, "awaited = {}", inline(&awaited));
        }
        text.push_str("\n[expected]\n");
        for (variant, outcome) in &self.expected {
            let outcome = Value::try_from(outcome).map(|outcome| inline(&outcome));
            let _ = writeln!(text, "{variant} = {}", outcome.unwrap_or_default());
        }
        for run in &self.sabotaged {
            text.push_str("\n[[sabotaged]]\n");
            for (name, value) in table(run) {
                let _ = writeln!(text, "{name} = {}", inline(&value));
            }
        }
        text
    }
}

fn table(of: &impl Serialize) -> Table {
    Table::try_from(of).unwrap_or_default()
}

/// A value in one line. The first fields of an action are its time and its name.
fn inline(value: &Value) -> String {
    match value {
        Value::Table(fields) => {
            let place = |name: &str| match name {
                "at" | "from" | "nodes" => 0,
                "do" | "op" => 1,
                _ => 2,
            };
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| place(name));
            let field = |(name, value): &(&String, &Value)| format!("{name} = {}", inline(value));
            let fields: Vec<_> = fields.iter().map(field).collect();
            if fields.is_empty() {
                return "{}".into();
            }
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => quoted(text),
        Value::Float(number) => format!("{number:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(yes) => yes.to_string(),
        Value::Datetime(moment) => moment.to_string(),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Campaign;

    /// The configuration and the actions of any campaign run can be exported, and give the same
    /// run.
    #[test]
    fn scripts_roundtrip_through_toml() {
        for seed in 0..12 {
            let report = Campaign::new(seed).run();
            let violation = Violation {
                invariant: Invariant::LogMatching,
                text: "a \"quoted\" word,\nand a line".into(),
                at: report.simulated,
            };
            let scenario = Scenario::of_failure(&report.script, &violation);
            let text = scenario.to_toml();
            let read = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(read, scenario);
            let variant = Variant::of(&report.script.config);
            assert_eq!(read.variants().last(), Some(&variant));
            let mut run = Run::new(read.script(variant)).unwrap();
            run.seek(report.simulated);
            assert_eq!(run.world().trace_hash(), report.trace_hash, "seed {seed}");
            // The run does not violate the expected invariant.
            let played = read.play(variant).unwrap();
            assert!(!played.mismatches.is_empty());
        }
    }
}
