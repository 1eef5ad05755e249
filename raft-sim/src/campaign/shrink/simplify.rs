//! Simpler forms of a script: without a server, and with default settings.

use crate::network::latency::DurationRange;
use crate::timeline::Script;
use crate::world::action::Action;
use crate::world::config::WorldConfig;

/// Changes that make a configuration simpler: fewer clients, or a default value.
pub(super) const SIMPLIFICATIONS: [fn(&mut WorldConfig, &WorldConfig); 37] = [
    |config, _| config.workload.clients = 0,
    |config, _| config.workload.clients = config.workload.clients.min(1),
    |config, _| config.workload.clients = config.workload.clients.saturating_sub(1),
    |config, _| config.workload.watch_clients = 0,
    |config, _| config.workload.watch_clients = config.workload.watch_clients.min(1),
    |config, _| config.workload.txn_clients = 0,
    |config, _| config.workload.txn_clients = config.workload.txn_clients.min(1),
    |config, _| config.workload.lease_clients = 0,
    |config, _| config.workload.lease_clients = config.workload.lease_clients.min(1),
    |config, usual| config.workload.lease_ttl = usual.workload.lease_ttl,
    |config, _| config.workload.key_count = 1,
    |config, usual| {
        config.cluster.pre_vote = usual.cluster.pre_vote;
        config.cluster.check_quorum = usual.cluster.check_quorum;
    },
    |config, _| {
        config.cluster.pre_vote = false;
        config.cluster.check_quorum = false;
    },
    |config, _| config.cluster.check_quorum = false,
    |config, usual| config.cluster.founders = usual.cluster.founders,
    |config, usual| config.cluster.witnesses = usual.cluster.witnesses.clone(),
    |config, usual| config.cluster.lease_drift_ppm = usual.cluster.lease_drift_ppm,
    |config, usual| {
        config.cluster.election_timeout = usual.cluster.election_timeout;
        config.cluster.heartbeat_interval = usual.cluster.heartbeat_interval;
    },
    |config, usual| config.cluster.write_stall_max = usual.cluster.write_stall_max,
    |config, usual| config.workload.request_timeout = usual.workload.request_timeout,
    |config, usual| config.cluster.snapshot_every = usual.cluster.snapshot_every,
    |config, usual| config.cluster.snapshot_retain = usual.cluster.snapshot_retain,
    |config, usual| {
        config.cluster.snapshot_chunk_bytes_max = usual.cluster.snapshot_chunk_bytes_max;
    },
    |config, usual| config.cluster.log_cache_bytes_max = usual.cluster.log_cache_bytes_max,
    |config, usual| config.cluster.append_bytes_max = usual.cluster.append_bytes_max,
    |config, usual| config.network.latency_shape = usual.network.latency_shape,
    |config, usual| config.network.latency = usual.network.latency,
    |config, _| config.network.latency = DurationRange::new(5_000, 5_000),
    |config, usual| config.network.bandwidth = usual.network.bandwidth,
    |config, usual| config.network.loss_per_mille = usual.network.loss_per_mille,
    |config, usual| config.network.duplicate_per_mille = usual.network.duplicate_per_mille,
    |config, usual| config.network.reorder = usual.network.reorder,
    |config, usual| config.disk.sync_latency = usual.disk.sync_latency,
    |config, _| config.disk.sync_latency = DurationRange::new(1_000, 1_000),
    |config, usual| config.disk.reorder_syncs = usual.disk.reorder_syncs,
    |config, usual| config.workload.think_time = usual.workload.think_time,
    |config, usual| config.cluster.initial_logs = usual.cluster.initial_logs.clone(),
];

/// The cost of a script: actions, servers, clients, and settings that differ from the defaults.
pub(super) fn cost(script: &Script) -> u64 {
    let usual = WorldConfig::default();
    let unusual = SIMPLIFICATIONS.iter().filter(|simplify| {
        let mut simpler = script.config.clone();
        simplify(&mut simpler, &usual);
        simpler != script.config
    });
    let config = &script.config;
    script.actions.len() as u64
        + config.workload.clients
        + config.workload.lease_clients
        + config.workload.txn_clients
        + config.workload.watch_clients
        + config.cluster.nodes
        + unusual.count() as u64
}

/// Returns the script without a server. Later servers are renumbered, and actions on the removed
/// server are omitted.
pub(super) fn without_node(script: &Script, removed: u64) -> Script {
    let mut script = script.clone();
    let numbering = Numbering { removed };
    let config = &mut script.config;
    config.cluster.nodes -= 1;
    if let Some(founders) = &mut config.cluster.founders {
        *founders -= u64::from(removed <= *founders);
    }
    if removed as usize <= config.cluster.initial_logs.len() {
        config.cluster.initial_logs.remove(removed as usize - 1);
    }
    numbering.renumber_all(&mut config.cluster.witnesses);
    script.actions.retain_mut(|timed| numbering.apply(&mut timed.action));
    script
}

/// The numbers of the servers after one of them was removed.
#[derive(Clone, Copy)]
struct Numbering {
    removed: u64,
}

impl Numbering {
    fn new_number(self, node: u64) -> Option<u64> {
        (node != self.removed).then(|| node - u64::from(node > self.removed))
    }

    /// Returns false if the server was removed.
    fn renumber(self, node: &mut u64) -> bool {
        let number = self.new_number(*node);
        *node = number.unwrap_or(*node);
        number.is_some()
    }

    fn renumber_all(self, nodes: &mut Vec<u64>) {
        nodes.retain_mut(|node| self.renumber(node));
    }

    /// Renumbers the servers of an action. Returns false if the action has no effect without the
    /// removed server.
    fn apply(self, action: &mut Action) -> bool {
        match action {
            Action::Crash { node }
            | Action::Restart { node }
            | Action::Pause { node }
            | Action::Resume { node }
            | Action::FireTimer { node }
            | Action::FailDisk { node }
            | Action::WipeDisk { node }
            | Action::DestroyDisk { node }
            | Action::CorruptEntry { node, .. }
            | Action::MisdirectWrite { node, .. }
            | Action::FillDisk { node }
            | Action::FreeDisk { node }
            | Action::TakeSnapshot { node }
            | Action::SetSyncLatency { node, .. }
            | Action::SetClock { node, .. }
            | Action::JumpClock { node, .. }
            | Action::Isolate { node }
            | Action::Reconnect { node }
            | Action::Transfer { to: node } => self.renumber(node),
            Action::CutLink { from, to }
            | Action::HealLink { from, to }
            | Action::SetLatency { from, to, .. }
            | Action::SetLoss { from, to, .. } => self.renumber(from) && self.renumber(to),
            Action::Partition { groups } => {
                groups.iter_mut().for_each(|group| self.renumber_all(group));
                true
            }
            Action::ChangeMembership { voters, learners, joining } => {
                for nodes in [&mut *voters, learners, joining] {
                    self.renumber_all(nodes);
                }
                !voters.is_empty()
            }
            Action::Request { via, .. } => {
                *via = via.and_then(|node| self.new_number(node));
                true
            }
            Action::PowerCut
            | Action::HealNetwork
            | Action::SetNetwork { .. }
            | Action::DropMessage { .. }
            | Action::DuplicateMessage { .. }
            | Action::DeliverMessage { .. }
            | Action::DelayMessage { .. }
            | Action::HoldMessages
            | Action::ReleaseMessages
            | Action::AlignTimers
            | Action::SpreadTimers
            | Action::StopClients
            | Action::GoOn => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::TimedAction;

    #[test]
    fn removing_a_node_rewrites_the_script() {
        let mut script = Script::default();
        script.config.cluster.nodes = 4;
        script.config.cluster.founders = Some(3);
        script.config.cluster.witnesses = vec![3];
        let at = |action| TimedAction { at: 1, action };
        let groups = |groups: &[&[u64]]| Action::Partition {
            groups: groups.iter().map(|group| group.to_vec()).collect(),
        };
        let change = |voters: &[u64]| Action::ChangeMembership {
            voters: voters.to_vec(),
            learners: vec![4],
            joining: vec![],
        };
        script.actions = vec![
            at(Action::Crash { node: 2 }),
            at(Action::Crash { node: 3 }),
            at(Action::CutLink { from: 1, to: 2 }),
            at(Action::CutLink { from: 1, to: 4 }),
            at(groups(&[&[1, 2], &[2, 3, 4]])),
            at(change(&[1, 2])),
            at(change(&[2])),
        ];
        let smaller = without_node(&script, 2);
        let config = &smaller.config;
        assert_eq!((config.cluster.nodes, config.cluster.founders), (3, Some(2)));
        assert_eq!(config.cluster.witnesses, [2]);
        let left: Vec<_> = smaller.actions.into_iter().map(|timed| timed.action).collect();
        let change =
            Action::ChangeMembership { voters: vec![1], learners: vec![3], joining: vec![] };
        assert_eq!(
            left,
            [
                Action::Crash { node: 2 },
                Action::CutLink { from: 1, to: 3 },
                groups(&[&[1], &[2, 3]]),
                change,
            ]
        );
    }
}
