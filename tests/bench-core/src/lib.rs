//! Consensus cores side by side: three servers in memory, on one thread.
//!
//! A [`Cluster`] wraps one core. The harness gives the leader a batch of commands, lets the servers
//! take turns until the leader has applied them all, and gives the next batch. In its turn a server
//! takes everything that waits for it, and is drained once; whatever wants to be written counts as
//! durable at once. Commands are really shipped, and every server folds each byte into an
//! [`Applied`], which must be the same on all three in the end.

pub mod counts;
pub mod report;
pub mod scaling;
pub mod speed;

mod bars;
mod noraft;
mod ours;
mod rafter;
mod sailing;
mod tikv;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

/// The number of servers.
pub const SERVERS: usize = 3;
/// Where the leader stands among them.
pub const LEADER: usize = 0;
/// About how many entries each core keeps in memory, whichever way it is told.
pub const ENTRIES_KEPT: usize = 4096;
/// Up to where each core puts entries into one message: the largest batch fits.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// Turns after which a batch that is not committed is held for lost.
const TURNS_MAX: usize = 1000;

/// Three servers of one core, connected in memory.
pub trait Cluster {
    /// Gives commands to the leader, all at once if the core can.
    fn propose(&mut self, commands: &[Bytes]) -> Result<()>;

    /// Lets every server take what waits for it, and carries out what it wants.
    fn turn(&mut self) -> Result<()>;

    /// Lets time pass until the followers have heard what is committed.
    fn settle(&mut self) -> Result<()>;

    /// What each server has applied.
    fn applied(&self) -> &[Applied];

    /// How many messages were sent so far.
    fn messages(&self) -> u64;
}

/// A core that can be measured.
#[derive(Clone, Copy)]
pub struct Core {
    /// Its name and version.
    pub name: &'static str,
    /// Whether it ships commands, or leaves that to its caller.
    pub ships: bool,
    /// What a reader has to know about the row.
    pub remark: &'static str,
    /// Makes a cluster with a leader.
    pub elect: fn(&Case) -> Result<Box<dyn Cluster>>,
}

/// Ours comes first.
pub const CORES: &[Core] = &[ours::CORE, tikv::CORE, rafter::CORE, sailing::CORE, noraft::CORE];

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// The size of a command.
    pub bytes: usize,
    /// How many commands wait for their commitment at a time.
    pub in_flight: usize,
    /// How many commands are committed in one measurement.
    pub commits: usize,
}

/// Every combination.
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

/// What a state machine has seen: the number of commands, and a checksum over their bytes that
/// depends on their order. It is cheap, so that the cores are measured and not the checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// How many commands.
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

/// Commands as a server finds them in the buffers that it read from its clients: slices of shared
/// memory. No two that are near each other are equal.
pub struct Commands {
    pool: Vec<Bytes>,
    next: usize,
}

impl Commands {
    const POOL: usize = 2048;

    /// Commands of so many bytes, which must be a multiple of eight.
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

/// Commits at least `commits` commands, `in_flight` at a time, and returns how many.
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
            ensure!(turns < TURNS_MAX, "a batch does not get committed");
        }
    }
    Ok(target - first)
}

/// Checks that all servers have applied the same.
pub fn check(cluster: &mut dyn Cluster) -> Result<()> {
    cluster.settle()?;
    let applied = cluster.applied();
    ensure!(applied.windows(2).all(|pair| pair[0] == pair[1]), "the servers differ: {applied:?}");
    Ok(())
}

/// Makes a cluster and lets it run until its buffers have their size.
pub fn warmed_up(core: &Core, case: &Case, commands: &mut Commands) -> Result<Box<dyn Cluster>> {
    let mut cluster = (core.elect)(case).with_context(|| format!("{}: cannot elect", core.name))?;
    commit(cluster.as_mut(), commands, case.in_flight, 2 * ENTRIES_KEPT.max(case.in_flight))
        .with_context(|| core.name)?;
    Ok(cluster)
}
