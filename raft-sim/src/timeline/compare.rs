//! The difference of two branches.

use raft_core::Role;
use serde::Serialize;

use crate::check::invariants::Violation;
use crate::story::{EventKind, LogRecord};
use crate::timeline::Run;
use crate::timeline::checkpoints::Way;
use crate::timeline::cursor::Cursor;
use crate::timeline::script::TimedAction;
use crate::timeline::tree::{BranchError, BranchId};
use crate::world::World;

/// How two branches differ. The first of each pair belongs to the first branch.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// The number of actions that both share.
    pub shared: usize,
    /// The first difference; none if the branches are equal in the part that both have visited.
    pub parting: Option<Parting>,
    /// How each branch ends, at the latest moment that was visited.
    pub endings: [Ending; 2],
}

/// The first difference of two branches: an action, or else an event.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Parting {
    /// The moment, in microseconds.
    pub at: u64,
    /// The next action of each branch, if that is the difference.
    pub actions: [Option<TimedAction>; 2],
    /// The first event after the moment of each branch that the other one does not have.
    pub events: [Option<LogRecord>; 2],
}

/// The state of a branch at a moment.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ending {
    /// The moment, in microseconds.
    pub at: u64,
    /// The leader of the latest term, if a server leads.
    pub leader: Option<u64>,
    /// The latest term of a running server.
    pub term: u64,
    /// The number of entries that are known to be committed.
    pub committed: u64,
    /// The first violation.
    pub violation: Option<Violation>,
}

/// Two branches are played beside each other for so long after their fork, in microseconds, to find
/// the first event that differs.
const SEARCHED: u64 = 10_000_000;

impl Run {
    /// Compares two branches.
    ///
    /// # Errors
    ///
    /// [`BranchError`].
    pub fn compare(&self, one: BranchId, other: BranchId) -> Result<Comparison, BranchError> {
        if one == other {
            return Err(BranchError::Same);
        }
        let [one, other] = [self.tree.branch(one)?, self.tree.branch(other)?];
        let (parts_at, shared) = self.tree.divergence(one.tip, other.tip);
        let lines = [one, other].map(|branch| Line {
            way: Way::new(&self.tree, branch.tip),
            actions: self.tree.actions(branch.tip),
            reached: branch.reached,
        });
        let parting = parts_at.and_then(|at| {
            let reached = lines[0].reached.min(lines[1].reached);
            let actions = lines.each_ref().map(|line| {
                line.actions.get(shared).filter(|timed| timed.at <= reached.max(at)).cloned()
            });
            let events = self.first_difference(&lines, at, reached.min(at + SEARCHED));
            (actions != [None, None]).then_some(Parting { at, actions, events })
        });
        let endings = lines.each_ref().map(|line| ending(&self.world_of(line, line.reached).world));
        Ok(Comparison { shared, parting, endings })
    }

    /// The world of a line at a moment.
    fn world_of(&self, line: &Line, time: u64) -> Cursor {
        let (checkpoint, done) = self.checkpoints.latest(&line.way, time, &self.tree);
        let mut cursor = Cursor { world: checkpoint.world.clone(), done };
        cursor.perform(&line.actions);
        cursor.advance(&line.actions, time, u64::MAX);
        cursor
    }

    /// The first records of two lines that differ, after a moment up to which they are equal.
    fn first_difference(&self, lines: &[Line; 2], from: u64, until: u64) -> [Option<LogRecord>; 2] {
        let records = lines.each_ref().map(|line| {
            let mut cursor = self.world_of(line, from.saturating_sub(1));
            let first = cursor.world.story_length() as u64;
            cursor.advance(&line.actions, until.max(from), u64::MAX);
            // Actions differ by themselves; the events that they lead to are of interest.
            let records = cursor.world.story_since(first);
            records.filter(|record| record.kind != EventKind::Fault).cloned().collect::<Vec<_>>()
        });
        let is_same = |one: &LogRecord, other: &LogRecord| {
            one.at == other.at && one.node == other.node && one.body == other.body
        };
        let equal = records[0].iter().zip(&records[1]);
        let equal = equal.take_while(|(one, other)| is_same(one, other)).count();
        records.map(|records| records.into_iter().nth(equal))
    }
}

/// A branch to be played.
struct Line {
    way: Way,
    actions: Vec<TimedAction>,
    reached: u64,
}

fn ending(world: &World) -> Ending {
    let running = || (1..=world.config().cluster.nodes).filter_map(|node| world.raft(node));
    let leaders = running().filter(|raft| raft.role() == Role::Leader);
    let leader = leaders.max_by_key(|raft| raft.term());
    Ending {
        at: world.now(),
        leader: leader.map(|raft| raft.id().0),
        term: running().map(|raft| raft.term().0).max().unwrap_or(0),
        committed: world.committed_entries(),
        violation: world.violation().cloned(),
    }
}
