//! The initial state of an election: a cluster whose leader has just failed.

use crate::experiment::election::{Election, ElectionError};
use crate::network::latency::DurationRange;
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::action::{Action, Request};
use crate::world::config::{
    ClusterConfig, DiskConfig, NetworkConfig, TIME_MAX, WorkloadConfig, WorldConfig,
};

impl Election {
    /// A world whose leader, server 1, fails at time zero. All servers have just received its
    /// heartbeat. The preparation takes no simulated time.
    ///
    /// The leader's process stops at time zero even if the leader is to fail later. In between it
    /// would send nothing, unless `crash_after` extended beyond its next heartbeat.
    pub(super) fn world_without_leader(
        &self,
        lengths: &[u64],
        seed: u64,
    ) -> Result<World, ElectionError> {
        let mut world = World::new(WorldConfig {
            cluster: ClusterConfig {
                nodes: self.servers,
                election_timeout: self.timeout,
                heartbeat_interval: (self.timeout.min / 2).max(1),
                pre_vote: self.pre_vote,
                check_quorum: self.check_quorum,
                ..ClusterConfig::default()
            },
            network: NetworkConfig {
                latency: DurationRange::new(0, 0),
                ..NetworkConfig::default()
            },
            disk: DiskConfig { sync_latency: DurationRange::new(0, 0), ..DiskConfig::default() },
            workload: WorkloadConfig {
                // A client without a response does not repeat its request during the election.
                request_timeout: TIME_MAX,
                ..WorkloadConfig::default()
            },
            seed,
            record_events: false,
            ..WorldConfig::default()
        })
        .map_err(ElectionError::World)?;
        apply(&mut world, Action::FireTimer { node: 1 });
        for node in self.servers - self.failed + 1..=self.servers {
            apply(&mut world, Action::Crash { node });
        }
        self.write_logs(&mut world, lengths);
        self.force_candidates(&mut world);
        apply(&mut world, Action::Crash { node: 1 });
        apply(&mut world, Action::HealNetwork);
        if self.leader_returns {
            apply(&mut world, Action::Restart { node: 1 });
        }
        self.set_conditions(&mut world, seed);
        Ok(world)
    }

    /// Writes entries, and isolates each server as soon as its log is long enough.
    fn write_logs(&self, world: &mut World, lengths: &[u64]) {
        let longest = lengths.iter().max().copied().unwrap_or(0);
        for length in 1..=longest {
            for (node, _) in self.remaining().zip(lengths).filter(|(_, has)| **has < length) {
                apply(world, Action::Isolate { node });
            }
            let request = Request::Put { key: "x".into(), value: length.to_string() };
            apply(world, Action::Request { via: Some(1), request });
        }
    }

    /// Lets the servers with later terms campaign while they are isolated.
    fn force_candidates(&self, world: &mut World) {
        for (node, ahead) in self.remaining().rev().zip(self.terms_ahead.iter().rev()) {
            if *ahead > 0 {
                apply(world, Action::Isolate { node });
                (0..*ahead).for_each(|_| apply(world, Action::FireTimer { node }));
                // The server then waits for an election timeout, as all others do.
                apply(world, Action::Crash { node });
                apply(world, Action::Restart { node });
            }
        }
    }

    /// Sets the network, the clocks and the disks of the election.
    fn set_conditions(&self, world: &mut World, seed: u64) {
        let network = Action::SetNetwork {
            latency: self.latency,
            loss_per_mille: self.loss_per_mille,
            duplicate_per_mille: 0,
        };
        apply(world, network);
        for (from, to, latency) in self.links.iter().copied() {
            apply(world, Action::SetLatency { from, to, latency });
        }
        let mut random = SimRng::new(seed ^ 0xd21f7);
        for node in 1..=self.servers {
            let drift = random_drift(&mut random, self.drift_ppm);
            if drift != 0 {
                apply(world, Action::SetClock { node, drift });
            }
        }
        for node in self.remaining() {
            apply(world, Action::SetSyncLatency { node, sync_latency: self.disk });
        }
    }
}

/// A clock error between `-drift_ppm` and `drift_ppm`.
pub(super) fn random_drift(random: &mut SimRng, drift_ppm: u32) -> i32 {
    random.within(0..=2 * u64::from(drift_ppm)) as i32 - drift_ppm as i32
}

/// Applies an action that is possible in this state, and processes the events of this moment.
fn apply(world: &mut World, action: Action) {
    let done = world.act(&action);
    debug_assert_eq!(done, Ok(()), "the servers exist and run");
    world.run_until(0);
}
