//! Measurements in WebAssembly: the page's package, in Node.js and in Chromium.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::cases::Case;
use crate::measure::Measured;

/// A platform for WebAssembly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Platform {
    Node,
    Chromium,
}

impl Platform {
    pub const ALL: [Self; 2] = [Self::Node, Self::Chromium];

    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "Node.js",
            Self::Chromium => "Chromium",
        }
    }
}

/// The output of the harness.
#[derive(Deserialize)]
pub struct Output {
    /// The name and version of the runtime.
    pub runtime: String,
    runs: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    seconds: f64,
    back_seconds: f64,
    trace_hash: String,
}

/// Runs all cases once, after short runs that let the engine optimize.
pub fn run(
    harness: &Path,
    platform: Platform,
    cases: &[Case],
) -> Result<(String, Vec<Measured>), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("bench-sim-{}.json", std::process::id()));
    fs::write(&path, serde_json::to_vec(cases)?)?;
    let output = Command::new("node")
        .arg(harness)
        .arg(platform.name())
        .arg(&path)
        .stderr(Stdio::inherit())
        .output();
    fs::remove_file(&path)?;
    let output = output?;
    if !output.status.success() {
        return Err(format!("the harness failed in {}: {}", platform.name(), output.status).into());
    }
    let answer: Output = serde_json::from_slice(&output.stdout)?;
    if answer.runs.len() != cases.len() {
        return Err("the harness omitted cases".into());
    }
    let measured = answer.runs.iter().map(|line| {
        Ok(Measured {
            seconds: line.seconds,
            back_seconds: line.back_seconds,
            trace_hash: u64::from_str_radix(&line.trace_hash, 16)?,
        })
    });
    let measured: Result<Vec<_>, std::num::ParseIntError> = measured.collect();
    Ok((answer.runtime, measured?))
}
