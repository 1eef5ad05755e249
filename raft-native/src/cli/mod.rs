//! The command line.

mod check_data;
mod check_history;
mod client;
mod demo;
mod endpoints;
mod escape;
mod failure;
mod logging;
mod secret;
mod serve;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};
use failure::{ClientError, EXIT_STATUS};
use logging::print_last_line;

/// A replicated key-value store with a dashboard.
#[derive(Parser)]
#[command(
    name = "raft",
    version,
    arg_required_else_help = true,
    after_help = format!("raft --node-id … is short for raft serve --node-id …: see raft serve --help\n\n{EXIT_STATUS}")
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a node.
    Serve(serve::ServeArgs),
    /// Start a cluster of nodes in this process, with temporary data.
    Demo(demo::DemoArgs),
    /// Set a key.
    #[command(after_help = EXIT_STATUS)]
    Put(client::PutArgs),
    /// Read a key.
    #[command(after_help = EXIT_STATUS)]
    Get(client::GetArgs),
    /// Remove a key.
    #[command(after_help = EXIT_STATUS)]
    Delete(client::DeleteArgs),
    /// List keys in order, each with its value after a tab.
    #[command(after_help = EXIT_STATUS)]
    List(client::ListArgs),
    /// Show the members of the cluster and their state.
    #[command(after_help = EXIT_STATUS)]
    Status(client::StatusArgs),
    /// Make a cluster secret.
    Secret(secret::SecretArgs),
    /// Verify the checksums of the data directory of a stopped node.
    CheckData(check_data::CheckDataArgs),
    /// Check a recorded history of operations for linearizability.
    CheckHistory(check_history::CheckArgs),
}

/// The format of results and errors.
#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    /// Text for people.
    #[default]
    Text,
    /// JSON for programs.
    Json,
}

/// The error of a command, in one line.
enum Failure {
    /// The arguments are invalid, or the node cannot start with them.
    Usage(String),
    /// The command failed for another reason.
    Failed(String),
}

/// Runs the command of this process.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse_from(default_to_serve(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let result = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Put(args) => Ok(client::put(&args)),
        Command::Get(args) => Ok(client::get(&args)),
        Command::Delete(args) => Ok(client::delete(&args)),
        Command::List(args) => Ok(client::list(&args)),
        Command::Status(args) => Ok(client::status(&args)),
        Command::Secret(args) => secret::run(&args),
        Command::CheckData(args) => check_data::run(&args),
        Command::CheckHistory(args) => check_history::check(&args),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Usage(problem)) => {
            print_last_line(format!("raft: {problem}"));
            ExitCode::from(2)
        }
        Err(Failure::Failed(problem)) => {
            print_last_line(format!("raft: {problem}"));
            ExitCode::FAILURE
        }
    }
}

/// Inserts the command `serve` if the first argument is a flag.
fn default_to_serve(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<_> = args.collect();
    let general = ["-h", "--help", "-V", "--version"];
    let first = args.get(1).and_then(|first| first.to_str());
    if first.is_some_and(|first| first.starts_with('-') && !general.contains(&first)) {
        args.insert(1, "serve".into());
    }
    args
}

/// Prints a line. A closed pipe is not an error: its reader has stopped reading.
fn print_line(line: impl std::fmt::Display) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints help as a whole, and an error in one line.
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
            let mut parts = text.split("\n\n").next().unwrap_or_default().lines().map(str::trim);
            let first = parts.next().unwrap_or_default().trim_start_matches("error: ");
            let rest: Vec<_> = parts.collect();
            let problem = format!("{first} {}", rest.join(" "));
            let problem = format!("{} (see raft --help)", problem.trim());
            ClientError::Usage(problem).report(wanted_output(std::env::args_os()))
        }
    }
}

/// The output format that an invalid command line requests.
fn wanted_output(args: impl Iterator<Item = OsString>) -> Output {
    let args: Vec<_> = args.collect();
    let is_given = args.iter().any(|arg| arg == "--output=json")
        || args.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json");
    let is_json = is_given || std::env::var_os("RAFT_OUTPUT").is_some_and(|value| value == "json");
    if is_json { Output::Json } else { Output::Text }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn cli_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_without_command_mean_serve() {
        let completed = |args: &[&str]| {
            let args = std::iter::once("raft").chain(args.iter().copied());
            default_to_serve(args.map(OsString::from))
        };
        assert_eq!(completed(&["--port", "1"]), ["raft", "serve", "--port", "1"]);
        assert_eq!(completed(&["-p"]), ["raft", "serve", "-p"]);
        for unchanged in [&[][..], &["--help"], &["-V"], &["status"], &["serve", "--port", "1"]] {
            assert_eq!(completed(unchanged).len(), unchanged.len() + 1);
        }
    }
}
