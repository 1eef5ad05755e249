//! Measures consensus cores side by side, and prints tables or writes them to a directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use bench_core::counts::Counts;
use bench_core::report::Report;
use bench_core::scaling::{self, BEHIND, MEMBERS};
use bench_core::{CASES, CORES, speed};

const USAGE: &str = "\
Measures consensus cores side by side.

  --repetitions <number>  how often each core is measured in each case (default: 7)
  --write <directory>     writes core.md and core.svg there as well
";

fn main() -> Result<()> {
    let mut repetitions = 7;
    let mut directory = None;
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} what?"));
        match argument.as_str() {
            "--repetitions" => repetitions = value()?.parse().context("not a number")?,
            "--write" => directory = Some(PathBuf::from(value()?)),
            "--help" => {
                print!("{USAGE}");
                return Ok(());
            }
            _ => bail!("{argument} is unknown\n{USAGE}"),
        }
    }
    let report = Report {
        counts: counts()?,
        speeds: speed::measure(repetitions)?,
        members: MEMBERS.into_iter().map(scaling::members).collect::<Result<_>>()?,
        catch_ups: BEHIND.into_iter().map(scaling::catch_up).collect::<Result<_>>()?,
        repetitions,
    };
    print!("{}", report.tables());
    if let Some(directory) = directory {
        write(&directory.join("core.md"), &report.page())?;
        write(&directory.join("core.svg"), &report.picture())?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What the program that counts says; it lies beside this one.
fn counts() -> Result<Vec<Vec<Counts>>> {
    let program = env::current_exe()?.with_file_name("counts");
    let output = Command::new(&program)
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines = std::str::from_utf8(&output.stdout)?.lines().map(|line| {
        let [allocations, bytes, messages] = *line.split(' ').collect::<Vec<_>>() else {
            bail!("three numbers in a line");
        };
        Ok(Counts {
            allocations: allocations.parse()?,
            bytes: bytes.parse()?,
            messages: messages.parse()?,
        })
    });
    let mut of_a_case = || {
        let cores = CORES.iter().map(|_| lines.next().context("a line for each core")?);
        cores.collect()
    };
    CASES.iter().map(|_| of_a_case()).collect()
}
