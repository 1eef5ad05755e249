//! Runs campaigns, one world with faults per seed: `cargo xtask simulate --help`.

mod failure;
mod summary;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
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
use summary::{COUNTED_EVERY, Totals};

/// Simulate clusters with faults, and check the invariants of Raft after every event.
#[derive(Parser)]
#[command(name = "cargo xtask simulate")]
struct Cli {
    /// Number of seeds; 1,000 by default, or as many as fit into --minutes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Start no new seed after so many minutes.
    #[arg(long, value_parser = minutes)]
    minutes: Option<f64>,
    /// Number of parallel runs; by default one per processor.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Run only this seed, and print its latest events.
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "jobs", "start"])]
    seed: Option<u64>,
    /// Largest time scale. In every second seed, all durations are up to so many times longer.
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=Campaign::STRETCH_MAX))]
    stretch: u64,
    /// Continue after a violation.
    #[arg(long)]
    keep_going: bool,
    /// Directory for the scenarios of failing seeds.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/failing-seeds")]
    out: PathBuf,
    /// Disable this rule of the protocol in all servers, to see a failure.
    #[cfg(feature = "sabotage")]
    #[arg(long, value_name = "RULE", value_parser = rule)]
    disable: Option<raft_core::Rule>,
}

#[cfg(feature = "sabotage")]
fn rule(name: &str) -> Result<raft_core::Rule, OptionError> {
    let all = raft_core::Rule::ALL;
    all.iter().find(|rule| rule.name() == name).copied().ok_or(OptionError::UnknownRule)
}

/// Parses the value of `--minutes`.
fn minutes(text: &str) -> Result<f64, OptionError> {
    match text.parse() {
        Ok(minutes) if minutes > 0.0 && minutes <= MINUTES_MAX => Ok(minutes),
        _ => Err(OptionError::Minutes),
    }
}

/// Why the value of an option is invalid.
#[derive(Debug)]
enum OptionError {
    #[cfg(feature = "sabotage")]
    UnknownRule,
    Minutes,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "sabotage")]
            Self::UnknownRule => {
                let names: Vec<_> = raft_core::Rule::ALL.iter().map(|rule| rule.name()).collect();
                write!(f, "unknown rule; use one of {}", names.join(", "))
            }
            Self::Minutes => {
                write!(f, "invalid number of minutes; use more than 0 and at most {MINUTES_MAX}")
            }
        }
    }
}

impl std::error::Error for OptionError {}

/// A year.
const MINUTES_MAX: f64 = 525_600.0;
/// The number of the latest events that are printed.
const EVENTS_PRINTED_MAX: usize = 400;
/// The number of failing seeds that are written into files and reduced.
const KEPT_MAX: usize = 3;
/// The exit status of a program that was ended by SIGINT.
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

/// A flag that the first Ctrl-C sets, so that the campaign prints its results so far. The second
/// Ctrl-C ends the program.
fn interruption() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The order matters: at the first signal, the flag is not set yet.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&interrupted))?;
        flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}

/// The disabled rule.
#[cfg(feature = "sabotage")]
fn disabled_rule(cli: &Cli) -> Option<&'static str> {
    cli.disable.map(raft_core::Rule::name)
}

#[cfg(not(feature = "sabotage"))]
fn disabled_rule(_: &Cli) -> Option<&'static str> {
    None
}

fn generate(seed: u64, cli: &Cli) -> Campaign {
    let campaign = Campaign::new(seed).stretched(Campaign::stretch_of(seed, cli.stretch));
    #[cfg(feature = "sabotage")]
    if let Some(rule) = cli.disable {
        return campaign.with_disabled_rules(raft_core::DisabledRules::default().and(rule));
    }
    campaign
}

/// Runs one seed and prints its latest events.
fn replay(seed: u64, cli: &Cli) -> ExitCode {
    let run = || generate(seed, cli).with_event_log().run_to_the_end();
    let (world, report) = match catch(run) {
        Ok(ended) => ended,
        Err(panic) => {
            println!("seed {seed}: {panic}");
            return ExitCode::FAILURE;
        }
    };
    let from = world.story_length().saturating_sub(EVENTS_PRINTED_MAX) as u64;
    for record in world.story_since(from) {
        println!("{:>12.6} s  {}", record.at as f64 / 1e6, record.text());
    }
    if report.violation.is_none() {
        println!("seed {seed}: every invariant holds");
        return ExitCode::SUCCESS;
    }
    let failure = Failure::Violated(Box::new(report));
    failure.keep(cli);
    failure.explain(cli, true);
    ExitCode::FAILURE
}

/// The message of a panic.
struct PanicMessage(String);

impl fmt::Display for PanicMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

/// Runs a closure and returns the message of a panic. A panic is the failure of one seed and does
/// not end the campaign. The panic hook has printed its place.
fn catch<T>(run: impl FnOnce() -> T) -> Result<T, PanicMessage> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload: Box<dyn Any + Send>| {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        PanicMessage(text.unwrap_or_default())
    })
}

/// The remaining seeds, shared by the threads.
struct Seeds<'a> {
    next: AtomicU64,
    /// The end of the seeds, exclusive.
    end: u64,
    deadline: Option<Instant>,
    /// True when a failure ends the campaign.
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

/// The end of a seed.
enum Ended {
    Checked(Box<Report>),
    Panicked { seed: u64, panic: PanicMessage },
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
        eprintln!(
            "too many seeds: {count} from {} on; the last seed is {}",
            cli.start,
            u64::MAX - 1
        );
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
        let campaign = generate(seed, cli);
        if seed.is_multiple_of(COUNTED_EVERY) {
            campaign.with_coverage().run()
        } else {
            campaign.run()
        }
    };
    let bar = match deadline {
        Some(_) if cli.seeds.is_none() => Progress::Minutes(cli.minutes.unwrap_or_default()),
        _ => Progress::Seeds(count),
    };
    let totals = run_all(&seeds, jobs, &run, cli, &bar, began);
    conclude(&totals, cli, jobs, began, interrupted)
}

/// Prints the results, and returns the exit status.
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
                println!("no seed was run; run at least one");
                ExitCode::FAILURE
            }
            (_, true) => {
                println!("every invariant held so far");
                ExitCode::from(INTERRUPTED)
            }
            (_, false) => {
                println!("every invariant holds");
                ExitCode::SUCCESS
            }
        };
    }
    for failure in totals.failures.iter().take(KEPT_MAX) {
        failure.explain(cli, !is_over());
    }
    let mut failed: Vec<_> = totals.failures.iter().map(Failure::seed).collect();
    failed.sort_unstable();
    println!("{} seeds failed: {failed:?}", failed.len());
    ExitCode::FAILURE
}

/// The unit of the progress bar.
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
        let ended = match catch(|| run(seed)) {
            Ok(report) => Ended::Checked(Box::new(report)),
            Err(panic) => Ended::Panicked { seed, panic },
        };
        if all.send(ended).is_err() {
            return;
        }
    }
}

/// Adds the results and shows the progress. Ends early at a failure. An interrupted campaign starts
/// no more seeds, and the seeds that run are still added.
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
            "{} seeds, {:.2} M events/s, {:.4} years",
            totals.seeds,
            rate / 1e6,
            totals.years()
        ));
    }
    bar.finish_and_clear();
    totals
}
