//! `raft check-data`: the verification of a data directory.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use raft_native::{CheckDataError, check_data};

use super::{Failure, print_line};

#[derive(Args)]
pub(super) struct CheckDataArgs {
    /// The data directory of a stopped node.
    directory: PathBuf,
}

/// Prints the contents of the directory, and ends with status 1 if something is damaged.
pub(super) fn run(args: &CheckDataArgs) -> Result<ExitCode, Failure> {
    let path = args.directory.display();
    let report = check_data(&args.directory).map_err(|error| match error {
        CheckDataError::Storage(error) if error.is_damage() => {
            Failure::Failed(format!("{path} is damaged: {error}"))
        }
        error => Failure::Usage(format!("cannot check {path}: {error}")),
    })?;
    let contents = &report.contents;
    let (owner, boots) = (&report.owner, report.boots);
    print_line(format_args!("owner: {owner}, started {boots} times"))?;
    let (segments, batches) = (contents.segments, contents.batches);
    let (first, last, term) = (contents.log_start + 1, contents.last_index, contents.term);
    print_line(format_args!(
        "log: entries {first} to {last}, term {term}, {batches} batches in {segments} segments"
    ))?;
    let (tables, pairs) = (contents.tables, contents.pairs);
    print_line(format_args!("state machine: {pairs} pairs in {tables} tables"))?;
    for error in &contents.errors {
        print_line(format_args!("error: {error}"))?;
    }
    match contents.errors.len() {
        0 => {
            print_line("no error found")?;
            Ok(ExitCode::SUCCESS)
        }
        count => Err(Failure::Failed(format!("{path} has {count} errors"))),
    }
}
