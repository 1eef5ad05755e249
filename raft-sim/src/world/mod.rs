//! The world: a cluster, its clients and its observers, driven by one queue of events.
//!
//! Only this folder knows all parts. Nodes, networks and clients report what happens, and the world
//! passes it on to the observers.

pub(crate) mod action;
mod apply;
pub(crate) mod apply_action;
mod clients;
pub(crate) mod config;
mod disk_actions;
mod effects;
mod recording;
#[cfg(test)]
mod tests;
pub(crate) mod view;
pub(crate) mod why_not;

use std::hash::Hasher;

use raft_core::{Effects, NodeId};

use crate::check::Observers;
use crate::check::reachability::Reachability;
use crate::cluster::Cluster;
use crate::cluster::queue::Event;
use crate::node::Delivery;
#[cfg(test)]
use crate::node::injected_bug::InjectedBug;
use crate::story::Story;
use crate::workload::{Context, Workloads};
use crate::world::config::{WorldConfig, WorldError};

/// A cluster of real servers in a simulated environment.
///
/// A world can be cloned at any time. The clone has the same future, unless another action is
/// applied to it.
#[derive(Clone, Debug)]
pub struct World {
    config: WorldConfig,
    /// The servers, and what is in flight between them and their clients.
    cluster: Cluster,
    /// The clients.
    workloads: Workloads,
    /// The checkers.
    observers: Observers,
    /// The events and their causes, for display.
    story: Story,
    /// The effects of a server, empty between two events.
    effects: EffectsBuffer,
    /// The number of events that were processed.
    events: u64,
}

/// A buffer that is reused, so that no event allocates it.
#[derive(Debug, Default)]
struct EffectsBuffer(Effects);

impl Clone for EffectsBuffer {
    /// Returns an empty buffer, because the buffer is empty between two events.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl World {
    /// Creates a world at time zero, in which all servers start for the first time.
    ///
    /// # Errors
    ///
    /// [`WorldError`] if the configuration is invalid.
    pub fn new(config: WorldConfig) -> Result<Self, WorldError> {
        config.validate()?;
        let WorldConfig { cluster, seed, network, disk, workload, .. } = &config;
        let record_events = config.needs_core_events();
        let mut world = Self {
            cluster: Cluster::new(*seed, cluster, network, disk, record_events)
                .map_err(WorldError::Core)?,
            workloads: Workloads::new(*seed, workload),
            observers: Observers::new(workload, config.count_coverage),
            story: Story::new(config.record_events),
            effects: EffectsBuffer::default(),
            events: 0,
            config,
        };
        for id in 1..=world.config.cluster.nodes {
            world.cluster.set_timer(id);
            let log = &world.cluster.nodes[id as usize - 1].disk.log;
            let invariants = &mut world.observers.invariants;
            let checked = invariants.observe_entries(NodeId(id), Default::default(), log);
            world.observers.violations.note(0, checked);
        }
        world.with_workloads(Workloads::start);
        world.record_lanes();
        Ok(world)
    }

    /// The virtual time, in microseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.cluster.now
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// The number of events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The time of the next event.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        self.cluster.next_at().filter(|_| !self.has_ended())
    }

    /// A hash of everything that the servers did so far. It is the same on every platform.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.cluster.trace.finish()
    }

    /// Processes the next event, and all other events of the same microsecond. Returns false if
    /// there is no event or an invariant is violated.
    pub fn step(&mut self) -> bool {
        let Some(at) = self.next_at() else {
            return false;
        };
        self.cluster.now = at;
        while self.next_at() == Some(at) {
            if let Some((event, parent)) = self.cluster.next_event() {
                self.events += 1;
                self.begin_step(&event, parent);
                self.process_event(event);
            }
        }
        true
    }

    /// Processes all events until `time`, including those at `time`. Stops early if an invariant is
    /// violated.
    pub fn run_until(&mut self, time: u64) {
        while self.next_at().is_some_and(|at| at <= time) {
            self.step();
        }
        if !self.has_ended() {
            self.cluster.now = self.cluster.now.max(time);
        }
    }

    fn process_event(&mut self, event: Event) {
        match event {
            // The message was dropped, or its arrival was moved.
            Event::MessageArrives(id) if !self.cluster.network.is_due(id, self.cluster.now) => {}
            Event::MessageArrives(id) => match self.cluster.network.arrive(id) {
                Some(flight) => {
                    self.deliver(flight.to, Delivery::Message(flight.from, flight.message));
                }
                None => self.story.lost(id, self.cluster.now),
            },
            Event::TimerFires(node) => {
                if let Some((running, now)) = self.cluster.awake_mut(node) {
                    running.raft.tick(now);
                }
                self.settle(node);
            }
            Event::WriteCompletes { node, boot, write } => {
                if self.cluster.node(node).is_some_and(|node| node.boot == boot) {
                    self.deliver(node, Delivery::WriteCompleted(write));
                }
            }
            Event::SnapshotInstalled { node, boot } => {
                if self.cluster.node(node).is_some_and(|node| node.boot == boot) {
                    self.deliver(node, Delivery::SnapshotInstalled);
                }
            }
            Event::ClientMessageArrives(id) => self.deliver_client_message(id),
            Event::ClientTimer(kind, client) => self.on_client_timer(kind, client),
            Event::AttemptTimesOut(id) => {
                self.with_workloads(|workloads, context| workloads.on_timeout(id, context));
            }
            Event::RetryTimer(id) => {
                self.with_workloads(|workloads, context| workloads.retry(id, context));
            }
            Event::DelayedRevokeArrives(number) => self.deliver_delayed_revoke(number),
            Event::WatcherTimer(watcher) => {
                self.with_workloads(|workloads, context| {
                    workloads.watch.on_timer(watcher, context);
                });
            }
            Event::WatchBatchArrives(id) => self.deliver_watch_batch(id),
        }
    }

    /// Delivers something to a process. A paused process receives it when it is resumed. If there
    /// is no process, it is lost.
    fn deliver(&mut self, node: u64, delivery: Delivery) {
        let Some(running) = self.cluster.node_mut(node).and_then(|node| node.running_mut()) else {
            return;
        };
        if let Some(waiting) = &mut running.paused {
            return waiting.push_back(delivery);
        }
        match delivery {
            Delivery::Message(from, message) => {
                if let Some((running, now)) = self.cluster.awake_mut(node) {
                    running.raft.receive(NodeId(from), message, now);
                }
            }
            Delivery::Request(id) => self.handle_client_request(node, id),
            Delivery::WriteCompleted(write) => {
                let now = self.cluster.now;
                if let Some(node) = self.cluster.node_mut(node) {
                    node.complete_write(now, write);
                }
            }
            Delivery::SnapshotInstalled => self.finish_install(node),
        }
        self.settle(node);
    }

    /// Calls a function of the clients with the parts of the world that they use.
    fn with_workloads<T>(&mut self, call: impl FnOnce(&mut Workloads, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            cluster: &mut self.cluster,
            servers: &self.config.cluster,
            config: &self.config.workload,
            latest_revision: self.observers.auditor.revision(),
            latest_response: self.observers.responses.latest(),
            log: &mut self.story,
        };
        call(&mut self.workloads, &mut context)
    }

    /// Puts a bug into all servers.
    #[cfg(test)]
    pub(crate) fn inject(&mut self, bug: InjectedBug) {
        self.cluster.inject(bug);
    }

    /// The leases that have expired, and the revoked leases.
    #[cfg(test)]
    pub(crate) fn leases_ended(&self) -> (usize, usize) {
        self.observers.leases.ended_by_expiry()
    }

    /// The cluster, as checkers of progress see it.
    fn reachability(&self) -> Reachability<'_> {
        Reachability::new(&self.cluster, &self.config.cluster)
    }
}
