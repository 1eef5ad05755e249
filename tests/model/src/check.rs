//! One model, checked: what was reached, and what fell.

use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use crate::bounds::Bounds;
use crate::model::{Action, Servers, State};

/// How the states are gone through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// All of them in little memory. What falls, falls after many steps.
    DepthFirst,
    /// What falls, falls after as few steps as possible.
    BreadthFirst,
}

/// What a check found.
#[derive(Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Steps between them, also to states that were known.
    pub steps: usize,
    /// The length of the longest path that was followed.
    pub depth: usize,
    /// Different states of one server.
    pub servers: usize,
    /// Different messages.
    pub messages: usize,
    /// How long it took.
    pub time: Duration,
    /// The properties that do not hold, each with the steps that show it.
    pub fell: Vec<(&'static str, Vec<String>)>,
    /// What should have happened and never did: such a model proves little.
    pub never: Vec<&'static str>,
    /// Whether all states were seen.
    pub is_complete: bool,
}

impl Report {
    /// Whether all states were seen, nothing fell, and everything happened that should.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.is_complete && self.fell.is_empty() && self.never.is_empty()
    }
}

/// Goes through all states within `bounds`, or until something falls, or `steps_max` were taken.
///
/// # Panics
///
/// If a server panics.
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
    let (mut fell, mut never) = (Vec::new(), Vec::new());
    for property in model.properties() {
        match (property.expectation, found.remove(property.name)) {
            (Expectation::Always, Some(path)) => fell.push((property.name, story(model, path))),
            (Expectation::Sometimes, None) => never.push(property.name),
            _ => {}
        }
    }
    let (servers, messages) = model.occurred();
    let steps = checker.state_count();
    Report {
        states: checker.unique_state_count(),
        steps,
        depth: checker.max_depth(),
        servers,
        messages,
        time,
        is_complete: fell.is_empty() && steps_max.is_none_or(|most| steps < most),
        fell,
        never,
    }
}

fn story(model: &Servers, path: Path<State, Action>) -> Vec<String> {
    let actions = path.into_actions();
    actions.iter().map(|action| model.format_action(action)).collect()
}
