//! The part of all logs that the page shows. The number of columns is bounded for any length of a
//! run.

use raft_sim::{EntryView, World};
use serde::Serialize;

/// The largest number of positions that are shown, besides those between two folded ranges.
const POSITIONS_MAX: usize = 40;
/// The number of positions that are shown at the end of each log, including logs that lag.
const TAIL: u64 = 3;

/// The columns, and one row per node.
#[derive(PartialEq, Debug, Serialize)]
pub(crate) struct LogWindow {
    columns: Vec<Column>,
    rows: Vec<LogRow>,
}

/// A position, or a folded range of positions with both ends included.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
struct Column {
    from: u64,
    to: u64,
}

/// The log of one node.
#[derive(PartialEq, Debug, Serialize)]
struct LogRow {
    /// The position before the first entry of the log.
    start: u64,
    last: u64,
    /// The entries at positions that are not folded.
    entries: Vec<EntryView>,
}

/// The part of all logs at the present moment.
pub(crate) fn window(world: &World) -> LogWindow {
    let bounds: Vec<_> = (1..=world.config().cluster.nodes)
        .map(|node| world.log_bounds(node).unwrap_or_default())
        .collect();
    let columns = columns(&bounds);
    let positions = columns.iter().filter(|column| column.from == column.to);
    let runs = runs(positions.map(|column| column.from));
    let row = |(node, (start, last)): (u64, (u64, u64))| {
        let entries = runs.iter().flat_map(|run| world.log(node, run.from, run.to));
        LogRow { start, last, entries: entries.collect() }
    };
    LogWindow { rows: (1..).zip(bounds).map(row).collect(), columns }
}

/// The columns for logs with these bounds: the newest positions, and the end of each log.
fn columns(bounds: &[(u64, u64)]) -> Vec<Column> {
    let mut shown = Vec::new();
    for (start, last) in bounds {
        let from = (last + 1).saturating_sub(TAIL).max(*start).max(1);
        shown.extend(from..=*last);
    }
    shown.sort_unstable();
    shown.dedup();
    let mut next = shown.last().copied().unwrap_or_default();
    while next > 0 && shown.len() < POSITIONS_MAX {
        if let Err(place) = shown.binary_search(&next) {
            shown.insert(place, next);
        }
        next -= 1;
    }
    let mut columns = Vec::new();
    let mut before = 0;
    for position in shown {
        if before + 1 < position {
            columns.push(Column { from: before + 1, to: position - 1 });
        }
        columns.push(Column { from: position, to: position });
        before = position;
    }
    columns
}

/// Positions in ascending order, as ranges without gaps.
fn runs(positions: impl Iterator<Item = u64>) -> Vec<Column> {
    let mut runs: Vec<Column> = Vec::new();
    for position in positions {
        match runs.last_mut() {
            Some(run) if run.to + 1 == position => run.to = position,
            _ => runs.push(Column { from: position, to: position }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_sim::{Action, ClusterConfig, Run, Script, TimedAction, WorkloadConfig, WorldConfig};

    /// The columns as text: `1…3` is a folded range.
    fn text(columns: &[Column]) -> Vec<String> {
        let text = |Column { from, to }: &Column| {
            if from == to { from.to_string() } else { format!("{from}…{to}") }
        };
        columns.iter().map(text).collect()
    }

    #[test]
    fn short_logs_are_shown_whole() {
        assert_eq!(text(&columns(&[(0, 0), (0, 0)])), [""; 0]);
        assert_eq!(text(&columns(&[(0, 3), (0, 1)])), ["1", "2", "3"]);
    }

    #[test]
    fn range_before_lagging_log_and_window_is_folded() {
        let columns = text(&columns(&[(6_000, 6_220), (0, 2_799), (6_000, 6_219)]));
        assert_eq!(columns[..5], ["1…2796", "2797", "2798", "2799", "2800…6183"]);
        assert_eq!(columns[5], "6184");
        assert_eq!(columns.last().map(String::as_str), Some("6220"));
    }

    #[test]
    fn columns_are_bounded_for_nine_lagging_nodes() {
        let bounds: Vec<_> = (1..=9).map(|node| (node * 900, node * 1_000)).collect();
        assert!(columns(&bounds).len() <= POSITIONS_MAX + 10);
    }

    #[test]
    fn log_that_lags_has_a_row() {
        let config = WorldConfig {
            workload: WorkloadConfig { clients: 5, ..WorkloadConfig::default() },
            cluster: ClusterConfig { snapshot_every: 100, ..ClusterConfig::default() },
            seed: 7,
            record_events: false,
            ..WorldConfig::default()
        };
        let crash = TimedAction { at: 5_000_000, action: Action::Crash { node: 5 } };
        let mut run = Run::new(Script { config, actions: vec![crash] }).expect("a valid script");
        run.seek(60_000_000);
        let window = window(run.world());
        let lagging = &window.rows[4];
        assert!(lagging.last < window.rows[0].start, "the node lags");
        assert!(!lagging.entries.is_empty() || lagging.last == lagging.start);
        let ends = window.rows.iter().all(|row| {
            window.columns.iter().any(|column| column.from == row.last && column.to == row.last)
        });
        assert!(ends, "the end of each log has a column: {:?}", window.columns);
        assert!(window.columns.len() <= POSITIONS_MAX + 10);
    }
}
