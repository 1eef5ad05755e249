//! The story of a world: what happened, what led to it, and where each message went.
//!
//! A world keeps its latest records only, so that memory is bounded for any length of run. A
//! [`Run`](crate::Run) plays earlier moments again when someone asks for them.

mod cause;
mod flight;
mod group;
mod record;
mod step;

use std::collections::VecDeque;

pub use cause::Link;
pub use flight::{Flight, LaneChange, LaneState, MessageKind};
pub(crate) use group::group;
pub use group::{Group, GroupKind};
pub use record::{EventKind, Facts, Happening, LogRecord};
pub use step::{Step, Trigger};

use crate::check::invariants::Violation;
use crate::story::flight::Lanes;
use crate::story::record::kind_of;

/// The largest number of records that a world keeps.
const RECORDS_MAX: usize = 1 << 16;
/// The largest number of flights, and of steps, that a world keeps.
const FLIGHTS_MAX: usize = 1 << 15;

/// The latest records, flights and steps of a world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    enabled: bool,
    records: VecDeque<LogRecord>,
    /// The number of records, those that are gone included.
    count: u64,
    /// By number.
    flights: VecDeque<Flight>,
    steps: VecDeque<Step>,
    /// The step that takes place.
    step: Step,
    lanes: Lanes,
    /// The first moment from which everything is kept.
    since: u64,
}

impl Story {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, ..Self::default() }
    }

    /// Records something in words.
    pub(crate) fn record(
        &mut self,
        at: u64,
        node: Option<u64>,
        kind: EventKind,
        text: impl FnOnce() -> String,
    ) {
        if self.enabled {
            self.push(at, node, kind, Happening::Note(text()));
        }
    }

    /// Records a decision of a server.
    pub(crate) fn decision(&mut self, at: u64, node: u64, event: &raft_core::Event) {
        if self.enabled {
            self.push(at, Some(node), kind_of(event), Happening::Decision(event.clone()));
        }
    }

    /// Records what a client does or is told.
    pub(crate) fn client(&mut self, at: u64, node: Option<u64>, body: impl FnOnce() -> Happening) {
        if self.enabled {
            self.push(at, node, EventKind::Client, body());
        }
    }

    pub(crate) fn violation(&mut self, node: u64, violation: &Violation) {
        if self.enabled {
            let body = Happening::Violated(violation.clone());
            self.push(violation.at, Some(node), EventKind::Violation, body);
        }
    }

    fn push(&mut self, at: u64, node: Option<u64>, kind: EventKind, body: Happening) {
        if self.records.len() == RECORDS_MAX {
            self.records.pop_front();
            self.since = self.records.front().map_or(at, |record| record.at + 1);
        }
        self.records.push_back(LogRecord {
            id: self.count,
            at,
            node,
            kind,
            step: self.step.id,
            body,
        });
        self.count += 1;
    }

    /// A step begins.
    pub(crate) fn begin(&mut self, at: u64, node: Option<u64>, trigger: Trigger, parent: u64) {
        self.step = Step { id: self.step.id + 1, at, node, trigger, parent };
        if self.enabled {
            if self.steps.len() == FLIGHTS_MAX {
                self.steps.pop_front();
            }
            self.steps.push_back(self.step);
        }
    }

    /// The number of the step that takes place.
    pub(crate) fn step(&self) -> u64 {
        self.step.id
    }

    /// A message leaves.
    pub(crate) fn sent(&mut self, mut flight: Flight) {
        if self.enabled {
            flight.step = self.step.id;
            if self.flights.len() == FLIGHTS_MAX {
                let gone = self.flights.pop_front();
                self.since = self.since.max(gone.map_or(0, |flight| flight.end() + 1));
            }
            self.flights.push_back(flight);
        }
    }

    /// A message that has left is lost.
    pub(crate) fn lost(&mut self, message: u64, at: u64) {
        let position = self.flights.partition_point(|flight| flight.id < message);
        if let Some(flight) = self.flights.get_mut(position).filter(|it| it.id == message) {
            flight.lost_at.get_or_insert(at);
        }
    }

    /// The arrival of a message is moved.
    pub(crate) fn moved(&mut self, message: u64, arrives_at: u64) {
        let position = self.flights.partition_point(|flight| flight.id < message);
        if let Some(flight) = self.flights.get_mut(position).filter(|it| it.id == message) {
            flight.arrives_at = arrives_at;
        }
    }

    /// The state of a node is this now.
    pub(crate) fn lane(&mut self, at: u64, node: u64, state: LaneState) {
        if self.enabled {
            self.lanes.set(at, node, state, FLIGHTS_MAX);
        }
    }

    /// Forgets everything but the messages in flight.
    pub(crate) fn forget(&self, now: u64) -> Self {
        let flights = self.flights.iter().filter(|flight| flight.end() > now);
        Self {
            enabled: self.enabled,
            records: VecDeque::new(),
            count: self.count,
            flights: flights.copied().collect(),
            steps: VecDeque::new(),
            step: self.step,
            lanes: self.lanes.forget(),
            since: now,
        }
    }

    pub(crate) fn since(&self, id: u64) -> impl Iterator<Item = &LogRecord> {
        let first = self.count - self.records.len() as u64;
        let skipped = usize::try_from(id.saturating_sub(first)).unwrap_or(usize::MAX);
        self.records.range(skipped.min(self.records.len())..)
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn flights(&self) -> impl DoubleEndedIterator<Item = &Flight> {
        self.flights.iter()
    }

    pub(crate) fn steps(&self) -> impl DoubleEndedIterator<Item = &Step> {
        self.steps.iter()
    }

    pub(crate) fn steps_since(&self, id: u64) -> impl Iterator<Item = &Step> {
        let first = self.steps.partition_point(|step| step.id <= id);
        self.steps.range(first..)
    }

    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The first moment from which everything is kept.
    pub(crate) fn complete_since(&self) -> u64 {
        self.since
    }
}
