//! How our own core behaves in large clusters and with followers that are far behind.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::ours::Ours;
use crate::speed::processor_time;
use crate::{Cluster, Commands, LEADER, SERVERS, check, commit};

/// The sizes of clusters that are measured.
pub const MEMBERS: [usize; 4] = [3, 5, 51, 101];
/// How far behind a follower is.
pub const BEHIND: [usize; 3] = [10_000, 100_000, 1_000_000];
const IN_FLIGHT: usize = 64;
const REPETITIONS: usize = 7;

/// What a cluster of a certain size takes.
pub struct Members {
    /// How many servers.
    pub members: usize,
    /// For the leader to take one acknowledgement of a batch of 64.
    pub acknowledgement: Duration,
    /// For all servers, from the leader's timer to the last answer.
    pub heartbeat_round: Duration,
    /// Messages of it.
    pub heartbeat_messages: u64,
    /// For all servers, from the first timer to a leader whose first entry all have.
    pub election: Duration,
    /// Messages of it.
    pub election_messages: u64,
}

/// What it takes to bring a follower what it misses.
pub struct CatchUp {
    /// How many entries it misses.
    pub entries: usize,
    /// For all servers, until it has applied them.
    pub time: Duration,
    /// Messages, also those to and from the others.
    pub messages: u64,
}

/// The size of one server's state on the stack or in a collection, without what it points to.
#[must_use]
pub fn bytes_of_a_server() -> usize {
    size_of::<raft_core::Raft>()
}

/// Measures a cluster of a certain size. These times are so short that asking for the processor's
/// would take longer than some of them.
pub fn members(members: usize) -> Result<Members> {
    let mut acknowledgements = Vec::new();
    let mut rounds = Vec::new();
    let mut elections = Vec::new();
    let (mut heartbeat_messages, mut election_messages) = (0, 0);
    for _ in 0..REPETITIONS {
        let mut cluster = Ours::new(members, None)?;
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
        cluster.carry_out(LEADER);
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

fn acknowledgement(cluster: &mut Ours) -> Result<Duration> {
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

/// Measures how a follower catches up that misses so many entries.
pub fn catch_up(entries: usize) -> Result<CatchUp> {
    let absent = SERVERS - 1;
    let mut times = Vec::new();
    let mut messages = 0;
    for _ in 0..3 {
        let mut cluster = Ours::new(SERVERS, None)?;
        cluster.log = Some(Vec::new());
        cluster.campaign()?;
        cluster.absent = Some(absent);
        let mut commands = Commands::new(8);
        commit(&mut cluster, &mut commands, IN_FLIGHT, entries)?;
        cluster.absent = None;
        let target = cluster.applied()[LEADER];
        let before = cluster.messages;
        let started = processor_time()?;
        let mut beats = 0;
        while cluster.applied()[absent] != target {
            let applied = cluster.applied()[absent];
            for _ in 0..4 {
                cluster.turn()?;
            }
            if cluster.applied()[absent] == applied {
                // Nothing moves before the leader's next heartbeat.
                cluster.wake()?;
                beats += 1;
                ensure!(beats < 100, "the follower does not catch up");
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
