//! A benchmark of consensus cores: three servers in memory, on one thread.
//!
//! A [`Cluster`] wraps one core. The leader receives a batch of commands. The servers take turns
//! until the leader has applied the batch, and the leader receives the next batch. In its turn a
//! server receives all waiting messages and is drained once. Each write is durable at once.
//! Commands are really replicated: every server adds each byte to an [`Applied`], which must be
//! equal at the end.

pub mod allocation_counts;
pub mod report;
pub mod scaling;
pub mod throughput;

mod bar_chart;
mod core_cluster;
mod noraft;
mod rafter;
mod sailing_proto;
mod tikv;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

/// The number of servers.
pub const SERVERS: usize = 3;
/// The index of the leader.
pub const LEADER: usize = 0;
/// The approximate number of entries that each core keeps in memory.
pub const ENTRIES_KEPT: usize = 4096;
/// The largest size of the entries of a message, in bytes. The largest batch fits.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// The largest number of turns until a batch must be committed.
const TURNS_MAX: usize = 1000;

/// Three servers of one core, connected in memory.
pub trait Cluster {
    /// Proposes commands at the leader, in one call if the core supports that.
    fn propose(&mut self, commands: &[Bytes]) -> Result<()>;

    /// Delivers all waiting messages to each server, and processes its effects.
    fn turn(&mut self) -> Result<()>;

    /// Advances the time until the followers know the commit index.
    fn settle(&mut self) -> Result<()>;

    /// The applied commands of each server.
    fn applied(&self) -> &[Applied];

    /// The number of messages so far.
    fn messages(&self) -> u64;
}

/// A consensus core.
#[derive(Clone, Copy)]
pub struct Core {
    /// The name and version.
    pub name: &'static str,
    /// True if the core replicates commands, false if its caller must do so.
    pub ships: bool,
    /// Notes for readers of the tables.
    pub remark: &'static str,
    /// Creates a cluster with a leader.
    pub elect: fn(&Case) -> Result<Box<dyn Cluster>>,
}

/// All cores. raft-core comes first.
pub const CORES: &[Core] =
    &[core_cluster::CORE, tikv::CORE, rafter::CORE, sailing_proto::CORE, noraft::CORE];

/// A benchmark case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// The size of a command in bytes.
    pub bytes: usize,
    /// The number of commands in flight.
    pub in_flight: usize,
    /// The number of commands of one measurement.
    pub commits: usize,
}

/// All cases.
pub const CASES: [Case; 6] = [
    Case::new(8, 1, 100_000),
    Case::new(8, 64, 400_000),
    Case::new(8, 1024, 400 * 1024),
    Case::new(512, 1, 100_000),
    Case::new(512, 64, 400_000),
    Case::new(512, 1024, 400 * 1024),
];

impl Case {
    const fn new(bytes: usize, in_flight: usize, commits: usize) -> Self {
        Self { bytes, in_flight, commits }
    }
}

/// A state machine: the number of applied commands, and a checksum that depends on their order. The
/// checksum is cheap compared with the cores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// The number of commands.
    pub commands: u64,
    lanes: [u64; 4],
}

impl Applied {
    /// Applies a command.
    pub fn apply(&mut self, command: &[u8]) {
        self.commands += 1;
        let (blocks, rest) = command.as_chunks::<32>();
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            for (lane, word) in self.lanes.iter_mut().zip(words) {
                *lane = lane.rotate_left(7).wrapping_add(u64::from_le_bytes(*word));
            }
        }
        let (words, _) = rest.as_chunks::<8>();
        for word in words {
            let lane = &mut self.lanes[0];
            *lane = lane.rotate_left(7).wrapping_add(u64::from_le_bytes(*word));
        }
    }
}

/// Commands as slices of shared memory, as in a server that has read them from its clients.
/// Commands that are close to each other differ.
pub struct Commands {
    pool: Vec<Bytes>,
    next: usize,
}

impl Commands {
    const POOL: usize = 2048;

    /// Commands with a size in bytes, which must be a multiple of eight.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let words = (Self::POOL * bytes / 8) as u64;
        let memory: Vec<u8> = (0..words)
            .flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect();
        let memory = Bytes::from(memory);
        let pool = (0..Self::POOL).map(|at| memory.slice(at * bytes..(at + 1) * bytes));
        Self { pool: pool.collect(), next: 0 }
    }

    fn batch(&mut self, count: usize) -> &[Bytes] {
        if self.next + count > self.pool.len() {
            self.next = 0;
        }
        self.next += count;
        &self.pool[self.next - count..self.next]
    }
}

/// Commits at least `commits` commands, `in_flight` at a time. Returns the number of commands.
pub fn commit(
    cluster: &mut dyn Cluster,
    commands: &mut Commands,
    in_flight: usize,
    commits: usize,
) -> Result<u64> {
    let first = cluster.applied()[LEADER].commands;
    let mut target = first;
    while target - first < commits as u64 {
        target += in_flight as u64;
        cluster.propose(commands.batch(in_flight))?;
        let mut turns = 0;
        while cluster.applied()[LEADER].commands < target {
            cluster.turn()?;
            turns += 1;
            ensure!(turns < TURNS_MAX, "a batch was not committed within {TURNS_MAX} turns");
        }
    }
    Ok(target - first)
}

/// Checks that all servers have applied the same commands.
pub fn check(cluster: &mut dyn Cluster) -> Result<()> {
    cluster.settle()?;
    let applied = cluster.applied();
    ensure!(
        applied.windows(2).all(|pair| pair[0] == pair[1]),
        "state machines differ: {applied:?}"
    );
    Ok(())
}

/// Creates a cluster and runs it until its buffers have their final size.
pub fn warmed_up(core: &Core, case: &Case, commands: &mut Commands) -> Result<Box<dyn Cluster>> {
    let mut cluster =
        (core.elect)(case).with_context(|| format!("{}: no leader was elected", core.name))?;
    commit(cluster.as_mut(), commands, case.in_flight, 2 * ENTRIES_KEPT.max(case.in_flight))
        .with_context(|| core.name)?;
    Ok(cluster)
}
