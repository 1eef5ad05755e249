//! Repeats published experiments: `cargo xtask experiment --help`.

mod open_questions;

use std::error::Error;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use raft_sim::DurationRange;
use raft_sim::experiment::{Distribution, Election, Logs, Until, lan, plot};
use serde_json::{Map, Value, json};

/// Repeat published experiments with the servers of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask experiment")]
struct Cli {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Subcommand)]
enum Experiment {
    /// Measure elections; without options, the availability simulation of chapter 9 of the
    /// dissertation.
    Election(ElectionArgs),
    /// Write a table and a plot of Figure 16 of the paper.
    Lan(LanArgs),
    /// Write a report about one of four open questions of the dissertation.
    Question(open_questions::QuestionArgs),
}

#[derive(Args)]
struct ElectionArgs {
    /// Number of servers in the cluster.
    #[arg(long, default_value_t = 5)]
    servers: u64,
    /// Number of servers that failed earlier, besides the leader.
    #[arg(long, default_value_t = 0)]
    failed: u64,
    /// The failed leader stays down; otherwise it restarts at once as a follower.
    #[arg(long)]
    leader_stays_away: bool,
    /// Number of remaining servers that lack the last entry.
    #[arg(long, value_name = "SERVERS", conflicts_with_all = ["log_lengths", "logs_differ"])]
    behind: Option<u64>,
    /// Each remaining server has a log of another length.
    #[arg(long, conflicts_with = "log_lengths")]
    logs_differ: bool,
    /// Length of the log of each remaining server.
    #[arg(long, value_delimiter = ',')]
    log_lengths: Option<Vec<u64>>,
    /// One-way latency, in milliseconds: a number or a range.
    #[arg(long, default_value = "30-40")]
    latency: Millis,
    /// Election timeouts, in milliseconds.
    #[arg(long, default_value = "300-600")]
    timeout: Millis,
    /// Time until a write is durable, in milliseconds.
    #[arg(long, default_value = "0")]
    disk: Millis,
    /// Time between the last heartbeat and the failure of the leader, in milliseconds.
    #[arg(long, default_value = "0")]
    crash_after: Millis,
    /// End of an election.
    #[arg(long, value_enum, default_value_t = End::Elected)]
    until: End,
    /// Numbers of terms by which the last servers are ahead of the leader.
    #[arg(long, value_delimiter = ',', conflicts_with = "pre_vote")]
    terms_ahead: Vec<u64>,
    /// Latency of one link: sender, receiver and milliseconds, such as 1,2,150-200; can be
    /// repeated.
    #[arg(long = "link", value_name = "FROM,TO,MILLIS")]
    links: Vec<Link>,
    /// Lost messages, in percent.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Largest error of each server's clock, in percent.
    #[arg(long, default_value_t = 0.0)]
    drift: f64,
    /// Servers use pre-vote.
    #[arg(long)]
    pre_vote: bool,
    /// Servers use check-quorum.
    #[arg(long)]
    check_quorum: bool,
    #[command(flatten)]
    repeat: Repeat,
    /// Format of the results.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Args)]
struct Repeat {
    /// Number of elections (per row).
    #[arg(long, default_value_t = 10_000)]
    trials: usize,
    /// Seed of all random values.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct LanArgs {
    #[command(flatten)]
    repeat: Repeat,
    /// Mean time of a disk write, in milliseconds, instead of the fitted one.
    #[arg(long)]
    disk: Option<f64>,
    /// Search for the mean write time that fits all rows best; write no files.
    #[arg(long, conflicts_with = "disk")]
    fit: bool,
    /// Directory for the table and the plot.
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
    /// A server has become leader.
    Elected,
    /// All other servers know the leader.
    Heard,
}

/// Why the value of an option is invalid.
#[derive(Debug)]
enum OptionError {
    Millis,
    Server,
    Link,
    Share { percent: f64, most: f64 },
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Millis => f.write_str("invalid milliseconds; use a form such as 30 or 30-40"),
            Self::Server => f.write_str("invalid server; use a number"),
            Self::Link => f.write_str("invalid link; use a form such as 1,2,150-200"),
            Self::Share { percent, most } => {
                write!(f, "invalid share: {percent} %; use a number from 0 to {most} %")
            }
        }
    }
}

impl Error for OptionError {}

/// A range of milliseconds as a value of an option.
#[derive(Clone, Copy)]
struct Millis(DurationRange);

impl FromStr for Millis {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let (min, max) = text.split_once(['-', '–']).unwrap_or((text, text));
        let micros = |text: &str| {
            let millis: f64 = text.trim().parse().ok()?;
            (0.0..1e12).contains(&millis).then_some((millis * 1000.0).round() as u64)
        };
        match (micros(min), micros(max)) {
            (Some(min), Some(max)) if min <= max => Ok(Self(DurationRange::new(min, max))),
            _ => Err(OptionError::Millis),
        }
    }
}

/// A link as a value of an option.
#[derive(Clone, Copy)]
struct Link(u64, u64, DurationRange);

impl FromStr for Link {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let parts: Vec<_> = text.split(',').collect();
        let number = |text: &str| text.parse().map_err(|_| OptionError::Server);
        match parts[..] {
            [from, to, latency] => {
                let Millis(latency) = latency.parse()?;
                Ok(Self(number(from)?, number(to)?, latency))
            }
            _ => Err(OptionError::Link),
        }
    }
}

/// Converts a share of at most `most` percent, with so many parts per percent.
fn parts(percent: f64, most: f64, parts: f64) -> Result<u32, OptionError> {
    if (0.0..=most).contains(&percent) {
        Ok((percent * parts).round() as u32)
    } else {
        Err(OptionError::Share { percent, most })
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().experiment {
        Experiment::Election(args) => election(&args),
        Experiment::Lan(args) => local_network(&args),
        Experiment::Question(args) => open_questions::answer(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("experiment: {error}");
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
            "the best fit is a mean disk write of {} ms, with a misfit of {misfit:.3}",
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

/// The published rows and the measured rows, alternating.
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
