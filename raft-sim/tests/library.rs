//! Every scenario of the library ends as its file says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::PathBuf;

use raft_sim::Action;
use raft_sim::scenario::{Ending, Outcome, Played, Scenario, Variant};

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

/// What the library must show, by the names of `docs/scenarios.md`. Some are more than one file: `flapping-link-0.3`.
const SUBJECTS: [&str; 34] = [
    "first-election",
    "split-vote",
    "replicate-commit",
    "leader-crash",
    "log-repair",
    "old-term-commit",
    "snapshot-catch-up",
    "joint-consensus",
    "single-server-bug",
    "leader-removes-itself",
    "transfer",
    "stale-read",
    "lease-drift",
    "retry-once",
    "two-pendants",
    "stuck-minority-leader",
    "quorum-loss",
    "constrained-election",
    "chained",
    "cloudflare-2020",
    "deaf-node",
    "mute-leader",
    "returning-node",
    "removed-node",
    "flapping-link",
    "swizzle-clog",
    "power-cut",
    "fsync-error",
    "leader-disk-stall",
    "bit-rot",
    "wiped-disk",
    "full-disk",
    "pause",
    "clock-jump",
];

#[test]
fn every_subject_has_a_scenario_and_is_documented() {
    let names: Vec<String> = library().into_iter().map(|(name, _)| name).collect();
    let documented = include_str!("../../docs/scenarios.md");
    for subject in SUBJECTS {
        let is_about = |name: &String| {
            let rest = name.strip_prefix(subject);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        assert!(names.iter().any(is_about), "there is no {subject}");
    }
    for name in names {
        let family = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        assert!(documented.contains(family), "{name} is not documented");
    }
}

fn report(name: &str, variant: &str, played: &Played, problems: &mut Vec<String>) {
    println!(
        "{name:<28} {variant:<40} {:<28} {:>3} changes, {:>3} of {:>3} writes, {:>3} soon",
        played.ending.to_string(),
        played.changes,
        played.answered,
        played.asked,
        played.answered_soon
    );
    let surprises = played.surprises.iter();
    problems.extend(surprises.map(|text| format!("{name}, {variant}: {text}")));
}

#[test]
fn every_scenario_ends_as_its_file_says() {
    let mut problems = Vec::new();
    for (name, scenario) in library() {
        assert!(!scenario.expected.is_empty(), "{name} expects nothing");
        let variants = scenario.variants();
        let possible = |variant| variants.contains(variant);
        assert!(scenario.expected.keys().all(possible), "{name}");
        for variant in variants {
            let played = scenario.play(variant).unwrap();
            report(&name, &variant.to_string(), &played, &mut problems);
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[cfg(feature = "sabotage")]
#[test]
fn every_scenario_shows_what_its_rules_are_for() {
    let mut problems = Vec::new();
    for (name, scenario) in library() {
        for broken in &scenario.broken {
            let played = scenario.play_broken(broken).unwrap();
            let variant = format!("{} without {}", broken.variant, broken.rules.join(", "));
            report(&name, &variant, &played, &mut problems);
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_wrong_expectation_is_a_surprise() {
    let text = "title = 't'\nlesson = 'l'\nschedule = []\nwatch = { from = 1, until = 2 }\nreads = ['1']\nkeys = { x = '1' }\n[expected]\nplain = 'stuck'\n";
    let played = Scenario::parse(text).unwrap().play(Variant::Plain).unwrap();
    assert_eq!(played.ending, Ending::Safe(Outcome::Stable));
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
        (("at = 1,", "at = 1, every = 0.1,"), "every and until"),
        (
            ("at = 1,", "at = 1, every = 0, until = 2,"),
            "every and until",
        ),
    ] {
        let problem = Scenario::parse(&good.replace(change.0, change.1)).unwrap_err();
        assert!(problem.to_string().contains(reason), "{problem}");
    }
    let repeated = good.replace("at = 1,", "at = 1, every = 0.25, until = 2,");
    let script = Scenario::parse(&repeated).unwrap().script(Variant::Plain);
    let crash = |timed: &&raft_sim::Timed| matches!(timed.action, Action::Crash { .. });
    assert_eq!(script.actions.iter().filter(crash).count(), 4);
    let falling = format!("{good}config = {{ logs = [[2, 1]] }}");
    let falling = falling.replacen("expected = {}", "", 1) + "\nexpected = {}\n";
    let refused = Scenario::parse(&falling).unwrap().play(Variant::Plain);
    assert!(refused.unwrap_err().to_string().contains("do not fall"));
    let out_of_order = good.replace("{ at = 1,", "{ at = 2, do = 'power-cut' }, { at = 1,");
    Scenario::parse(&out_of_order)
        .unwrap()
        .play(Variant::Plain)
        .unwrap();
}
