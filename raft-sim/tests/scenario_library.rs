//! Plays the scenario library, and compares the outcomes with the files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use raft_sim::Action;
use raft_sim::scenario::{ExpectedOutcome, Outcome, Scenario, ScenarioResult, Variant};

fn library() -> Vec<(String, Scenario)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut scenarios = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let scenario = Scenario::parse(&fs::read_to_string(&path).unwrap());
        scenarios.push((name.clone(), scenario.unwrap_or_else(|error| panic!("{name}: {error}"))));
    }
    scenarios.sort_by(|one, other| one.0.cmp(&other.0));
    scenarios
}

/// The topics of the library, by the names of `docs/verification/scenarios.md`. Some topics have
/// more than one file, such as `flapping-link-0.3`.
const TOPICS: [&str; 35] = [
    "first-election",
    "split-vote",
    "replicate-commit",
    "leader-crash",
    "log-repair",
    "old-term-commit",
    "snapshot-catch-up",
    "snapshot-starvation",
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
fn every_topic_has_a_documented_scenario() {
    let names: Vec<String> = library().into_iter().map(|(name, _)| name).collect();
    let documented = include_str!("../../docs/verification/scenarios.md");
    for topic in TOPICS {
        let is_about = |name: &String| {
            let rest = name.strip_prefix(topic);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        assert!(names.iter().any(is_about), "missing topic: {topic}");
    }
    for name in names {
        let family = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        assert!(documented.contains(family), "{name} is not documented");
    }
}

fn report(name: &str, variant: &str, played: &ScenarioResult, problems: &mut Vec<String>) {
    println!(
        "{name:<28} {variant:<40} {:<28} {:>3} changes, {:>3} of {:>3} writes, {:>3} soon",
        played.outcome.to_string(),
        played.changes,
        played.answered,
        played.requested,
        played.answered_soon
    );
    let mismatches = played.mismatches.iter();
    problems.extend(mismatches.map(|text| format!("{name}, {variant}: {text}")));
}

#[test]
fn scenarios_match_their_expectations() {
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
fn scenarios_detect_their_disabled_rules() {
    let mut problems = Vec::new();
    for (name, scenario) in library() {
        for run in &scenario.sabotaged {
            let played = scenario.play_sabotaged(run).unwrap();
            let variant = format!("{} without {}", run.variant, run.rules.join(", "));
            report(&name, &variant, &played, &mut problems);
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn wrong_expectation_is_reported() {
    let text = "title = 't'\nlesson = 'l'\nschedule = []\nwatch = { from = 1, until = 2 }\nreads = ['1']\nkeys = { x = '1' }\n[expected]\nplain = 'stuck'\n";
    let played = Scenario::parse(text).unwrap().play(Variant::Plain).unwrap();
    assert_eq!(played.outcome, ExpectedOutcome::Safe(Outcome::Stable));
    assert_eq!(played.mismatches.len(), 1 + 1 + 5, "{:?}", played.mismatches);
}

#[test]
fn invalid_scenario_is_rejected() {
    let good = "title = 't'\nlesson = 'l'\nschedule = [{ at = 1, do = 'crash', node = 1 }]\nwatch = { from = 1, until = 2 }\nexpected = {}\n";
    Scenario::parse(good).unwrap();
    for (change, reason) in [
        (("crash", "explode"), "explode"),
        (("until = 2", "until = 0"), "until is before from"),
        (("until = 2", "until = 1e10"), "use times between 0 and"),
        (("until = 2", "until = 1e6"), "observe at most 100000 seconds"),
        (("title", "titel"), "titel"),
        (("at = 1,", "at = 1, every = 0.1,"), "every and until"),
        (("at = 1,", "at = 1, every = 0, until = 2,"), "every = 0"),
    ] {
        let problem = Scenario::parse(&good.replace(change.0, change.1)).unwrap_err();
        assert!(problem.to_string().contains(reason), "{problem}");
    }
    let repeated = good.replace("at = 1,", "at = 1, every = 0.25, until = 2,");
    let script = Scenario::parse(&repeated).unwrap().script(Variant::Plain);
    let crash = |timed: &&raft_sim::TimedAction| matches!(timed.action, Action::Crash { .. });
    assert_eq!(script.actions.iter().filter(crash).count(), 4);
    let out_of_order = good.replace("{ at = 1,", "{ at = 2, do = 'power-cut' }, { at = 1,");
    Scenario::parse(&out_of_order).unwrap().play(Variant::Plain).unwrap();
}

/// A file with additional settings, one step in line 4, and additional last lines.
fn file(config: &str, step: &str, end: &str) -> String {
    format!(
        "title = 't'\nlesson = 'l'\nschedule = [\n  {{ {step} }},\n]\nwatch = {{ from = 1, until = 3 }}\nconfig = {{ nodes = 3{config} }}\n{end}\n"
    )
}

fn problem(file: &str) -> String {
    let problem = Scenario::parse(file).expect_err(file);
    problem.to_string()
}

/// Availability is violated if the awaited condition does not hold.
#[test]
fn expectation_must_hold_before_observation() {
    let put = "at = 0.7, do = 'request', request = { op = 'put', key = 'a', value = 'b' }";
    let crash = "at = 0.6, do = 'power-cut' }, { at = 1.5, do = 'restart', node = 1 }, { at = 1.5, do = 'restart', node = 2 }, { ";
    let end = "awaited = 'answer'\n[expected]\nplain = 'ENDING'";
    let violates = ExpectedOutcome::Violates(raft_sim::Invariant::Availability);
    for (step, name, ending) in [
        (put.to_owned(), "stable", ExpectedOutcome::Safe(Outcome::Stable)),
        (format!("{crash}{put}"), "availability", violates),
    ] {
        let file = file("", &step, &end.replace("ENDING", name));
        let played = Scenario::parse(&file).unwrap().play(Variant::Plain).unwrap();
        assert_eq!((played.outcome, played.mismatches), (ending, vec![]));
        let text = played.violation.map(|violation| (violation.at, violation.text));
        let missing = (1_000_000, "the latest request was not answered in time".to_owned());
        assert_eq!(text, (ending == violates).then_some(missing));
    }
}

const CRASH: &str = "at = 1, do = 'crash', node = 1";

#[test]
fn step_without_target_or_time_is_rejected() {
    let empty = "expected = {}";
    Scenario::parse(&file("", CRASH, empty)).unwrap();
    for (step, reason) in [
        ("at = -5.0, do = 'timeout', node = 2", "at = -5"),
        ("at = nan, do = 'timeout', node = 2", "at = NaN"),
        ("at = inf, do = 'timeout', node = 2", "at = inf"),
        ("at = 1e300, do = 'timeout', node = 2", "at = 1000"),
        ("at = 3.1, do = 'timeout', node = 2", "the end of the observation"),
        ("at = 1, every = -1, until = 2, do = 'power-cut'", "every = -1"),
        ("at = 1, every = nan, until = 2, do = 'power-cut'", "every = NaN"),
        ("at = 1, every = 0.1, until = 0.5, do = 'power-cut'", "until = 0.5"),
        ("at = 1, every = 1.0, until = 1e15, do = 'power-cut'", "until = 1000"),
        ("at = 1, every = 1e-6, until = 2, do = 'power-cut'", "at most 100000 in all steps"),
        ("at = 1, do = 'power-cut', node = 2", "field without effect: node"),
        ("at = 1, do = 'crash', node = 7", "unknown node: 7"),
        ("at = 1, do = 'crash', node = 0", "unknown node: 0"),
        ("at = 1, do = 'cut-link', from = 1, to = 1", "invalid link: from 1 to 1"),
        ("at = 1, do = 'partition', groups = [[1, 2], [3, 4]]", "unknown node: 4"),
        ("at = 1, do = 'transfer', to = 4", "unknown node: 4"),
        (
            "at = 1, do = 'set-sync-latency', node = 1, sync_latency = { min = 9, max = 1 }",
            "min is larger than max",
        ),
        ("at = 1, do = 'jump-clock', node = 1, by = 9223372036854775807", "invalid time"),
        (
            "at = 1, do = 'set-network', latency = { min = 1, max = 1 }, loss_per_mille = 1001, duplicate_per_mille = 0",
            "per mille",
        ),
        ("at = 1, do = 'change-membership', voters = [9]", "unknown node: 9"),
        ("at = 1, do = 'change-membership', voters = []", "voter"),
        (
            "at = 1, do = 'request', via = 77, request = { op = 'get', key = 'a' }",
            "unknown node: 77",
        ),
    ] {
        let problem = problem(&file("", step, empty));
        let place = "line 4: schedule, step 1: ";
        assert!(problem.starts_with(place) && problem.contains(reason), "{problem}");
    }
    for (end, reason) in [
        ("leader = 4\nexpected = {}", "leader: unknown node: 4; use 1 to 3"),
        ("voters = [1, 5]\nexpected = {}", "voters: unknown node: 5; use 1 to 3"),
        ("stopped = [0]\nexpected = {}", "stopped: unknown node: 0; use 1 to 3"),
        ("serves = { plain = 90 }\nexpected = {}", "availability: invalid share: 90"),
        ("not_taken = ['sorage failed']\nexpected = {}", "sorage failed"),
    ] {
        let problem = problem(&file("", CRASH, end));
        assert!(problem.contains(reason), "{problem}");
    }
}

#[test]
fn unknown_name_error_lists_valid_names() {
    let problem = problem(&file("", CRASH, "[expected]\nplain = 'stabel'"));
    for name in ["stabel", "line 9", "stable", "restless", "leader-completeness"] {
        assert!(problem.contains(name), "{problem}");
    }
}

/// With an invalid configuration, no variant would be played and nothing would be tested.
#[test]
fn invalid_config_is_a_scenario_error() {
    for (config, reason) in [
        (", founders = 9", "founders"),
        (", latency = { min = 5, max = 4 }", "invalid latency: min is larger"),
        (", heartbeat_interval = 0", "heartbeat"),
        (", logs = [[2, 1]]", "do not decrease"),
        (", clients = 9223372036854775807", "invalid clients: the limit is 1000"),
        (", holders = 1001", "invalid lease_clients: the limit is 1000"),
        (", watchers = 1000000000", "invalid watch_clients: the limit is 1000"),
        (", clients = 1, think = { min = 0, max = 0 }, latency = { min = 0, max = 0 }", "think"),
        (", latency = { min = 0, max = 9223372036854775807 }", "invalid latency: the limit is"),
        (", loss_per_mille = 1001", "loss_per_mille"),
    ] {
        for end in ["expected = { plain = 'stable' }", "expected = {}"] {
            let problem = problem(&file(config, CRASH, end));
            let place = "config: invalid for variant plain: ";
            assert!(problem.starts_with(place) && problem.contains(reason), "{problem}");
        }
    }
    // Lease reads are valid in one variant, and the others are not named.
    let by_lease = file(", lease_drift_ppm = 100", CRASH, "expected = {}");
    let scenario = Scenario::parse(&by_lease).unwrap();
    assert_eq!(scenario.variants(), [Variant::PreVoteCheckQuorum]);
    let named = problem(&file(", lease_drift_ppm = 100", CRASH, "expected = { plain = 'stable' }"));
    assert!(named.starts_with("config: invalid for variant plain"), "{named}");
}

/// The exported run violates availability because the awaited condition does not hold. It does not
/// with the rule enabled.
#[cfg(feature = "sabotage")]
#[test]
fn shrunk_liveness_failure_still_fails() {
    use raft_sim::scenario::Expectation;
    let rule = raft_core::Rule::CandidacyIsNewTerm;
    let rules = raft_core::DisabledRules::default().and(rule);
    let campaign = raft_sim::campaign::Campaign::new(0).with_disabled_rules(rules).with_coverage();
    let report = campaign.run();
    let violation = report.violation.clone().unwrap();
    assert_eq!(violation.invariant, raft_sim::Invariant::Availability);
    let small = campaign.shrink(&report).unwrap();
    let (before, after) = (&report.script, &small.script);
    assert!(10 * after.actions.len() < before.actions.len(), "{after:?}");
    assert!(
        after.config.cluster.nodes < before.config.cluster.nodes && !after.config.count_coverage
    );
    for (script, violation) in [(before, &violation), (after, &small.violation)] {
        let scenario = Scenario::of_failure(script, violation);
        let read = Scenario::parse(&scenario.to_toml()).unwrap();
        assert_eq!(read, scenario);
        assert_eq!(read.awaited, Some(Expectation::Answer));
        let violates = ExpectedOutcome::Violates(raft_sim::Invariant::Availability);
        assert_eq!(read.sabotaged[0].expected, violates);
        let played = read.play_sabotaged(&read.sabotaged[0]).unwrap();
        assert_eq!((played.outcome, played.mismatches), (violates, vec![]));
        let kept = read.play(Variant::of(&script.config)).unwrap();
        assert!(matches!(kept.outcome, ExpectedOutcome::Safe(_)), "{kept:?}");
    }
}

/// The exported file contains the disabled rule, the violated invariant, and the outcome with the
/// rule enabled.
#[cfg(feature = "sabotage")]
#[test]
fn exported_run_fails_only_with_its_disabled_rule() {
    let rule = raft_core::Rule::OneVotePerTerm;
    let rules = raft_core::DisabledRules::default().and(rule);
    let mut found = (0..20)
        .map(|seed| raft_sim::campaign::Campaign::new(seed).with_disabled_rules(rules).run());
    let (report, violation) =
        found.find_map(|report| Some((report.script, report.violation?))).unwrap();
    let scenario = Scenario::of_failure(&report, &violation);
    let read = Scenario::parse(&scenario.to_toml()).unwrap();
    assert_eq!(read, scenario);
    let [sabotaged] = &*read.sabotaged else { panic!("{:?}", read.sabotaged) };
    assert_eq!(sabotaged.rules, [rule.name()]);
    let played = read.play_sabotaged(sabotaged).unwrap();
    assert_eq!(played.outcome, ExpectedOutcome::Violates(violation.invariant));
    let intact = read.play(sabotaged.variant).unwrap();
    assert!(matches!(intact.outcome, ExpectedOutcome::Safe(_)) && intact.mismatches.is_empty());
}
