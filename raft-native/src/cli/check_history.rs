//! `raft check-history`: checks a recorded history for linearizability.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use raft_history::history::{Format, parse};
use raft_history::linearizability::{Contradiction, Limits, Verdict, check_within, html_report};
use serde_json::json;

use super::{Failure, Output, print_line};

/// Exit statuses; see docs/guide/check-history.md.
const NOT_LINEARIZABLE: u8 = 1;
const GAVE_UP: u8 = 3;

#[derive(Args)]
pub(super) struct CheckArgs {
    /// The history file; - reads standard input.
    file: PathBuf,
    /// The format of the history [default: detected from the first line].
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// The file for the report of a violation [default: NAME.violation.html in this directory].
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The largest number of search steps for one key.
    #[arg(long, allow_negative_numbers = true, default_value_t = Limits::default().steps_max)]
    steps: u64,
    /// The largest memory of the search for one key, in MiB.
    #[arg(long, value_name = "MIB", allow_negative_numbers = true, default_value_t = Limits::default().bytes_max >> 20)]
    memory: usize,
    /// The format of the verdict.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatName {
    /// One JSON object on each line.
    Json,
    /// Porcupine's key-value histories.
    Porcupine,
    /// Jepsen's log of an etcd register.
    Jepsen,
}

/// Returns exit status 0 if the history is linearizable, 1 if it is not, 2 if it cannot be read,
/// and 3 if the search exceeded a limit.
pub(super) fn check(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let bad = |problem: String| Failure::Usage(format!("{}: {problem}", args.file.display()));
    let text = read(&args.file).map_err(|error| bad(error.to_string()))?;
    let format = args.format.map(|name| match name {
        FormatName::Json => Format::Json,
        FormatName::Porcupine => Format::Porcupine,
        FormatName::Jepsen => Format::Jepsen,
    });
    let history = parse(&text, format).map_err(|error| bad(error.to_string()))?;
    let limits = Limits { steps_max: args.steps, bytes_max: args.memory.saturating_mul(1 << 20) };
    let verdict = check_within(&history.operations, limits);
    let page = match &verdict {
        Verdict::Violation(contradiction) => Some(draw(args, contradiction)?),
        Verdict::Linearizable | Verdict::GaveUp { .. } => None,
    };
    let (name, code) = match &verdict {
        Verdict::Linearizable => ("linearizable", 0),
        Verdict::Violation(_) => ("not-linearizable", NOT_LINEARIZABLE),
        Verdict::GaveUp { .. } => ("gave-up", GAVE_UP),
    };
    let key = match &verdict {
        Verdict::Linearizable => None,
        Verdict::Violation(contradiction) => Some(&contradiction.key),
        Verdict::GaveUp { key } => Some(key),
    };
    match args.output {
        Output::Json => print_line(format_args!(
            "{}",
            json!({
                "verdict": name,
                "operations": history.operations.len(),
                "failed": history.failed,
                "skipped_lines": history.skipped,
                "key": key,
                "page": page,
            })
        ))?,
        Output::Text => {
            print_line(format_args!("{verdict}"))?;
            let (judged, failed) = (history.operations.len(), history.failed);
            print!("{judged} operations were checked");
            if failed > 0 {
                print!("; {failed} failed operations were ignored");
            }
            if history.skipped > 0 {
                print!("; {} other lines were ignored", history.skipped);
            }
            print_line("")?;
            if let Some(page) = page {
                print_line(format_args!("report: {}", page.display()))?;
            }
        }
    }
    Ok(ExitCode::from(code))
}

fn read(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file)
}

/// Writes the report of a violation. The error of a failed write contains the verdict.
fn draw(args: &CheckArgs, contradiction: &Contradiction) -> Result<PathBuf, Failure> {
    let path = args.report.clone().unwrap_or_else(|| {
        let stem = args.file.file_stem().filter(|_| args.file != Path::new("-"));
        let stem = stem.map_or("history".into(), std::ffi::OsStr::to_string_lossy);
        PathBuf::from(format!("{stem}.violation.html"))
    });
    fs::write(&path, html_report(contradiction)).map_err(|error| {
        let verdict = Verdict::Violation(Box::new(contradiction.clone()));
        Failure::Failed(format!("{verdict}\nraft: {}: {error}", path.display()))
    })?;
    Ok(path)
}
