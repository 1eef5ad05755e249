//! The runs of the benchmark.

use raft_sim::{Script, SteadyWorkload, Timing};
use serde::Serialize;

/// A run of the benchmark.
#[derive(Clone, Serialize)]
pub struct Case {
    /// The name in the tables.
    pub name: String,
    pub nodes: u64,
    /// True if the run has an event log, as the page has.
    pub event_log: bool,
    /// The duration, in microseconds.
    pub lasts: u64,
    /// The target of the jump back at the end, in microseconds.
    pub back_to: Option<u64>,
    pub script: Script,
}

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;

/// All runs whose speed is measured.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for timing in [Timing::Etcd, Timing::Paper] {
        for (nodes, lasts) in [(3, HOUR), (5, 2 * HOUR), (51, 240 * SECOND), (101, 80 * SECOND)] {
            cases.push(case(nodes, timing, lasts, false));
        }
    }
    cases.push(case(5, Timing::Paper, 2 * HOUR, true));
    cases
}

/// The run with five servers whose checkpoints are measured.
pub fn with_checkpoints(event_log: bool) -> Case {
    case(5, Timing::Paper, HOUR, event_log)
}

fn case(nodes: u64, timing: Timing, lasts: u64, event_log: bool) -> Case {
    let service = SteadyWorkload { nodes, timing, seed: 1 };
    let mut script = service.script(lasts);
    script.config.record_events = event_log;
    let recorded = if event_log { ", with event log" } else { "" };
    let timeouts = match timing {
        Timing::Etcd => "etcd's timeouts",
        Timing::Paper => "the page's timeouts",
    };
    Case {
        name: format!("{nodes} servers, {timeouts}{recorded}"),
        nodes,
        event_log,
        lasts,
        back_to: (lasts > HOUR).then(|| lasts - HOUR),
        script,
    }
}
