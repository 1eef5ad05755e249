//! The steady workload: a lightly loaded cluster with occasional faults. The benchmark of the
//! simulator uses it.

use serde::Serialize;

use crate::network::latency::DurationRange;
use crate::timeline::{Script, TimedAction};
use crate::util::rng::SimRng;
use crate::world::action::Action;
use crate::world::config::{ClusterConfig, NetworkConfig, WorkloadConfig, WorldConfig};

/// A lightly loaded cluster with occasional faults.
///
/// One client starts about one operation per second; 40 % are reads. Links lose one message in a
/// thousand, and clocks drift by up to 100 parts per million. About once a minute, a fault lasts up
/// to half a minute: a process crashes or pauses, a server is isolated, a link fails in one
/// direction, or 5 % of all messages are lost. A server takes a snapshot after every 1,000 entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct SteadyWorkload {
    /// The number of servers.
    pub nodes: u64,
    /// The timeouts of the servers.
    pub timing: Timing,
    /// The seed of the faults and of the world.
    pub seed: u64,
}

/// The timeouts and heartbeats of the servers, and the latency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Timing {
    /// The defaults of etcd: heartbeats every 100 ms, election timeouts of 1 to 2 s. Messages take
    /// 0.2 to 1 ms.
    Etcd,
    /// The values of the paper and the defaults of the page: heartbeats every 50 ms, election
    /// timeouts of 150 to 300 ms. Messages take 5 to 15 ms.
    Paper,
}

const SECOND: u64 = 1_000_000;

impl SteadyWorkload {
    /// The script of the cluster and its faults for this number of microseconds.
    #[must_use]
    pub fn script(&self, lasts: u64) -> Script {
        let usual = WorldConfig {
            cluster: ClusterConfig {
                nodes: self.nodes,
                snapshot_every: 1_000,
                snapshot_retain: 1_000,
                ..ClusterConfig::default()
            },
            network: NetworkConfig { loss_per_mille: 1, ..NetworkConfig::default() },
            workload: WorkloadConfig {
                clients: 1,
                think_time: DurationRange::new(SECOND / 2, SECOND * 3 / 2),
                ..WorkloadConfig::default()
            },
            seed: self.seed,
            record_events: false,
            ..WorldConfig::default()
        };
        let config = match self.timing {
            Timing::Paper => usual,
            Timing::Etcd => WorldConfig {
                cluster: ClusterConfig {
                    election_timeout: DurationRange::new(SECOND, 2 * SECOND),
                    heartbeat_interval: SECOND / 10,
                    ..usual.cluster
                },
                network: NetworkConfig { latency: DurationRange::new(200, 1_000), ..usual.network },
                workload: WorkloadConfig { request_timeout: 2 * SECOND, ..usual.workload },
                ..usual
            },
        };
        let mut random = SimRng::new(self.seed ^ 0x5e41_1ce5);
        let mut actions = Vec::new();
        let mut add = |at, action| actions.push(TimedAction { at, action });
        for node in 1..=self.nodes {
            let drift = random.within(0..=200) as i32 - 100;
            add(1, Action::SetClock { node, drift });
        }
        let mut at = random.within(30 * SECOND..=90 * SECOND);
        while at < lasts {
            let over = at + random.within(SECOND / 2..=30 * SECOND);
            let node = random.within(1..=self.nodes);
            let to = (node + random.below(self.nodes.max(2) - 1)) % self.nodes + 1;
            match random.below(5) {
                0 => {
                    add(at, Action::Crash { node });
                    add(over, Action::Restart { node });
                }
                1 => {
                    add(at, Action::Pause { node });
                    add(over, Action::Resume { node });
                }
                2 => {
                    add(at, Action::Isolate { node });
                    add(over, Action::Reconnect { node });
                }
                3 if to != node => {
                    add(at, Action::CutLink { from: node, to });
                    add(over, Action::HealLink { from: node, to });
                }
                _ => {
                    let weather = |loss_per_mille| Action::SetNetwork {
                        latency: config.network.latency,
                        loss_per_mille,
                        duplicate_per_mille: 0,
                    };
                    add(at, weather(50));
                    add(over, weather(config.network.loss_per_mille));
                }
            }
            at += random.within(30 * SECOND..=90 * SECOND);
        }
        actions.sort_by_key(|timed| timed.at);
        Script { config, actions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Run;

    #[test]
    fn cluster_serves_during_faults() {
        for timing in [Timing::Etcd, Timing::Paper] {
            let service = SteadyWorkload { nodes: 5, timing, seed: 3 };
            let mut run = Run::new(service.script(600 * SECOND)).unwrap();
            run.seek(600 * SECOND);
            let world = run.world();
            assert_eq!(world.violation(), None);
            let answered = world.askings().filter(|asking| asking.returned.is_some());
            assert!((450..650).contains(&answered.count()), "{timing:?}");
            assert!(run.script().actions.len() > 15);
        }
    }
}
