//! A run from a moment on, looked at after every step.

use raft_core::{Membership, Raft, Role};

use crate::story::{Facts, LogRecord};
use crate::timeline::{Cursor, Run, TimedAction};
use crate::world::World;
use crate::world::action::Action;
use crate::world::view::EntryView;

/// A run that is played again from t0 to the present moment.
pub(super) struct Play<'a> {
    cursor: Cursor,
    actions: &'a [TimedAction],
    t0: u64,
    until: u64,
    /// The number of the first record after t0.
    first_record: u64,
}

impl<'a> Play<'a> {
    pub(super) fn new(run: &'a Run, t0: u64) -> Self {
        let until = run.world().now();
        // An action of the moment t0 itself comes after it.
        let cursor = run.cursor_at(t0.saturating_sub(1).min(until));
        let first_record = cursor.world.story_length() as u64;
        Self { cursor, actions: &run.script().actions, t0, until, first_record }
    }

    /// Goes on to the next moment at which something happens. Returns false at the end.
    pub(super) fn step(&mut self) -> bool {
        let next = self.cursor.next_at(self.actions);
        let Some(next) = next.filter(|next| *next <= self.until) else {
            self.cursor.advance(self.actions, self.until, u64::MAX);
            return false;
        };
        self.cursor.advance(self.actions, next, u64::MAX);
        true
    }

    /// Goes on to the end.
    pub(super) fn finish(&mut self) {
        self.cursor.advance(self.actions, self.until, u64::MAX);
    }

    pub(super) fn world(&self) -> &World {
        &self.cursor.world
    }

    pub(super) fn now(&self) -> u64 {
        self.world().now()
    }

    /// The actions since t0 up to this moment.
    pub(super) fn actions(&self) -> impl Iterator<Item = &'a TimedAction> {
        let done = &self.actions[..self.cursor.done];
        let t0 = self.t0;
        done.iter().filter(move |timed| timed.at >= t0)
    }

    pub(super) fn count(&self, is: impl Fn(&Action) -> bool) -> usize {
        self.actions().filter(|timed| is(&timed.action)).count()
    }

    /// The facts of what happened since t0, each with its record.
    pub(super) fn records(&self) -> impl Iterator<Item = (&LogRecord, Facts)> {
        self.world().story_since(self.first_record).map(|record| (record, record.facts()))
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = u64> + use<> {
        1..=self.world().config().cluster.nodes
    }

    /// The servers of processes that run.
    pub(super) fn up(&self) -> impl Iterator<Item = (u64, &Raft)> {
        self.nodes().filter_map(|node| Some((node, self.world().raft(node)?)))
    }

    pub(super) fn leaders(&self) -> impl Iterator<Item = (u64, &Raft)> {
        self.up().filter(|(_, raft)| raft.role() == Role::Leader)
    }

    /// The leader of the latest term, and that term.
    pub(super) fn leader(&self) -> Option<(u64, u64)> {
        let leaders = self.leaders().map(|(node, raft)| (raft.term().0, node));
        leaders.max().map(|(term, node)| (node, term))
    }

    /// Whether this node leads and all other nodes that are up follow it.
    pub(super) fn all_follow(&self, leader: u64) -> bool {
        self.up().all(|(node, raft)| {
            let role = if node == leader { Role::Leader } else { Role::Follower };
            raft.role() == role && raft.leader().is_some_and(|it| it.0 == leader)
        })
    }

    pub(super) fn commit(&self, node: u64) -> u64 {
        self.world().raft(node).map_or(0, |raft| raft.commit_index().0)
    }

    pub(super) fn entry(&self, node: u64, index: u64) -> Option<EntryView> {
        self.world().log(node, index, index).into_iter().next()
    }

    pub(super) fn membership(&self, node: u64) -> Option<&Membership> {
        self.world().raft(node).map(Raft::membership)
    }
}
