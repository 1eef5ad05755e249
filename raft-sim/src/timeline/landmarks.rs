//! The most important moments of a run, for a picture of its whole length.

use crate::story::{Happening, LaneState, LogRecord};
use crate::timeline::Run;
use crate::timeline::checkpoints::Way;
use crate::timeline::tree::{Place, START};

/// A moment that a picture of the whole run marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Landmark {
    /// When, in microseconds.
    pub at: u64,
    /// The node.
    pub node: Option<u64>,
    /// The number of its record.
    pub record: u64,
    /// The term that begins; none for a violation.
    pub term: Option<u64>,
}

/// The landmarks of all branches, in order of time within a branch.
#[derive(Clone, Debug, Default)]
pub(super) struct Landmarks {
    list: Vec<(Place, Landmark)>,
}

/// Beyond this number, every second landmark is forgotten.
const LANDMARKS_MAX: usize = 2_048;

impl Landmarks {
    /// Keeps a record if it is a landmark.
    pub(super) fn observe(&mut self, record: &LogRecord, way: &Way) {
        let term = match &record.body {
            Happening::Decision(raft_core::Event::BecameLeader { term, .. }) => Some(term.0),
            Happening::Violated(_) => None,
            _ => return,
        };
        let done = way.moments.partition_point(|at| *at < record.at);
        let place = done.checked_sub(1).map_or(START, |last| way.places[last]);
        let LogRecord { at, node, id, .. } = *record;
        self.list.push((place, Landmark { at, node, record: id, term }));
        if self.list.len() > LANDMARKS_MAX {
            let mut position = 0;
            self.list.retain(|(_, landmark)| {
                position += 1;
                landmark.term.is_none() || position % 2 == 0
            });
        }
    }

    fn of<'a>(&'a self, way: &'a Way) -> impl Iterator<Item = &'a Landmark> {
        let on_way = |(place, landmark): &&(Place, Landmark)| {
            let done = way.moments.partition_point(|at| *at < landmark.at);
            done.checked_sub(1).map_or(START, |last| way.places[last]) == *place
        };
        self.list.iter().filter(on_way).map(|(_, landmark)| landmark)
    }
}

impl Run {
    /// The landmarks in the visited part of the shown branch.
    pub fn landmarks(&self) -> impl Iterator<Item = &Landmark> {
        self.landmarks.of(&self.way)
    }

    /// The states of the nodes at some moments of the shown branch, in order of time: a sketch of
    /// the lanes for a long stretch of time.
    pub fn sketch(&self) -> impl Iterator<Item = (u64, &[LaneState])> {
        let worlds = self.checkpoints.on_way(&self.way, &self.tree);
        worlds.map(|world| (world.now(), world.lanes_before()))
    }
}
