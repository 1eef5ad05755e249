//! Measures the simulator's speed, natively and in WebAssembly, and prints tables or writes them to
//! a directory: `cargo xtask bench sim --help`.

mod cases;
mod measure;
mod report;
mod wasm;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::report::Report;

/// Measures the simulator's speed, natively and in WebAssembly.
#[derive(Parser)]
#[command(name = "cargo xtask bench sim")]
pub struct Cli {
    /// How often each world is run in each place.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Writes sim.md there as well.
    #[arg(long, value_name = "DIRECTORY")]
    write: Option<PathBuf>,
    /// The program of Node.js that runs the page's package, here and in Chromium; without it, only
    /// native code is measured.
    #[arg(long, value_name = "FILE")]
    harness: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("bench: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let report = Report::measure(cli)?;
    print!("{}", report.tables());
    if let Some(directory) = &cli.write {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("sim.md"), report.page())?;
        eprintln!("written: {}", directory.join("sim.md").display());
    }
    Ok(())
}
