//! The effects of a server: executing them, and checking the server afterwards.

use std::time::Duration;

use raft_core::{Effects, Fetch, NodeId, Outbound, SnapshotInstall, StopReason, Write};

use crate::check::invariants::Invariant;
use crate::check::reachability::Reachability;
use crate::cluster::queue::Event;
use crate::world::{EffectsBuffer, World};

/// The largest number of rounds of effects for one event. Each round can fetch a part of the log,
/// and no log here has more parts.
const ROUNDS_MAX: u32 = 100_000;

impl World {
    /// Executes the effects of a server after its inputs, and checks the invariants.
    ///
    /// Effects that complete at once, such as fetched entries, can lead to more effects. A server
    /// that never stops violates an invariant.
    pub(super) fn settle(&mut self, id: u64) {
        self.drive_lessor(id);
        let mut effects = std::mem::take(&mut self.effects).0;
        for round in 0.. {
            if round == ROUNDS_MAX {
                let text = format!("n{id} has effects after {ROUNDS_MAX} rounds of one event");
                let checked = Err((Invariant::Quiescence, text));
                self.observers.violations.note(self.cluster.now, checked);
                break;
            }
            if let Some((running, _)) = self.cluster.awake_mut(id) {
                running.raft.drain(&mut effects);
            }
            self.check_server(id);
            if effects.is_empty() {
                break;
            }
            self.execute(id, &mut effects);
        }
        self.effects = EffectsBuffer(effects);
        self.end_stopped_process(id);
        self.cluster.set_timer(id);
        self.observers.check_progress(Reachability::new(&self.cluster, &self.config.cluster));
        self.record_violation(id);
        self.record_lane(id);
    }

    /// Executes and removes all effects.
    fn execute(&mut self, id: u64, effects: &mut Effects) {
        let now = self.cluster.now;
        for event in &effects.events {
            self.observers.coverage.observe(event);
            self.story.decision(now, id, event);
        }
        effects.events.clear();
        if effects.is_empty() {
            // Recording events must not change the trace.
            return;
        }
        self.cluster.trace.add(&(now, id));
        if let Some(write) = effects.write.take() {
            self.cluster.trace.add(&(write.hard_state(), write.entries()));
            self.start_write(id, write);
        }
        for Outbound { to, message } in effects.messages.drain(..) {
            let cluster = &mut self.cluster;
            cluster.trace.add(&(to, &message));
            let first = cluster.network.next_id();
            let arrivals = cluster.network.send(now, id, to.0, message, &mut cluster.random);
            self.record_flights(first);
            for (at, message) in arrivals.into_iter().flatten() {
                self.cluster.schedule(at, Event::MessageArrives(message));
            }
        }
        for fetch in effects.fetches.drain(..) {
            self.fetch(id, fetch);
        }
        for request in effects.snapshot_chunk_requests.drain(..) {
            if let Some(node) = self.cluster.node_mut(id) {
                node.provide_snapshot_chunk(now, request);
            }
        }
        for chunk in effects.snapshot_chunks.drain(..) {
            self.cluster.trace.add(&chunk);
            if let Some((running, _)) = self.cluster.awake_mut(id) {
                running.receive_snapshot_chunk(&chunk);
            }
        }
        if let Some(install) = effects.install.take() {
            self.cluster.trace.add(&install);
            self.start_install(id, install);
        }
        self.on_committed(id, &mut effects.committed);
        match self.config.cluster.snapshot_every {
            0 => {}
            every => {
                self.take_snapshot(id, every);
            }
        }
        self.on_read_outcomes(id, &mut effects.reads);
    }

    /// Checks the invariants of a server.
    fn check_server(&mut self, id: u64) {
        let nodes = &self.cluster.nodes;
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
        let checked = self.observers.invariants.observe(&running.raft, node.boot, holds);
        self.observers.violations.note(self.cluster.now, checked);
    }

    fn start_write(&mut self, id: u64, write: Write) {
        let number = self.cluster.next_write();
        let Some(node) = self.cluster.nodes.get_mut(id as usize - 1) else {
            return;
        };
        if let (Some(first), Some(running)) = (write.entries().first(), node.running()) {
            let previous = running.raft.term_at(first.id.index.previous()).unwrap_or_default();
            let invariants = &mut self.observers.invariants;
            let checked = invariants.observe_entries(NodeId(id), previous, write.entries());
            self.observers.violations.note(self.cluster.now, checked);
        }
        // A write to a full disk has not started, so it cannot fail. It waits for space.
        if node.disk.write(number, write) {
            self.cluster.start_write(id, number, self.config.disk.reorder_syncs);
        }
    }

    fn fetch(&mut self, id: u64, fetch: Fetch) {
        let now = self.cluster.now;
        if let Some(node) = self.cluster.node_mut(id)
            && let Err(index) = node.fetch(now, fetch)
        {
            self.log_node(id, &format!("reads entry {index}, which is damaged"));
        }
    }

    /// Takes a snapshot if the server has applied `every` entries since the last one. Returns true
    /// if a snapshot was taken.
    pub(super) fn take_snapshot(&mut self, id: u64, every: u64) -> bool {
        let (now, config) = (self.cluster.now, &self.config.cluster);
        let (retain, is_witness) = (config.snapshot_retain, config.is_witness(id));
        let node = self.cluster.node_mut(id);
        node.is_some_and(|node| node.take_snapshot(now, every, retain, is_witness))
    }

    fn start_install(&mut self, id: u64, install: SnapshotInstall) {
        let (now, is_witness) = (self.cluster.now, self.config.cluster.is_witness(id));
        let Some(node) = self.cluster.nodes.get_mut(id as usize - 1) else {
            return;
        };
        let installed_at = now + node.sync_latency.sample(&mut self.cluster.random);
        let boot = node.boot;
        node.start_install(now, install, is_witness);
        self.cluster.schedule(installed_at, Event::SnapshotInstalled { node: id, boot });
    }

    pub(super) fn finish_install(&mut self, id: u64) {
        let now = self.cluster.now;
        let Some(node) = self.cluster.node_mut(id) else {
            return;
        };
        let Some((last, fingerprint)) = node.finish_install(now) else {
            return;
        };
        if !self.config.cluster.is_witness(id) {
            let invariants = &mut self.observers.invariants;
            let checked = invariants.observe_state(NodeId(id), last.0, fingerprint);
            self.observers.violations.note(now, checked);
        }
        self.with_workloads(|workloads, context| workloads.watch.send(id, context));
    }

    /// Ends the process of a server that has stopped permanently.
    fn end_stopped_process(&mut self, id: u64) {
        let Some(node) = self.cluster.node(id) else {
            return;
        };
        let Some(reason) = node.running().and_then(|running| running.raft.stopped()) else {
            return;
        };
        let has_lost_log = node.wiped && matches!(reason, StopReason::LogLost { .. });
        if reason != StopReason::StorageFailed && !has_lost_log {
            let checked = Err((Invariant::StateMachineSafety, format!("n{id} stopped: {reason}")));
            self.observers.violations.note(self.cluster.now, checked);
        }
        let disturbance = self.disturbance_of(id);
        if let Some(node) = self.cluster.nodes.get_mut(id as usize - 1) {
            node.crash(Some(reason.to_string()), &mut self.cluster.random);
        }
        self.disturb(disturbance);
        self.record_lane(id);
    }

    /// Lets the lessor of a leader end expired leases.
    fn drive_lessor(&mut self, id: u64) {
        if self.workloads.lease.is_empty() {
            return;
        }
        let retry_after = Duration::from_micros(self.config.cluster.election_timeout.max);
        let bug = self.cluster.injected_bug();
        let Some((running, now)) = self.cluster.awake_mut(id) else {
            return;
        };
        for revoke in running.drive_lessor(now, retry_after, bug) {
            self.with_workloads(|workloads, context| {
                workloads.lease.delay_revoke(revoke, context);
            });
            self.log_client(id, || format!("n{id} finds that lease {} has expired", revoke.id));
        }
    }
}
