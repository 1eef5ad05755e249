//! A run as a scenario file, so that what a campaign found can be read, played and changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use toml::{Table, Value};

use crate::check::invariants::{Invariant, Violation};
use crate::scenario::{
    Expectation, ExpectedOutcome, ObservationWindow, SabotagedRun, Scenario, Step, Variant,
    take_disabled_rules,
};
use crate::timeline::{Run, Script};
use crate::world::config::WorldConfig;

/// How long it is watched whether a cluster serves that did not recover, in microseconds.
const WATCHED: f64 = 20.0;

impl Scenario {
    /// The scenario of a run in which a rule falls, which must fall when it is played. Where a
    /// cluster did not recover, it says what is awaited; if that comes about, the cluster is
    /// watched for another while. If the servers were made to break rules, it falls when they do,
    /// and what is seen when they do not is expected, too.
    #[must_use]
    pub fn of_failure(script: &Script, violation: &Violation) -> Self {
        let (variant, usual) = (Variant::of(&script.config), WorldConfig::default());
        let seconds = |micros: u64| micros as f64 / 1e6;
        let schedule = script.actions.iter().map(|timed| Step {
            at: seconds(timed.at),
            every: None,
            until: None,
            action: timed.action.clone(),
        });
        let at = seconds(violation.at);
        let is_missing = violation.invariant == Invariant::Availability;
        let mut scenario = Self {
            title: violation.invariant.to_string(),
            lesson: violation.to_string(),
            source: None,
            config: WorldConfig {
                record_events: true,
                pre_vote: usual.pre_vote,
                check_quorum: usual.check_quorum,
                count_coverage: usual.count_coverage,
                ..script.config.clone()
            },
            schedule: schedule.collect(),
            observe: ObservationWindow {
                from: at,
                until: at + if is_missing { WATCHED } else { 0.0 },
            },
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
        };
        if is_missing && let Ok(mut run) = Run::new(script.clone()) {
            run.seek(violation.at);
            scenario.awaited = Expectation::first_unmet(run.world());
        }
        let falls = ExpectedOutcome::Violates(violation.invariant);
        let rules = take_disabled_rules(&mut scenario.config);
        let seen = scenario.play(variant).map(|played| played.ending);
        let ending = match seen {
            Ok(ending) if is_missing || !rules.is_empty() => ending,
            _ => falls,
        };
        scenario.expected.insert(variant, ending);
        if !rules.is_empty() {
            let mut broken = SabotagedRun { rules, variant, expected: falls };
            if is_missing && let Ok(played) = scenario.play_broken(&broken) {
                broken.expected = played.ending;
            }
            scenario.sabotaged.push(broken);
        }
        scenario
    }

    /// Its file. Of the world it says what is unusual, and of the end, what must be seen in each
    /// variant.
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
        let watch = Value::Table(table(&self.observe));
        let _ = writeln!(text, "]\nwatch = {}", inline(&watch));
        if let Some(awaited) = self.awaited.and_then(|it| Value::try_from(it).ok()) {
            let _ = writeln!(text, "awaited = {}", inline(&awaited));
        }
        text.push_str("\n[expected]\n");
        for (variant, ending) in &self.expected {
            let ending = Value::try_from(ending).map(|ending| inline(&ending));
            let _ = writeln!(text, "{variant} = {}", ending.unwrap_or_default());
        }
        for broken in &self.sabotaged {
            text.push_str("\n[[broken]]\n");
            for (name, value) in table(broken) {
                let _ = writeln!(text, "{name} = {}", inline(&value));
            }
        }
        text
    }
}

fn table(of: &impl Serialize) -> Table {
    Table::try_from(of).unwrap_or_default()
}

/// A value in one line. What comes first in an action is its moment, and then what is done.
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
            match fields.is_empty() {
                true => "{}".into(),
                false => format!("{{ {} }}", fields.join(", ")),
            }
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

    /// Whatever a campaign draws and does can be written down, and gives the same run.
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
            // Nothing falls in it, and that is a surprise.
            let played = read.play(variant).unwrap();
            assert!(!played.mismatches.is_empty());
        }
    }
}
