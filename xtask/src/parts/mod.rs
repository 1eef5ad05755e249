//! What `cargo xtask test` runs, in this order. A part whose subject is missing fails: it never
//! passes in silence.

mod checked;
mod demo;
mod deny;
mod prose;
mod readme;
mod rust;
mod server;
mod summary;
mod switches;
mod web;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::node;
use crate::page;
use crate::parts::summary::{Outcome, Row};
use crate::setup::Need;
use crate::step::announce;
use crate::workspace::Workspace;

/// One check, by the name it has on the command line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Part {
    /// The code is formatted.
    Fmt,
    /// The width of lines, the links and the words of documentation and comments.
    Prose,
    /// Licenses, sources and bans of the dependency tree.
    Deny,
    /// The page builds, and is no larger than allowed.
    Page,
    /// The browser's code is type-checked.
    Types,
    /// Lints, with warnings denied.
    Clippy,
    /// The documentation builds, with warnings denied.
    Doc,
    /// The node that ships builds.
    Build,
    /// The demo starts, serves, and stops on a signal.
    Demo,
    /// The commands of README.md do what they say.
    Readme,
    /// Unit, documentation, integration and process tests.
    Test,
    /// raft-core and raft-kv build without a standard library.
    NoStd,
    /// Without `sabotage`, the switches of the rules leave nothing in the program.
    Switches,
    /// The golden trace, in release.
    Golden,
    /// 1,000 simulated worlds full of faults.
    Campaign,
    /// Each rule of the protocol is broken, and something falls.
    Sabotage,
    /// Every state of small models of raft-core, and what falls when a rule is broken.
    Model,
    /// Millions of calls of raft-core, true and false.
    Fuzz,
    /// raft-core and raft 0.7.0 do the same.
    Differential,
    /// raft-wasm's tests, in a browser.
    Wasm,
    /// The page and the dashboard, in a browser.
    Browser,
}

/// What a part adds to its line of the summary.
type Note = Option<String>;

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What must be on the machine.
    fn needs(self) -> &'static [Need] {
        use Need::{CargoDeny, Chromium, Curl, NodePackages, Promtool, Toolchain, WasmPack};
        match self {
            Self::Fmt | Self::Clippy | Self::Doc | Self::Build => &[Toolchain],
            Self::Test => &[Toolchain, Promtool],
            Self::NoStd | Self::Switches | Self::Golden => &[Toolchain],
            Self::Campaign | Self::Sabotage | Self::Model | Self::Fuzz => &[Toolchain],
            Self::Differential => &[Toolchain],
            Self::Prose => &[],
            Self::Deny => &[Toolchain, CargoDeny],
            Self::Page | Self::Demo => &[Toolchain],
            Self::Readme => &[Toolchain, Curl],
            Self::Types => &[NodePackages],
            Self::Wasm => &[Toolchain, WasmPack, Chromium],
            Self::Browser => &[Chromium, NodePackages],
        }
    }

    /// The parts that must have succeeded before, because they make what this one looks at.
    fn after(self) -> &'static [Self] {
        match self {
            // The node embeds the page, so nothing of it compiles without.
            Self::Types | Self::Clippy | Self::Doc | Self::Build => &[Self::Page],
            Self::Test | Self::Browser | Self::Demo | Self::Readme => &[Self::Page, Self::Build],
            Self::Fmt
            | Self::Prose
            | Self::Deny
            | Self::Page
            | Self::NoStd
            | Self::Switches
            | Self::Golden
            | Self::Campaign
            | Self::Sabotage
            | Self::Model
            | Self::Fuzz
            | Self::Differential
            | Self::Wasm => &[],
        }
    }

    fn run(self, workspace: &Workspace) -> Result<Note> {
        match self {
            Self::Fmt => rust::fmt(workspace),
            Self::Prose => prose::run(workspace),
            Self::Deny => deny::run(workspace),
            Self::Page => {
                page::build(workspace)?;
                let sizes = page::measure(workspace)?;
                sizes.check()?;
                Ok(Some(sizes.to_string()))
            }
            Self::Types => web::types(workspace),
            Self::Clippy => rust::clippy(workspace),
            Self::Doc => rust::doc(workspace),
            Self::Build => node::build(workspace).map(|()| None),
            Self::Test => rust::test(workspace),
            Self::NoStd => rust::no_std(workspace),
            Self::Switches => switches::run(workspace),
            Self::Golden => rust::golden(workspace),
            Self::Campaign => rust::campaign(workspace),
            Self::Sabotage => rust::sabotage(workspace),
            Self::Model => checked::model(workspace),
            Self::Fuzz => checked::fuzz(workspace),
            Self::Differential => checked::differential(workspace),
            Self::Wasm => web::wasm(workspace),
            Self::Browser => web::browser(workspace),
            Self::Demo => demo::run(workspace),
            Self::Readme => readme::run(workspace),
        }
    }
}

/// Runs these parts and those they build upon, or all if none is named. A part that fails doesn't
/// stop the others, except those that need what it makes.
pub fn run(workspace: &Workspace, named: &[Part]) -> ExitCode {
    let started = Instant::now();
    let parts = selection(named);
    let (setup, missing) = set_up(workspace, &parts);
    let mut rows = vec![setup];
    let mut succeeded: Vec<Part> = Vec::new();
    for &part in &parts {
        let obstacle = obstacle(part, &missing, &succeeded);
        let (outcome, time) = match obstacle {
            Some(obstacle) => (Outcome::NotRun(obstacle), Duration::ZERO),
            None => {
                announce(&part.name());
                let began = Instant::now();
                let result = part.run(workspace);
                (Outcome::from(result), began.elapsed())
            }
        };
        if let Outcome::Ok(_) = outcome {
            succeeded.push(part);
        } else if let Outcome::Failed(error) = &outcome {
            eprintln!("error: {}: {error}", part.name());
        }
        rows.push(Row { name: part.name(), outcome, time });
    }
    summary::print(&rows, started.elapsed());
    if rows.iter().all(|row| matches!(row.outcome, Outcome::Ok(_))) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The named parts with those they build upon, in the order they run in.
fn selection(named: &[Part]) -> Vec<Part> {
    let wanted = |part: &Part| {
        named.is_empty() || named.iter().any(|name| name == part || name.after().contains(part))
    };
    Part::value_variants().iter().copied().filter(wanted).collect()
}

/// Meets the needs of all parts; returns what could not be met beside the line for the summary.
fn set_up(workspace: &Workspace, parts: &[Part]) -> (Row, HashMap<String, String>) {
    announce("set-up");
    let began = Instant::now();
    let mut installed = Vec::new();
    let mut missing = HashMap::new();
    for need in Need::ALL {
        if !parts.iter().any(|part| part.needs().contains(need)) {
            continue;
        }
        match need.ensure(workspace) {
            Ok(news) => installed.extend(news),
            Err(error) => {
                eprintln!("error: {error:#}");
                missing.insert(format!("{need:?}"), format!("{error:#}"));
            }
        }
    }
    let outcome = if missing.is_empty() {
        Outcome::Ok(Some(match installed.as_slice() {
            [] => "everything was there".to_owned(),
            some => format!("installed {}", some.join(", ")),
        }))
    } else {
        Outcome::Failed(missing.values().cloned().collect::<Vec<_>>().join("; "))
    };
    let row = Row { name: "set-up".to_owned(), outcome, time: began.elapsed() };
    (row, missing)
}

/// Why a part cannot run.
fn obstacle(part: Part, missing: &HashMap<String, String>, succeeded: &[Part]) -> Option<String> {
    let need =
        part.needs().iter().map(|need| format!("{need:?}")).find(|need| missing.contains_key(need));
    let before = || part.after().iter().find(|before| !succeeded.contains(before));
    need.map(|need| format!("needs {need}, see set-up"))
        .or_else(|| before().map(|before| format!("needs `{}` to succeed", before.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_run_after_dependencies() {
        for part in Part::value_variants() {
            assert!(part.after().iter().all(|before| before < part), "{part:?}");
        }
    }

    #[test]
    fn check_dependencies_are_transitive() {
        for part in Part::value_variants() {
            for before in part.after() {
                assert!(
                    before.after().iter().all(|first| part.after().contains(first)),
                    "{part:?}"
                );
            }
        }
    }

    #[test]
    fn selected_check_includes_dependencies() {
        assert_eq!(selection(&[Part::Browser]), [Part::Page, Part::Build, Part::Browser]);
        assert_eq!(selection(&[]).len(), Part::value_variants().len());
    }

    #[test]
    fn failure_skips_dependents_only() {
        let nothing_missing = HashMap::new();
        assert_eq!(obstacle(Part::Campaign, &nothing_missing, &[]), None);
        assert!(obstacle(Part::Test, &nothing_missing, &[Part::Page]).is_some());
        let no_browser = HashMap::from([("Chromium".to_owned(), String::new())]);
        assert!(obstacle(Part::Wasm, &no_browser, &[]).is_some());
    }
}
