//! Plays a scenario file and prints its events: `cargo xtask scenario --help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use raft_sim::Run;
use raft_sim::scenario::{SabotagedRun, Scenario, ScenarioResult};

/// Play a scenario, print its events, and compare the outcome with the expected one.
#[derive(Parser)]
#[command(name = "cargo xtask scenario")]
struct Cli {
    /// Scenario file, such as raft-sim/scenarios/chained.toml.
    file: PathBuf,
    /// `plain`, `pre-vote`, `pre-vote-check-quorum` or `check-quorum`; the last valid one by
    /// default.
    #[arg(long)]
    variant: Option<String>,
    /// Disable this rule of the protocol; can be repeated.
    #[arg(long, value_name = "RULE")]
    without: Vec<String>,
    /// Print events from this second on.
    #[arg(long, default_value_t = 0.0)]
    from: f64,
    /// Print events until this second.
    #[arg(long)]
    until: Option<f64>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match play(&cli) {
        Ok(played) => {
            println!(
                "{}; {} changes of leader or term, {} of {} writes answered",
                played.outcome, played.changes, played.answered, played.requested
            );
            for mismatch in &played.mismatches {
                println!("mismatch: {mismatch}");
            }
            if played.mismatches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{}: {error}", cli.file.display());
            ExitCode::from(2)
        }
    }
}

/// Prints the events of a run, and returns the result.
fn play(cli: &Cli) -> Result<ScenarioResult, Box<dyn std::error::Error>> {
    let scenario = Scenario::parse(&std::fs::read_to_string(&cli.file)?)?;
    let possible = scenario.variants();
    let variant = match &cli.variant {
        Some(name) => possible.iter().find(|variant| variant.to_string() == *name),
        None => possible.last(),
    };
    let variant = variant.ok_or_else(|| {
        let names: Vec<_> = possible.iter().map(ToString::to_string).collect();
        let name = cli.variant.as_deref().unwrap_or_default();
        let names = names.join(", ");
        format!("unknown or invalid variant: {name:?}; use one of {names}")
    })?;
    let is_it = |run: &&SabotagedRun| run.rules == cli.without && run.variant == *variant;
    let expected = if cli.without.is_empty() {
        scenario.expected.get(variant).copied()
    } else {
        scenario.sabotaged.iter().find(is_it).map(|run| run.expected)
    };
    let script = scenario.script_without(*variant, &cli.without)?;
    let mut run = Run::new(script.clone())?;
    run.seek((scenario.observe.until * 1e6) as u64);
    for record in run.world().story_since(0) {
        let at = record.at as f64 / 1e6;
        if (cli.from..=cli.until.unwrap_or(f64::MAX)).contains(&at) {
            println!("{at:>12.6} s  {}", record.text());
        }
    }
    Ok(scenario.play_script(*variant, script, expected)?)
}
