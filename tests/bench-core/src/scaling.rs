//! Measurements of raft-core in large clusters and with followers that are far behind.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::core_cluster::CoreCluster;
use crate::throughput::processor_time;
use crate::{Cluster, Commands, LEADER, SERVERS, check, commit};

/// The measured sizes of clusters.
pub const MEMBERS: [usize; 4] = [3, 5, 51, 101];
/// The measured numbers of missing entries of a follower.
pub const BEHIND: [usize; 3] = [10_000, 100_000, 1_000_000];
const IN_FLIGHT: usize = 64;
const REPETITIONS: usize = 7;

/// The measurements of a cluster with one size.
pub struct Members {
    /// The number of servers.
    pub members: usize,
    /// The time in which the leader processes one acknowledgement of a batch of 64.
    pub acknowledgement: Duration,
    /// The time of a heartbeat round at all servers, from the timer to the last response.
    pub heartbeat_round: Duration,
    /// The messages of a heartbeat round.
    pub heartbeat_messages: u64,
    /// The time of an election at all servers, from the first timer until all servers have the
    /// first entry of the leader.
    pub election: Duration,
    /// The messages of an election.
    pub election_messages: u64,
}

/// The measurements of a follower that catches up.
pub struct CatchUp {
    /// The number of missing entries.
    pub entries: usize,
    /// The time of all servers until the follower has applied the entries.
    pub time: Duration,
    /// The messages of all servers.
    pub messages: u64,
}

/// The size of a `Raft` in bytes, without its allocations.
#[must_use]
pub fn bytes_of_a_server() -> usize {
    size_of::<raft_core::Raft>()
}

/// Measures a cluster with one size. It uses wall time, because reading the processor time would
/// take longer than some of the measured steps.
pub fn members(members: usize) -> Result<Members> {
    let mut acknowledgements = Vec::new();
    let mut rounds = Vec::new();
    let mut elections = Vec::new();
    let (mut heartbeat_messages, mut election_messages) = (0, 0);
    for _ in 0..REPETITIONS {
        let mut cluster = CoreCluster::new(members, None)?;
        let started = Instant::now();
        cluster.campaign()?;
        elections.push(started.elapsed());
        election_messages = cluster.messages;

        acknowledgements.push(acknowledgement(&mut cluster)?);
        check(&mut cluster)?;

        let before = cluster.messages;
        let started = Instant::now();
        cluster.wake()?;
        cluster.turn()?;
        cluster.receive(LEADER);
        cluster.process_effects(LEADER);
        rounds.push(started.elapsed());
        heartbeat_messages = cluster.messages - before;
    }
    Ok(Members {
        members,
        acknowledgement: median(acknowledgements),
        heartbeat_round: median(rounds),
        heartbeat_messages,
        election: median(elections),
        election_messages,
    })
}

fn acknowledgement(cluster: &mut CoreCluster) -> Result<Duration> {
    const BATCHES: u32 = 100;
    let mut commands = Commands::new(8);
    commit(cluster, &mut commands, IN_FLIGHT, IN_FLIGHT * 10)?;
    let mut spent = Duration::ZERO;
    for _ in 0..BATCHES {
        cluster.propose(commands.batch(IN_FLIGHT))?;
        cluster.turn()?;
        let started = Instant::now();
        cluster.receive(LEADER);
        spent += started.elapsed();
        cluster.turn()?;
    }
    let acknowledgements = BATCHES * (cluster.servers.len() - 1) as u32;
    Ok(spent / acknowledgements)
}

/// Measures a follower that catches up.
pub fn catch_up(entries: usize) -> Result<CatchUp> {
    let absent = SERVERS - 1;
    let mut times = Vec::new();
    let mut messages = 0;
    for _ in 0..3 {
        let mut cluster = CoreCluster::new(SERVERS, None)?;
        cluster.log = Some(Vec::new());
        cluster.campaign()?;
        cluster.absent = Some(absent);
        let mut commands = Commands::new(8);
        commit(&mut cluster, &mut commands, IN_FLIGHT, entries)?;
        cluster.absent = None;
        let target = cluster.applied()[LEADER];
        let before = cluster.messages;
        let started = processor_time()?;
        let mut heartbeats = 0;
        while cluster.applied()[absent] != target {
            let applied = cluster.applied()[absent];
            for _ in 0..4 {
                cluster.turn()?;
            }
            if cluster.applied()[absent] == applied {
                // The leader continues only at its next heartbeat.
                cluster.wake()?;
                heartbeats += 1;
                ensure!(heartbeats < 100, "the follower did not catch up within 100 heartbeats");
            }
        }
        times.push(processor_time()? - started);
        messages = cluster.messages - before;
    }
    Ok(CatchUp { entries, time: median(times), messages })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
