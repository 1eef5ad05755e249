//! The search for a failure that is caused by a disabled rule.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use raft_core::{DisabledRules, Rule};
use raft_sim::campaign::{Campaign, Report, shrink};
use raft_sim::scenario::{ExpectedOutcome, Scenario};
use raft_sim::{Invariant, Violation};

use crate::Cli;

/// A failure that is caused by a disabled rule.
pub(crate) enum Detection {
    /// A simulation violates an invariant.
    Simulation {
        seeds: u64,
        took: Duration,
        violation: String,
        /// The number of actions after the reduction.
        actions: Option<usize>,
    },
    /// A scenario has another outcome than with the rule enabled.
    Scenario { name: String, outcome: ExpectedOutcome },
    /// Protocol tests fail.
    Tests(Vec<String>),
    /// Nothing fails.
    None,
}

impl Detection {
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// The number of seeds that are run after a violation of liveness, to look for a violation of
/// safety. Such a violation shows more about a rule.
const SEEDS_FOR_SAFETY: u64 = 200;

/// Searches in simulations, in scenarios and in protocol tests, in this order.
pub(crate) fn find_detection(rule: Rule, cli: &Cli) -> Detection {
    if let Some(found) = simulate(rule, cli).or_else(|| play_scenarios(rule)) {
        return found;
    }
    match failing_tests(Some(rule)) {
        Ok(failing) if !failing.is_empty() => Detection::Tests(failing),
        Ok(_) => Detection::None,
        Err(error) => {
            eprintln!("{error}");
            Detection::None
        }
    }
}

/// Runs campaigns until an invariant is violated.
fn simulate(rule: Rule, cli: &Cli) -> Option<Detection> {
    let began = Instant::now();
    let mut liveness = None;
    let mut end = cli.seeds;
    for seed in 0..cli.seeds {
        if seed >= end || began.elapsed().as_secs_f64() > cli.seconds {
            break;
        }
        let rules = DisabledRules::default().and(rule);
        let run = || -> Report { Campaign::new(seed).with_disabled_rules(rules).run() };
        let report = match catch_unwind(run) {
            Ok(Report { violation: None, .. }) => continue,
            Ok(report) => Some(report),
            Err(_) => None,
        };
        let violation = report.as_ref().and_then(|report| report.violation.as_ref());
        let is_liveness = violation.is_some_and(is_liveness);
        if is_liveness && liveness.is_some() {
            continue;
        }
        let detection = Detection::Simulation {
            seeds: seed + 1,
            took: began.elapsed(),
            violation: violation.map_or("panic of a server".to_owned(), |violation| {
                violation.invariant.to_string()
            }),
            actions: report.filter(|_| cli.shrink).as_ref().and_then(actions_left),
        };
        if !is_liveness {
            return Some(detection);
        }
        liveness = Some(detection);
        end = end.min(seed + SEEDS_FOR_SAFETY);
    }
    liveness
}

fn is_liveness(violation: &Violation) -> bool {
    matches!(violation.invariant, Invariant::Availability | Invariant::Progress)
}

/// The number of actions of a violating run after its reduction. Runs that do not recover are not
/// reduced.
fn actions_left(report: &Report) -> Option<usize> {
    let violation = report.violation.as_ref()?;
    if violation.invariant == Invariant::Availability {
        return None;
    }
    let shrunk = catch_unwind(|| shrink(&report.script, violation)).ok()??;
    Some(shrunk.script.actions.len())
}

/// Plays the scenarios of the library that disable this rule alone. Returns one whose outcome
/// differs from the outcome with the rule enabled.
fn play_scenarios(rule: Rule) -> Option<Detection> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths: Vec<_> = fs::read_dir(directory).ok()?.flatten().map(|it| it.path()).collect();
    paths.sort();
    paths.into_iter().find_map(|path| {
        let name = path.file_stem()?.to_str()?.to_owned();
        let scenario = Scenario::parse(&fs::read_to_string(&path).ok()?).ok()?;
        let mut runs = scenario.sabotaged.iter().filter(|run| run.rules == [rule.name()]);
        runs.find_map(|run| {
            let enabled = scenario.play(run.variant).ok()?.outcome;
            let outcome = scenario.play_sabotaged(run).ok()?.outcome;
            (outcome != enabled).then(|| Detection::Scenario { name: name.clone(), outcome })
        })
    })
}

/// Why the protocol tests did not run.
#[derive(Debug)]
pub(crate) enum TestsError {
    /// cargo could not be started.
    Start(std::io::Error),
    /// There is no result, for example because the build failed. The text is the output of cargo.
    NoResult(String),
}

impl std::fmt::Display for TestsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start(error) => write!(f, "cannot start cargo: {error}; check the PATH"),
            Self::NoResult(output) => write!(f, "protocol tests have no result: {output}"),
        }
    }
}

impl std::error::Error for TestsError {}

/// The protocol tests of raft-core that fail with a disabled rule.
pub(crate) fn failing_tests(rule: Option<Rule>) -> Result<Vec<String>, TestsError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["test", "--quiet", "--package", "raft-core", "--features", "sabotage"])
        .args(["--test", "protocol", "--", "--format", "pretty"])
        .env("RUST_BACKTRACE", "0");
    match rule {
        Some(rule) => command.env("RAFT_BROKEN_RULE", rule.name()),
        None => command.env_remove("RAFT_BROKEN_RULE"),
    };
    let output = command.output().map_err(TestsError::Start)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("test result: ") {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(TestsError::NoResult(output));
    }
    let failed = text.lines().filter_map(|line| {
        let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(name.to_owned())
    });
    Ok(failed.collect())
}
