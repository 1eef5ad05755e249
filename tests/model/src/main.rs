//! The command line of the model checker: `cargo xtask model --help`.

mod expected_counts;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use raft_model::{Bounds, Order, Report, check};

use expected_counts::{Page, grouped};

/// Model-checks three servers exhaustively within bounds.
#[derive(Parser)]
#[command(name = "cargo xtask model")]
struct Cli {
    /// The models to check. Default: all models of the set.
    names: Vec<String>,
    /// Use the small models, which `cargo xtask test` includes.
    #[arg(long)]
    short: bool,
    /// Store the counts of the small models as the expected ones, in
    /// docs/verification/model-checking.md.
    #[arg(long, requires = "short", conflicts_with_all = ["names", "steps_max", "list"])]
    renew: bool,
    /// Print the bounds of each model.
    #[arg(long)]
    list: bool,
    /// The number of threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Search for the violation with the fewest steps. This takes much more memory.
    #[arg(long)]
    shortest: bool,
    /// The largest number of steps.
    #[arg(long)]
    steps_max: Option<usize>,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let mut models = if cli.short { Bounds::short() } else { Bounds::long() };
    for name in &cli.names {
        if !models.iter().any(|bounds| bounds.name == name) {
            bail!("unknown model: {name}; use --list");
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
        print_report(name, &report);
        rows.push(expected_counts::row(name, &report));
    }
    let is_expected =
        !cli.short || cli.steps_max.is_some() || held < count || check_counts(&cli, &rows)?;
    println!("{held} of {count} models hold, in {} states", grouped(states));
    Ok(if held == count && is_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compares the counts with the expected ones, or stores them with `--renew`. Returns true if they
/// are equal.
fn check_counts(cli: &Cli, rows: &[String]) -> Result<bool> {
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
            "counts differ from docs/verification/model-checking.md; if you intended a change of the \
             core, run `cargo xtask model --short --renew`"
        );
    }
    Ok(differences.is_empty())
}

fn print_report(name: &str, report: &Report) {
    println!(
        "| {name} | {} | {} | {} | {} | {} | {:.0} |",
        grouped(report.states),
        grouped(report.steps),
        report.depth,
        grouped(report.servers),
        grouped(report.messages),
        report.time.as_secs_f64(),
    );
    for (property, steps) in &report.violated {
        println!("{name}: violated property: {property}");
        for (number, step) in (1..).zip(steps) {
            println!("{number:4}. {step}");
        }
    }
    for property in &report.unreached {
        println!("{name}: never reached: {property}");
    }
    if !report.is_complete && report.violated.is_empty() {
        println!("{name}: not all states were explored");
    }
}
