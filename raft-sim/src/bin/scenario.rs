//! Plays a scenario file and tells its story: `cargo xtask scenario --help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use raft_sim::Run;
use raft_sim::scenario::{SabotagedRun, Scenario, ScenarioResult};

/// Plays a scenario, tells its story, and says whether it ended as its file says.
#[derive(Parser)]
#[command(name = "cargo xtask scenario")]
struct Cli {
    /// The scenario, such as raft-sim/scenarios/chained.toml.
    file: PathBuf,
    /// `plain`, `pre-vote` or `pre-vote-check-quorum`; the last that is possible by default.
    #[arg(long)]
    variant: Option<String>,
    /// Play it with servers that break this rule; more than one may be named.
    #[arg(long, value_name = "RULE")]
    without: Vec<String>,
    /// Tell what happens from this second on.
    #[arg(long, default_value_t = 0.0)]
    from: f64,
    /// Tell what happens until this second.
    #[arg(long)]
    until: Option<f64>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match tell(&cli) {
        Ok(played) => {
            println!(
                "{}; {} changes of leader or term, {} of {} writes answered",
                played.ending, played.changes, played.answered, played.asked
            );
            for surprise in &played.mismatches {
                println!("surprise: {surprise}");
            }
            match played.mismatches.as_slice() {
                [] => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("{}: {error}", cli.file.display());
            ExitCode::from(2)
        }
    }
}

fn tell(cli: &Cli) -> Result<ScenarioResult, Box<dyn std::error::Error>> {
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
        format!("there is no variant {name:?} that makes sense in its world; there are {names}")
    })?;
    let known = |broken: &&SabotagedRun| broken.rules == cli.without && broken.variant == *variant;
    let expected = if cli.without.is_empty() {
        scenario.expected.get(variant).copied()
    } else {
        scenario.sabotaged.iter().find(known).map(|known| known.expected)
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
