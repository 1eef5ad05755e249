//! The simulated cluster: servers, network, client messages, and the queue of future events.
//!
//! Checkers and clients do not belong here.

pub(crate) mod client_messages;
pub(crate) mod queue;

use crate::cluster::client_messages::{ClientMessage, ClientMessages};
use crate::cluster::queue::{Event, Queue};
use crate::network::Network;
use crate::network::config::NetworkConfig;
use crate::node::client_api::{ClientResponse, RequestId};
use crate::node::config::{ClusterConfig, DiskConfig};
use crate::node::injected_bug::InjectedBug;
use crate::node::{Node, Running};
use crate::util::rng::SimRng;
use crate::util::trace_hash::TraceHash;

/// The servers and everything between them.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// The virtual time, in microseconds.
    pub(crate) now: u64,
    /// The servers, in the order of their numbers, which start at 1.
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    /// The messages in flight between clients and servers.
    pub(crate) client_messages: ClientMessages,
    /// The random numbers of everything that has no generator of its own.
    pub(crate) random: SimRng,
    /// The hash of everything that the servers did.
    pub(crate) trace: TraceHash,
    /// The bug that all servers have, in a test of a checker.
    injected_bug: Option<InjectedBug>,
    queue: Queue,
    /// The number of the current step, which leads to the events that are scheduled.
    pub(crate) step: u64,
    /// The number of the latest write to any disk.
    latest_write: u64,
}

impl Cluster {
    /// Creates a cluster whose servers start for the first time.
    pub(crate) fn new(
        seed: u64,
        config: &ClusterConfig,
        network: &NetworkConfig,
        disk: &DiskConfig,
        record_events: bool,
    ) -> Result<Self, raft_core::ConfigError> {
        let mut random = SimRng::new(seed);
        let nodes = (1..=config.nodes)
            .map(|id| Node::new(id, config, disk, record_events, &mut random))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            now: 0,
            network: Network::new(config.nodes, network),
            client_messages: ClientMessages::default(),
            trace: TraceHash::new(),
            injected_bug: None,
            queue: Queue::new(nodes.len()),
            step: 0,
            latest_write: 0,
            random,
            nodes,
        })
    }

    /// Puts a bug into all servers.
    #[cfg(test)]
    pub(crate) fn inject(&mut self, bug: InjectedBug) {
        self.injected_bug = Some(bug);
    }

    pub(crate) fn injected_bug(&self) -> Option<InjectedBug> {
        self.injected_bug
    }

    pub(crate) fn has_bug(&self, bug: InjectedBug) -> bool {
        self.injected_bug == Some(bug)
    }

    pub(crate) fn node(&self, id: u64) -> Option<&Node> {
        self.nodes.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    pub(crate) fn node_mut(&mut self, id: u64) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// The process of a server, if it runs and is not paused, and the time of its clock.
    pub(crate) fn awake_mut(&mut self, id: u64) -> Option<(&mut Running, raft_core::Instant)> {
        let now = self.now;
        self.node_mut(id)?.awake_mut(now)
    }

    /// The processes, paused or not.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Running> {
        self.nodes.iter().filter_map(Node::running)
    }

    /// The largest index that any process has applied.
    pub(crate) fn applied_index_max(&self) -> u64 {
        self.running().map(|running| running.kv.applied_index()).max().unwrap_or(0)
    }

    pub(crate) fn schedule(&mut self, at: u64, event: Event) {
        self.queue.schedule(at, event, self.step);
    }

    /// The time of the next event.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.queue.next_at()
    }

    /// Removes and returns the next event, and the step that led to it.
    pub(crate) fn next_event(&mut self) -> Option<(Event, u64)> {
        self.queue.pop()
    }

    /// Sets the timer of a server to the deadline of its process.
    pub(crate) fn set_timer(&mut self, id: u64) {
        let now = self.now;
        let wakes_at = self.node(id).and_then(|node| node.wakes_at(now));
        self.queue.set_timer(id as usize - 1, wakes_at);
    }

    /// Returns a new number for a write.
    pub(crate) fn next_write(&mut self) -> u64 {
        self.latest_write += 1;
        self.latest_write
    }

    /// Starts a write to a disk, and schedules its completion.
    pub(crate) fn start_write(&mut self, id: u64, write: u64, reorder: bool) {
        let Some(node) = self.nodes.get_mut(id as usize - 1) else {
            return;
        };
        let mut completes_at = self.now + node.sync_latency.sample(&mut self.random);
        if !reorder {
            completes_at = completes_at.max(node.disk_busy_until);
            node.disk_busy_until = completes_at;
        }
        let boot = node.boot;
        self.schedule(completes_at, Event::WriteCompletes { node: id, boot, write });
    }

    /// Sends a message between a client and a server.
    pub(crate) fn send_client_message(
        &mut self,
        request: RequestId,
        node: u64,
        response: Option<ClientResponse>,
        latency: u64,
    ) {
        let (sent_at, arrives_at) = (self.now, self.now + latency);
        let message = ClientMessage { request, node, response, sent_at, arrives_at };
        let id = self.client_messages.insert(message);
        self.schedule(arrives_at, Event::ClientMessageArrives(id));
    }

    /// Sends the response of a server to a client.
    pub(crate) fn send_response(
        &mut self,
        node: u64,
        request: RequestId,
        response: ClientResponse,
    ) {
        let latency = self.network.latency().sample(&mut self.random);
        self.send_client_message(request, node, Some(response), latency);
    }

    /// The longest time that the largest snapshot takes to reach a follower.
    ///
    /// The leader first requests how much the follower has received. Each chunk waits for the
    /// response to the previous chunk.
    pub(crate) fn snapshot_transfer_time(&self, chunk_bytes_max: usize) -> u64 {
        (1 + self.snapshot_chunks(chunk_bytes_max)) * 2 * self.network.latency().max
    }

    /// The number of chunks of the largest snapshot.
    pub(crate) fn snapshot_chunks(&self, chunk_bytes_max: usize) -> u64 {
        let snapshots = self.nodes.iter().filter_map(|node| node.disk.snapshot.as_ref());
        let largest = snapshots.map(|(snapshot, _)| snapshot.size).max();
        largest.unwrap_or(0).div_ceil(chunk_bytes_max.max(1) as u64)
    }
}
