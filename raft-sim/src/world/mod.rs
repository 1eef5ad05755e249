//! The world: one queue of things that will happen, and the nodes they happen to.

pub(crate) mod action;
pub(crate) mod apply_action;
pub(crate) mod config;
#[cfg(test)]
mod hand_tests;
pub(crate) mod queue;
pub(crate) mod trace;
pub(crate) mod view;
pub(crate) mod why_not;

use std::collections::BTreeMap;
use std::hash::Hasher;

use raft_core::{Effects, NodeId, Outbound, StopReason};

use crate::check::auditor::Auditor;
use crate::check::catch_up::CatchUp;
use crate::check::coverage::coverage_point;
use crate::check::invariants::{Invariant, Invariants, Violation};
use crate::check::lease::LeaseChecker;
use crate::check::liveness::Liveness;
use crate::network::Network;
use crate::node::{Arrival, Node, Running};
use crate::story::{Flight, LaneState, Story, Trigger};
use crate::util::rng::SimRng;
use crate::workload::kv::{ClientMessage, Clients};
use crate::workload::lease::LeaseWorkload;
use crate::workload::txn::TxnWorkload;
use crate::workload::watch::WatchWorkload;
use crate::world::config::{WorldConfig, WorldError};
pub(crate) use crate::world::queue::Event;
use crate::world::queue::Queue;
use crate::world::trace::TraceHash;

/// A cluster of real servers in a simulated world. It can be cloned at any moment; the copy has the
/// same future, unless something else is done to it.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) config: WorldConfig,
    pub(crate) now: u64,
    pub(crate) random: SimRng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) story: Story,
    pub(crate) invariants: Invariants,
    pub(crate) violation: Option<Violation>,
    /// The world continues after its violation, because someone asked for that.
    pub(crate) goes_on: bool,
    violation_is_told: bool,
    pub(crate) progress: Liveness,
    pub(crate) catch_up: CatchUp,
    pub(crate) ledger: Auditor,
    pub(crate) holders: LeaseWorkload,
    pub(crate) promises: LeaseChecker,
    pub(crate) watchers: WatchWorkload,
    pub(crate) traders: TxnWorkload,
    queue: Queue,
    buffer: Buffer,
    pub(crate) next_write: u64,
    pub(crate) trace: TraceHash,
    events: u64,
    branches: BTreeMap<&'static str, u64>,
}

/// What servers ask for is put here, so that it need not be allocated for each event.
#[derive(Debug, Default)]
struct Buffer(Effects);

impl Clone for Buffer {
    /// It is empty between two events.
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// How often a server may ask for more in one moment. A log of as many pieces as that is longer
/// than any here.
const ROUNDS_MAX: u32 = 100_000;

impl World {
    /// A world at time zero, in which all servers start for the first time.
    ///
    /// # Errors
    ///
    /// [`WorldError`] if the configuration makes no sense.
    pub fn new(config: WorldConfig) -> Result<Self, WorldError> {
        config.validate()?;
        let mut random = SimRng::new(config.seed);
        let nodes = (1..=config.nodes)
            .map(|id| Node::new(id, &config, 0, &mut random))
            .collect::<Result<Vec<_>, _>>()?;
        let mut world = Self {
            now: 0,
            network: Network::new(&config),
            clients: Clients::new(config.clients),
            story: Story::new(config.record_events),
            invariants: Invariants::default(),
            violation: None,
            goes_on: false,
            violation_is_told: false,
            progress: Liveness::default(),
            catch_up: CatchUp::default(),
            ledger: Auditor::new(
                config.watch_clients + config.lease_clients + config.txn_clients > 0,
            ),
            holders: LeaseWorkload::new(&config),
            promises: LeaseChecker::default(),
            watchers: WatchWorkload::new(&config),
            traders: TxnWorkload::new(&config),
            queue: Queue::new(nodes.len()),
            buffer: Buffer::default(),
            next_write: 1,
            trace: TraceHash::new(),
            events: 0,
            branches: BTreeMap::new(),
            random,
            nodes,
            config,
        };
        for id in 1..=world.config.nodes {
            world.set_timer(id);
            let log = world.nodes[id as usize - 1].disk.log.clone();
            let checked = world.invariants.observe_entries(NodeId(id), Default::default(), &log);
            note(&mut world.violation, 0, checked);
        }
        world.schedule_clients();
        world.wake_watchers();
        world.wake_holders();
        world.wake_traders();
        world.note_lanes();
        Ok(world)
    }

    /// The time, in microseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// What the world was made from.
    #[must_use]
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// How many things have happened so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// In how many terms a leader was elected.
    #[must_use]
    pub fn elections(&self) -> u64 {
        self.invariants.terms_led()
    }

    /// How often each branch of the protocol was taken, by the names of
    /// [`branches`](crate::check::coverage), if [`WorldConfig::count_coverage`] is set.
    #[must_use]
    pub fn branches(&self) -> &BTreeMap<&'static str, u64> {
        &self.branches
    }

    /// The first violation. Nothing happens after it, unless [`Action::GoOn`](crate::Action::GoOn)
    /// is done.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Returns true if an invariant is violated and the world stopped there.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.violation.is_some() && !self.goes_on
    }

    /// The number of entries that are known to be committed, whichever nodes are running.
    #[must_use]
    pub fn committed_entries(&self) -> u64 {
        self.invariants.committed() as u64
    }

    /// A hash of everything that the servers did so far, the same on every platform.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.trace.finish()
    }

    /// When the next thing happens.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        self.queue.next_at().filter(|_| !self.has_ended())
    }

    /// Lets the next thing happen, with everything else that happens in the same microsecond.
    /// Returns false if nothing will ever happen, or a rule is broken.
    pub fn step(&mut self) -> bool {
        let Some(at) = self.next_at() else {
            return false;
        };
        self.now = at;
        while self.next_at() == Some(at) {
            if let Some((happening, parent)) = self.queue.pop() {
                self.events += 1;
                self.begin_step(&happening, parent);
                self.process_event(happening);
            }
        }
        true
    }

    /// Lets everything happen until `time`, this moment included, or until a rule is broken.
    pub fn run_until(&mut self, time: u64) {
        while self.next_at().is_some_and(|at| at <= time) {
            self.step();
        }
        if !self.has_ended() {
            self.now = self.now.max(time);
        }
    }

    pub(crate) fn schedule(&mut self, at: u64, happening: Event) {
        self.queue.schedule(at, happening, self.story.step());
    }

    pub(crate) fn node(&self, id: u64) -> Option<&Node> {
        self.nodes.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    pub(crate) fn node_mut(&mut self, id: u64) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// Begins the step of an event.
    fn begin_step(&mut self, happening: &Event, parent: u64) {
        let (node, trigger) = match happening {
            Event::MessageArrives(id) => {
                let receiver = self.network.in_flight.get(*id).map(|flight| flight.to);
                (receiver, Trigger::Message { message: *id })
            }
            Event::TimerFires(node) => (Some(*node), Trigger::Timer),
            Event::WriteSynced { node, .. } => (Some(*node), Trigger::Disk),
            Event::Installed { node, .. } => (Some(*node), Trigger::Snapshot),
            Event::LetterArrives(id) => {
                let letter = self.clients.letters.get(id);
                let receiver = letter.filter(|letter| letter.answer.is_none());
                let receiver = receiver.map(|letter| letter.node);
                (receiver, Trigger::ClientMessage { message: *id })
            }
            Event::ClientWakes(_)
            | Event::AttemptTimesOut(_)
            | Event::AttemptAgain(_)
            | Event::HolderWakes(_)
            | Event::RevocationArrives(_)
            | Event::TraderWakes(_)
            | Event::WatcherWakes(_)
            | Event::ChangesArrive(_) => (None, Trigger::Client),
        };
        self.story.begin(self.now, node, trigger, parent);
    }

    /// Records the messages from a number on, which have just left.
    pub(crate) fn record_flights(&mut self, first: u64) {
        for id in first..self.network.next_id() {
            let flight = match self.network.in_flight.get(id) {
                Some(message) => Flight::of(message, None),
                None => match self.network.lost.iter().rfind(|lost| lost.message.id == id) {
                    Some(lost) => Flight::of(&lost.message, Some(lost.at)),
                    None => continue,
                },
            };
            self.story.sent(flight);
        }
    }

    /// Records the state of a node for its lane.
    fn note_lane(&mut self, id: u64) {
        let Some(node) = self.node(id) else {
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
        self.story.lane(self.now, id, state);
    }

    /// Records the states of all nodes for their lanes.
    pub(crate) fn note_lanes(&mut self) {
        for id in 1..=self.config.nodes {
            self.note_lane(id);
        }
    }

    fn process_event(&mut self, happening: Event) {
        match happening {
            // A message that was dropped or moved does not arrive now.
            Event::MessageArrives(id) if !self.network.is_due(id, self.now) => {}
            Event::MessageArrives(id) => match self.network.arrive(id) {
                Some(flight) => {
                    self.arrive(flight.to, Arrival::Message(flight.from, flight.message));
                }
                None => self.story.lost(id, self.now),
            },
            Event::TimerFires(node) => {
                self.with_running(node, |running, now| running.raft.tick(now));
                self.settle(node);
            }
            Event::WriteSynced { node, boot, write } => {
                if self.node(node).is_some_and(|n| n.boot == boot) {
                    self.arrive(node, Arrival::Synced(write));
                }
            }
            Event::Installed { node, boot } => {
                if self.node(node).is_some_and(|n| n.boot == boot) {
                    self.arrive(node, Arrival::Installed);
                }
            }
            Event::LetterArrives(id) => self.letter_arrives(id),
            Event::ClientWakes(client) => self.on_client_timer(client),
            Event::AttemptTimesOut(asked) => self.on_attempt_timeout(asked),
            Event::AttemptAgain(asked) => self.on_retry_timer(asked),
            Event::HolderWakes(holder) => self.on_lease_client_timer(holder),
            Event::TraderWakes(trader) => self.trader_wakes(trader),
            Event::RevocationArrives(number) => self.deliver_delayed_revoke(number),
            Event::WatcherWakes(watcher) => self.watcher_wakes(watcher),
            Event::ChangesArrive(id) => self.changes_arrive(id),
        }
    }

    /// Something reaches a node: its process takes it, or it waits until the process goes on, or it
    /// is lost because there is no process.
    pub(crate) fn arrive(&mut self, node: u64, arrival: Arrival) {
        let Some(running) = self.node_mut(node).and_then(Node::running_mut) else {
            return;
        };
        if let Some(waiting) = &mut running.paused {
            return waiting.push_back(arrival);
        }
        match arrival {
            Arrival::Message(from, message) => {
                self.with_running(node, |running, now| {
                    running.raft.receive(NodeId(from), message, now);
                });
            }
            Arrival::Request(asked) => self.handle_client_request(node, asked),
            Arrival::Synced(write) => self.synced(node, write),
            Arrival::Installed => self.finish_install(node),
        }
        self.settle(node);
    }

    pub(crate) fn with_running(
        &mut self,
        node: u64,
        act: impl FnOnce(&mut Running, raft_core::Instant),
    ) {
        let world_now = self.now;
        let Some(node) = self.node_mut(node) else {
            return;
        };
        let now = node.clock.read(world_now);
        if let Some(running) = node.awake_mut() {
            act(running, now);
        }
    }

    /// Carries out what a server asks for after its inputs, and looks whether the rules hold.
    ///
    /// What is carried out at once, as fetched entries are, can lead to more; a server that never
    /// has enough is stuck in a circle.
    pub(crate) fn settle(&mut self, id: u64) {
        self.drive_lessor(id);
        let mut effects = std::mem::take(&mut self.buffer).0;
        for round in 0.. {
            if round == ROUNDS_MAX {
                let text = format!("n{id} asks for more {ROUNDS_MAX} times in one moment");
                note(&mut self.violation, self.now, Err((Invariant::Quiescence, text)));
                break;
            }
            self.with_running(id, |running, _| running.raft.drain(&mut effects));
            self.check(id);
            if effects.is_empty() {
                break;
            }
            self.carry_out(id, &mut effects);
        }
        self.buffer = Buffer(effects);
        self.stop_if_told(id);
        self.set_timer(id);
        self.check_liveness();
        self.watch_catch_up();
        self.tell_violation(id);
        self.note_lane(id);
    }

    /// Leaves nothing of the effects.
    fn carry_out(&mut self, id: u64, effects: &mut Effects) {
        for event in &effects.events {
            if self.config.count_coverage {
                *self.branches.entry(coverage_point(event)).or_default() += 1;
            }
            self.story.decision(self.now, id, event);
        }
        effects.events.clear();
        if effects.is_empty() {
            // Whether somebody listens to the server's explanations changes nothing.
            return;
        }
        self.trace.add(&(self.now, id));
        if let Some(write) = effects.write.take() {
            self.trace.add(&(write.hard_state(), write.entries()));
            self.write(id, write);
        }
        for Outbound { to, message } in effects.messages.drain(..) {
            self.trace.add(&(to, &message));
            let NodeId(to) = to;
            let first = self.network.next_id();
            let arrivals = self.network.send(self.now, id, to, message, &mut self.random);
            self.record_flights(first);
            for (at, message) in arrivals.into_iter().flatten() {
                self.schedule(at, Event::MessageArrives(message));
            }
        }
        for fetch in effects.fetches.drain(..) {
            self.fetch(id, fetch);
        }
        for read in effects.snapshot_chunk_requests.drain(..) {
            self.provide_chunk(id, read);
        }
        for piece in effects.snapshot_chunks.drain(..) {
            self.trace.add(&piece);
            self.with_running(id, |running, _| {
                running.arriving.truncate(piece.offset as usize);
                running.arriving.extend_from_slice(&piece.data);
            });
        }
        if let Some(install) = effects.install.take() {
            self.trace.add(&install);
            self.install(id, install);
        }
        self.on_committed(id, &mut effects.committed);
        self.compact(id);
        self.on_read_outcomes(id, &mut effects.reads);
    }

    fn check(&mut self, id: u64) {
        let nodes = &self.nodes;
        let Some(node) = nodes.get(id as usize - 1) else {
            return;
        };
        let Some(running) = node.running() else {
            return;
        };
        let holds = |NodeId(node), entry| {
            let node = nodes.get(node as usize - 1);
            node.is_some_and(|node| node.disk.holds(entry))
        };
        let checked = self.invariants.observe(&running.raft, node.boot, holds);
        note(&mut self.violation, self.now, checked);
    }

    /// The violation comes after what led to it, and once.
    fn tell_violation(&mut self, id: u64) {
        if let Some(violation) = self.violation.as_ref().filter(|_| !self.violation_is_told) {
            self.violation_is_told = true;
            self.story.violation(id, violation);
        }
    }

    /// A server that stopped for good ends its process.
    fn stop_if_told(&mut self, id: u64) {
        let Some(running) = self.node(id).and_then(Node::running) else {
            return;
        };
        let Some(reason) = running.raft.stopped() else {
            return;
        };
        let lost = matches!(reason, StopReason::LogLost { .. });
        let has_wiped = self.node(id).is_some_and(|node| node.wiped);
        if reason != StopReason::StorageFailed && !(lost && has_wiped) {
            let text = format!("n{id} stopped: {reason}");
            note(&mut self.violation, self.now, Err((Invariant::StateMachineSafety, text)));
        }
        let disturbed = self.disturbance_of(id);
        if let Some(node) = self.nodes.get_mut(id as usize - 1) {
            node.crash(Some(reason.to_string()), &mut self.random);
        }
        self.reset(disturbed);
        self.note_lane(id);
    }

    pub(crate) fn set_timer(&mut self, id: u64) {
        let wakes_at = self.node(id).and_then(|node| node.wakes_at(self.now));
        self.queue.set_timer(id as usize - 1, wakes_at);
    }

    pub(crate) fn post(&mut self, letter: ClientMessage) {
        let arrives_at = letter.arrives_at;
        let id = self.clients.post(letter);
        self.schedule(arrives_at, Event::LetterArrives(id));
    }
}

/// Keeps the first violation.
pub(crate) fn note(
    violation: &mut Option<Violation>,
    at: u64,
    checked: Result<(), (Invariant, String)>,
) {
    if let (None, Err((invariant, text))) = (&violation, checked) {
        *violation = Some(Violation { invariant, text, at });
    }
}
