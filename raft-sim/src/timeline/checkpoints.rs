//! Worlds to which a run can go back. All branches share them, and their number is bounded.

use crate::timeline::tree::{Place, START, Tree};
use crate::world::World;

/// The largest number of checkpoints of a run.
pub(super) const CHECKPOINTS_MAX: usize = 512;
/// The number of events between two checkpoints of a short run. It doubles whenever there are too
/// many checkpoints.
pub(super) const SPACING: u64 = 1_000;

#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    /// The last action that is done.
    pub(super) place: Place,
    pub(super) world: World,
}

/// Checkpoints in order of time.
#[derive(Clone, Debug)]
pub(super) struct Checkpoints {
    /// The first is the beginning, which all branches share.
    list: Vec<Checkpoint>,
    most: usize,
    /// The number of events between two checkpoints.
    spacing: u64,
}

/// A way through the tree: the places of its actions, and their moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    pub(super) places: Vec<Place>,
    pub(super) moments: Vec<u64>,
}

impl Way {
    pub(super) fn new(tree: &Tree, tip: Place) -> Self {
        let places = tree.path(tip);
        let moments = places.iter().filter_map(|place| tree.at(*place)).collect();
        Self { places, moments }
    }

    /// Whether a run on this way passes through a checkpoint.
    fn passes(&self, checkpoint: &Checkpoint, depth: usize) -> bool {
        let last = depth.checked_sub(1).and_then(|last| self.places.get(last)).copied();
        let now = checkpoint.world.now();
        // The checkpoint may be taken before the actions of its own moment.
        let is_before_next = self.moments.get(depth).is_none_or(|next| *next >= now);
        last.unwrap_or(START) == checkpoint.place && is_before_next
    }
}

impl Checkpoints {
    pub(super) fn new(world: World, most: usize, spacing: u64) -> Self {
        Self { list: vec![Checkpoint { place: START, world }], most, spacing }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The latest checkpoint of a way that is not after a moment, and the number of actions that
    /// are done there.
    pub(super) fn latest(&self, way: &Way, time: u64, tree: &Tree) -> (&Checkpoint, usize) {
        self.latest_that(way, tree, |world| world.now() <= time)
    }

    /// The latest checkpoint of a way that fulfils a condition, which all earlier ones fulfil.
    pub(super) fn latest_that(
        &self,
        way: &Way,
        tree: &Tree,
        is_early: impl Fn(&World) -> bool,
    ) -> (&Checkpoint, usize) {
        let found = self.list.iter().rev().find_map(|checkpoint| {
            let depth = tree.depth(checkpoint.place);
            let serves = is_early(&checkpoint.world) && way.passes(checkpoint, depth);
            serves.then_some((checkpoint, depth))
        });
        found.unwrap_or((&self.list[0], 0))
    }

    /// The worlds on a way, in order of time.
    pub(super) fn on_way<'a>(
        &'a self,
        way: &'a Way,
        tree: &'a Tree,
    ) -> impl Iterator<Item = &'a World> {
        let passes = |it: &&Checkpoint| way.passes(it, tree.depth(it.place));
        self.list.iter().filter(passes).map(|checkpoint| &checkpoint.world)
    }

    /// The number of events after which a run that continues at a checkpoint keeps the next one.
    pub(super) fn due(&self, before: &Checkpoint) -> u64 {
        before.world.events() + self.spacing
    }

    /// Keeps a world.
    pub(super) fn keep(&mut self, checkpoint: Checkpoint, tree: &Tree) {
        let end = self.list.partition_point(|it| it.world.now() <= checkpoint.world.now());
        self.list.insert(end, checkpoint);
        while self.list.len() > self.most {
            self.spacing *= 2;
            self.thin(tree);
        }
    }

    /// Removes each checkpoint that is too near to the one before it on its way.
    fn thin(&mut self, tree: &Tree) {
        let list = std::mem::take(&mut self.list);
        for checkpoint in list {
            let way = Way::new(tree, checkpoint.place);
            let before = self.list.iter().rev().find(|it| way.passes(it, tree.depth(it.place)));
            let is_far = |before: &Checkpoint| {
                checkpoint.world.events() >= before.world.events() + self.spacing
            };
            if before.is_none_or(is_far) {
                self.list.push(checkpoint);
            }
        }
    }

    /// Removes the checkpoints of places that are not used any more.
    pub(super) fn retain(&mut self, is_used: impl Fn(Place) -> bool) {
        self.list.retain(|checkpoint| is_used(checkpoint.place));
    }
}
