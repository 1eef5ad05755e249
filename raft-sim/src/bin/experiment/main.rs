//! Repeats published experiments with these servers: `cargo xtask experiment --help`.

mod questions;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use raft_sim::DurationRange;
use raft_sim::experiment::{Distribution, Election, Logs, Until, lan, plot};
use serde_json::{Map, Value, json};

/// Repeats published experiments with these servers.
#[derive(Parser)]
#[command(name = "cargo xtask experiment")]
struct Cli {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Subcommand)]
enum Experiment {
    /// How long elections take; without options, the availability simulation of the dissertation's
    /// chapter 9.
    Election(ElectionArgs),
    /// Figure 16 of the paper: a table and a plot.
    Lan(LanArgs),
    /// One of four questions that the dissertation leaves open: a page with tables and a plot.
    Question(questions::QuestionArgs),
}

#[derive(Args)]
struct ElectionArgs {
    /// Servers in the cluster.
    #[arg(long, default_value_t = 5)]
    servers: u64,
    /// Servers that have failed before, besides the leader that fails.
    #[arg(long, default_value_t = 0)]
    failed: u64,
    /// The leader that fails stays away. Otherwise it starts again at once, without its office.
    #[arg(long)]
    leader_stays_away: bool,
    /// So many of the servers that are left lack the last entry of the others.
    #[arg(long, value_name = "SERVERS", conflicts_with_all = ["log_lengths", "logs_differ"])]
    behind: Option<u64>,
    /// Each of the servers that are left has a log of another length.
    #[arg(long, conflicts_with = "log_lengths")]
    logs_differ: bool,
    /// The length of each log of the servers that are left.
    #[arg(long, value_delimiter = ',')]
    log_lengths: Option<Vec<u64>>,
    /// One-way latency, in milliseconds: one number, or a range.
    #[arg(long, default_value = "30-40")]
    latency: Millis,
    /// Election timeouts, in milliseconds.
    #[arg(long, default_value = "300-600")]
    timeout: Millis,
    /// How long a write takes until it is durable, in milliseconds.
    #[arg(long, default_value = "0")]
    disk: Millis,
    /// How long after its last heartbeat the leader fails, in milliseconds.
    #[arg(long, default_value = "0")]
    crash_after: Millis,
    /// When an election is over.
    #[arg(long, value_enum, default_value_t = End::Elected)]
    until: End,
    /// How many terms ahead of the leader's the last servers are, one number a server.
    #[arg(long, value_delimiter = ',', conflicts_with = "pre_vote")]
    terms_ahead: Vec<u64>,
    /// A link with a latency of its own: sender, receiver and milliseconds, as 1,2,150-200. Can be
    /// given again.
    #[arg(long = "link", value_name = "FROM,TO,MILLIS")]
    links: Vec<Link>,
    /// Messages lost, in percent.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// How fast or slow each server's clock is at most, in percent.
    #[arg(long, default_value_t = 0.0)]
    drift: f64,
    /// Servers ask around before they stand for election.
    #[arg(long)]
    pre_vote: bool,
    /// Servers stay with a leader that they hear.
    #[arg(long)]
    check_quorum: bool,
    #[command(flatten)]
    repeat: Repeat,
    /// How the times are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Args)]
struct Repeat {
    /// Elections to hold (a line).
    #[arg(long, default_value_t = 10_000)]
    trials: usize,
    /// What all chance is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct LanArgs {
    #[command(flatten)]
    repeat: Repeat,
    /// The mean time of a disk write, in milliseconds, instead of the one that was fitted.
    #[arg(long)]
    disk: Option<f64>,
    /// Look for the disk that fits all lines best, and write nothing.
    #[arg(long, conflicts_with = "disk")]
    fit: bool,
    /// The directory that table and plot are written to.
    #[arg(long, default_value = "docs/experiments")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum End {
    /// A server knows that it is elected.
    Elected,
    /// All others have heard of it.
    Heard,
}

/// A range of milliseconds on the command line.
#[derive(Clone, Copy)]
struct Millis(DurationRange);

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once(['-', '–']).unwrap_or((text, text));
        let micros = |text: &str| {
            let millis: f64 = text.trim().parse().ok()?;
            (0.0..1e12).contains(&millis).then_some((millis * 1000.0).round() as u64)
        };
        match (micros(min), micros(max)) {
            (Some(min), Some(max)) if min <= max => Ok(Self(DurationRange::new(min, max))),
            _ => Err("write milliseconds as 30 or 30-40".into()),
        }
    }
}

/// A link on the command line.
#[derive(Clone, Copy)]
struct Link(u64, u64, DurationRange);

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(',').collect();
        let number = |text: &str| text.parse().map_err(|_| "a server is a number".to_owned());
        match parts[..] {
            [from, to, latency] => {
                let Millis(latency) = latency.parse()?;
                Ok(Self(number(from)?, number(to)?, latency))
            }
            _ => Err("write a link as 1,2,150-200".into()),
        }
    }
}

/// A share of at most `most` percent, in so many parts of one percent.
fn parts(percent: f64, most: f64, parts: f64) -> Result<u32, String> {
    if (0.0..=most).contains(&percent) {
        Ok((percent * parts).round() as u32)
    } else {
        Err(format!("{percent} % is not between 0 and {most} %"))
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().experiment {
        Experiment::Election(args) => election(&args),
        Experiment::Lan(args) => local_network(&args),
        Experiment::Question(args) => questions::answer(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("experiment: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn election(args: &ElectionArgs) -> Result<(), Box<dyn Error>> {
    let logs = match (&args.log_lengths, args.behind, args.logs_differ) {
        (Some(lengths), ..) => Logs::Lengths(lengths.clone()),
        (None, Some(behind), _) => Logs::Behind(behind),
        (None, None, true) => Logs::AllDifferent,
        (None, None, false) => Logs::Same,
    };
    let election = Election {
        servers: args.servers,
        failed: args.failed,
        leader_returns: !args.leader_stays_away,
        logs,
        latency: args.latency.0,
        timeout: args.timeout.0,
        disk: args.disk.0,
        crash_after: args.crash_after.0,
        until: match args.until {
            End::Elected => Until::Elected,
            End::Heard => Until::Heard,
        },
        terms_ahead: args.terms_ahead.clone(),
        links: args.links.iter().map(|Link(from, to, latency)| (*from, *to, *latency)).collect(),
        loss_per_mille: parts(args.loss, 100.0, 10.0)?,
        drift_ppm: parts(args.drift, 90.0, 10_000.0)?,
        pre_vote: args.pre_vote,
        check_quorum: args.check_quorum,
    };
    let times = election.measure(args.repeat.trials, args.repeat.seed)?;
    match args.format {
        Format::Table => {
            let (head, row): (Vec<_>, Vec<_>) =
                summary(&times).map(|(name, value)| (name, format!("{value:.1}"))).unzip();
            println!("| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
            println!("| {} |", row.join(" | "));
            println!("\n{} elections, in milliseconds", times.count());
        }
        Format::Json => {
            let mut fields: Map<String, Value> = summary(&times)
                .map(|(name, value)| (name.to_owned(), json!((value * 10.0).round() / 10.0)))
                .collect();
            fields.insert("elections".into(), json!(times.count()));
            println!("{}", Value::from(fields));
        }
    }
    Ok(())
}

fn summary(times: &Distribution) -> impl Iterator<Item = (&'static str, f64)> {
    const SHARES: [(&str, f64); 11] = [
        ("min", 0.0),
        ("p1", 0.01),
        ("p10", 0.1),
        ("p25", 0.25),
        ("p50", 0.5),
        ("p75", 0.75),
        ("p90", 0.9),
        ("p95", 0.95),
        ("p99", 0.99),
        ("p99.9", 0.999),
        ("max", 1.0),
    ];
    let quantiles = SHARES.map(|(name, share)| (name, times.quantile(share)));
    quantiles.into_iter().chain([("mean", times.mean())])
}

fn local_network(args: &LanArgs) -> Result<(), Box<dyn Error>> {
    let Repeat { trials, seed } = args.repeat;
    if args.fit {
        let (disk, misfit) = lan::fit(trials.min(1_000), seed)?;
        println!(
            "a disk write of {} ms on average fits best: misfit {misfit:.3}",
            disk as f64 / 1000.0
        );
        return Ok(());
    }
    let disk = args.disk.map_or(lan::DISK, |millis| (millis * 1000.0) as u64);
    let lines: Vec<_> = lan::ROWS
        .iter()
        .map(|row| Ok((row, lan::election(row, disk).measure(trials, seed)?)))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let table = lan_table(&lines);
    print!("{table}");
    fs::create_dir_all(&args.out)?;
    write(&args.out.join("lan-elections.table.md"), &table)?;
    write(&args.out.join("lan-elections.svg"), &lan_plot(&lines))
}

fn write(path: &Path, content: &str) -> Result<(), Box<dyn Error>> {
    fs::write(path, content).map_err(|error| format!("{}: {error}", path.display()))?;
    eprintln!("written: {}", path.display());
    Ok(())
}

/// The published figure and ours, one below the other.
fn lan_table(lines: &[(&lan::Row, Distribution)]) -> String {
    let mut table = String::from(
        "| timeouts (ms) | | min | p10 | p50 | p90 | p99 | max | mean |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for (row, times) in lines {
        let published = [row.min, row.p10, row.p50, row.p90, row.p99, row.max, row.mean];
        let quantiles = [0.0, 0.1, 0.5, 0.9, 0.99, 1.0].map(|share| times.quantile(share));
        let cells = |values: &[f64]| {
            let cells: Vec<_> = values.iter().map(|value| format!("{value:.1}")).collect();
            cells.join(" | ")
        };
        let _ = writeln!(
            table,
            "| {}–{} | published | {} |\n| | here | {} | {:.1} |",
            row.timeout_min,
            row.timeout_max,
            cells(&published),
            cells(&quantiles),
            times.mean()
        );
    }
    table
}

fn lan_plot(lines: &[(&lan::Row, Distribution)]) -> String {
    fn curve<'a>((row, times): &'a (&lan::Row, Distribution)) -> plot::Curve<'a> {
        plot::Curve {
            name: format!("{}–{} ms", row.timeout_min, row.timeout_max),
            times,
            published: vec![
                (0.0, row.min),
                (0.1, row.p10),
                (0.5, row.p50),
                (0.9, row.p90),
                (0.99, row.p99),
                (1.0, row.max),
            ],
        }
    }
    let (upper, lower) = lines.split_at(lan::UPPER);
    let panels = [
        plot::Panel {
            title: "Ranges of different width",
            millis: (50.0, 10_000.0),
            curves: upper.iter().map(curve).collect(),
        },
        plot::Panel {
            title: "Ranges of different length",
            millis: (10.0, 1_000.0),
            curves: lower.iter().map(curve).collect(),
        },
    ];
    plot::draw("Time without a leader: lines are simulated, circles are published", &panels)
}
