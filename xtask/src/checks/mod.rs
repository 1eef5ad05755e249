//! The checks of `cargo xtask test`, in the order in which they run.
//!
//! A check whose subject is missing fails. For example, a run of tests that finds no test is a
//! failure.

mod background_process;
mod cargo;
mod demo;
mod deny;
mod layers;
mod model_and_fuzz;
mod prose;
mod readme;
mod summary;
mod web;
mod zero_cost_sabotage;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::build::{node, page_size, wasm_package};
use crate::checks::summary::{Outcome, Row};
use crate::setup::Prerequisite;
use crate::step::announce;
use crate::workspace::Workspace;

/// One check, by its name on the command line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Check {
    /// The format of the code.
    Fmt,
    /// The width of lines, the links and the words of documentation and comments.
    Prose,
    /// The folders of a crate do not import each other in a cycle.
    Layers,
    /// Licenses, sources and bans of the dependency tree.
    Deny,
    /// The page builds, and its size is within the limits.
    Page,
    /// The types of the browser code.
    Types,
    /// Lints, with warnings denied.
    Clippy,
    /// The documentation of the code builds, with warnings denied.
    Doc,
    /// The release binary of the node builds.
    Build,
    /// The demo starts, serves requests, and stops on a signal.
    Demo,
    /// The commands of README.md succeed.
    Readme,
    /// Unit, documentation, integration and process tests.
    Test,
    /// raft-core and raft-kv build without a standard library.
    NoStd,
    /// The rule switches of the feature `sabotage` add no code to a build without it.
    #[value(alias = "switches")]
    ZeroCostSabotage,
    /// The golden trace, in a release build.
    Golden,
    /// A simulation campaign of 1,000 seeds.
    Campaign,
    /// Each disabled rule of the protocol causes a violation.
    Sabotage,
    /// Model checking within small bounds, also with disabled rules.
    Model,
    /// Fuzzing of raft-core with millions of steps.
    Fuzz,
    /// raft-core and raft 0.7.0 behave in the same way.
    Differential,
    /// The tests of raft-wasm, in a browser.
    Wasm,
    /// The page and the dashboard, in a browser.
    Browser,
}

/// The text that a check adds to its row of the summary.
type Note = Option<String>;

impl Check {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The prerequisites on the machine.
    fn prerequisites(self) -> &'static [Prerequisite] {
        use Prerequisite::{
            CargoDeny, Chromium, Curl, NodePackages, Promtool, Toolchain, WasmPack,
        };
        match self {
            Self::Prose | Self::Layers => &[],
            Self::Test => &[Toolchain, Promtool],
            Self::Deny => &[Toolchain, CargoDeny],
            Self::Readme => &[Toolchain, Curl],
            Self::Types => &[NodePackages],
            Self::Wasm => &[Toolchain, WasmPack, Chromium],
            Self::Browser => &[Chromium, NodePackages],
            Self::Fmt
            | Self::Page
            | Self::Clippy
            | Self::Doc
            | Self::Build
            | Self::Demo
            | Self::NoStd
            | Self::ZeroCostSabotage
            | Self::Golden
            | Self::Campaign
            | Self::Sabotage
            | Self::Model
            | Self::Fuzz
            | Self::Differential => &[Toolchain],
        }
    }

    /// The checks that must succeed first, because they build the subject of this check.
    fn dependencies(self) -> &'static [Self] {
        match self {
            // The node embeds the page, so no target of the node compiles without the page.
            Self::Types | Self::Clippy | Self::Doc | Self::Build => &[Self::Page],
            Self::Test | Self::Browser | Self::Demo | Self::Readme => &[Self::Page, Self::Build],
            Self::Fmt
            | Self::Prose
            | Self::Layers
            | Self::Deny
            | Self::Page
            | Self::NoStd
            | Self::ZeroCostSabotage
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
            Self::Fmt => cargo::fmt(workspace),
            Self::Prose => prose::run(workspace),
            Self::Layers => layers::run(workspace),
            Self::Deny => deny::run(workspace),
            Self::Page => {
                wasm_package::build(workspace)?;
                let sizes = page_size::measure(workspace)?;
                sizes.check()?;
                Ok(Some(sizes.to_string()))
            }
            Self::Types => web::types(workspace),
            Self::Clippy => cargo::clippy(workspace),
            Self::Doc => cargo::doc(workspace),
            Self::Build => node::build(workspace).map(|()| None),
            Self::Test => cargo::test(workspace),
            Self::NoStd => cargo::no_std(workspace),
            Self::ZeroCostSabotage => zero_cost_sabotage::run(workspace),
            Self::Golden => cargo::golden(workspace),
            Self::Campaign => cargo::campaign(workspace),
            Self::Sabotage => cargo::sabotage(workspace),
            Self::Model => model_and_fuzz::model(workspace),
            Self::Fuzz => model_and_fuzz::fuzz(workspace),
            Self::Differential => model_and_fuzz::differential(workspace),
            Self::Wasm => web::wasm(workspace),
            Self::Browser => web::browser(workspace),
            Self::Demo => demo::run(workspace),
            Self::Readme => readme::run(workspace),
        }
    }
}

/// Runs the named checks and those that they depend on, or all checks if none is named. A failed
/// check only stops the checks that depend on it.
pub fn run(workspace: &Workspace, named: &[Check]) -> ExitCode {
    let started = Instant::now();
    let checks = selection(named);
    let (setup, missing) = set_up(workspace, &checks);
    let mut rows = vec![setup];
    let mut succeeded: Vec<Check> = Vec::new();
    for &check in &checks {
        let obstacle = obstacle(check, &missing, &succeeded);
        let (outcome, time) = match obstacle {
            Some(obstacle) => (Outcome::NotRun(obstacle), Duration::ZERO),
            None => {
                announce(&check.name());
                let began = Instant::now();
                let result = check.run(workspace);
                (Outcome::from(result), began.elapsed())
            }
        };
        if let Outcome::Ok(_) = outcome {
            succeeded.push(check);
        } else if let Outcome::Failed(error) = &outcome {
            eprintln!("error: {}: {error}", check.name());
        }
        rows.push(Row { name: check.name(), outcome, time });
    }
    summary::print(&rows, started.elapsed());
    if rows.iter().all(|row| matches!(row.outcome, Outcome::Ok(_))) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The named checks and those that they depend on, in the order in which they run.
fn selection(named: &[Check]) -> Vec<Check> {
    let wanted = |check: &Check| {
        named.is_empty()
            || named.iter().any(|name| name == check || name.dependencies().contains(check))
    };
    Check::value_variants().iter().copied().filter(wanted).collect()
}

/// Installs the prerequisites of all checks. Returns the row of the summary, and the errors by
/// prerequisite.
fn set_up(workspace: &Workspace, checks: &[Check]) -> (Row, HashMap<Prerequisite, String>) {
    announce("set-up");
    let began = Instant::now();
    let mut installed = Vec::new();
    let mut missing = HashMap::new();
    for prerequisite in Prerequisite::ALL {
        if !checks.iter().any(|check| check.prerequisites().contains(prerequisite)) {
            continue;
        }
        match prerequisite.ensure(workspace) {
            Ok(names) => installed.extend(names),
            Err(error) => {
                eprintln!("error: {error:#}");
                missing.insert(*prerequisite, format!("{error:#}"));
            }
        }
    }
    let outcome = if missing.is_empty() {
        Outcome::Ok(Some(match installed.as_slice() {
            [] => "all prerequisites were installed".to_owned(),
            some => format!("installed {}", some.join(", ")),
        }))
    } else {
        Outcome::Failed(missing.values().cloned().collect::<Vec<_>>().join("; "))
    };
    let row = Row { name: "set-up".to_owned(), outcome, time: began.elapsed() };
    (row, missing)
}

/// Returns the reason why a check cannot run.
fn obstacle(
    check: Check,
    missing: &HashMap<Prerequisite, String>,
    succeeded: &[Check],
) -> Option<String> {
    let prerequisite = check.prerequisites().iter().find(|name| missing.contains_key(name));
    let dependency = || check.dependencies().iter().find(|name| !succeeded.contains(name));
    prerequisite
        .map(|name| format!("missing prerequisite: {name:?}; see set-up"))
        .or_else(|| dependency().map(|name| format!("`{}` did not succeed", name.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_run_after_dependencies() {
        for check in Check::value_variants() {
            assert!(check.dependencies().iter().all(|before| before < check), "{check:?}");
        }
    }

    #[test]
    fn check_dependencies_are_transitive() {
        for check in Check::value_variants() {
            for before in check.dependencies() {
                let mut first = before.dependencies().iter();
                assert!(first.all(|first| check.dependencies().contains(first)), "{check:?}");
            }
        }
    }

    #[test]
    fn selected_check_includes_dependencies() {
        assert_eq!(selection(&[Check::Browser]), [Check::Page, Check::Build, Check::Browser]);
        assert_eq!(selection(&[]).len(), Check::value_variants().len());
    }

    #[test]
    fn failure_skips_dependents_only() {
        let nothing_missing = HashMap::new();
        assert_eq!(obstacle(Check::Campaign, &nothing_missing, &[]), None);
        assert!(obstacle(Check::Test, &nothing_missing, &[Check::Page]).is_some());
        let no_browser = HashMap::from([(Prerequisite::Chromium, String::new())]);
        assert!(obstacle(Check::Wasm, &no_browser, &[]).is_some());
    }
}
