//! Runs worlds full of faults, one a seed, and says which rule was broken where.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use raft_sim::campaign::Campaign;

const USAGE: &str = "usage: simulate [--seeds COUNT] [--start SEED] | --seed SEED";

struct Options {
    seeds: u64,
    start: u64,
    explain: bool,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.explain {
        replay(options.start)
    } else {
        campaign(&options)
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        seeds: 1000,
        start: 0,
        explain: false,
    };
    while let Some(name) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        let value = value
            .parse()
            .map_err(|_| format!("{name} needs a number, not {value:?}"))?;
        match name.as_str() {
            "--seeds" => options.seeds = value,
            "--start" => options.start = value,
            "--seed" => (options.start, options.explain) = (value, true),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

/// Runs one seed again and tells its story.
fn replay(seed: u64) -> ExitCode {
    let (world, report) = Campaign::new(seed).explained().run_to_the_end();
    let records = world.story_since(0);
    for record in &records[records.len().saturating_sub(400)..] {
        println!("{:>12.6} s  {}", record.at as f64 / 1e6, record.text);
    }
    match report.violation {
        None => {
            println!("seed {seed}: every rule holds");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn campaign(options: &Options) -> ExitCode {
    let began = Instant::now();
    let (mut events, mut simulated, mut answered) = (0, 0, 0);
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    let interactive = std::io::stderr().is_terminal();
    for seed in options.start..options.start.saturating_add(options.seeds) {
        let report = Campaign::new(seed).run();
        events += report.events;
        simulated += report.simulated;
        answered += report.answered;
        for (name, count) in report.faults {
            *faults.entry(name).or_default() += count;
        }
        if let Some(violation) = report.violation {
            println!("seed {seed}: {violation}");
            println!(
                "  replay it: cargo run --release -p raft-sim --bin simulate -- --seed {seed}"
            );
            failures.push(seed);
        }
        if interactive && seed % 20 == 0 {
            let percent = (seed - options.start) * 100 / options.seeds.max(1);
            eprint!("\r{percent:>3} %  seed {seed}  {events} events");
            let _ = std::io::stderr().flush();
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let days = simulated as f64 / 1e6 / 86_400.0;
    if interactive {
        eprint!("\r");
    }
    println!(
        "{} seeds, {events} events, {answered} requests answered, {days:.2} simulated days in {seconds:.1} s \
         ({:.0} events/s, {:.0} x real time)",
        options.seeds,
        events as f64 / seconds,
        simulated as f64 / 1e6 / seconds
    );
    let faults: Vec<_> = faults
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    println!("faults: {}", faults.join(", "));
    if failures.is_empty() {
        println!("every rule holds");
        ExitCode::SUCCESS
    } else {
        println!("{} seeds broke a rule: {failures:?}", failures.len());
        ExitCode::FAILURE
    }
}
