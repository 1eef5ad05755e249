//! An episode: a few servers, the messages between them, and arbitrary calls.

use std::alloc::System;
use std::time::Duration;

use bytes::Bytes;
use raft_core::{Instant, LogId, Membership, Message, NodeId, Outbound, ReadMode};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::arbitrary::Source;
use crate::coverage::{Count, Coverage};
use crate::rng::Rng;
use crate::server::{Rules, Server};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The number of steps of an episode.
pub const STEPS: u64 = 1000;
/// The memory of a server beyond its configured limits, in bytes. It contains tokens, memberships,
/// the simulated disk, and entries from servers that are not leaders.
const SERVER_BYTES_MAX: usize = 16 << 10;
/// The memory of an in-flight message without its entries, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 10;
/// The largest number of bytes that one step allocates.
const STEP_BYTES_MAX: usize = 4 << 20;
/// The largest number of allocations of one step.
const STEP_ALLOCATIONS_MAX: usize = 50_000;
/// The largest number of in-flight messages. Further messages replace random ones.
const IN_FLIGHT_MAX: usize = 48;

/// The servers, the network and the time.
struct Episode<'a> {
    rng: Rng,
    servers: Vec<Server>,
    /// The sender, the index of the receiver, and the message.
    in_flight: Vec<(NodeId, usize, Message)>,
    sent: Vec<Outbound>,
    now: Instant,
    coverage: &'a mut Coverage,
}

/// Runs one episode. A panic is a failure.
pub fn play(seed: u64, number: u64, rules: Rules, coverage: &mut Coverage) {
    let mut rng = Rng::new(seed, number);
    let size = 1 + rng.below(4);
    let mut founders = Membership::new((1..=size).map(NodeId));
    if size > 2 && rng.once_in(4) {
        founders = founders.with_witnesses([NodeId(size)]);
    }
    let now = Instant(rng.below(1 << 40));
    let servers = (1..=size).map(|id| Server::new(NodeId(id), &founders, rules, &mut rng, now));
    let servers = servers.collect();
    let mut episode =
        Episode { rng, servers, in_flight: Vec::new(), sent: Vec::new(), now, coverage };
    // The share of wrong messages, in 64ths. Servers that receive only garbage make no progress,
    // and servers that receive only correct messages meet no difficulty.
    let wrong = episode.rng.below(64) * episode.rng.below(64) * episode.rng.below(64) / (64 * 64);
    let limit = episode.servers.iter().map(Server::memory_max);
    let limit = limit.map(|server| server + SERVER_BYTES_MAX).sum::<usize>();
    let append = episode.servers.iter().map(Server::append_max).max();
    let limit = limit + IN_FLIGHT_MAX * (append.unwrap_or_default() + MESSAGE_BYTES_MAX);
    let base = live();
    for _ in 0..STEPS {
        let before = MEMORY.stats();
        episode.step(wrong);
        let after = MEMORY.stats();
        let bytes = after.bytes_allocated - before.bytes_allocated;
        assert!(bytes <= STEP_BYTES_MAX, "one step allocates {bytes} bytes");
        let count = after.allocations - before.allocations;
        assert!(count <= STEP_ALLOCATIONS_MAX, "one step allocates {count} times");
        let held = live().saturating_sub(base);
        assert!(held <= limit, "{held} bytes in memory, limit {limit}");
        episode.coverage.memory(held);
    }
}

/// The number of bytes that the process has allocated and not freed.
fn live() -> usize {
    let stats = MEMORY.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

impl Episode<'_> {
    /// Makes one call of one server.
    fn step(&mut self, wrong: u64) {
        let at = self.rng.below(self.servers.len() as u64) as usize;
        let now = self.now;
        let kind = self.rng.below(64);
        let rng = &mut self.rng;
        let server = &mut self.servers[at];
        let raft = &mut server.raft;
        if raft.stopped().is_some() {
            self.coverage.count(Count::Stopped);
        }
        self.coverage.role(raft.role());
        match kind {
            _ if raft.stopped().is_some() && rng.once_in(4) => self.restart(at),
            0..=27 => self.receive(at, wrong),
            28..=33 => self.tick(at),
            34..=38 => {
                self.coverage.count(Count::Propose);
                let bytes = if rng.once_in(32) { 65 } else { 7 };
                let command = Bytes::from_static(&[0; 65]).slice(..bytes);
                server.propose(command, now);
            }
            39 | 40 => {
                self.coverage.count(Count::Read);
                let modes = [ReadMode::Quorum, ReadMode::Lease];
                let _ = raft.read(modes[rng.below(2) as usize], now);
            }
            41 => {
                self.coverage.count(Count::Change);
                let near = None;
                let target = Source { rng, near }.membership();
                let _ = raft.change_membership(target, now);
            }
            42 => {
                self.coverage.count(Count::Transfer);
                let _ = raft.transfer_leadership(Some(NodeId(rng.below(6))), now);
            }
            43 => {
                self.coverage.count(Count::Unreachable);
                raft.report_unreachable(NodeId(rng.below(6)), now);
            }
            44 => {
                self.coverage.count(Count::Compact);
                server.compact(rng, now);
            }
            45 | 46 => {
                self.coverage.count(Count::ProvideChunk);
                server.answer_read(now);
            }
            47 => {
                self.coverage.count(Count::Install);
                if server.install(rng.once_in(4), now) {
                    self.coverage.count(Count::Installed);
                }
            }
            48 | 49 => {
                self.coverage.count(Count::Fetched);
                let wrong = rng.once_in(64).then(|| {
                    let near = None;
                    Source { rng, near }.entries(LogId::default())
                });
                server.answer_fetch(wrong, now);
            }
            50 if rng.once_in(4) => {
                self.coverage.count(Count::DiskFull);
                raft.set_disk_full(rng.once_in(2), now);
            }
            52 if rng.once_in(64) => {
                self.coverage.count(Count::StorageFailed);
                raft.storage_failed(now);
            }
            53 if rng.once_in(4) => {
                self.coverage.count(Count::Stall);
                server.stall(rng);
            }
            51 if rng.once_in(4) => self.restart(at),
            _ => {
                self.coverage.count(Count::Persisted);
                server.sync(rng, now);
            }
        }
        self.servers[at].check();
        if !self.rng.once_in(3) {
            self.drain(at);
        }
    }

    fn restart(&mut self, at: usize) {
        self.coverage.count(Count::Restart);
        let server = &mut self.servers[at];
        if let Some(reason) = server.raft.stopped() {
            self.coverage.stop(reason);
        }
        server.restart(&mut self.rng, self.now);
    }

    /// Drains a server, and puts its messages into the network.
    fn drain(&mut self, at: usize) {
        let server = &mut self.servers[at];
        let from = server.raft.id();
        let applied = server.drain(&mut self.sent);
        self.coverage.add(Count::Applied, applied);
        server.check();
        for Outbound { to, message } in self.sent.drain(..) {
            let to = to.0.wrapping_sub(1) as usize;
            if to >= self.servers.len() {
                continue;
            }
            if self.in_flight.len() < IN_FLIGHT_MAX {
                self.in_flight.push((from, to, message));
            } else if let Some(index) = self.rng.index(IN_FLIGHT_MAX) {
                self.in_flight[index] = (from, to, message);
            }
        }
    }

    /// Calls `tick` at the deadline of the server, some time later, earlier, or at the end of time.
    fn tick(&mut self, at: usize) {
        self.coverage.count(Count::Tick);
        let raft = &mut self.servers[at].raft;
        let now = match self.rng.below(16) {
            0 => Instant(self.now.0.saturating_sub(1_000_000)),
            1 => self.now + Duration::from_secs(self.rng.below(20)),
            2 if self.rng.once_in(5000) => Instant(u64::MAX),
            3..=7 => self.now + Duration::from_millis(self.rng.below(300)),
            _ => raft.deadline().unwrap_or(self.now).max(self.now),
        };
        self.now = self.now.max(now);
        raft.tick(now);
    }

    /// Delivers a message: a sent one, a changed one, or an arbitrary one.
    fn receive(&mut self, at: usize, wrong: u64) {
        let is_wrong = self.rng.below(64) < wrong;
        let any_sender = NodeId(self.rng.below(6));
        let rng = &mut self.rng;
        // Messages from an unexpected sender are ignored or stop the server.
        let expected = self.servers[at].raft.leader();
        let likely = expected.filter(|_| !rng.once_in(32)).unwrap_or(any_sender);
        let (from, to, message) = match (is_wrong, self.in_flight.len()) {
            (false, 1..) => {
                self.coverage.count(Count::Unchanged);
                // Most messages arrive once and in order.
                let length = self.in_flight.len();
                let index = if rng.once_in(4) { rng.index(length).unwrap_or(0) } else { 0 };
                let is_repeated = rng.once_in(8);
                if is_repeated {
                    self.in_flight[index].clone()
                } else {
                    self.in_flight.remove(index)
                }
            }
            (true, 1..) if rng.once_in(2) => {
                self.coverage.count(Count::Mutated);
                let index = rng.index(self.in_flight.len()).unwrap_or(0);
                let (from, to, mut message) = self.in_flight[index].clone();
                let near = Some(&self.servers[to].raft);
                Source { rng, near }.mutate(&mut message);
                (from, to, message)
            }
            _ if rng.once_in(4) => {
                self.coverage.count(Count::Garbage);
                let near = None;
                (any_sender, at, Source { rng, near }.message())
            }
            _ => {
                self.coverage.count(Count::Plausible);
                let near = Some(&self.servers[at].raft);
                (likely, at, Source { rng, near }.message())
            }
        };
        self.coverage.message(&message);
        let now = self.now;
        self.servers[to].raft.receive(from, message, now);
        self.servers[to].check();
        if to != at && !self.rng.once_in(3) {
            self.drain(to);
        }
    }
}
