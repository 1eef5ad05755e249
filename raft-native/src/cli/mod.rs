//! The command line.

mod check;
mod client;
mod demo;
mod serve;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};

/// A replicated key-value store that anybody can look into.
#[derive(Parser)]
#[command(
    name = "raft",
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Option<serve::ServeArgs>,
}

#[derive(Subcommand)]
enum Command {
    /// Start a node (the same as `raft --node-id …`).
    Serve(serve::ServeArgs),
    /// Start a whole cluster in this process, on a temporary directory, for a first look.
    Demo(demo::DemoArgs),
    /// Set a key.
    Put(client::PutArgs),
    /// Read a key.
    Get(client::GetArgs),
    /// Remove a key.
    Delete(client::DeleteArgs),
    /// Show the members of the cluster and how they are.
    Status(client::StatusArgs),
    /// Judge a recorded history of operations: is it linearizable?
    CheckHistory(check::CheckArgs),
}

/// How data is printed.
#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Why a command failed, in one line.
enum Failure {
    /// It was asked for something that makes no sense, or that cannot be had here.
    Usage(String),
    /// It was tried, and did not succeed.
    Failed(String),
}

/// Runs the command that the process was started with.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let result = match (cli.command, cli.serve) {
        (Some(Command::Serve(args)), _) | (None, Some(args)) => serve::run(args),
        (Some(Command::Demo(args)), _) => demo::run(&args),
        (Some(Command::Put(args)), _) => client::put(&args),
        (Some(Command::Get(args)), _) => client::get(&args),
        (Some(Command::Delete(args)), _) => client::delete(&args),
        (Some(Command::Status(args)), _) => client::status(&args),
        (Some(Command::CheckHistory(args)), _) => check::check(&args),
        (None, None) => Err(Failure::Usage("nothing to do: try raft --help".into())),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Usage(problem)) => {
            eprintln!("raft: {problem}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(problem)) => {
            eprintln!("raft: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Help is printed whole, a mistake in one line.
fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print!("{error}");
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{error}");
            ExitCode::from(2)
        }
        _ => {
            let text = error.to_string();
            let mut parts = text
                .split("\n\n")
                .next()
                .unwrap_or_default()
                .lines()
                .map(str::trim);
            let first = parts
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            let rest: Vec<_> = parts.collect();
            eprintln!(
                "raft: {} (see raft --help)",
                format!("{first} {}", rest.join(" ")).trim()
            );
            ExitCode::from(2)
        }
    }
}
