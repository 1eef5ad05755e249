//! Simpler forms of a script: without a server, and with default settings.

use crate::timeline::Script;
use crate::util::rng::DurationRange;
use crate::world::action::Action;
use crate::world::config::WorldConfig;

/// Changes that make a configuration simpler: fewer clients, or a default value.
pub(super) const SIMPLIFICATIONS: [fn(&mut WorldConfig, &WorldConfig); 37] = [
    |config, _| config.clients = 0,
    |config, _| config.clients = config.clients.min(1),
    |config, _| config.clients = config.clients.saturating_sub(1),
    |config, _| config.watch_clients = 0,
    |config, _| config.watch_clients = config.watch_clients.min(1),
    |config, _| config.txn_clients = 0,
    |config, _| config.txn_clients = config.txn_clients.min(1),
    |config, _| config.lease_clients = 0,
    |config, _| config.lease_clients = config.lease_clients.min(1),
    |config, usual| config.lease_ttl = usual.lease_ttl,
    |config, _| config.key_count = 1,
    |config, usual| {
        config.pre_vote = usual.pre_vote;
        config.check_quorum = usual.check_quorum;
    },
    |config, _| {
        config.pre_vote = false;
        config.check_quorum = false;
    },
    |config, _| config.check_quorum = false,
    |config, usual| config.founders = usual.founders,
    |config, usual| config.witnesses = usual.witnesses.clone(),
    |config, usual| config.lease_drift_ppm = usual.lease_drift_ppm,
    |config, usual| {
        config.election_timeout = usual.election_timeout;
        config.heartbeat_interval = usual.heartbeat_interval;
    },
    |config, usual| config.write_stall_max = usual.write_stall_max,
    |config, usual| config.request_timeout = usual.request_timeout,
    |config, usual| config.snapshot_every = usual.snapshot_every,
    |config, usual| config.snapshot_retain = usual.snapshot_retain,
    |config, usual| config.snapshot_chunk_bytes_max = usual.snapshot_chunk_bytes_max,
    |config, usual| config.log_cache_bytes_max = usual.log_cache_bytes_max,
    |config, usual| config.append_bytes_max = usual.append_bytes_max,
    |config, usual| config.latency_shape = usual.latency_shape,
    |config, usual| config.latency = usual.latency,
    |config, _| config.latency = DurationRange::new(5_000, 5_000),
    |config, usual| config.bandwidth = usual.bandwidth,
    |config, usual| config.loss_per_mille = usual.loss_per_mille,
    |config, usual| config.duplicate_per_mille = usual.duplicate_per_mille,
    |config, usual| config.reorder = usual.reorder,
    |config, usual| config.sync_latency = usual.sync_latency,
    |config, _| config.sync_latency = DurationRange::new(1_000, 1_000),
    |config, usual| config.reorder_syncs = usual.reorder_syncs,
    |config, usual| config.think_time = usual.think_time,
    |config, usual| config.initial_logs = usual.initial_logs.clone(),
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
        + config.clients
        + config.lease_clients
        + config.txn_clients
        + config.watch_clients
        + config.nodes
        + unusual.count() as u64
}

/// Returns the script without a server. Later servers are renumbered, and actions on the removed
/// server are omitted.
pub(super) fn without_node(script: &Script, removed: u64) -> Script {
    let mut script = script.clone();
    let numbering = Numbering { removed };
    let config = &mut script.config;
    config.nodes -= 1;
    if let Some(founders) = &mut config.founders {
        *founders -= u64::from(removed <= *founders);
    }
    if removed as usize <= config.initial_logs.len() {
        config.initial_logs.remove(removed as usize - 1);
    }
    numbering.renumber_all(&mut config.witnesses);
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
        script.config.nodes = 4;
        script.config.founders = Some(3);
        script.config.witnesses = vec![3];
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
        assert_eq!((config.nodes, config.founders), (3, Some(2)));
        assert_eq!(config.witnesses, [2]);
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
