//! The tree of a run: its actions, and the branches that lead through them.
//!
//! Branches with the same first actions share them, so that a checkpoint of one branch serves the
//! others. This module knows nothing of worlds.

use serde::Serialize;

use crate::timeline::script::TimedAction;

/// Identifies a branch of a run. Identifiers are not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct BranchId(pub u32);

/// An action in the tree, after all actions on the way to it. [`START`] comes before the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place(u32);

/// The place before the first action.
pub(super) const START: Place = Place(0);

/// One way through the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Branch {
    pub(super) id: BranchId,
    pub(super) name: Option<String>,
    /// The branch from which this one was forked; none for the first.
    pub(super) parent: Option<BranchId>,
    /// The last action.
    pub(super) tip: Place,
    /// The moment at which the branch was forked.
    pub(super) forked_at: u64,
    /// The latest moment of the branch that was visited.
    pub(super) reached: u64,
    /// The last place and moment that were shown.
    pub(super) left_at: u64,
}

/// The description of a branch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BranchInfo {
    /// Its identifier.
    pub id: BranchId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The branch from which it was forked.
    pub parent: Option<BranchId>,
    /// The first moment at which it may differ from its parent, in microseconds.
    pub forked_at: u64,
    /// The number of actions that it shares with its parent.
    pub shared: usize,
    /// The number of all its actions.
    pub actions: usize,
    /// The first action after the fork.
    pub first: Option<TimedAction>,
    /// The latest moment that was visited, in microseconds.
    pub reached: u64,
    /// Whether it is shown.
    pub shown: bool,
}

/// The reason why an operation on branches was refused. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BranchError {
    /// There is no branch with this identifier.
    Unknown(BranchId),
    /// The only branch of a run cannot be deleted.
    Only,
    /// A branch is compared with itself.
    Same,
}

#[derive(Clone, Debug)]
struct Node {
    parent: Place,
    /// The number of actions up to this one.
    depth: usize,
    timed: TimedAction,
}

/// All actions and branches of a run.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    branches: Vec<Branch>,
    next_id: u32,
    /// Always one of the branches.
    shown: BranchId,
}

impl Tree {
    /// A tree with one branch.
    pub(super) fn new(actions: &[TimedAction]) -> Self {
        let id = BranchId(1);
        let first = Branch {
            id,
            name: None,
            parent: None,
            tip: START,
            forked_at: 0,
            reached: 0,
            left_at: 0,
        };
        let mut tree = Self { nodes: Vec::new(), branches: vec![first], next_id: 2, shown: id };
        let tip = actions.iter().fold(START, |place, timed| tree.extend(place, timed.clone()));
        tree.branches[0].tip = tip;
        tree
    }

    /// The place of an action that follows on a place. Equal actions have one place.
    pub(super) fn extend(&mut self, parent: Place, timed: TimedAction) -> Place {
        let is_same = |node: &Node| node.parent == parent && node.timed == timed;
        let present = self.nodes.iter().position(is_same);
        let position = present.unwrap_or_else(|| {
            let depth = self.depth(parent) + 1;
            self.nodes.push(Node { parent, depth, timed });
            self.nodes.len() - 1
        });
        Place(position as u32 + 1)
    }

    fn node(&self, place: Place) -> Option<&Node> {
        self.nodes.get((place.0 as usize).checked_sub(1)?)
    }

    pub(super) fn depth(&self, place: Place) -> usize {
        self.node(place).map_or(0, |node| node.depth)
    }

    /// The places up to this one, in order.
    pub(super) fn path(&self, tip: Place) -> Vec<Place> {
        let mut path = Vec::with_capacity(self.depth(tip));
        let mut place = tip;
        while let Some(node) = self.node(place) {
            path.push(place);
            place = node.parent;
        }
        path.reverse();
        path
    }

    pub(super) fn actions(&self, tip: Place) -> Vec<TimedAction> {
        let path = self.path(tip).into_iter();
        path.filter_map(|place| self.node(place)).map(|node| node.timed.clone()).collect()
    }

    /// The moment of an action; none for [`START`].
    pub(super) fn at(&self, place: Place) -> Option<u64> {
        self.node(place).map(|node| node.timed.at)
    }

    pub(super) fn branch(&self, id: BranchId) -> Result<&Branch, BranchError> {
        let branch = self.branches.iter().find(|branch| branch.id == id);
        branch.ok_or(BranchError::Unknown(id))
    }

    pub(super) fn branch_mut(&mut self, id: BranchId) -> Result<&mut Branch, BranchError> {
        let branch = self.branches.iter_mut().find(|branch| branch.id == id);
        branch.ok_or(BranchError::Unknown(id))
    }

    pub(super) fn shown(&self) -> &Branch {
        let shown = self.branches.iter().find(|branch| branch.id == self.shown);
        shown.unwrap_or(&self.branches[0])
    }

    pub(super) fn shown_mut(&mut self) -> &mut Branch {
        let shown = self.branches.iter().position(|branch| branch.id == self.shown);
        &mut self.branches[shown.unwrap_or(0)]
    }

    pub(super) fn show(&mut self, id: BranchId) -> Result<(), BranchError> {
        self.branch(id)?;
        self.shown = id;
        Ok(())
    }

    /// The branch to which an undo leads: it has the first `depth` actions of the shown one, and no
    /// other until a moment. Prefers the branch from which the removed action was forked.
    pub(super) fn branch_without(&mut self, depth: usize, at: u64) -> BranchId {
        let path = self.path(self.shown().tip);
        let end = depth.checked_sub(1).map_or(START, |last| path[last]);
        let parent = self.shown().parent.and_then(|parent| self.branch(parent).ok());
        let serves = |branch: &&Branch| {
            let other = self.path(branch.tip);
            let next = other.get(depth).and_then(|next| self.at(*next));
            other.get(..depth) == Some(&path[..depth]) && next.is_none_or(|next| next > at)
        };
        let found = parent.filter(serves).map(|parent| parent.id).or_else(|| self.ending_at(end));
        found.unwrap_or_else(|| self.fork(end, at))
    }

    /// Forks a branch from the shown one.
    pub(super) fn fork(&mut self, tip: Place, at: u64) -> BranchId {
        let id = BranchId(self.next_id);
        self.next_id += 1;
        let parent = Some(self.shown().id);
        let branch =
            Branch { id, name: None, parent, tip, forked_at: at, reached: at, left_at: at };
        self.branches.push(branch);
        id
    }

    /// The branch that consists of exactly the actions up to a place.
    pub(super) fn ending_at(&self, tip: Place) -> Option<BranchId> {
        self.branches.iter().find(|branch| branch.tip == tip).map(|branch| branch.id)
    }

    /// Removes branches that were left before anything happened on them, except for some.
    pub(super) fn drop_empty(&mut self, kept: &[BranchId]) {
        let is_empty = |branch: &Branch| {
            branch.id != self.shown
                && !kept.contains(&branch.id)
                && branch.name.is_none()
                && branch.reached <= branch.forked_at
                && self.fork_of(branch).is_some_and(|(_, shared)| shared == self.depth(branch.tip))
                && !self.branches.iter().any(|other| other.parent == Some(branch.id))
        };
        let empty: Vec<_> = self
            .branches
            .iter()
            .filter(|branch| is_empty(branch))
            .map(|branch| branch.id)
            .collect();
        self.branches.retain(|branch| !empty.contains(&branch.id));
    }

    /// Deletes a branch. Branches that were forked from it belong to its parent afterwards. Returns
    /// the branch to be shown.
    pub(super) fn delete(&mut self, id: BranchId) -> Result<BranchId, BranchError> {
        let deleted = self.branch(id)?.clone();
        let successor = deleted.parent.or_else(|| {
            let first = self.branches.iter().find(|branch| branch.parent == Some(id));
            first.map(|branch| branch.id)
        });
        let successor = successor.ok_or(BranchError::Only)?;
        self.branches.retain(|branch| branch.id != id);
        for branch in &mut self.branches {
            if branch.id == successor && deleted.parent.is_none() {
                branch.parent = None;
            } else if branch.parent == Some(id) {
                branch.parent = Some(successor);
            }
        }
        if self.shown == id {
            self.shown = successor;
        }
        Ok(self.shown)
    }

    /// The parent of a branch and the number of actions that both share.
    fn fork_of(&self, branch: &Branch) -> Option<(&Branch, usize)> {
        let parent = self.branch(branch.parent?).ok()?;
        Some((parent, self.shared(branch.tip, parent.tip)))
    }

    /// The number of first actions that two ways share.
    pub(super) fn shared(&self, one: Place, other: Place) -> usize {
        let (one, other) = (self.path(one), self.path(other));
        one.iter().zip(&other).take_while(|(one, other)| one == other).count()
    }

    /// The first moment at which two ways may differ, and the number of actions that they share.
    pub(super) fn divergence(&self, one: Place, other: Place) -> (Option<u64>, usize) {
        let shared = self.shared(one, other);
        let next = [one, other].map(|tip| {
            let path = self.path(tip);
            path.get(shared).and_then(|place| self.at(*place))
        });
        (next.into_iter().flatten().min(), shared)
    }

    pub(super) fn infos(&self) -> Vec<BranchInfo> {
        let info = |branch: &Branch| {
            let path = self.path(branch.tip);
            let (forked_at, shared) = match self.fork_of(branch) {
                None => (0, 0),
                Some((parent, shared)) => {
                    let (parts_at, _) = self.divergence(branch.tip, parent.tip);
                    (parts_at.map_or(branch.forked_at, |at| at.min(branch.forked_at)), shared)
                }
            };
            let first = path.get(shared).and_then(|place| self.node(*place));
            BranchInfo {
                id: branch.id,
                name: branch.name.clone(),
                parent: branch.parent,
                forked_at,
                shared,
                actions: path.len(),
                first: first.map(|node| node.timed.clone()),
                reached: branch.reached,
                shown: branch.id == self.shown,
            }
        };
        self.branches.iter().map(info).collect()
    }

    /// Whether a place is on the way of any branch.
    pub(super) fn is_used(&self, place: Place) -> bool {
        place == START || self.branches.iter().any(|branch| self.path(branch.tip).contains(&place))
    }
}

impl std::fmt::Display for BranchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(BranchId(id)) => {
                write!(f, "unknown branch: {id}; choose one from the list of branches")
            }
            Self::Only => {
                f.write_str("deletion of the only branch is not allowed; begin another run")
            }
            Self::Same => f.write_str("a branch equals itself; choose two branches"),
        }
    }
}

impl std::error::Error for BranchError {}
