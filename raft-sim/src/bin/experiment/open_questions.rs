//! Four open questions of the dissertation. Each has a report with tables and a plot.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;

use clap::{Args, ValueEnum};
use raft_sim::DurationRange;
use raft_sim::experiment::{Availability, Distribution, Election, plot};

use super::{Repeat, write};

/// An open question.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Question {
    /// Servers whose terms differ when the leader fails.
    Terms,
    /// Messages that take longer in one direction, or to some servers.
    Latencies,
    /// Links that lose up to 70 % of all messages.
    Loss,
    /// Clocks with errors of up to 90 %.
    Drift,
}

#[derive(Args)]
pub struct QuestionArgs {
    /// The question.
    #[arg(value_enum)]
    question: Question,
    #[command(flatten)]
    repeat: Repeat,
    /// Number of clusters that run for one hour each, per cell of a table of availability.
    #[arg(long, default_value_t = 10)]
    clusters: u64,
    /// Directory for the report and the plot.
    #[arg(long, default_value = "docs/experiments")]
    out: std::path::PathBuf,
}

/// The name of a row, and its kind of election.
type Line = (&'static str, Election);

/// Measures a question, and writes its report.
pub fn answer(args: &QuestionArgs) -> Result<(), Box<dyn Error>> {
    let (name, template) = match args.question {
        Question::Terms => ("terms", include_str!("templates/terms.md")),
        Question::Latencies => ("latencies", include_str!("templates/latencies.md")),
        Question::Loss => ("loss", include_str!("templates/loss.md")),
        Question::Drift => ("drift", include_str!("templates/drift.md")),
    };
    let mut variants = vec![("As in the paper", lines(args.question, false))];
    if args.question != Question::Terms {
        let stable = lines(args.question, true);
        variants.push(("With pre-vote and check-quorum", stable));
    }
    let Repeat { trials, seed } = args.repeat;
    let mut measured = Vec::new();
    for (variant, lines) in variants {
        let mut times = Vec::new();
        for (line, election) in lines {
            times.push((line, election.measure(trials, seed)?));
        }
        measured.push((variant, times));
    }
    let mut report = template.replace("{elections}", table(&measured).trim_end());
    if report.contains("{availability}") {
        report = report.replace("{availability}", availability(args)?.trim_end());
    }
    report = report.replace("{trials}", &trials.to_string());
    report = report.replace("{clusters}", &args.clusters.to_string());
    print!("{report}");
    fs::create_dir_all(&args.out)?;
    write(&args.out.join(format!("{name}.md")), &report)?;
    write(&args.out.join(format!("{name}.svg")), &plot_of(&measured))
}

fn millis(min: u64, max: u64) -> DurationRange {
    DurationRange::new(min * 1000, max * 1000)
}

/// The elections of a question, with or without pre-vote and check-quorum.
fn lines(question: Question, stable: bool) -> Vec<Line> {
    let mut usual = Election::wan();
    usual.pre_vote = stable;
    usual.check_quorum = stable;
    match question {
        Question::Terms => terms(&usual),
        Question::Latencies => latencies(&usual),
        Question::Loss => loss(&usual),
        Question::Drift => drift(&usual),
    }
}

fn terms(usual: &Election) -> Vec<Line> {
    let ahead = |terms: &[u64]| Election { terms_ahead: terms.to_vec(), ..usual.clone() };
    vec![
        ("equal", usual.clone()),
        ("one is 1 ahead", ahead(&[1])),
        ("one is 10 ahead", ahead(&[10])),
        ("two are 1 ahead", ahead(&[1, 1])),
        ("1, 2, 3 and 4 ahead", ahead(&[1, 2, 3, 4])),
        ("10, 20, 30, 40 ahead", ahead(&[10, 20, 30, 40])),
    ]
}

fn latencies(usual: &Election) -> Vec<Line> {
    let links = |latency: &dyn Fn(u64, u64) -> Option<DurationRange>| {
        let pairs = (1..=5).flat_map(|from| (1..=5).map(move |to| (from, to)));
        let links = pairs.filter(|(from, to)| from != to);
        let links = links.filter_map(|(from, to)| Some((from, to, latency(from, to)?)));
        Election { links: links.collect(), ..usual.clone() }
    };
    let far = millis(150, 200);
    let (fast, slow) = (millis(5, 10), millis(55, 70));
    vec![
        ("equal", usual.clone()),
        ("slow one way", links(&|from, to| Some(if from < to { fast } else { slow }))),
        ("slow to one server", links(&|_, to| (to == 5).then_some(far))),
        ("slow from one server", links(&|from, _| (from == 5).then_some(far))),
        ("one distant server", links(&|from, to| (from == 5 || to == 5).then_some(far))),
        ("two distant servers", links(&|from, to| ((from > 3) != (to > 3)).then_some(far))),
    ]
}

fn loss(usual: &Election) -> Vec<Line> {
    let lossy = |percent: u32| Election { loss_per_mille: 10 * percent, ..usual.clone() };
    vec![
        ("none", usual.clone()),
        ("10 %", lossy(10)),
        ("30 %", lossy(30)),
        ("50 %", lossy(50)),
        ("70 %", lossy(70)),
    ]
}

fn drift(usual: &Election) -> Vec<Line> {
    let drifting = |percent: u32| Election { drift_ppm: 10_000 * percent, ..usual.clone() };
    vec![
        ("none", usual.clone()),
        ("up to 10 %", drifting(10)),
        ("up to 30 %", drifting(30)),
        ("up to 50 %", drifting(50)),
        ("up to 90 %", drifting(90)),
    ]
}

/// The quantiles of all rows, by variant.
fn table(measured: &[(&str, Vec<(&str, Distribution)>)]) -> String {
    let mut table =
        String::from("| ms | p1 | p10 | p50 | p90 | p99 | mean |\n|---|---|---|---|---|---|---|\n");
    for (variant, lines) in measured {
        let _ = writeln!(table, "| **{variant}** | | | | | | |");
        for (name, times) in lines {
            let _ = write!(table, "| {name} |");
            for share in [0.01, 0.1, 0.5, 0.9, 0.99] {
                let _ = write!(table, " {:.0} |", times.quantile(share));
            }
            let _ = writeln!(table, " {:.0} |", times.mean());
        }
    }
    table
}

fn plot_of(measured: &[(&str, Vec<(&str, Distribution)>)]) -> String {
    let longest = measured.iter().flat_map(|(_, lines)| lines);
    let longest = longest.map(|(_, times)| times.quantile(0.99));
    let end = if longest.fold(0.0, f64::max) > 5_000.0 { 50_000.0 } else { 5_000.0 };
    let panels: Vec<_> = measured
        .iter()
        .map(|(variant, lines)| plot::Panel {
            title: variant,
            millis: (100.0, end),
            curves: lines
                .iter()
                .map(|(name, times)| plot::Curve {
                    name: (*name).to_owned(),
                    times,
                    published: Vec::new(),
                })
                .collect(),
        })
        .collect();
    plot::draw("Time without a leader", &panels)
}

/// Shares of the time with a leader and elections per hour, by condition and heartbeat interval.
fn availability(args: &QuestionArgs) -> Result<String, Box<dyn Error>> {
    const HOUR: u64 = 3_600_000_000;
    let heartbeats = [150, 60, 30];
    let percents: &[u32] = match args.question {
        Question::Loss => &[0, 5, 10, 20, 30, 50, 70],
        _ => &[0, 10, 30, 50, 70, 90],
    };
    let mut table = String::from("| |");
    for variant in ["", ", pre-vote and check-quorum"] {
        for heartbeat in heartbeats {
            let _ = write!(table, " every {heartbeat} ms{variant} |");
        }
    }
    let _ = writeln!(table, "\n|{}", "---|".repeat(1 + 2 * heartbeats.len()));
    for percent in percents {
        let _ = write!(table, "| {percent} % |");
        for stable in [false, true] {
            for heartbeat in heartbeats {
                let mut availability = Availability::wan();
                availability.heartbeat = heartbeat * 1000;
                availability.stable = stable;
                match args.question {
                    Question::Loss => availability.loss_per_mille = percent * 10,
                    _ => {
                        availability.drift_ppm = percent * 10_000;
                        availability.crash_every = Some(10_000_000);
                    }
                }
                let found = availability.measure(args.clusters, HOUR, args.repeat.seed)?;
                let share = found.share * 100.0;
                let _ = write!(table, " {share:.2} % ({:.0}) |", found.elections_per_hour);
            }
        }
        table.push('\n');
    }
    Ok(table)
}
