//! Runs worlds full of faults, one a seed, and says which rule was broken where:
//! `cargo xtask simulate --help`.

mod failure;
#[cfg(test)]
mod tests;
mod totals;

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use raft_sim::campaign::{Campaign, Report};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use failure::Failure;
use totals::{COUNTED_EVERY, Totals};

/// Runs worlds full of faults, and checks the rules of Raft after every event.
#[derive(Parser)]
#[command(name = "cargo xtask simulate")]
struct Cli {
    /// How many worlds; 1,000, or as many as fit into --minutes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Begin no new world after so many minutes.
    #[arg(long, value_parser = minutes)]
    minutes: Option<f64>,
    /// How many worlds at once; by default one for each processor.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Run this seed alone, and tell the end of its story.
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "jobs", "start"])]
    seed: Option<u64>,
    /// Draw a scale of time, too: in every second world, all that takes time takes up to so many
    /// times as long.
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=Campaign::STRETCH_MAX))]
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
    all.iter().find(|rule| rule.name() == name).copied().ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|rule| rule.name()).collect();
        format!("there is no such rule; there are {}", names.join(", "))
    })
}

/// How long somebody may run worlds, for whom minutes are named.
fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if minutes > 0.0 && minutes <= MINUTES_MAX => Ok(minutes),
        _ => Err(format!("it must be more than 0, and at most {MINUTES_MAX}")),
    }
}

/// A year.
const MINUTES_MAX: f64 = 525_600.0;
/// How many records of a story are told.
const STORY_MAX: usize = 400;
/// How many failing seeds are kept in files and made small.
const KEPT_MAX: usize = 3;
/// What a shell makes of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.seed {
        Some(seed) => replay(seed, &cli),
        None => match interruption() {
            Ok(interrupted) => campaign(&cli, &interrupted),
            Err(error) => {
                eprintln!("cannot wait for signals: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Becomes true with the first Ctrl-C, so that what was found so far is told. The second one ends
/// the program.
fn interruption() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag as it was.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&interrupted))?;
        flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
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
        return campaign.breaking(raft_core::DisabledRules::default().and(rule));
    }
    campaign
}

/// Runs one seed again and tells its story.
fn replay(seed: u64, cli: &Cli) -> ExitCode {
    let run = || drawn(seed, cli).explained().run_to_the_end();
    let (world, report) = match caught(run) {
        Ok(ended) => ended,
        Err(text) => {
            println!("seed {seed}: panicked: {text}");
            return ExitCode::FAILURE;
        }
    };
    let told = world.story_length().saturating_sub(STORY_MAX) as u64;
    for record in world.story_since(told) {
        println!("{:>12.6} s  {}", record.at as f64 / 1e6, record.text());
    }
    if report.violation.is_none() {
        println!("seed {seed}: every rule holds");
        return ExitCode::SUCCESS;
    }
    let failure = Failure::Broke(Box::new(report));
    failure.keep(cli);
    failure.explain(cli, true);
    ExitCode::FAILURE
}

/// A panic in a world is a mistake in one seed, and neither ends the campaign nor leaves the others
/// unheard. The panic itself has said where it was.
fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload: Box<dyn Any + Send>| {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}

/// The seeds that are still to be run, for all who run them.
struct Seeds<'a> {
    next: AtomicU64,
    /// Where they end, this one not included.
    end: u64,
    deadline: Option<Instant>,
    /// Somebody has found enough.
    enough: AtomicBool,
    interrupted: &'a AtomicBool,
}

impl Seeds<'_> {
    fn take(&self) -> Option<u64> {
        let is_over = self.enough.load(Ordering::Relaxed)
            || self.interrupted.load(Ordering::Relaxed)
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let next = |seed| (!is_over && seed < self.end).then(|| seed + 1);
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.ok()
    }
}

/// What became of a seed, and of what else was told in its place.
enum Ended {
    Judged(Box<Report>),
    Panicked { seed: u64, text: String },
}

fn campaign(cli: &Cli, interrupted: &AtomicBool) -> ExitCode {
    let began = Instant::now();
    let most = u64::MAX - cli.start;
    let count = match (cli.seeds, cli.minutes) {
        (Some(seeds), _) => seeds,
        (None, Some(_)) => most,
        (None, None) => most.min(1_000),
    };
    let Some(end) = cli.start.checked_add(count).filter(|_| count > 0) else {
        eprintln!("there are no {count} seeds from {} on: the last is {}", cli.start, u64::MAX - 1);
        return ExitCode::from(2);
    };
    let deadline = cli.minutes.map(|minutes| began + Duration::from_secs_f64(minutes * 60.0));
    let jobs = cli.jobs.map(usize::from);
    let jobs = jobs.or_else(|| thread::available_parallelism().ok().map(usize::from));
    let jobs = jobs.unwrap_or(1);
    let seeds = Seeds {
        next: AtomicU64::new(cli.start),
        end,
        deadline,
        enough: AtomicBool::new(false),
        interrupted,
    };
    let run = |seed: u64| {
        let campaign = drawn(seed, cli);
        match seed.is_multiple_of(COUNTED_EVERY) {
            true => campaign.counted().run(),
            false => campaign.run(),
        }
    };
    let bar = match deadline {
        Some(_) if cli.seeds.is_none() => Progress::Minutes(cli.minutes.unwrap_or_default()),
        _ => Progress::Seeds(count),
    };
    let totals = run_all(&seeds, jobs, &run, cli, &bar, began);
    conclude(&totals, cli, jobs, began, interrupted)
}

/// Says what came of it all.
fn conclude(
    totals: &Totals,
    cli: &Cli,
    jobs: usize,
    began: Instant,
    interrupted: &AtomicBool,
) -> ExitCode {
    totals.print(began.elapsed().as_secs_f64(), jobs);
    let is_over = || interrupted.load(Ordering::Relaxed);
    if is_over() {
        println!("interrupted");
    }
    if totals.failures.is_empty() {
        return match (totals.seeds, is_over()) {
            (0, _) => {
                println!("no seed was run, and so nothing is known");
                ExitCode::FAILURE
            }
            (_, true) => {
                println!("every rule held so far");
                ExitCode::from(INTERRUPTED)
            }
            (_, false) => {
                println!("every rule holds");
                ExitCode::SUCCESS
            }
        };
    }
    for failure in totals.failures.iter().take(KEPT_MAX) {
        failure.explain(cli, !is_over());
    }
    let mut broken: Vec<_> = totals.failures.iter().map(Failure::seed).collect();
    broken.sort_unstable();
    println!("{} seeds broke a rule: {broken:?}", broken.len());
    ExitCode::FAILURE
}

/// What the bar counts.
enum Progress {
    Seeds(u64),
    Minutes(f64),
}

fn run_all(
    seeds: &Seeds,
    jobs: usize,
    run: &(impl Fn(u64) -> Report + Sync),
    cli: &Cli,
    progress: &Progress,
    began: Instant,
) -> Totals {
    thread::scope(|scope| {
        let (ended, all) = channel();
        for _ in 0..jobs {
            let ended = ended.clone();
            scope.spawn(move || work(seeds, run, &ended));
        }
        drop(ended);
        let totals = collect(&all, cli, progress, began);
        seeds.enough.store(true, Ordering::Relaxed);
        totals
    })
}

fn work(seeds: &Seeds, run: &impl Fn(u64) -> Report, all: &Sender<Ended>) {
    while let Some(seed) = seeds.take() {
        let ended = match caught(|| run(seed)) {
            Ok(report) => Ended::Judged(Box::new(report)),
            Err(text) => Ended::Panicked { seed, text },
        };
        if all.send(ended).is_err() {
            return;
        }
    }
}

/// Adds up, and shows how far it is. Ends early when a rule is broken. An interrupted campaign
/// takes no more seeds, and those that it has taken are added, too.
fn collect(all: &Receiver<Ended>, cli: &Cli, progress: &Progress, began: Instant) -> Totals {
    let mut totals = Totals::default();
    let bar = ProgressBar::new(match progress {
        Progress::Seeds(seeds) => *seeds,
        Progress::Minutes(minutes) => (minutes * 60.0) as u64,
    });
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {eta} left") {
        bar.set_style(style);
    }
    for ended in all {
        let kept = totals.failures.len();
        if let Some(failure) = totals.add(ended, cli.stretch) {
            bar.suspend(|| {
                println!("{failure}");
                if kept < KEPT_MAX {
                    failure.keep(cli);
                }
            });
            if !cli.keep_going {
                break;
            }
        }
        let rate = totals.events as f64 / began.elapsed().as_secs_f64();
        bar.set_position(match progress {
            Progress::Seeds(_) => totals.seeds,
            Progress::Minutes(_) => began.elapsed().as_secs(),
        });
        bar.set_message(format!(
            "{} worlds, {:.2} M events/s, {:.4} years",
            totals.seeds,
            rate / 1e6,
            totals.years()
        ));
    }
    bar.finish_and_clear();
    totals
}
