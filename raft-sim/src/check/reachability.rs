//! Which servers reach each other, and which sets of servers could elect a leader.

use raft_core::{LogIndex, Membership, Raft};

use crate::cluster::Cluster;
use crate::node::Node;
use crate::node::config::ClusterConfig;

/// A cluster, as checkers of progress see it.
#[derive(Clone, Copy)]
pub(crate) struct Reachability<'a> {
    cluster: &'a Cluster,
    config: &'a ClusterConfig,
}

/// The set of servers that each server reaches: one bit for each server.
pub(crate) type Reached = Vec<u128>;

/// With a larger share of lost messages, no election may succeed in time.
const LOSS_PER_MILLE_MAX: u32 = 100;
/// A clock with a larger drift, in parts per million, does not measure timeouts.
const DRIFT_PPM_MAX: u32 = 300_000;

impl<'a> Reachability<'a> {
    pub(crate) fn new(cluster: &'a Cluster, config: &'a ClusterConfig) -> Self {
        Self { cluster, config }
    }

    pub(crate) fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    pub(crate) fn config(&self) -> &'a ClusterConfig {
        self.config
    }

    /// Returns true if messages arrive often enough for elections to succeed.
    pub(crate) fn is_network_usable(&self) -> bool {
        let network = &self.cluster.network;
        network.loss_max() <= LOSS_PER_MILLE_MAX && !network.holds()
    }

    /// Returns true if the disk and the clock of a server are good enough for bounds on its
    /// progress.
    pub(crate) fn is_fit(&self, node: &Node) -> bool {
        !node.disk.full
            && !node.disk.failing
            && node.sync_latency.max <= self.config.election_timeout.min / 2
            && node.clock.drift().unsigned_abs() <= DRIFT_PPM_MAX
    }

    /// The longest round trip between two servers. None if they do not reach each other in both
    /// directions, or not fast enough.
    pub(crate) fn round_trip(&self, one: u64, other: u64) -> Option<u64> {
        let timeout = self.config.election_timeout.min;
        // Voters must hear a candidate before the next server campaigns. Otherwise every vote may
        // be split.
        let spread = self.config.election_timeout.max - timeout;
        let network = &self.cluster.network;
        let (there, back) = (network.latency_max(one, other), network.latency_max(other, one));
        let is_connected = there.max(back) <= timeout / 4
            && there + back <= spread
            && network.connects(one, other)
            && network.connects(other, one);
        is_connected.then_some(there + back)
    }

    /// For each server, the servers that it reaches in both directions and whose logs are not more
    /// up-to-date, including itself. Also returns the longest time of a round trip and a write
    /// between such servers.
    ///
    /// All sets are empty if nothing can be expected: if messages are too slow or too often lost,
    /// or if a server answers heartbeats but cannot write in time. A leader could then live on the
    /// answers of that server.
    pub(crate) fn reached(&self) -> (Reached, u64) {
        let nodes = &self.cluster.nodes;
        let awake: Vec<_> = nodes.iter().map(|node| Some(&node.awake()?.raft)).collect();
        let is_usable = self.is_network_usable()
            && nodes.iter().all(|node| node.running().is_none() || self.is_fit(node));
        let sync = nodes.iter().map(|node| node.sync_latency.max).max().unwrap_or_default();
        let mut slowest = 0;
        let start = self.log_start();
        let mut reached = vec![0; nodes.len()];
        for (one, bits) in (1..).zip(&mut reached) {
            let Some(raft) = awake[one as usize - 1].filter(|_| is_usable) else {
                continue;
            };
            for (other, other_raft) in (1..).zip(&awake) {
                let last = other_raft.map(Raft::last_log);
                if !last.is_some_and(|last| last <= raft.last_log() && last.index >= start) {
                    continue;
                }
                if one == other {
                    *bits |= bit(other);
                } else if let Some(round_trip) = self.round_trip(one, other) {
                    *bits |= bit(other);
                    slowest = slowest.max(round_trip);
                }
            }
        }
        (reached, slowest + sync)
    }

    /// Returns true if these servers can make progress without the others, if all their links work.
    ///
    /// They must be a quorum of every membership that any server knows, because a membership may be
    /// in flight. One of them must be electable. They must have every entry that the other servers
    /// may have committed together with witnesses, because witnesses cannot replicate it.
    pub(crate) fn is_self_sufficient(&self, nodes: &[u64]) -> bool {
        let is_among = |node: raft_core::NodeId| nodes.contains(&node.0);
        let mut memberships = self.known_memberships();
        memberships.all(|membership| membership.quorum_value(is_among) == Some(true))
            && self.could_elect(nodes)
            && !self.is_committed_elsewhere(nodes)
    }

    /// Returns true if the selected servers and all witnesses are a quorum of any membership that a
    /// server knows.
    pub(crate) fn is_quorum_with_witnesses(&self, is_selected: impl Fn(u64) -> bool) -> bool {
        let counts = |node: raft_core::NodeId| self.is_witness(node.0) || is_selected(node.0);
        let mut memberships = self.known_memberships();
        memberships.any(|membership| membership.quorum_value(counts) == Some(true))
    }

    fn is_witness(&self, node: u64) -> bool {
        self.config.is_witness(node)
    }

    /// The last entry of a server that runs.
    fn last_log(&self, node: u64) -> Option<raft_core::LogId> {
        Some(self.cluster.node(node)?.running()?.raft.last_log())
    }

    /// The latest start of the log of any server that runs. A server that is behind it may need a
    /// snapshot first, and the size of the snapshot determines the time.
    fn log_start(&self) -> LogIndex {
        let starts = self.cluster.running().map(|running| running.raft.log_start().index);
        starts.max().unwrap_or_default()
    }

    fn known_memberships(&self) -> impl Iterator<Item = &'a Membership> {
        let memberships = self.cluster.running().map(|running| running.raft.membership());
        memberships.filter(|membership| !membership.voters().is_empty())
    }

    fn could_elect(&self, nodes: &[u64]) -> bool {
        let start = self.log_start();
        let mut reached = vec![0; self.cluster.nodes.len()];
        for one in nodes {
            let is_behind = |other: &&u64| {
                let last = self.last_log(**other);
                last.is_some_and(|last| last.index >= start) && last <= self.last_log(*one)
            };
            for other in nodes.iter().filter(is_behind) {
                reached[*one as usize - 1] |= bit(*other);
            }
        }
        self.cluster.nodes.iter().any(|node| is_electable(node, &reached))
    }

    /// Returns true if the other servers with more up-to-date logs are a quorum with all witnesses.
    fn is_committed_elsewhere(&self, nodes: &[u64]) -> bool {
        let own = nodes.iter().filter(|node| !self.is_witness(**node));
        let best = own.map(|node| self.last_log(*node)).max().flatten();
        let is_ahead = |node: u64| !nodes.contains(&node) && self.last_log(node) > best;
        self.is_quorum_with_witnesses(is_ahead)
    }
}

/// Returns true if a server may lead and reaches a quorum of the members that it knows.
pub(crate) fn is_electable(node: &Node, reached: &[u128]) -> bool {
    let Some(running) = node.running() else {
        return false;
    };
    let (id, membership) = (running.raft.id(), running.raft.membership());
    let bits = reached[node.id as usize - 1];
    membership.is_voter(id)
        && !membership.is_witness(id)
        && membership.quorum_value(|other| bits & bit(other.0) != 0) == Some(true)
}

/// The bit of a server in a set.
pub(crate) fn bit(node: u64) -> u128 {
    1 << (node - 1)
}
