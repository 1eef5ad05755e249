//! Time: runs that can be visited at any moment, and forked at each.
//!
//! [`Run`] is the entry. `tree` holds the branches without their worlds, `checkpoints` the worlds
//! to go back to, `history` earlier parts of the story, `target` the moments to run to, and
//! `compare` the difference of two branches.

mod checkpoints;
mod compare;
mod cursor;
mod history;
mod landmarks;
mod script;
mod target;
#[cfg(test)]
mod tests;
mod tree;

pub use compare::{Comparison, Ending, Parting};
pub(crate) use cursor::Cursor;
pub use landmarks::Landmark;
pub use script::{Script, ScriptError, TimedAction};
pub use target::{Condition, Progress, Target};
pub use tree::{BranchError, BranchId, BranchInfo};

use crate::timeline::checkpoints::{Checkpoint, Checkpoints, Way};
use crate::timeline::landmarks::Landmarks;
use crate::timeline::tree::{START, Tree};
use crate::world::World;
use crate::world::action::Action;
use crate::world::apply_action::ActionError;
use crate::world::why_not::WhyNot;

/// A world with a past that can be visited, and a tree of branches.
///
/// One branch is shown, at one moment. An action in the past forks the run: the branch that was
/// shown stays in the tree. Undo and redo are moves between branches.
#[derive(Clone, Debug)]
pub struct Run {
    /// The configuration, and the actions of the shown branch.
    script: Script,
    way: Way,
    present: Cursor,
    tree: Tree,
    checkpoints: Checkpoints,
    landmarks: Landmarks,
    /// The branches and moments that undo left, the latest last.
    undone: Vec<(BranchId, u64)>,
}

/// A jump restores the world of a checkpoint that is at least so much earlier, in microseconds.
/// Without this, the events and messages shortly before a moment would be missing after a jump.
const LOOKBACK: u64 = 3_000_000;

impl Run {
    /// Begins a run at time zero.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] if the script is impossible.
    pub fn new(script: Script) -> Result<Self, ScriptError> {
        Self::with_checkpoints(script, checkpoints::CHECKPOINTS_MAX, checkpoints::SPACING)
    }

    fn with_checkpoints(script: Script, most: usize, spacing: u64) -> Result<Self, ScriptError> {
        script.check_order()?;
        let mut world = World::new(script.config.clone()).map_err(ScriptError::World)?;
        let tree = Tree::new(&script.actions);
        let way = Way::new(&tree, tree.shown().tip);

        let checkpoints = Checkpoints::new(world.checkpoint(), most, spacing);
        let mut present = Cursor { world, done: 0 };
        present.perform(&script.actions);
        Ok(Self {
            script,
            way,
            present,
            tree,
            checkpoints,
            landmarks: Landmarks::default(),
            undone: Vec::new(),
        })
    }

    /// The world at this moment.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.present.world
    }

    /// The script of the shown branch, up to its last action, which may lie in the future.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The number of the script's actions that are done at this moment.
    #[must_use]
    pub fn done(&self) -> usize {
        self.present.done
    }

    /// The actions of the script that no world of this configuration allows, by position.
    #[must_use]
    pub fn impossible_actions(&self) -> Vec<(usize, ActionError)> {
        let actions = self.script.actions.iter().enumerate();
        let check = |timed: &TimedAction| timed.action.check(self.world().config()).err();
        actions.filter_map(|(position, timed)| Some((position, check(timed)?))).collect()
    }

    /// The number of checkpoints of all branches. It is bounded for any length of run.
    #[must_use]
    pub fn checkpoints(&self) -> usize {
        self.checkpoints.len()
    }

    /// The world at this moment, without its past.
    #[must_use]
    pub fn into_world(self) -> World {
        self.present.world
    }

    /// Goes to a moment of the shown branch, forwards or backwards.
    pub fn seek(&mut self, time: u64) {
        while !self.seek_part(time, u64::MAX) {}
    }

    /// Goes some way towards a moment of the shown branch, with at most about so many events.
    /// Returns true at the moment itself, and where a violation stops the world.
    pub fn seek_part(&mut self, time: u64, events_max: u64) -> bool {
        let now = self.world().now();
        let (checkpoint, _) = self.checkpoint_before(time);
        if time < now || checkpoint.world.now() > now {
            self.restore(time);
        }
        self.advance(time, events_max)
    }

    /// Advances to the next moment at which something happens. Returns false if there is none.
    pub fn step(&mut self) -> bool {
        let Some(next) = self.present.next_at(&self.script.actions) else {
            return false;
        };
        self.advance(next, u64::MAX);
        true
    }

    /// The latest moment before this one at which something happened.
    #[must_use]
    pub fn previous_moment(&self) -> u64 {
        let now = self.world().now();
        let Some(before) = now.checked_sub(1) else {
            return 0;
        };
        let (checkpoint, done) = self.checkpoints.latest(&self.way, before, &self.tree);
        let mut past = Cursor { world: checkpoint.world.clone(), done };
        past.perform(&self.script.actions);
        let mut previous = past.world.now();
        while let Some(next) = past.next_at(&self.script.actions).filter(|next| *next < now) {
            past.advance(&self.script.actions, next, u64::MAX);
            previous = past.world.now();
        }
        previous
    }

    /// Does something now. If the shown branch goes on after this moment, the run forks, and the
    /// new branch is shown.
    ///
    /// # Errors
    ///
    /// [`ActionError`]; nothing has changed then.
    pub fn act(&mut self, action: Action) -> Result<(), ActionError> {
        self.present.world.act(&action)?;
        let at = self.world().now();
        let before = self.present.done.checked_sub(1).map_or(START, |last| self.way.places[last]);
        let place = self.tree.extend(before, TimedAction { at, action });
        let shown = self.tree.shown();
        let is_end = self.present.done == self.way.places.len() && at >= shown.reached;
        let id = match self.tree.ending_at(place) {
            Some(id) => id,
            None if is_end => shown.id,
            None => self.tree.fork(place, at),
        };
        self.undone.clear();
        if id == self.tree.shown().id {
            self.tree.shown_mut().tip = place;
        }
        self.follow(id);
        self.present.done += 1;
        Ok(())
    }

    /// The reason why an action makes no sense now; none if it does.
    pub fn why_not(&mut self, action: &Action) -> Option<WhyNot> {
        self.present.world.why_not(action)
    }

    /// Moves to the branch without the last action before this moment, at the moment of that
    /// action. Returns false, and changes nothing, if no action is done yet.
    pub fn undo(&mut self) -> bool {
        let Some(position) = self.present.done.checked_sub(1) else {
            return false;
        };
        let left = (self.tree.shown().id, self.world().now());
        let at = self.script.actions[position].at;
        let id = self.tree.branch_without(position, at);
        self.undone.push(left);
        self.follow(id);
        self.restore(at);
        self.advance(at, u64::MAX);
        true
    }

    /// Moves back to the branch and moment that the last undo left. Returns false, and changes
    /// nothing, if there is none.
    pub fn redo(&mut self) -> bool {
        let Some((id, at)) = self.undone.pop() else {
            return false;
        };
        self.follow(id);
        self.restore(at);
        self.advance(at, u64::MAX);
        true
    }

    /// Whether there is something to redo.
    #[must_use]
    pub fn can_redo(&self) -> bool {
        !self.undone.is_empty()
    }

    /// All branches, in the order in which they were made.
    #[must_use]
    pub fn branches(&self) -> Vec<BranchInfo> {
        self.tree.infos()
    }

    /// The branch that is shown.
    #[must_use]
    pub fn shown_branch(&self) -> BranchId {
        self.tree.shown().id
    }

    /// The script of a branch.
    ///
    /// # Errors
    ///
    /// [`BranchError::Unknown`].
    pub fn branch_script(&self, id: BranchId) -> Result<Script, BranchError> {
        let actions = self.tree.actions(self.tree.branch(id)?.tip);
        Ok(Script { config: self.script.config.clone(), actions })
    }

    /// Shows a branch at a moment.
    ///
    /// # Errors
    ///
    /// [`BranchError::Unknown`]; nothing has changed then.
    pub fn show_branch(&mut self, id: BranchId, at: u64) -> Result<(), BranchError> {
        self.tree.branch(id)?;
        self.undone.clear();
        self.follow(id);
        self.restore(at);
        self.advance(at, u64::MAX);
        Ok(())
    }

    /// Names a branch, or takes its name away.
    ///
    /// # Errors
    ///
    /// [`BranchError::Unknown`]; nothing has changed then.
    pub fn rename_branch(&mut self, id: BranchId, name: Option<String>) -> Result<(), BranchError> {
        self.tree.branch_mut(id)?.name = name.filter(|name| !name.trim().is_empty());
        Ok(())
    }

    /// Deletes a branch. Branches that were forked from it stay. If it was shown, its parent is
    /// shown at this moment.
    ///
    /// # Errors
    ///
    /// [`BranchError`]; nothing has changed then.
    pub fn delete_branch(&mut self, id: BranchId) -> Result<(), BranchError> {
        let shown = self.tree.shown().id;
        let next = self.tree.delete(id)?;
        self.undone.retain(|(branch, _)| *branch != id);
        let tree = &self.tree;
        self.checkpoints.retain(|place| tree.is_used(place));
        if next != shown {
            let now = self.world().now();
            self.follow(next);
            self.restore(now);
            self.advance(now, u64::MAX);
        }
        Ok(())
    }

    /// Shows a branch, whose world is not there yet.
    fn follow(&mut self, id: BranchId) {
        if self.tree.show(id).is_ok() {
            let kept: Vec<_> = self.undone.iter().map(|(branch, _)| *branch).collect();
            self.tree.drop_empty(&kept);
        }
        let tip = self.tree.shown().tip;
        self.way = Way::new(&self.tree, tip);
        self.script.actions = self.tree.actions(tip);
    }

    fn checkpoint_before(&self, time: u64) -> (&Checkpoint, usize) {
        self.checkpoints.latest(&self.way, time.saturating_sub(LOOKBACK), &self.tree)
    }

    /// Puts the world of a checkpoint before a moment into the place of the present one.
    fn restore(&mut self, time: u64) {
        let (checkpoint, done) = self.checkpoint_before(time);
        self.present = Cursor { world: checkpoint.world.clone(), done };
        self.present.perform(&self.script.actions);
    }

    /// Advances towards a moment with at most about so many events. Returns true at the end.
    fn advance(&mut self, time: u64, events_max: u64) -> bool {
        let end = self.world().events().saturating_add(events_max);
        loop {
            let due = self.keep_checkpoint();
            let first = self.world().story_length() as u64;
            let is_there = self.present.advance(&self.script.actions, time, end.min(due));
            self.note_progress(first);
            if is_there || self.world().events() >= end {
                return is_there;
            }
        }
    }

    /// Notes how far the shown branch was visited, and the landmarks from a record on.
    fn note_progress(&mut self, first: u64) {
        let now = self.present.world.now();
        let shown = self.tree.shown_mut();
        for record in self.present.world.story_since(first).filter(|it| it.at > shown.reached) {
            self.landmarks.observe(record, &self.way);
        }
        shown.reached = shown.reached.max(now);
    }

    /// Keeps a checkpoint if one is due. Returns the number of events at which the next one is due.
    fn keep_checkpoint(&mut self) -> u64 {
        let world = &self.present.world;
        let (before, _) = self.checkpoints.latest(&self.way, world.now(), &self.tree);
        let due = self.checkpoints.due(before);
        if world.events() < due || world.has_ended() {
            return due;
        }
        let place = self.present.done.checked_sub(1).map_or(START, |last| self.way.places[last]);
        let world = self.present.world.checkpoint();
        self.checkpoints.keep(Checkpoint { place, world }, &self.tree);
        let (before, _) = self.checkpoints.latest(&self.way, self.world().now(), &self.tree);
        self.checkpoints.due(before)
    }
}
