//! The worlds whose speed is measured.

use raft_sim::{Script, SteadyWorkload, Timing};
use serde::Serialize;

/// A world, and how long it runs.
#[derive(Clone, Serialize)]
pub struct Case {
    /// Its row in the tables.
    pub name: String,
    pub nodes: u64,
    /// Whether the page's story is told.
    pub story: bool,
    /// In microseconds.
    pub lasts: u64,
    /// Where to jump back to at the end, in microseconds.
    pub back_to: Option<u64>,
    pub script: Script,
}

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;

/// All of them.
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

/// The world of five servers that checkpoints are weighed in.
pub fn weighed(story: bool) -> Case {
    case(5, Timing::Paper, HOUR, story)
}

fn case(nodes: u64, timing: Timing, lasts: u64, story: bool) -> Case {
    let service = SteadyWorkload { nodes, timing, seed: 1 };
    let mut script = service.script(lasts);
    script.config.record_events = story;
    let recorded = if story { ", with event log" } else { "" };
    let timeouts = match timing {
        Timing::Etcd => "etcd's timeouts",
        Timing::Paper => "the page's timeouts",
    };
    Case {
        name: format!("{nodes} servers, {timeouts}{recorded}"),
        nodes,
        story,
        lasts,
        back_to: (lasts > HOUR).then(|| lasts - HOUR),
        script,
    }
}
