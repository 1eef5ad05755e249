//! Breaks one rule of the protocol after the other, and says what falls: `cargo xtask sabotage --help`.

use std::fmt::Write as _;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use raft_core::{BrokenRules, Rule};
use raft_sim::Invariant;
use raft_sim::campaign::{Campaign, Report, shrink};

/// Switches off one rule of the protocol after the other, and runs worlds full of faults until some invariant falls.
#[derive(Parser)]
#[command(name = "cargo xtask sabotage")]
struct Cli {
    /// The rules to break, by name; all by default.
    rules: Vec<String>,
    /// Give a rule up after so many seconds.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Shorten the schedule of what was found.
    #[arg(long)]
    shrink: bool,
    /// Write the table as Markdown to this file, too.
    #[arg(long, value_name = "FILE")]
    table: Option<std::path::PathBuf>,
}

/// What a broken rule led to.
struct Found {
    seeds: u64,
    took: Duration,
    broken: String,
    actions: Option<usize>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A server that contradicts itself may panic; that is a find, and needs no stack trace.
    std::panic::set_hook(Box::new(|_| {}));
    let wanted =
        |rule: &&Rule| cli.rules.is_empty() || cli.rules.iter().any(|name| name == rule.name());
    let rules: Vec<_> = Rule::ALL.iter().filter(wanted).copied().collect();
    if rules.len() < cli.rules.len() {
        let names: Vec<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        eprintln!("there is no such rule; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let mut table = String::from(
        "| rule | source | what fell | seeds | seconds | actions left |\n| --- | --- | --- | ---: | ---: | ---: |\n",
    );
    let mut missed = 0;
    for rule in &rules {
        let row = match search(*rule, Duration::from_secs_f64(cli.seconds), cli.shrink) {
            Some(found) => format!(
                "| {} | {} | {} | {} | {:.1} | {} |",
                rule.name(),
                rule.source(),
                found.broken,
                found.seeds,
                found.took.as_secs_f64(),
                found
                    .actions
                    .map_or("–".into(), |actions| actions.to_string()),
            ),
            None => {
                missed += 1;
                format!(
                    "| {} | {} | nothing | – | – | – |",
                    rule.name(),
                    rule.source()
                )
            }
        };
        println!("{row}");
        let _ = writeln!(table, "{row}");
    }
    println!(
        "{} of {} broken rules were found",
        rules.len() - missed,
        rules.len()
    );
    if let Some(path) = cli.table
        && let Err(error) = std::fs::write(&path, table)
    {
        eprintln!("cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn search(rule: Rule, patience: Duration, shorten: bool) -> Option<Found> {
    let began = Instant::now();
    for seed in 0.. {
        if began.elapsed() > patience {
            return None;
        }
        let run = || -> Report {
            Campaign::new(seed)
                .breaking(BrokenRules::default().and(rule))
                .run()
        };
        let (broken, actions) = match catch_unwind(run) {
            Ok(Report {
                violation: None, ..
            }) => continue,
            Ok(Report {
                violation: Some(violation),
                script,
                ..
            }) => {
                let can_shrink = shorten && violation.invariant != Invariant::Availability;
                let took = began.elapsed();
                let shrunk = can_shrink.then(|| shrink(&script, &violation)).flatten();
                let actions = shrunk.map(|shrunk| shrunk.script.actions.len());
                return Some(Found {
                    seeds: seed + 1,
                    took,
                    broken: violation.invariant.to_string(),
                    actions,
                });
            }
            Err(_) => ("a server contradicts itself".to_owned(), None),
        };
        return Some(Found {
            seeds: seed + 1,
            took: began.elapsed(),
            broken,
            actions,
        });
    }
    None
}
