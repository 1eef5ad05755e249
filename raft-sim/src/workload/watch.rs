//! Clients that watch keys.
//!
//! A watcher is connected to one server. When the connection ends, because the server is gone or at
//! random, the watcher continues at another server from the revision after the last one that it
//! received. That server may be behind or ahead, or may have installed a snapshot meanwhile.
//! Watchers have random numbers of their own, so that they do not change the rest of a run.

use std::collections::BTreeMap;

use raft_core::NodeId;
use raft_kv::{Changes, ChangesRequest, KeyRange};

use crate::cluster::Cluster;
use crate::cluster::queue::Event;
use crate::network::latency::DurationRange;
use crate::node::Node;
use crate::node::config::ClusterConfig;
use crate::node::injected_bug::InjectedBug;
use crate::util::rng::SimRng;
use crate::workload::Context;
use crate::workload::config::WorkloadConfig;

/// Clients that watch keys.
#[derive(Clone, Debug)]
pub(crate) struct WatchWorkload {
    watchers: Vec<Watcher>,
    /// The batches in flight, by number.
    in_flight: BTreeMap<u64, InFlightBatch>,
    /// The number of the next batch.
    next_batch: u64,
    random: SimRng,
}

#[derive(Clone, Debug)]
struct Watcher {
    keys: KeyRange,
    /// The limits of a batch.
    changes_max: usize,
    bytes_max: usize,
    /// The watcher requests the previous values of keys.
    prev_kv: bool,
    /// The first revision that the watcher has not received.
    next: i64,
    /// The server's side of the connection, if there is one.
    connection: Option<Connection>,
    /// The number of the connection. Batches of earlier connections are lost.
    connection_number: u64,
    /// When the last batch of this connection arrives. Batches do not overtake each other.
    arrives_at: u64,
}

/// The state that a server has for a watcher.
#[derive(Clone, Copy, Debug)]
struct Connection {
    node: u64,
    boot: u64,
    /// The first revision that the server has not sent.
    next: i64,
}

#[derive(Clone, Debug)]
struct InFlightBatch {
    /// The position of the watcher.
    watcher: usize,
    connection_number: u64,
    changes: Changes,
}

/// A batch of changes that a watcher has received.
#[derive(Debug)]
pub(crate) struct ReceivedBatch {
    /// The watcher, from 1.
    pub(crate) watcher: usize,
    pub(crate) keys: KeyRange,
    pub(crate) prev_kv: bool,
    /// The first revision that the watcher had not received before.
    pub(crate) from: i64,
    pub(crate) changes: Changes,
}

/// The least number of changes that a batch covers. Small limits lead to many batches.
const CHANGES_MAX: [usize; 4] = [1, 3, 3, 1000];
/// The size of a batch in bytes.
const BYTES_MAX: [usize; 4] = [1, 40, 1 << 20, 1 << 20];

impl WatchWorkload {
    pub(crate) fn new(seed: u64, config: &WorkloadConfig) -> Self {
        let mut random = SimRng::new(seed ^ 0x0b5e_12e5);
        let watchers = (0..config.watch_clients).map(|_| {
            let key = format!("k{}", random.below(config.key_count.max(1)) + 1);
            let ranges =
                [KeyRange::all(), KeyRange::prefix("k"), KeyRange::prefix("l"), KeyRange::key(key)];
            Watcher {
                keys: ranges[random.below(ranges.len() as u64) as usize].clone(),
                changes_max: random.pick(&CHANGES_MAX),
                bytes_max: random.pick(&BYTES_MAX),
                prev_kv: random.chance_per_mille(700),
                next: 1,
                connection: None,
                connection_number: 0,
                arrives_at: 0,
            }
        });
        let watchers = watchers.collect();
        Self { watchers, in_flight: BTreeMap::new(), next_batch: 0, random }
    }

    /// Returns true if each watcher has received all changes up to a revision.
    pub(crate) fn have_received(&self, revision: i64) -> bool {
        self.watchers.iter().all(|watcher| watcher.next > revision)
    }

    /// The smallest number of connections that a watcher has had.
    #[cfg(test)]
    pub(crate) fn connections_min(&self) -> Option<u64> {
        self.watchers.iter().map(|watcher| watcher.connection_number).min()
    }

    pub(super) fn schedule_all(&mut self, context: &mut Context<'_>) {
        for watcher in 0..self.watchers.len() {
            self.schedule_next(watcher, context);
        }
    }

    fn schedule_next(&mut self, watcher: usize, context: &mut Context<'_>) {
        let timeout = context.servers.election_timeout.max;
        let interval = DurationRange::new(timeout / 4, 2 * timeout);
        let at = context.cluster.now + interval.sample(&mut self.random);
        context.cluster.schedule(at, Event::WatcherTimer(watcher));
    }

    /// Checks the connection of a watcher. Connects the watcher to another server if its server is
    /// gone, or at random.
    pub(crate) fn on_timer(&mut self, watcher: usize, context: &mut Context<'_>) {
        self.schedule_next(watcher, context);
        let Some(connection) = self.watchers.get(watcher).map(|watcher| watcher.connection) else {
            return;
        };
        let cluster = &*context.cluster;
        let is_connected = connection.is_some_and(|connection| {
            let node = cluster.node(connection.node);
            node.is_some_and(|node| node.boot == connection.boot && knows_leader(node))
        });
        if is_connected && !self.random.chance_per_mille(400) {
            return;
        }
        // A server without a leader may have been removed long ago.
        let wants_leader = self.random.chance_per_mille(500);
        let serving = cluster.nodes.iter();
        let serving = serving.filter(|node| serves_watchers(node, context.servers));
        let (with_leader, others): (Vec<&Node>, _) = serving.partition(|node| knows_leader(node));
        let mut serving: Vec<u64> = with_leader.iter().map(|node| node.id).collect();
        if serving.is_empty() || !wants_leader {
            serving.extend(others.iter().map(|node| node.id));
        }
        let node = (!serving.is_empty()).then(|| self.random.pick(&serving));
        self.connect(watcher, node, context);
    }

    /// Connects a watcher to a server, or to none.
    fn connect(&mut self, position: usize, node: Option<u64>, context: &mut Context<'_>) {
        let cluster = &*context.cluster;
        let boot = node.and_then(|node| cluster.node(node)).map_or(0, |node| node.boot);
        let watcher = &mut self.watchers[position];
        let next = if cluster.has_bug(InjectedBug::RepeatsRevision) {
            (watcher.next - 1).max(1)
        } else if cluster.has_bug(InjectedBug::SkipsRevision) {
            watcher.next + 1
        } else {
            watcher.next
        };
        watcher.connection_number += 1;
        watcher.arrives_at = cluster.now;
        watcher.connection = node.map(|node| Connection { node, boot, next });
        if let Some(node) = node {
            let watcher = position + 1;
            let text = format_args!("Watcher {watcher} follows n{node}, from revision {next} on");
            context.note(Some(node), text);
            self.send(node, context);
        }
    }

    /// Sends the changes of a server to its watchers.
    pub(crate) fn send(&mut self, node: u64, context: &mut Context<'_>) {
        for position in 0..self.watchers.len() {
            while let Some(changes) = next_batch(context.cluster, node, &self.watchers[position]) {
                let latency = context.cluster.network.latency().sample(&mut self.random);
                let watcher = &mut self.watchers[position];
                if let Some(connection) = &mut watcher.connection {
                    connection.next = changes.next_revision;
                }
                watcher.arrives_at = watcher.arrives_at.max(context.cluster.now + latency);
                let connection_number = watcher.connection_number;
                let batch = InFlightBatch { watcher: position, connection_number, changes };
                let (at, id) = (watcher.arrives_at, self.next_batch);
                self.next_batch += 1;
                self.in_flight.insert(id, batch);
                context.cluster.schedule(at, Event::WatchBatchArrives(id));
            }
        }
    }

    /// Delivers a batch. None if the connection has ended.
    pub(crate) fn receive(&mut self, id: u64) -> Option<ReceivedBatch> {
        let batch = self.in_flight.remove(&id)?;
        let watcher = &mut self.watchers[batch.watcher];
        if watcher.connection_number != batch.connection_number {
            return None;
        }
        let received = ReceivedBatch {
            watcher: batch.watcher + 1,
            keys: watcher.keys.clone(),
            prev_kv: watcher.prev_kv,
            from: watcher.next,
            changes: batch.changes,
        };
        watcher.next = received.changes.next_revision;
        Some(received)
    }
}

/// The next changes that a server sends to a watcher. None if the watcher is not connected to this
/// server or has received everything.
fn next_batch(cluster: &Cluster, node: u64, watcher: &Watcher) -> Option<Changes> {
    let connection = watcher.connection.filter(|connection| connection.node == node)?;
    let node = cluster.node(node).filter(|node| node.boot == connection.boot)?;
    let request = ChangesRequest {
        keys: watcher.keys.clone(),
        from_revision: connection.next,
        prev_kv: watcher.prev_kv,
        changes_max: watcher.changes_max,
        bytes_max: watcher.bytes_max,
    };
    // A server that is behind the watcher sends nothing until it has caught up.
    let changes = node.awake()?.kv.changes(&request).ok()?;
    (changes.next_revision > connection.next).then_some(changes)
}

/// Returns true if a node runs, believes to be a member, and has a state machine.
fn serves_watchers(node: &Node, servers: &ClusterConfig) -> bool {
    let is_member = |id| {
        let running = node.running();
        running.is_some_and(|running| running.raft.membership().members().contains(&id))
    };
    is_member(NodeId(node.id)) && !servers.is_witness(node.id)
}

/// Returns true if a node runs and follows a leader or leads.
fn knows_leader(node: &Node) -> bool {
    node.running().is_some_and(|running| running.raft.leader().is_some())
}
