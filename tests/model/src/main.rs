//! Checks models from the command line: `cargo xtask model --help`.

mod counts;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use raft_model::{Bounds, Order, Report, check};

use counts::{Page, grouped};

/// Goes through every state that three real servers can reach within bounds.
#[derive(Parser)]
#[command(name = "cargo xtask model")]
struct Cli {
    /// The models to check; all of the set by default.
    names: Vec<String>,
    /// The small set, which a run of all checks includes.
    #[arg(long)]
    short: bool,
    /// Writes what the small set counts into docs/verification/model-checking.md, with which a
    /// later run compares it.
    #[arg(long, requires = "short", conflicts_with_all = ["names", "steps_max", "list"])]
    renew: bool,
    /// Says which models there are.
    #[arg(long)]
    list: bool,
    /// How many threads share the work.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Looks for the shortest way to break something, which takes much more memory.
    #[arg(long)]
    shortest: bool,
    /// Stops after so many steps.
    #[arg(long)]
    steps_max: Option<usize>,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let mut models = if cli.short { Bounds::short() } else { Bounds::long() };
    for name in &cli.names {
        if !models.iter().any(|bounds| bounds.name == name) {
            bail!("there is no model {name}; --list says which there are");
        }
    }
    models
        .retain(|bounds| cli.names.is_empty() || cli.names.iter().any(|name| name == bounds.name));
    if cli.list {
        models.iter().for_each(|bounds| println!("{bounds:#?}"));
        return Ok(ExitCode::SUCCESS);
    }
    let order = if cli.shortest { Order::BreadthFirst } else { Order::DepthFirst };
    println!("| model | states | steps | longest path | states of a server | messages | seconds |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let (mut held, mut rows) = (0, Vec::new());
    let (mut states, count) = (0, models.len());
    for bounds in models {
        let name = bounds.name;
        let report = check(bounds, order, cli.threads, cli.steps_max);
        states += report.states;
        held += usize::from(report.holds());
        tell(name, &report);
        rows.push(counts::row(name, &report));
    }
    let is_known = !cli.short || cli.steps_max.is_some() || held < count || is_known(&cli, &rows)?;
    println!("{held} of {count} models hold, in {} states", grouped(states));
    Ok(if held == count && is_known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the small models counted what they are known to have; it is made known if that is asked
/// for.
fn is_known(cli: &Cli, rows: &[String]) -> Result<bool> {
    let page = Page::read()?;
    if cli.renew {
        page.renew(rows)?;
        return Ok(true);
    }
    let differences = page.differences(rows, cli.names.is_empty())?;
    for difference in &differences {
        println!("{difference}");
    }
    if !differences.is_empty() {
        println!(
            "the models have other states than docs/verification/model-checking.md says: if the core was meant to change, \
             `cargo xtask model --short --renew` renews the table"
        );
    }
    Ok(differences.is_empty())
}

fn tell(name: &str, report: &Report) {
    println!(
        "| {name} | {} | {} | {} | {} | {} | {:.0} |",
        grouped(report.states),
        grouped(report.steps),
        report.depth,
        grouped(report.servers),
        grouped(report.messages),
        report.time.as_secs_f64(),
    );
    for (property, story) in &report.fell {
        println!("{name}: {property} does not hold:");
        for (number, step) in (1..).zip(story) {
            println!("{number:4}. {step}");
        }
    }
    for property in &report.never {
        println!("{name}: it never happens that {property}");
    }
    if !report.is_complete && report.fell.is_empty() {
        println!("{name}: not all states were seen");
    }
}
