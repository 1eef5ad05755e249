//! Earlier parts of a run, played again.

use std::borrow::Cow;
use std::ops::Range;

use crate::story::{Group, LogRecord, group};
use crate::timeline::Run;
use crate::timeline::cursor::Cursor;
use crate::world::World;

impl Run {
    /// The shown branch at a moment.
    pub(crate) fn cursor_at(&self, time: u64) -> Cursor {
        let (checkpoint, done) = self.checkpoints.latest(&self.way, time, &self.tree);
        let mut cursor = Cursor { world: checkpoint.world.clone(), done };
        cursor.perform(&self.script.actions);
        cursor.advance(&self.script.actions, time, u64::MAX);
        cursor
    }

    /// A world whose story is complete from one moment to another, at that later moment or after
    /// it. It is the present world if that serves.
    #[must_use]
    pub fn world_with_story(&self, from: u64, to: u64) -> Cow<'_, World> {
        let present = self.world();
        if present.story_complete_since() <= from && to <= present.now() {
            return Cow::Borrowed(present);
        }
        let (checkpoint, done) = self.checkpoints.latest(&self.way, from, &self.tree);
        let mut past = Cursor { world: checkpoint.world.clone(), done };
        past.perform(&self.script.actions);
        past.advance(&self.script.actions, to, u64::MAX);
        Cow::Owned(past.world)
    }

    /// Groups records of this run, which are in order.
    #[must_use]
    pub fn grouped(&self, records: &[LogRecord]) -> Vec<Group> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Vec::new();
        };
        let world = self.world_with_story(first.at, last.at);
        let steps: Vec<_> = world.steps().copied().collect();
        let membership = self.world().stored_membership();
        let voters = membership.map_or(0, |(_, membership)| membership.voters().len());
        group(records, &steps, voters)
    }

    /// The records with these numbers, up to the present moment.
    #[must_use]
    pub fn records(&self, ids: Range<u64>) -> Vec<LogRecord> {
        let wanted = |world: &World| -> Vec<LogRecord> {
            let records = world.story_since(ids.start);
            records.take_while(|record| record.id < ids.end).cloned().collect()
        };
        let present = self.world();
        let kept = wanted(present);
        let end = ids.end.min(present.story_length() as u64);
        if ids.start >= end || kept.first().is_some_and(|first| first.id == ids.start) {
            return kept;
        }
        let is_before = |world: &World| world.story_length() as u64 <= ids.start;
        let (checkpoint, done) = self.checkpoints.latest_that(&self.way, &self.tree, is_before);
        let mut past = Cursor { world: checkpoint.world.clone(), done };
        past.perform(&self.script.actions);
        while past.world.now() < present.now() && (past.world.story_length() as u64) < end {
            let next = past.next_at(&self.script.actions).unwrap_or(u64::MAX);
            past.advance(&self.script.actions, next.min(present.now()), u64::MAX);
        }
        wanted(&past.world)
    }
}
