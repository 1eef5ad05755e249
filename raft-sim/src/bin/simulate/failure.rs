//! Failing seeds: their files, their reduction, and the commands that replay them.

use std::path::PathBuf;
use std::{fmt, io};

use raft_sim::campaign::{Report, Shrunk};
use raft_sim::scenario::{Scenario, Variant};
use raft_sim::{Script, Violation, WorldConfig};
use serde_json::{Map, Value, json};

use super::{Cli, PanicMessage, catch, disabled_rule, generate};

/// The longest address that is printed. Browsers accept longer ones, but terminals wrap them.
const ADDRESS_MAX: usize = 16_000;

/// The failure of a seed.
pub(crate) enum Failure {
    /// An invariant was violated.
    Violated(Box<Report>),
    /// The simulator or a server panicked.
    Panicked { seed: u64, panic: PanicMessage },
}

impl Failure {
    pub(crate) fn seed(&self) -> u64 {
        match self {
            Self::Violated(report) => report.seed,
            Self::Panicked { seed, .. } => *seed,
        }
    }

    /// Writes the run into a file before it is reduced, so that a failed reduction does not lose
    /// it.
    pub(crate) fn keep(&self, cli: &Cli) {
        if let Self::Violated(report) = self
            && let Some(violation) = &report.violation
            && let Err(error) = write(cli, report.seed, &report.script, violation)
        {
            println!("  {error}");
        }
    }

    /// Prints the command that replays the seed, and reduces the run.
    pub(crate) fn explain(&self, cli: &Cli, shrinks: bool) {
        println!("{self}");
        println!("  replay it: {}", self.command(cli));
        if let Self::Violated(report) = self
            && let Some(violation) = &report.violation
        {
            explain(report, violation, cli, shrinks);
        }
    }

    fn command(&self, cli: &Cli) -> String {
        let stretch = match cli.stretch {
            1 => String::new(),
            most => format!(" --stretch {most}"),
        };
        let seed = self.seed();
        format!("cargo xtask simulate --seed {seed}{stretch}{}", option("disable", cli))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violated(report) => match &report.violation {
                Some(violation) => write!(f, "seed {}: {violation}", report.seed),
                None => write!(f, "seed {}", report.seed),
            },
            Self::Panicked { seed, panic } => write!(f, "seed {seed}: {panic}"),
        }
    }
}

/// An option with the name of the disabled rule, if there is one.
fn option(name: &str, cli: &Cli) -> String {
    disabled_rule(cli).map_or_else(String::new, |rule| format!(" --{name} {rule}"))
}

fn explain(report: &Report, violation: &Violation, cli: &Cli, shrinks: bool) {
    let small = if shrinks {
        catch(|| generate(report.seed, cli).shrink(report)).unwrap_or_else(|panic| {
            println!("  the reduction {panic}");
            None
        })
    } else {
        None
    };
    let (script, violation) = match small {
        None => (report.script.clone(), violation.clone()),
        Some(Shrunk { script, violation, runs }) => {
            let (before, after) = (&report.script, &script);
            println!(
                "  shrunk in {runs} runs: {} actions to {}, {} nodes to {}, {} clients to {}: {violation}",
                before.actions.len(),
                after.actions.len(),
                before.config.cluster.nodes,
                after.config.cluster.nodes,
                before.config.workload.clients,
                after.config.workload.clients,
            );
            (script, violation)
        }
    };
    match write(cli, report.seed, &script, &violation) {
        Ok(path) => println!(
            "  play it: cargo xtask scenario {path} --variant {}{}",
            Variant::of(&script.config),
            option("without", cli)
        ),
        Err(error) => println!("  {error}"),
    }
    if disabled_rule(cli).is_some() {
        // The servers of the page cannot disable rules.
        return;
    }
    let address = address(&script, violation.at);
    if address.len() <= ADDRESS_MAX {
        println!("  open it: {address}");
    } else {
        println!("  the address is too long: {} characters", address.len());
    }
}

/// Writes a failing run as a scenario, and returns the path.
fn write(
    cli: &Cli,
    seed: u64,
    script: &Script,
    violation: &Violation,
) -> Result<String, WriteError> {
    let path = cli.out.join(format!("{seed}.toml"));
    let text = catch(|| Scenario::of_failure(script, violation).to_toml())
        .map_err(WriteError::Panicked)?;
    std::fs::create_dir_all(&cli.out)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| WriteError::Io(path.clone(), error))?;
    Ok(path.display().to_string())
}

/// Why the scenario of a failing run was not written.
enum WriteError {
    /// The export panicked.
    Panicked(PanicMessage),
    /// The file cannot be written.
    Io(PathBuf, io::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => write!(f, "the export {panic}"),
            Self::Io(path, error) => {
                write!(f, "cannot write {}: {error}; use another --out", path.display())
            }
        }
    }
}

/// The address of the page that shows a run at a time, relative to the node.
fn address(script: &Script, at: u64) -> String {
    let fields = |config: &WorldConfig| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let usual = fields(&WorldConfig::default());
    let mut config = fields(&script.config);
    config.retain(|name, value| {
        let is_separate =
            ["nodes", "seed", "record_events", "count_coverage"].contains(&name.as_str());
        !is_separate && usual.get(name) != Some(value)
    });
    let actions = serde_json::to_value(&script.actions).unwrap_or_default();
    format!(
        "/playground/#nodes={}&seed={}&config={}&do={}&at={at}",
        script.config.cluster.nodes,
        script.config.seed,
        encoded(&json!(config)),
        encoded(&actions)
    )
}

/// JSON with percent-encoding for an address.
fn encoded(value: &Value) -> String {
    let mut text = String::new();
    for byte in value.to_string().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':' | b',' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
