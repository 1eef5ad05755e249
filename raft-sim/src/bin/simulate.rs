//! Runs worlds full of faults, one a seed, and says which rule was broken where: `cargo xtask simulate --help`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use raft_sim::branches::REACHABLE;
use raft_sim::campaign::{Campaign, Report, Shrunk, shrink};
use raft_sim::scenario::{Scenario, Variant};
use raft_sim::{Invariant, Script, WorldConfig};
use serde_json::{Map, Value, json};

/// Runs worlds full of faults, and checks the rules of Raft after every event.
#[derive(Parser)]
#[command(name = "cargo xtask simulate")]
struct Cli {
    /// How many worlds; 1,000, or as many as fit into --minutes.
    #[arg(long)]
    seeds: Option<u64>,
    /// Begin no new world after so many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// How many worlds at once; by default one for each processor.
    #[arg(long)]
    jobs: Option<usize>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Run this seed alone, and tell the end of its story.
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "jobs", "start"])]
    seed: Option<u64>,
    /// Draw a scale of time, too: in every second world, all that takes time takes up to so many times as long.
    #[arg(long, value_name = "FACTOR", default_value_t = 1)]
    stretch: u64,
    /// Go on after a rule was broken.
    #[arg(long)]
    keep_going: bool,
    /// Where failing seeds are written as small scenarios.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/failing-seeds")]
    out: PathBuf,
    /// Let all servers break this rule of the protocol, to see what a failure looks like.
    #[cfg(feature = "sabotage")]
    #[arg(long, value_name = "RULE", value_parser = rule)]
    broken: Option<raft_core::Rule>,
}

#[cfg(feature = "sabotage")]
fn rule(name: &str) -> Result<raft_core::Rule, String> {
    let all = raft_core::Rule::ALL;
    all.iter()
        .find(|rule| rule.name() == name)
        .copied()
        .ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|rule| rule.name()).collect();
            format!("there is no such rule; there are {}", names.join(", "))
        })
}

/// Every so many worlds the branches are counted, which takes time.
const COUNTED_EVERY: u64 = 8;
/// Browsers take longer addresses than this, and terminals do not show them well.
const ADDRESS_MAX: usize = 16_000;
/// How many records of a story are told.
const STORY_MAX: usize = 400;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.seed {
        Some(seed) => replay(seed, &cli),
        None => campaign(&cli),
    }
}

/// The rule that servers are made to break.
#[cfg(feature = "sabotage")]
fn broken(cli: &Cli) -> Option<&'static str> {
    cli.broken.map(raft_core::Rule::name)
}

#[cfg(not(feature = "sabotage"))]
fn broken(_: &Cli) -> Option<&'static str> {
    None
}

fn drawn(seed: u64, cli: &Cli) -> Campaign {
    let campaign = Campaign::new(seed).stretched(Campaign::stretch_of(seed, cli.stretch));
    #[cfg(feature = "sabotage")]
    if let Some(rule) = cli.broken {
        return campaign.breaking(raft_core::BrokenRules::default().and(rule));
    }
    campaign
}

/// Runs one seed again and tells its story.
fn replay(seed: u64, cli: &Cli) -> ExitCode {
    let (world, report) = drawn(seed, cli).explained().run_to_the_end();
    let told = world.story_length().saturating_sub(STORY_MAX) as u64;
    for record in world.story_since(told) {
        println!("{:>12.6} s  {}", record.at as f64 / 1e6, record.text);
    }
    if report.violation.is_none() {
        println!("seed {seed}: every rule holds");
        return ExitCode::SUCCESS;
    }
    explain(&report, cli);
    ExitCode::FAILURE
}

/// What all runs together did.
#[derive(Default)]
struct Totals {
    seeds: u64,
    events: u64,
    /// In microseconds, which thousands of years of overflow 64 bits.
    simulated: u128,
    /// As much of it as was not stretched.
    unstretched: u128,
    timeouts: u64,
    elections: u64,
    answered: u64,
    faults: BTreeMap<&'static str, u64>,
    branches: BTreeMap<&'static str, u64>,
    failures: Vec<Report>,
}

impl Totals {
    fn add(&mut self, report: Report, stretch: u64) {
        self.seeds += 1;
        self.events += report.events;
        self.simulated += u128::from(report.simulated);
        if Campaign::stretch_of(report.seed, stretch) == 1 {
            self.unstretched += u128::from(report.simulated);
        }
        self.timeouts += report.timeouts;
        self.elections += report.elections;
        self.answered += report.answered;
        for (name, count) in &report.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in &report.branches {
            *self.branches.entry(name).or_default() += count;
        }
        if report.violation.is_some() {
            self.failures.push(report);
        }
    }

    fn years(&self) -> f64 {
        years(self.simulated)
    }
}

fn years(micros: u128) -> f64 {
    micros as f64 / 1e6 / 86_400.0 / 365.25
}

fn campaign(cli: &Cli) -> ExitCode {
    let began = Instant::now();
    let seeds = match (cli.seeds, cli.minutes) {
        (Some(seeds), _) => seeds,
        (None, Some(_)) => u64::MAX,
        (None, None) => 1_000,
    };
    let deadline = cli.minutes.map(|minutes| {
        began + Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::MAX / 4)
    });
    let jobs = cli
        .jobs
        .or_else(|| thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1)
        .max(1);
    let next = AtomicU64::new(cli.start);
    let last = cli.start.saturating_add(seeds);
    let totals = thread::scope(|scope| {
        let (reports, all) = channel();
        for _ in 0..jobs {
            let reports = reports.clone();
            let next = &next;
            scope.spawn(move || work(next, last, deadline, cli, &reports));
        }
        drop(reports);
        let totals = collect(&all, cli, seeds, deadline, began);
        next.store(u64::MAX, Ordering::Relaxed);
        totals
    });
    print_totals(&totals, began.elapsed().as_secs_f64(), jobs);
    if totals.failures.is_empty() {
        println!("every rule holds");
        return ExitCode::SUCCESS;
    }
    for report in totals.failures.iter().take(3) {
        explain(report, cli);
    }
    let mut broken: Vec<_> = totals.failures.iter().map(|report| report.seed).collect();
    broken.sort_unstable();
    println!("{} seeds broke a rule: {broken:?}", broken.len());
    ExitCode::FAILURE
}

fn work(
    next: &AtomicU64,
    last: u64,
    deadline: Option<Instant>,
    cli: &Cli,
    reports: &Sender<Report>,
) {
    while deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= last {
            return;
        }
        let campaign = drawn(seed, cli);
        let campaign = if seed.is_multiple_of(COUNTED_EVERY) {
            campaign.counted()
        } else {
            campaign
        };
        if reports.send(campaign.run()).is_err() {
            return;
        }
    }
}

/// Adds up, and shows how far it is. Ends early when a rule is broken.
fn collect(
    all: &Receiver<Report>,
    cli: &Cli,
    seeds: u64,
    deadline: Option<Instant>,
    began: Instant,
) -> Totals {
    let mut totals = Totals::default();
    let span = deadline.map(|deadline| (deadline - began).as_secs());
    let bar = ProgressBar::new(if seeds == u64::MAX {
        span.unwrap_or(0)
    } else {
        seeds
    });
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {eta} left") {
        bar.set_style(style);
    }
    for report in all {
        totals.add(report, cli.stretch);
        bar.set_position(if seeds == u64::MAX {
            began.elapsed().as_secs()
        } else {
            totals.seeds
        });
        let rate = totals.events as f64 / began.elapsed().as_secs_f64();
        bar.set_message(format!(
            "{} worlds, {:.2} M events/s, {:.4} years",
            totals.seeds,
            rate / 1e6,
            totals.years()
        ));
        if !totals.failures.is_empty() && !cli.keep_going {
            break;
        }
    }
    bar.finish_and_clear();
    totals
}

fn print_totals(totals: &Totals, seconds: f64, jobs: usize) {
    println!(
        "{} seeds, {} events, {} requests answered, {:.5} simulated years in {seconds:.1} s \
         ({:.0} events/s, {:.0} x real time, {jobs} at once)",
        totals.seeds,
        totals.events,
        totals.answered,
        totals.years(),
        totals.events as f64 / seconds,
        totals.simulated as f64 / 1e6 / seconds
    );
    println!(
        "{} leaders elected, {} of the longest election timeouts, {:.5} years in worlds whose time was not stretched",
        totals.elections,
        totals.timeouts,
        years(totals.unstretched)
    );
    print_histogram("faults", &totals.faults);
    if totals.branches.is_empty() {
        return;
    }
    print_histogram(
        &format!("branches of the protocol (every {COUNTED_EVERY}th seed)"),
        &totals.branches,
    );
    let missing: Vec<_> = REACHABLE
        .iter()
        .filter(|name| !totals.branches.contains_key(*name))
        .collect();
    if !missing.is_empty() {
        println!("no seed took these branches: {missing:?}");
    }
}

fn print_histogram(title: &str, counts: &BTreeMap<&'static str, u64>) {
    println!("{title}:");
    let most = counts.values().max().copied().unwrap_or(1).max(1) as f64;
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (name, count) in counts {
        // Logarithmic, so that what is rare can be seen beside what is not.
        let length = (1.0 + 24.0 * (*count as f64).ln_1p() / most.ln_1p()) as usize;
        println!("  {name:<40} {count:>10} {}", "▇".repeat(length));
    }
}

/// Says how to see a failing run again, and makes it small.
fn explain(report: &Report, cli: &Cli) {
    let Some(violation) = &report.violation else {
        return;
    };
    let seed = report.seed;
    println!("seed {seed}: {violation}");
    let stretch = match cli.stretch {
        0 | 1 => String::new(),
        most => format!(" --stretch {most}"),
    };
    let option =
        |name: &str| broken(cli).map_or_else(String::new, |rule| format!(" --{name} {rule}"));
    println!(
        "  replay it: cargo xtask simulate --seed {seed}{stretch}{}",
        option("broken")
    );
    let small = if violation.invariant == Invariant::Availability {
        None
    } else {
        shrink(&report.script, violation)
    };
    let (script, violation) = match small {
        None => (report.script.clone(), violation.clone()),
        Some(Shrunk {
            script,
            violation,
            runs,
        }) => {
            let (before, after) = (&report.script, &script);
            println!(
                "  shrunk in {runs} runs: {} actions to {}, {} nodes to {}, {} clients to {}: {violation}",
                before.actions.len(),
                after.actions.len(),
                before.config.nodes,
                after.config.nodes,
                before.config.clients,
                after.config.clients,
            );
            (script, violation)
        }
    };
    let at = violation.at;
    let path = cli.out.join(format!("{seed}.toml"));
    let text = Scenario::of_failure(&script, &violation).to_toml();
    match std::fs::create_dir_all(&cli.out).and_then(|()| std::fs::write(&path, text)) {
        Ok(()) => println!(
            "  play it: cargo xtask scenario {} --variant {}{}",
            path.display(),
            Variant::of(&script.config),
            option("without")
        ),
        Err(error) => println!("  cannot write {}: {error}", path.display()),
    }
    if broken(cli).is_some() {
        // The servers of the page keep all rules.
        return;
    }
    let address = address(&script, at);
    if address.len() <= ADDRESS_MAX {
        println!("  open it: {address}");
    } else {
        println!("  its address would have {} characters", address.len());
    }
}

/// The page's address that shows a run at a moment: the part after the playground's.
fn address(script: &Script, at: u64) -> String {
    let fields = |config: &WorldConfig| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let usual = fields(&WorldConfig::default());
    let mut config = fields(&script.config);
    config.retain(|name, value| {
        let apart = ["nodes", "seed", "story", "branches"].contains(&name.as_str());
        !apart && usual.get(name) != Some(value)
    });
    let actions = serde_json::to_value(&script.actions).unwrap_or_default();
    format!(
        "/playground/#nodes={}&seed={}&config={}&do={}&at={at}",
        script.config.nodes,
        script.config.seed,
        encoded(&json!(config)),
        encoded(&actions)
    )
}

/// JSON as it can stand in an address.
fn encoded(value: &Value) -> String {
    let mut text = String::new();
    for byte in value.to_string().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':' | b',' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
