//! Mutation testing of the protocol: disables one rule after the other and looks for a failure:
//! `cargo xtask sabotage --help`.

mod search;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Parser;
use raft_core::Rule;

use search::{Detection, failing_tests, find_detection};

/// Disable one rule of the protocol after the other, and run simulations with faults until an
/// invariant is violated. If none is violated, play the scenarios of the rule, and then run the
/// protocol tests of raft-core.
#[derive(Parser)]
#[command(name = "cargo xtask sabotage")]
struct Cli {
    /// Names of the rules to disable; all by default.
    rules: Vec<String>,
    /// Time limit of the simulations of one rule, in seconds.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Maximum number of seeds per rule, so that the result does not depend on the machine.
    #[arg(long, default_value_t = u64::MAX)]
    seeds: u64,
    /// Number of rules at the same time; by default one per processor.
    #[arg(long)]
    jobs: Option<usize>,
    /// Reduce the schedules of violations.
    #[arg(long)]
    shrink: bool,
    /// Write the results as a Markdown table to this file, too.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let names: Vec<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    if let Some(unknown) = cli.rules.iter().find(|rule| !names.contains(&rule.as_str())) {
        eprintln!("unknown rule: {unknown}; use one of {}", names.join(", "));
        return ExitCode::from(2);
    }
    match failing_tests(None) {
        Ok(failing) if failing.is_empty() => {}
        Ok(failing) => {
            eprintln!("protocol tests fail with all rules enabled: {}", failing.join(", "));
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    let is_selected =
        |rule: &&Rule| cli.rules.is_empty() || cli.rules.iter().any(|name| name == rule.name());
    let rules: Vec<_> = Rule::ALL.iter().filter(is_selected).copied().collect();
    let detections = check_all(&rules, &cli);
    println!("{}", table::summary(&detections));
    if let Some(path) = &cli.table
        && let Err(error) = std::fs::write(path, table::table(&rules, &detections))
    {
        eprintln!("cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if detections.iter().any(Detection::is_missing) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Disables the rules, several at the same time, and prints each result at once.
fn check_all(rules: &[Rule], cli: &Cli) -> Vec<Detection> {
    let jobs = cli.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    // A server may panic because of a contradiction. That counts as a detection and needs no stack
    // trace.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let detections = Mutex::new(Vec::new());
    let work = || {
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let Some(rule) = rules.get(position) else {
                return;
            };
            let detection = find_detection(*rule, cli);
            println!("{}", table::row(*rule, &detection));
            let mut all = detections.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((position, detection));
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    std::panic::set_hook(hook);
    let mut detections = detections.into_inner().unwrap_or_else(PoisonError::into_inner);
    detections.sort_by_key(|(position, _)| *position);
    detections.into_iter().map(|(_, detection)| detection).collect()
}
