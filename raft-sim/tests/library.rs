//! Every scenario of the library ends as its file says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::PathBuf;

use raft_sim::scenario::{Outcome, Scenario, Variant};

fn library() -> Vec<(String, Scenario)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut scenarios = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let scenario = Scenario::parse(&fs::read_to_string(&path).unwrap());
        scenarios.push((
            name.clone(),
            scenario.unwrap_or_else(|error| panic!("{name}: {error}")),
        ));
    }
    scenarios.sort_by(|one, other| one.0.cmp(&other.0));
    scenarios
}

#[test]
fn every_scenario_ends_as_its_file_says() {
    let mut problems = Vec::new();
    for (name, scenario) in library() {
        assert!(!scenario.expected.is_empty(), "{name} expects nothing");
        for variant in Variant::ALL {
            let played = scenario.play(variant).unwrap();
            println!(
                "{name:<28} {variant:<22} {:<9} {:>3} changes, {:>3} of {:>3} writes",
                played.outcome.to_string(),
                played.changes,
                played.answered,
                played.asked
            );
            problems.extend(
                played
                    .violation
                    .map(|violation| format!("{name}, {variant}: {violation}")),
            );
            problems.extend(
                played
                    .surprises
                    .iter()
                    .map(|text| format!("{name}, {variant}: {text}")),
            );
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_wrong_expectation_is_a_surprise() {
    let text = "title = 't'\nlesson = 'l'\nschedule = []\nwatch = { from = 1, until = 2 }\nreads = ['1']\nkeys = { x = '1' }\n[expected]\nplain = 'stuck'\n";
    let played = Scenario::parse(text).unwrap().play(Variant::Plain).unwrap();
    assert_eq!(played.outcome, Outcome::Stable);
    assert_eq!(played.surprises.len(), 1 + 1 + 5, "{:?}", played.surprises);
}

#[test]
fn what_is_no_scenario_is_refused_with_a_reason() {
    let good = "title = 't'\nlesson = 'l'\nschedule = [{ at = 1, do = 'crash', node = 1 }]\nwatch = { from = 1, until = 2 }\nexpected = {}\n";
    Scenario::parse(good).unwrap();
    for (change, reason) in [
        (("crash", "explode"), "explode"),
        (("until = 2", "until = 0"), "begin before it ends"),
        (("title", "titel"), "titel"),
    ] {
        let problem = Scenario::parse(&good.replace(change.0, change.1)).unwrap_err();
        assert!(problem.to_string().contains(reason), "{problem}");
    }
    let out_of_order = good.replace("{ at = 1,", "{ at = 2, do = 'power-cut' }, { at = 1,");
    Scenario::parse(&out_of_order)
        .unwrap()
        .play(Variant::Plain)
        .unwrap();
}
