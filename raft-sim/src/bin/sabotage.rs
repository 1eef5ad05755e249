//! Breaks one rule of the protocol after the other, and says what falls:
//! `cargo xtask sabotage --help`.

use std::fmt::Write as _;
use std::panic::catch_unwind;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use raft_core::{DisabledRules, Rule};
use raft_sim::Invariant;
use raft_sim::campaign::{Campaign, Report, shrink};

/// Switches off one rule of the protocol after the other, and runs worlds full of faults until some
/// invariant falls. Where none does in time, it runs the protocol tests of raft-core with the rule
/// broken.
#[derive(Parser)]
#[command(name = "cargo xtask sabotage")]
struct Cli {
    /// The rules to break, by name; all by default.
    rules: Vec<String>,
    /// Go on to the protocol tests after so many seconds.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Go on to the protocol tests after so many worlds, so that the result depends on no clock.
    #[arg(long, default_value_t = u64::MAX)]
    seeds: u64,
    /// How many rules at once; by default one for each processor.
    #[arg(long)]
    jobs: Option<usize>,
    /// Shorten the schedule of what was found.
    #[arg(long)]
    shrink: bool,
    /// Write the table as Markdown to this file, too.
    #[arg(long, value_name = "FILE")]
    table: Option<std::path::PathBuf>,
}

/// What a broken rule led to.
enum Guard {
    /// A world in which something falls.
    World {
        seeds: u64,
        took: Duration,
        fell: String,
        actions: Option<usize>,
    },
    /// Protocol tests that fail.
    Tests(Vec<String>),
    Nothing,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let wanted =
        |rule: &&Rule| cli.rules.is_empty() || cli.rules.iter().any(|name| name == rule.name());
    let rules: Vec<_> = Rule::ALL.iter().filter(wanted).copied().collect();
    if cli.rules.iter().any(|name| Rule::ALL.iter().all(|rule| name != rule.name())) {
        let names: Vec<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        eprintln!("there is no such rule; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    match failing_tests(None) {
        Ok(failing) if failing.is_empty() => {}
        Ok(failing) => {
            eprintln!("protocol tests fail without any broken rule: {}", failing.join(", "));
            return ExitCode::FAILURE;
        }
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    }
    let guards = try_all(&rules, &cli);
    let (mut worlds, mut tests) = (0, 0);
    for guard in &guards {
        worlds += usize::from(matches!(guard, Guard::World { .. }));
        tests += usize::from(matches!(guard, Guard::Tests(_)));
    }
    let mut table = String::from(
        "| rule | source | violation | seeds | seconds | actions left |\n| --- | --- | --- | ---: | ---: | ---: |\n",
    );
    for (rule, guard) in rules.iter().zip(&guards) {
        let _ = writeln!(table, "{}", row(*rule, guard));
    }
    println!(
        "{} broken rules: {worlds} fell in simulated worlds, {tests} in protocol tests, {} nowhere",
        rules.len(),
        rules.len() - worlds - tests
    );
    if let Some(path) = cli.table
        && let Err(error) = std::fs::write(&path, table)
    {
        eprintln!("cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if worlds + tests == rules.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Breaks the rules, several at once, and says what it finds as soon as it does.
fn try_all(rules: &[Rule], cli: &Cli) -> Vec<Guard> {
    let jobs = cli.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    // A server that contradicts itself may panic; that is a find, and needs no stack trace.
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let next = Mutex::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        loop {
            let place = {
                let mut next = next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                *next += 1;
                *next - 1
            };
            let Some(rule) = rules.get(place) else {
                return;
            };
            let guard = guard_of(*rule, cli);
            println!("{}", row(*rule, &guard));
            let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            found.push((place, guard));
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    std::panic::set_hook(loud);
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, guard)| guard).collect()
}

fn guard_of(rule: Rule, cli: &Cli) -> Guard {
    if let Some(found) = search(rule, cli) {
        return found;
    }
    match failing_tests(Some(rule)) {
        Ok(failing) if !failing.is_empty() => Guard::Tests(failing),
        Ok(_) => Guard::Nothing,
        Err(problem) => {
            eprintln!("{problem}");
            Guard::Nothing
        }
    }
}

fn row(rule: Rule, guard: &Guard) -> String {
    let (name, source) = (rule.name(), rule.reference());
    match guard {
        Guard::World { seeds, took, fell, actions } => {
            let actions = actions.map_or("–".into(), |actions| actions.to_string());
            let took = took.as_secs_f64();
            format!("| {name} | {source} | {fell} | {seeds} | {took:.1} | {actions} |")
        }
        Guard::Tests(tests) => {
            let more = match tests.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            format!("| {name} | {source} | test `{}`{more} | – | – | – |", tests[0])
        }
        Guard::Nothing => format!("| {name} | {source} | nothing | – | – | – |"),
    }
}

/// A rule that only keeps a cluster from going on says less than one of safety, so the search goes
/// on for one of these in this many more worlds.
const SEEDS_FOR_SAFETY: u64 = 200;

/// Runs worlds until something falls.
fn search(rule: Rule, cli: &Cli) -> Option<Guard> {
    let began = Instant::now();
    let mut liveness = None;
    let mut end = cli.seeds;
    for seed in 0..cli.seeds {
        if seed >= end || began.elapsed().as_secs_f64() > cli.seconds {
            break;
        }
        let run =
            || -> Report { Campaign::new(seed).breaking(DisabledRules::default().and(rule)).run() };
        let is_liveness = |violation: &raft_sim::Violation| {
            matches!(violation.invariant, Invariant::Availability | Invariant::Progress)
        };
        let (fell, violated) = match catch_unwind(run) {
            Ok(Report { violation: None, .. }) => continue,
            Ok(Report { violation: Some(violation), script, .. }) => {
                (violation.invariant.to_string(), Some((script, violation)))
            }
            Err(_) => ("a server contradicts itself".to_owned(), None),
        };
        let took = began.elapsed();
        let is_weak = violated.as_ref().is_some_and(|(_, violation)| is_liveness(violation));
        if is_weak && liveness.is_some() {
            continue;
        }
        let can_shrink = |(_, violation): &(_, raft_sim::Violation)| {
            cli.shrink && violation.invariant != Invariant::Availability
        };
        let shrunk = violated
            .filter(can_shrink)
            .and_then(|(script, violation)| catch_unwind(|| shrink(&script, &violation)).ok()?);
        let guard = Guard::World {
            seeds: seed + 1,
            took,
            fell,
            actions: shrunk.map(|shrunk| shrunk.script.actions.len()),
        };
        if !is_weak {
            return Some(guard);
        }
        liveness = Some(guard);
        end = end.min(seed + SEEDS_FOR_SAFETY);
    }
    liveness
}

/// The protocol tests of raft-core that fail when a rule is broken.
fn failing_tests(rule: Option<Rule>) -> Result<Vec<String>, String> {
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
    let output = command.output().map_err(|error| format!("cannot start cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("test result: ") {
        let problem = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the protocol tests do not run: {problem}"));
    }
    let failed = text.lines().filter_map(|line| {
        let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(name.to_owned())
    });
    Ok(failed.collect())
}
