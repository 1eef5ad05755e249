//! A few servers that talk to each other, and somebody who talks to them.

use std::alloc::System;
use std::time::Duration;

use bytes::Bytes;
use raft_core::{Instant, LogId, Membership, Message, NodeId, Outbound, ReadMode};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::arbitrary::Source;
use crate::chance::Chance;
use crate::server::{Rules, Server};
use crate::tally::{Count, Tally};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many steps an episode has.
pub const STEPS: u64 = 1000;
/// What a server may hold apart from what its configuration allows, with its disk: its tokens, its
/// memberships, its log as far as it is on disk, and what it has been told by others than leaders.
const SERVER_BYTES_MAX: usize = 16 << 10;
/// What a message on the way may hold apart from its entries.
const MESSAGE_BYTES_MAX: usize = 1 << 10;
/// What one step may allocate, and how often.
const STEP_BYTES_MAX: usize = 4 << 20;
const STEP_ALLOCATIONS_MAX: usize = 50_000;
/// Messages on the way.
const MAIL_MAX: usize = 48;

/// Servers, their mail, and the time.
struct Episode<'a> {
    chance: Chance,
    servers: Vec<Server>,
    mail: Vec<(NodeId, usize, Message)>,
    sent: Vec<Outbound>,
    now: Instant,
    tally: &'a mut Tally,
}

/// Plays one episode. A panic is a finding.
pub fn play(seed: u64, number: u64, rules: Rules, tally: &mut Tally) {
    let mut chance = Chance::new(seed, number);
    let size = 1 + chance.below(4);
    let mut founders = Membership::new((1..=size).map(NodeId));
    if size > 2 && chance.once_in(4) {
        founders = founders.with_witnesses([NodeId(size)]);
    }
    let now = Instant(chance.below(1 << 40));
    let servers = (1..=size).map(|id| Server::new(NodeId(id), &founders, rules, &mut chance, now));
    let servers = servers.collect();
    let mut episode = Episode { chance, servers, mail: Vec::new(), sent: Vec::new(), now, tally };
    // Episodes with nothing but garbage get nowhere; with nothing but true messages, all goes well.
    let lies =
        episode.chance.below(64) * episode.chance.below(64) * episode.chance.below(64) / (64 * 64);
    let limit = episode.servers.iter().map(Server::memory_max);
    let limit = limit.map(|server| server + SERVER_BYTES_MAX).sum::<usize>();
    let piece = episode.servers.iter().map(Server::append_max).max();
    let limit = limit + MAIL_MAX * (piece.unwrap_or_default() + MESSAGE_BYTES_MAX);
    let base = live();
    for _ in 0..STEPS {
        let before = MEMORY.stats();
        episode.step(lies);
        let after = MEMORY.stats();
        let bytes = after.bytes_allocated - before.bytes_allocated;
        assert!(bytes <= STEP_BYTES_MAX, "one step allocates {bytes} bytes");
        let count = after.allocations - before.allocations;
        assert!(count <= STEP_ALLOCATIONS_MAX, "one step allocates {count} times");
        let held = live().saturating_sub(base);
        assert!(held <= limit, "{held} bytes are held, of {limit}");
        episode.tally.held_most(held);
    }
}

fn live() -> usize {
    let stats = MEMORY.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

impl Episode<'_> {
    fn step(&mut self, lies: u64) {
        let at = self.chance.below(self.servers.len() as u64) as usize;
        let now = self.now;
        let kind = self.chance.below(64);
        let chance = &mut self.chance;
        let server = &mut self.servers[at];
        let raft = &mut server.raft;
        if raft.stopped().is_some() {
            self.tally.count(Count::Stopped);
        }
        self.tally.role(raft.role());
        match kind {
            _ if raft.stopped().is_some() && chance.once_in(4) => self.restart(at),
            0..=27 => self.receive(at, lies),
            28..=33 => self.pass(at),
            34..=38 => {
                self.tally.count(Count::Propose);
                let bytes = if chance.once_in(32) { 65 } else { 7 };
                let command = Bytes::from_static(&[0; 65]).slice(..bytes);
                server.propose(command, now);
            }
            39 | 40 => {
                self.tally.count(Count::Read);
                let modes = [ReadMode::Quorum, ReadMode::Lease];
                let _ = raft.read(modes[chance.below(2) as usize], now);
            }
            41 => {
                self.tally.count(Count::Change);
                let near = None;
                let target = Source { chance, near }.membership();
                let _ = raft.change_membership(target, now);
            }
            42 => {
                self.tally.count(Count::Transfer);
                let _ = raft.transfer_leadership(Some(NodeId(chance.below(6))), now);
            }
            43 => {
                self.tally.count(Count::Unreachable);
                raft.report_unreachable(NodeId(chance.below(6)), now);
            }
            44 => {
                self.tally.count(Count::Compact);
                server.compact(chance, now);
            }
            45 | 46 => {
                self.tally.count(Count::AnswerRead);
                server.answer_read(now);
            }
            47 => {
                self.tally.count(Count::Install);
                if server.install(chance.once_in(4), now) {
                    self.tally.count(Count::Installed);
                }
            }
            48 | 49 => {
                self.tally.count(Count::AnswerFetch);
                let wrong = chance.once_in(64).then(|| {
                    let near = None;
                    Source { chance, near }.entries(LogId::default())
                });
                server.answer_fetch(wrong, now);
            }
            50 if chance.once_in(4) => {
                self.tally.count(Count::DiskFull);
                raft.set_disk_full(chance.once_in(2), now);
            }
            52 if chance.once_in(64) => {
                self.tally.count(Count::StorageFailed);
                raft.storage_failed(now);
            }
            53 if chance.once_in(4) => {
                self.tally.count(Count::Hang);
                server.hang(chance);
            }
            51 if chance.once_in(4) => self.restart(at),
            _ => {
                self.tally.count(Count::Sync);
                server.sync(chance, now);
            }
        }
        self.servers[at].check();
        if !self.chance.once_in(3) {
            self.drain(at);
        }
    }

    fn restart(&mut self, at: usize) {
        self.tally.count(Count::Restart);
        let server = &mut self.servers[at];
        if let Some(reason) = server.raft.stopped() {
            self.tally.stop(reason);
        }
        server.restart(&mut self.chance, self.now);
    }

    fn drain(&mut self, at: usize) {
        let server = &mut self.servers[at];
        let from = server.raft.id();
        let applied = server.drain(&mut self.sent);
        self.tally.add(Count::Applied, applied);
        server.check();
        for Outbound { to, message } in self.sent.drain(..) {
            let to = to.0.wrapping_sub(1) as usize;
            if to >= self.servers.len() {
                continue;
            }
            if self.mail.len() < MAIL_MAX {
                self.mail.push((from, to, message));
            } else if let Some(place) = self.chance.place(MAIL_MAX) {
                self.mail[place] = (from, to, message);
            }
        }
    }

    /// Some time passes, or as much as it takes, or a whole life.
    fn pass(&mut self, at: usize) {
        self.tally.count(Count::Elapse);
        let raft = &mut self.servers[at].raft;
        let now = match self.chance.below(16) {
            0 => Instant(self.now.0.saturating_sub(1_000_000)),
            1 => self.now + Duration::from_secs(self.chance.below(20)),
            2 if self.chance.once_in(5000) => Instant(u64::MAX),
            3..=7 => self.now + Duration::from_millis(self.chance.below(300)),
            _ => raft.deadline().unwrap_or(self.now).max(self.now),
        };
        self.now = self.now.max(now);
        raft.tick(now);
    }

    fn receive(&mut self, at: usize, lies: u64) {
        let is_lie = self.chance.below(64) < lies;
        let anybody = NodeId(self.chance.below(6));
        let chance = &mut self.chance;
        // Whom it does not expect to hear from stops it, or is ignored.
        let expected = self.servers[at].raft.leader();
        let likely = expected.filter(|_| !chance.once_in(32)).unwrap_or(anybody);
        let (from, to, message) = match (is_lie, self.mail.len()) {
            (false, 1..) => {
                self.tally.count(Count::True);
                // Mostly it arrives once, and about in order.
                let place =
                    if chance.once_in(4) { chance.place(self.mail.len()).unwrap_or(0) } else { 0 };
                if chance.once_in(8) { self.mail[place].clone() } else { self.mail.remove(place) }
            }
            (true, 1..) if chance.once_in(2) => {
                self.tally.count(Count::Mutated);
                let place = chance.place(self.mail.len()).unwrap_or(0);
                let (from, to, mut message) = self.mail[place].clone();
                let near = Some(&self.servers[to].raft);
                Source { chance, near }.mutate(&mut message);
                (from, to, message)
            }
            _ if chance.once_in(4) => {
                self.tally.count(Count::Garbage);
                let near = None;
                (anybody, at, Source { chance, near }.message())
            }
            _ => {
                self.tally.count(Count::NearlyValid);
                let near = Some(&self.servers[at].raft);
                (likely, at, Source { chance, near }.message())
            }
        };
        self.tally.message(&message);
        let now = self.now;
        self.servers[to].raft.receive(from, message, now);
        self.servers[to].check();
        if to != at && !self.chance.once_in(3) {
            self.drain(to);
        }
    }
}
