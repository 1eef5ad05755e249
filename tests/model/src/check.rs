//! The check of one model, and its report.

use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use crate::bounds::Bounds;
use crate::model::{Action, Servers, State};

/// The order in which states are explored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Needs little memory. A violation is found after many steps.
    DepthFirst,
    /// Finds a violation with the fewest steps.
    BreadthFirst,
}

/// The result of a check.
#[derive(Debug)]
pub struct Report {
    /// The number of distinct states.
    pub states: usize,
    /// The number of steps, including steps to known states.
    pub steps: usize,
    /// The length of the longest path.
    pub depth: usize,
    /// The number of distinct states of one server.
    pub servers: usize,
    /// The number of distinct messages.
    pub messages: usize,
    /// The time of the check.
    pub time: Duration,
    /// The violated properties, each with the steps to the violation.
    pub violated: Vec<(&'static str, Vec<String>)>,
    /// Required states that the model never reached. Without them, a model proves little.
    pub unreached: Vec<&'static str>,
    /// True if all states were explored.
    pub is_complete: bool,
}

impl Report {
    /// Returns true if all states were explored, no property is violated, and all required states
    /// were reached.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.is_complete && self.violated.is_empty() && self.unreached.is_empty()
    }
}

/// Explores all states within `bounds`. The check ends early at a violation or after `steps_max`
/// steps.
///
/// # Panics
///
/// Panics if a server panics.
#[must_use]
pub fn check(bounds: Bounds, order: Order, threads: usize, steps_max: Option<usize>) -> Report {
    let began = Instant::now();
    let mut builder =
        Servers::new(bounds).checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(steps_max) = steps_max {
        builder = builder.target_state_count(steps_max);
    }
    match order {
        Order::DepthFirst => report(&builder.spawn_dfs().join(), began, steps_max),
        Order::BreadthFirst => report(&builder.spawn_bfs().join(), began, steps_max),
    }
}

fn report(checker: &impl Checker<Servers>, began: Instant, steps_max: Option<usize>) -> Report {
    let time = began.elapsed();
    let model = checker.model();
    let mut found = checker.discoveries();
    let (mut violated, mut unreached) = (Vec::new(), Vec::new());
    for property in model.properties() {
        match (property.expectation, found.remove(property.name)) {
            (Expectation::Always, Some(path)) => {
                violated.push((property.name, steps_of(model, path)));
            }
            (Expectation::Sometimes, None) => unreached.push(property.name),
            _ => {}
        }
    }
    let (servers, messages) = model.distinct();
    let steps = checker.state_count();
    Report {
        states: checker.unique_state_count(),
        steps,
        depth: checker.max_depth(),
        servers,
        messages,
        time,
        is_complete: violated.is_empty() && steps_max.is_none_or(|most| steps < most),
        violated,
        unreached,
    }
}

/// The steps of a path as text.
fn steps_of(model: &Servers, path: Path<State, Action>) -> Vec<String> {
    let actions = path.into_actions();
    actions.iter().map(|action| model.format_action(action)).collect()
}
