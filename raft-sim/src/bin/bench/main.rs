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

/// Measure the speed of the simulator, natively and in WebAssembly.
#[derive(Parser)]
#[command(name = "cargo xtask bench sim")]
pub struct Cli {
    /// Number of repetitions of each run on each platform.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Directory for the report sim.md.
    #[arg(long, value_name = "DIRECTORY")]
    write: Option<PathBuf>,
    /// Program for Node.js that runs the page's package, in Node.js and in Chromium; without it,
    /// only native code is measured.
    #[arg(long, value_name = "FILE")]
    harness: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let report = Report::measure(cli)?;
    print!("{}", report.tables());
    if let Some(directory) = &cli.write {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("sim.md"), report.markdown())?;
        eprintln!("written: {}", directory.join("sim.md").display());
    }
    Ok(())
}
