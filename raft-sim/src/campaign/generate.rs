//! Generation of a campaign run from its seed.

use crate::campaign::adversary::AdversaryKind;
use crate::campaign::disk_faults::DiskFaultPlan;
use crate::campaign::faults::{self, DRIFT_PPM_MAX, Fault};
use crate::campaign::{Campaign, FAULT_PHASE, extra_workloads};
use crate::network::latency::{DurationRange, LatencyDistribution};
use crate::timeline::{Script, TimedAction};
use crate::util::rng::SimRng;
use crate::world::action::Action;
use crate::world::config::{ClusterConfig, DiskConfig, NetworkConfig, WorkloadConfig, WorldConfig};

/// The part of the protocol that a run targets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CampaignFocus {
    Everything,
    Votes,
    LeaderChains,
    MembershipChains,
    StaleLeaders,
}

/// Generates the configuration, the faults and the adversary of a seed.
pub(super) fn generate(seed: u64) -> Campaign {
    let mut random = SimRng::new(seed ^ 0x5eed_0ffa);
    let focus = random.pick(&[
        CampaignFocus::Everything,
        CampaignFocus::Everything,
        CampaignFocus::Everything,
        CampaignFocus::Votes,
        CampaignFocus::Votes,
        CampaignFocus::LeaderChains,
        CampaignFocus::LeaderChains,
        CampaignFocus::MembershipChains,
        CampaignFocus::StaleLeaders,
    ]);
    let is_unfocused = focus == CampaignFocus::Everything;
    let mut config = world(seed, &mut random);
    let mut actions = Vec::new();
    if !is_unfocused {
        config.cluster.founders = None;
        config.cluster.witnesses.clear();
    }
    extra_workloads::add(seed, &mut config);
    let disk_faults = DiskFaultPlan::generate(seed, is_unfocused, &mut config);
    let replaces_servers = disk_faults.damages();
    let adversary = choose_adversary(focus, &mut config, &mut random, &mut actions);
    // A lease is valid while clocks keep to the bound. A timer that fires early exceeds any bound.
    if adversary.is_some_and(AdversaryKind::fires_timers) {
        config.cluster.lease_drift_ppm = None;
    }
    // Other faults would mostly hinder an adversary.
    let per_mille = if adversary.is_some() { 40 } else { 400 };
    let kinds: Vec<_> = Fault::ALL
        .into_iter()
        .filter(|_| random.chance_per_mille(per_mille))
        .filter(|kind| config.cluster.lease_drift_ppm.is_none() || *kind != Fault::TimerFires)
        .filter(|kind| !replaces_servers || *kind != Fault::Membership)
        .collect();
    faults::schedule(&kinds, &config, &mut random, &mut actions);
    disk_faults.schedule(&config, &mut actions);
    actions.retain(|timed| timed.at < FAULT_PHASE);
    actions.sort_by_key(|timed| timed.at);
    let script = Script { config, actions };
    Campaign { script, adversary, replaces_servers, healed_at: FAULT_PHASE, seed }
}

/// Selects the adversary, and configures the cluster so that the adversary has an effect.
fn choose_adversary(
    focus: CampaignFocus,
    config: &mut WorldConfig,
    random: &mut SimRng,
    actions: &mut Vec<TimedAction>,
) -> Option<AdversaryKind> {
    match focus {
        CampaignFocus::Everything => None,
        CampaignFocus::Votes => {
            config.cluster.nodes = random.pick(&[3, 3, 5]);
            config.cluster.pre_vote = random.chance_per_mille(300);
            config.disk.sync_latency =
                DurationRange::new(5_000, 5_000 + random.within(5_000..=60_000));
            Some(AdversaryKind::ContestedVotes)
        }
        CampaignFocus::LeaderChains => {
            for_chains(config, random);
            if random.chance_per_mille(300) {
                config.cluster.snapshot_every = 4;
                config.cluster.snapshot_retain = 0;
            }
            if random.chance_per_mille(200) {
                slow_disks(config, random, actions);
            }
            Some(AdversaryKind::LeaderChain)
        }
        CampaignFocus::MembershipChains => {
            for_chains(config, random);
            config.cluster.nodes = random.pick(&[4, 5, 5, 6]);
            config.cluster.snapshot_every = random.pick(&[0, 0, 3, 6]);
            config.cluster.snapshot_retain = 0;
            Some(AdversaryKind::MembershipChain)
        }
        CampaignFocus::StaleLeaders => {
            for_stale_leaders(config, random);
            if random.chance_per_mille(700) {
                Some(AdversaryKind::StaleLeader)
            } else {
                for_delayed_messages(config, random);
                Some(AdversaryKind::DelayedMessages)
            }
        }
    }
}

/// Configures frequent elections, mostly without pre-vote, and messages with one entry.
fn for_chains(config: &mut WorldConfig, random: &mut SimRng) {
    config.cluster.nodes = random.pick(&[3, 5, 5, 5]);
    config.cluster.pre_vote = random.chance_per_mille(200);
    config.cluster.check_quorum =
        config.cluster.lease_drift_ppm.is_some() || random.chance_per_mille(200);
    config.cluster.append_bytes_max = random.pick(&[1, 1, 4096]);
    config.network.loss_per_mille = random.pick(&[0, 0, 0, 10]);
    config.network.latency.max = config.network.latency.min + random.within(100..=8_000);
}

/// Lets some servers write slowly, so that writes are replaced before they are durable.
fn slow_disks(config: &WorldConfig, random: &mut SimRng, actions: &mut Vec<TimedAction>) {
    for node in 1..=config.cluster.nodes {
        if !random.chance_per_mille(400) {
            continue;
        }
        let min = random.within(5_000..=50_000);
        let sync_latency = DurationRange::new(min, 3 * min);
        actions.push(TimedAction { at: 1, action: Action::SetSyncLatency { node, sync_latency } });
    }
}

/// Configures a fast network, and elections that take about as long as a lease.
fn for_stale_leaders(config: &mut WorldConfig, random: &mut SimRng) {
    let min = config.cluster.election_timeout.min;
    config.cluster.nodes = 3;
    config.cluster.election_timeout.max = min + random.within(5_000..=min / 2);
    config.cluster.lease_drift_ppm = random.pick(&[None, Some(DRIFT_PPM_MAX), Some(DRIFT_PPM_MAX)]);
    config.cluster.check_quorum = config.cluster.lease_drift_ppm.is_some();
    config.network.latency = DurationRange::new(100, 100 + random.within(100..=3_000));
    config.network.latency_shape = LatencyDistribution::Uniform;
    config.network.bandwidth = 0;
    config.network.loss_per_mille = 0;
    config.network.reorder = random.chance_per_mille(200);
    config.disk.sync_latency = DurationRange::new(100, 1_000);
    // The successor must not miss writes in the meantime, so there are few of them.
    config.workload.clients = random.within(0..=2);
    config.workload.think_time = DurationRange::new(min, 5 * min);
    config.cluster.write_stall_max = config.cluster.election_timeout.max;
    config.workload.request_timeout = config.cluster.election_timeout.max;
}

/// Configures leaders that do not step down without a majority, and messages that overtake each
/// other.
fn for_delayed_messages(config: &mut WorldConfig, random: &mut SimRng) {
    config.cluster.nodes = 5;
    (config.cluster.pre_vote, config.cluster.check_quorum) = (false, false);
    config.cluster.lease_drift_ppm = None;
    config.network.reorder = true;
    config.cluster.snapshot_every = 0;
    config.cluster.heartbeat_interval = config.cluster.election_timeout.min / random.within(4..=8);
    // A read waits for delayed messages.
    config.workload.request_timeout = 30 * config.cluster.heartbeat_interval;
}

/// Generates a configuration without regard to an adversary.
fn world(seed: u64, random: &mut SimRng) -> WorldConfig {
    let election_min = random.within(100_000..=300_000);
    let election_max = election_min + random.within(50_000..=300_000);
    let latency_min = random.within(100..=5_000);
    let nodes = random.pick(&[1, 2, 3, 3, 3, 4, 5, 5, 5, 7]);
    let lease_drift_ppm = random.chance_per_mille(300).then_some(DRIFT_PPM_MAX);
    let witnesses = if nodes >= 3 && random.chance_per_mille(150) {
        vec![random.within(1..=nodes)]
    } else {
        Vec::new()
    };
    let some_found = nodes >= 3 && witnesses.is_empty() && random.chance_per_mille(200);
    WorldConfig {
        cluster: ClusterConfig {
            nodes,
            founders: some_found.then(|| random.within(1..=nodes)),
            witnesses,
            initial_logs: Vec::new(),
            lease_drift_ppm,
            write_stall_max: election_max,
            snapshot_every: random.pick(&[0, 0, 4, 20, 50]),
            snapshot_retain: random.pick(&[0, 3, 30]),
            snapshot_chunk_bytes_max: random.pick(&[200, 1 << 20]),
            election_timeout: DurationRange::new(election_min, election_max),
            heartbeat_interval: election_min / random.within(3..=8),
            pre_vote: random.chance_per_mille(700),
            check_quorum: lease_drift_ppm.is_some() || random.chance_per_mille(700),
            log_cache_bytes_max: random.pick(&[0, 1000, 1 << 20]),
            append_bytes_max: random.pick(&[1, 300, 4096]),
            #[cfg(feature = "sabotage")]
            disabled_rules: raft_core::DisabledRules::default(),
        },
        network: NetworkConfig {
            latency: DurationRange::new(latency_min, latency_min + random.within(0..=20_000)),
            latency_shape: random.pick(&[
                LatencyDistribution::Uniform,
                LatencyDistribution::Uniform,
                LatencyDistribution::Exponential,
                LatencyDistribution::LongTailed,
            ]),
            bandwidth: random.pick(&[0, 0, 0, 100_000, 1_000_000]),
            loss_per_mille: random.pick(&[0, 0, 10, 100, 300]),
            duplicate_per_mille: random.pick(&[0, 0, 20, 200]),
            reorder: random.chance_per_mille(500),
        },
        disk: DiskConfig {
            sync_latency: DurationRange::new(100, 100 + random.within(0..=20_000)),
            reorder_syncs: random.chance_per_mille(200),
        },
        workload: WorkloadConfig {
            clients: random.within(1..=5),
            think_time: DurationRange::new(1_000, 1_000 + random.within(1_000..=100_000)),
            key_count: random.within(1..=5),
            lease_clients: 0,
            lease_ttl: 1,
            watch_clients: 0,
            txn_clients: 0,
            request_timeout: election_max,
        },
        seed,
        record_events: false,
        count_coverage: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leases of leaders depend on clocks that keep to the bound, so no timer fires early in a
    /// run with such leases. Otherwise an old leader served a read in seed 22,686.
    #[test]
    fn leases_disable_timer_faults() {
        let mut with_leases = 0;
        for seed in 0..300 {
            let campaign = generate(seed);
            if campaign.script.config.cluster.lease_drift_ppm.is_none() {
                continue;
            }
            with_leases += 1;
            let fires = |timed: &TimedAction| matches!(timed.action, Action::FireTimer { .. });
            assert!(!campaign.script.actions.iter().any(fires), "seed {seed}");
            assert!(!campaign.adversary.is_some_and(AdversaryKind::fires_timers), "seed {seed}");
        }
        assert!(with_leases > 40, "{with_leases}");
        let report = generate(22_686).run();
        assert_eq!(report.violation, None);
    }
}
