//! Recording of steps, messages and states of servers in the story.

use crate::cluster::queue::Event;
use crate::story::{EventKind, Flight, Happening, LaneState, Story, Trigger};
use crate::workload::ClientLog;
use crate::workload::kv::Operation;
use crate::workload::request::Request;
use crate::world::World;

impl World {
    /// Starts the step of an event.
    pub(super) fn begin_step(&mut self, event: &Event, parent: u64) {
        let (node, trigger) = match event {
            Event::MessageArrives(id) => {
                let receiver = self.cluster.network.in_flight().get(*id).map(|flight| flight.to);
                (receiver, Trigger::Message { message: *id })
            }
            Event::TimerFires(node) => (Some(*node), Trigger::Timer),
            Event::WriteCompletes { node, .. } => (Some(*node), Trigger::Disk),
            Event::SnapshotInstalled { node, .. } => (Some(*node), Trigger::Snapshot),
            Event::ClientMessageArrives(id) => {
                let message = self.cluster.client_messages.get(*id);
                let request = message.filter(|message| message.response.is_none());
                (request.map(|request| request.node), Trigger::ClientMessage { message: *id })
            }
            Event::ClientTimer(..)
            | Event::AttemptTimesOut(_)
            | Event::RetryTimer(_)
            | Event::DelayedRevokeArrives(_)
            | Event::WatcherTimer(_)
            | Event::WatchBatchArrives(_) => (None, Trigger::Client),
        };
        self.begin(node, trigger, parent);
    }

    /// Starts a step.
    pub(super) fn begin(&mut self, node: Option<u64>, trigger: Trigger, parent: u64) {
        self.story.begin(self.cluster.now, node, trigger, parent);
        self.cluster.step = self.story.step();
    }

    /// Records the messages from number `first` on, which have just been sent.
    pub(super) fn record_flights(&mut self, first: u64) {
        let network = &self.cluster.network;
        for id in first..network.next_id() {
            let flight = match network.in_flight().get(id) {
                Some(message) => Flight::of(message, None),
                None => match network.lost().iter().rfind(|lost| lost.message.id == id) {
                    Some(lost) => Flight::of(&lost.message, Some(lost.at)),
                    None => continue,
                },
            };
            self.story.sent(flight);
        }
    }

    /// Records the state of a server for its lane.
    pub(super) fn record_lane(&mut self, id: u64) {
        let Some(node) = self.cluster.node(id) else {
            return;
        };
        let state = match node.running() {
            None => LaneState { process: 2, ..LaneState::default() },
            Some(running) => LaneState {
                process: u8::from(running.paused.is_some()),
                role: LaneState::role_number(running.raft.role()),
                term: running.raft.term().0,
            },
        };
        self.story.lane(self.cluster.now, id, state);
    }

    /// Records the states of all servers for their lanes.
    pub(super) fn record_lanes(&mut self) {
        for id in 1..=self.config.cluster.nodes {
            self.record_lane(id);
        }
    }

    /// Records the first violation after the events that led to it.
    pub(super) fn record_violation(&mut self, node: u64) {
        if let Some(violation) = self.observers.violations.take_unrecorded() {
            self.story.violation(node, violation);
        }
    }

    /// Records an event of a client in words.
    pub(super) fn log_client(&mut self, node: u64, text: impl FnOnce() -> String) {
        self.story.record(self.cluster.now, Some(node), EventKind::Client, text);
    }
}

impl ClientLog for Story {
    fn asked(&mut self, at: u64, operation: u64, request: &Request) {
        self.client(at, None, || Happening::Asked { operation, request: request.clone() });
    }

    fn answered(&mut self, at: u64, operation: &Operation) {
        self.client(at, Some(operation.node), || Happening::Answered {
            operation: operation.id,
            request: operation.request.clone(),
            state: operation.state.clone(),
        });
    }

    fn note(&mut self, at: u64, node: Option<u64>, text: std::fmt::Arguments<'_>) {
        self.record(at, node, EventKind::Client, || text.to_string());
    }
}
