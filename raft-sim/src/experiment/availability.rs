//! The share of the time in which a cluster has a leader, with permanent loss of messages or wrong
//! clocks.

use raft_core::Role;

use crate::experiment::election::ElectionError;
use crate::experiment::setup::random_drift;
use crate::network::latency::DurationRange;
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::action::Action;
use crate::world::config::{ClusterConfig, DiskConfig, NetworkConfig, WorldConfig};

/// Five servers under constant conditions. Times are in microseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Availability {
    /// The one-way message latency.
    pub latency: DurationRange,
    /// The election timeouts.
    pub timeout: DurationRange,
    /// The time between two heartbeats.
    pub heartbeat: u64,
    /// Lost messages, per mille.
    pub loss_per_mille: u32,
    /// The largest error of each server's clock, in parts per million.
    pub drift_ppm: u32,
    /// The time between two crashes of the leader, which restarts after half of that time. None if
    /// it does not crash.
    pub crash_every: Option<u64>,
    /// True for servers with pre-vote and check-quorum.
    pub stable: bool,
}

/// The result of a measurement.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AvailabilityResult {
    /// The share of the time in which a majority, including the leader, followed one leader in its
    /// term.
    pub share: f64,
    /// The number of elections per hour.
    pub elections_per_hour: f64,
}

const SERVERS: u64 = 5;
/// The time before the measurement starts, in longest election timeouts.
const TIMEOUTS_BEFORE: u64 = 20;

impl Availability {
    /// The network and the timeouts of [`Election::wan`](crate::experiment::Election::wan), and
    /// five heartbeats per shortest timeout.
    #[must_use]
    pub fn wan() -> Self {
        Self {
            latency: DurationRange::new(30_000, 40_000),
            timeout: DurationRange::new(300_000, 600_000),
            heartbeat: 60_000,
            loss_per_mille: 0,
            drift_ppm: 0,
            crash_every: None,
            stable: false,
        }
    }

    /// Measures so many clusters for so many microseconds each. The same seed gives the same
    /// result.
    ///
    /// # Errors
    ///
    /// [`ElectionError`] if the configuration is invalid or an invariant of Raft was violated.
    pub fn measure(
        &self,
        clusters: u64,
        lasts: u64,
        seed: u64,
    ) -> Result<AvailabilityResult, ElectionError> {
        let mut random = SimRng::new(seed);
        let (mut led, mut elections) = (0, 0);
        for _ in 0..clusters {
            let (time, elected) = self.watch(lasts, random.next())?;
            led += time;
            elections += elected;
        }
        let whole = clusters.saturating_mul(lasts).max(1) as f64;
        Ok(AvailabilityResult {
            share: led as f64 / whole,
            elections_per_hour: elections as f64 / whole * 3.6e9,
        })
    }

    /// Measures one cluster: the time with a leader, and the number of elections.
    fn watch(&self, lasts: u64, seed: u64) -> Result<(u64, u64), ElectionError> {
        let mut world = self.world(seed)?;
        let begin = TIMEOUTS_BEFORE * self.timeout.max;
        world.run_until(begin);
        let before = world.elections();
        let mut led = 0;
        let mut crash_at = self.crash_every.map(|every| begin + every);
        let mut returning: Option<(u64, u64)> = None;
        while world.now() < begin + lasts && world.violation().is_none() {
            let returns_at = returning.map(|(at, _)| at);
            let planned = crash_at.into_iter().chain(returns_at).min();
            let stop = planned.unwrap_or(u64::MAX).min(begin + lasts);
            let next = world.next_at().map_or(stop, |at| at.min(stop));
            if leader(&world).is_some() {
                led += next - world.now();
            }
            world.run_until(next);
            if let Some((_, node)) = returning.take_if(|(at, _)| *at == next) {
                let done = world.act(&Action::Restart { node });
                debug_assert_eq!(done, Ok(()), "the node is down");
            }
            if let (Some(every), true) = (self.crash_every, crash_at == Some(next)) {
                crash_at = Some(next + every);
                if let Some(node) = leader(&world) {
                    let done = world.act(&Action::Crash { node });
                    debug_assert_eq!(done, Ok(()), "a leader runs");
                    returning = Some((next + every / 2, node));
                }
            }
        }
        if let Some(violation) = world.violation() {
            return Err(ElectionError::Violation(violation.to_string()));
        }
        Ok((led, world.elections() - before))
    }

    /// A world under these conditions.
    fn world(&self, seed: u64) -> Result<World, ElectionError> {
        let mut world = World::new(WorldConfig {
            cluster: ClusterConfig {
                nodes: SERVERS,
                election_timeout: self.timeout,
                heartbeat_interval: self.heartbeat,
                pre_vote: self.stable,
                check_quorum: self.stable,
                ..ClusterConfig::default()
            },
            network: NetworkConfig {
                latency: self.latency,
                loss_per_mille: self.loss_per_mille,
                ..NetworkConfig::default()
            },
            disk: DiskConfig { sync_latency: DurationRange::new(0, 0), ..DiskConfig::default() },
            seed,
            record_events: false,
            ..WorldConfig::default()
        })
        .map_err(ElectionError::World)?;
        let mut random = SimRng::new(seed ^ 0xd21f7);
        for node in 1..=SERVERS {
            let drift = random_drift(&mut random, self.drift_ppm);
            let done = world.act(&Action::SetClock { node, drift });
            debug_assert_eq!(done, Ok(()), "the node exists");
        }
        Ok(world)
    }
}

/// The leader that a majority follows in its term.
fn leader(world: &World) -> Option<u64> {
    let servers = || (1..=SERVERS).filter_map(|node| world.raft(node));
    servers()
        .filter(|server| server.role() == Role::Leader)
        .find(|leader| {
            let follows = |server: &&raft_core::Raft| {
                (server.term(), server.leader()) == (leader.term(), Some(leader.id()))
            };
            servers().filter(follows).count() as u64 > SERVERS / 2
        })
        .map(|leader| leader.id().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(change: impl Fn(&mut Availability)) -> AvailabilityResult {
        let mut availability = Availability::wan();
        change(&mut availability);
        availability.measure(4, 100_000_000, 1).unwrap()
    }

    #[test]
    fn stable_cluster_keeps_leader() {
        for stable in [false, true] {
            let quiet = measured(|it| it.stable = stable);
            assert_eq!((quiet.share, quiet.elections_per_hour), (1.0, 0.0));
        }
    }

    #[test]
    fn loss_and_clock_drift_cause_elections() {
        let lossy = measured(|it| it.loss_per_mille = 500);
        assert!((0.5..0.99).contains(&lossy.share), "{lossy:?}");
        assert!(lossy.elections_per_hour > 100.0);
        let stable = |it: &mut Availability| {
            it.loss_per_mille = 500;
            it.stable = true;
        };
        assert!(measured(stable).share > lossy.share, "a leader with a majority stays");
        // The server with the fastest clock leads after a while, and its heartbeats are frequent
        // enough for all others.
        let drifting = |it: &mut Availability| {
            it.drift_ppm = 900_000;
            it.heartbeat = 150_000;
        };
        assert_eq!(measured(drifting).share, 1.0);
        let crashing = |drift_ppm| {
            measured(move |it| {
                it.drift_ppm = drift_ppm;
                it.heartbeat = 150_000;
                it.crash_every = Some(10_000_000);
            })
        };
        let (right, wrong) = (crashing(0), crashing(700_000));
        assert!((0.93..0.97).contains(&right.share), "{right:?}");
        assert!((wrong.share - right.share).abs() < 0.02, "{wrong:?}");
    }
}
