//! The command line of the benchmark. It prints tables, or writes them to a directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use bench_core::allocation_counts::Counts;
use bench_core::report::Report;
use bench_core::scaling::{self, BEHIND, MEMBERS};
use bench_core::{CASES, CORES, throughput};

const USAGE: &str = "\
Compares the speed of consensus cores.

  --repetitions <number>  measurements of each core in each case (default: 7)
  --write <directory>     also write core.md and core.svg to this directory
";

fn main() -> Result<()> {
    let mut repetitions = 7;
    let mut directory = None;
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("missing value of {argument}"));
        match argument.as_str() {
            "--repetitions" => {
                repetitions = value()?.parse().context("invalid number of repetitions")?;
            }
            "--write" => directory = Some(PathBuf::from(value()?)),
            "--help" => {
                print!("{USAGE}");
                return Ok(());
            }
            _ => bail!("unknown option: {argument}\n{USAGE}"),
        }
    }
    let report = Report {
        counts: counts()?,
        throughputs: throughput::measure(repetitions)?,
        members: MEMBERS.into_iter().map(scaling::members).collect::<Result<_>>()?,
        catch_ups: BEHIND.into_iter().map(scaling::catch_up).collect::<Result<_>>()?,
        repetitions,
    };
    print!("{}", report.tables());
    if let Some(directory) = directory {
        write(&directory.join("core.md"), &report.page())?;
        write(&directory.join("core.svg"), &report.chart())?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The output of the program `counts`, which is in the same directory.
fn counts() -> Result<Vec<Vec<Counts>>> {
    let program = env::current_exe()?.with_file_name("counts");
    let output = Command::new(&program)
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines = std::str::from_utf8(&output.stdout)?.lines().map(|line| {
        let [allocations, bytes, messages] = *line.split(' ').collect::<Vec<_>>() else {
            bail!("invalid line in the output of counts; expected three numbers");
        };
        Ok(Counts {
            allocations: allocations.parse()?,
            bytes: bytes.parse()?,
            messages: messages.parse()?,
        })
    });
    let mut of_a_case = || {
        let cores = CORES
            .iter()
            .map(|_| lines.next().context("missing line for a core in the output of counts")?);
        cores.collect()
    };
    CASES.iter().map(|_| of_a_case()).collect()
}
