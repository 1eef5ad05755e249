//! A seed that went wrong: kept in a file, made small, and how to see it again.

use std::fmt;

use raft_sim::campaign::{Report, Shrunk};
use raft_sim::scenario::{Scenario, Variant};
use raft_sim::{Script, Violation, WorldConfig};
use serde_json::{Map, Value, json};

use super::{Cli, broken, caught, drawn};

/// Browsers take longer addresses than this, and terminals do not show them well.
const ADDRESS_MAX: usize = 16_000;

/// What went wrong with a seed.
pub(crate) enum Failure {
    /// A rule was broken.
    Broke(Box<Report>),
    /// The simulator or a server panicked.
    Panicked { seed: u64, text: String },
}

impl Failure {
    pub(crate) fn seed(&self) -> u64 {
        match self {
            Self::Broke(report) => report.seed,
            Self::Panicked { seed, .. } => *seed,
        }
    }

    /// Writes the run as it was: whatever becomes of making it small, it is not lost.
    pub(crate) fn keep(&self, cli: &Cli) {
        if let Self::Broke(report) = self
            && let Some(violation) = &report.violation
            && let Err(problem) = write(cli, report.seed, &report.script, violation)
        {
            println!("  {problem}");
        }
    }

    /// Says how to see it again, and makes it small.
    pub(crate) fn explain(&self, cli: &Cli, shrinks: bool) {
        println!("{self}");
        println!("  replay it: {}", self.command(cli));
        if let Self::Broke(report) = self
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
        format!("cargo xtask simulate --seed {seed}{stretch}{}", option("broken", cli))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broke(report) => match &report.violation {
                Some(violation) => write!(f, "seed {}: {violation}", report.seed),
                None => write!(f, "seed {}", report.seed),
            },
            Self::Panicked { seed, text } => write!(f, "seed {seed}: panicked: {text}"),
        }
    }
}

/// An option that names the rule that servers break, if they do.
fn option(name: &str, cli: &Cli) -> String {
    broken(cli).map_or_else(String::new, |rule| format!(" --{name} {rule}"))
}

fn explain(report: &Report, violation: &Violation, cli: &Cli, shrinks: bool) {
    let small = match shrinks {
        false => None,
        true => caught(|| drawn(report.seed, cli).shrink(report)).unwrap_or_else(|text| {
            println!("  making it small panicked: {text}");
            None
        }),
    };
    let (script, violation) = match small {
        None => (report.script.clone(), violation.clone()),
        Some(Shrunk { script, violation, runs }) => {
            let (before, after) = (&report.script, &script);
            println!(
                "  shrunk in {runs} runs: {} actions to {}, {} nodes to {}, {} clients to {}: {violation}",
                before.actions.len(),
                after.actions.len(),
                before.config.nodes,
                after.config.nodes,
                before.config.clients,
                after.config.clients,
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
        Err(problem) => println!("  {problem}"),
    }
    if broken(cli).is_some() {
        // The servers of the page keep all rules.
        return;
    }
    let address = address(&script, violation.at);
    if address.len() <= ADDRESS_MAX {
        println!("  open it: {address}");
    } else {
        println!("  its address would have {} characters", address.len());
    }
}

/// Writes a failing run as a scenario, and returns where.
fn write(cli: &Cli, seed: u64, script: &Script, violation: &Violation) -> Result<String, String> {
    let path = cli.out.join(format!("{seed}.toml"));
    let text = caught(|| Scenario::of_failure(script, violation).to_toml())
        .map_err(|text| format!("writing it down panicked: {text}"))?;
    std::fs::create_dir_all(&cli.out)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path.display().to_string())
}

/// The page's address that shows a run at a moment: the part after the playground's.
fn address(script: &Script, at: u64) -> String {
    let fields = |config: &WorldConfig| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let usual = fields(&WorldConfig::default());
    let mut config = fields(&script.config);
    config.retain(|name, value| {
        let apart = ["nodes", "seed", "story", "branches"].contains(&name.as_str());
        !apart && usual.get(name) != Some(value)
    });
    let actions = serde_json::to_value(&script.actions).unwrap_or_default();
    format!(
        "/playground/#nodes={}&seed={}&config={}&do={}&at={at}",
        script.config.nodes,
        script.config.seed,
        encoded(&json!(config)),
        encoded(&actions)
    )
}

/// JSON as it can stand in an address.
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
