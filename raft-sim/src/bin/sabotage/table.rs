//! The results as a table.

use std::fmt::Write as _;

use raft_core::Rule;

use crate::search::Detection;

/// The Markdown table of all results.
pub(crate) fn table(rules: &[Rule], detections: &[Detection]) -> String {
    let mut table = String::from(
        "| rule | source | violation | seeds | seconds | actions left |\n| --- | --- | --- | ---: | ---: | ---: |\n",
    );
    for (rule, detection) in rules.iter().zip(detections) {
        let _ = writeln!(table, "{}", row(*rule, detection));
    }
    table
}

/// The row of one rule.
pub(crate) fn row(rule: Rule, detection: &Detection) -> String {
    let (name, source) = (rule.name(), rule.reference());
    match detection {
        Detection::Simulation { seeds, took, violation, actions } => {
            let actions = actions.map_or("–".into(), |actions| actions.to_string());
            let took = took.as_secs_f64();
            format!("| {name} | {source} | {violation} | {seeds} | {took:.1} | {actions} |")
        }
        Detection::Scenario { name: scenario, outcome } => {
            format!("| {name} | {source} | scenario `{scenario}`: {outcome} | – | – | – |")
        }
        Detection::Tests(tests) => {
            let more = match tests.len().saturating_sub(1) {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let first = tests.first().map_or("", String::as_str);
            format!("| {name} | {source} | test `{first}`{more} | – | – | – |")
        }
        Detection::None => format!("| {name} | {source} | nothing | – | – | – |"),
    }
}

/// One line with the number of rules by the kind of their detection.
pub(crate) fn summary(detections: &[Detection]) -> String {
    let count = |is: fn(&Detection) -> bool| detections.iter().filter(|it| is(it)).count();
    format!(
        "{} disabled rules: {} detected by simulations, {} by scenarios, {} by protocol tests, {} not detected",
        detections.len(),
        count(|it| matches!(it, Detection::Simulation { .. })),
        count(|it| matches!(it, Detection::Scenario { .. })),
        count(|it| matches!(it, Detection::Tests(_))),
        count(Detection::is_missing),
    )
}
