//! The allocations and messages per commit. These numbers are equal on all machines.
//!
//! `cargo xtask bench core` measures times.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::alloc::System;

use bytes::Bytes;
use raft_core::{
    Config, Effects, Entry, HardState, Instant, LogIndex, Membership, Message, NodeId, Raft,
    RestoredState, Role,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: u64 = 1000;
/// The number of allocations that the threads of the test may add.
const SLACK: u64 = 10;
const SLACK_BYTES: u64 = 4096;
/// The size of the reference counters of a batch.
const BATCH_BYTES: u64 = 16;

/// Three servers in memory whose writes are durable immediately. The first one leads.
struct Cluster {
    servers: Vec<Raft>,
    inboxes: [Vec<(NodeId, Message)>; 3],
    effects: Effects,
    now: Instant,
    messages: u64,
}

impl Cluster {
    fn elected() -> Self {
        let voters = [1, 2, 3].map(NodeId);
        let server = |id: NodeId| {
            let mut config = Config::new(id);
            // A small log cache is full soon, so that the cost of eviction is included.
            config.log_cache_bytes_max = 16 << 10;
            let membership = Membership::new(voters);
            let (hard_state, window) = (HardState::default(), config.log_cache_bytes_max);
            let restored = RestoredState::new(1, membership, hard_state, LogIndex(0), window);
            Raft::new(config, restored, id.0, Instant(0)).unwrap()
        };
        let mut cluster = Self {
            servers: voters.into_iter().map(server).collect(),
            inboxes: Default::default(),
            effects: Effects::default(),
            now: Instant(0),
            messages: 0,
        };
        cluster.now = cluster.servers[0].deadline().unwrap();
        cluster.servers[0].tick(cluster.now);
        for _ in 0..8 {
            cluster.turn();
        }
        assert_eq!(cluster.servers[0].role(), Role::Leader);
        cluster
    }

    /// Each server receives all waiting messages, and is drained before and after its write.
    fn turn(&mut self) {
        for at in 0..self.servers.len() {
            for (from, message) in self.inboxes[at].drain(..) {
                self.servers[at].receive(from, message, self.now);
            }
            loop {
                let server = &mut self.servers[at];
                server.drain(&mut self.effects);
                self.effects.committed.clear();
                for sent in self.effects.messages.drain(..) {
                    self.messages += 1;
                    self.inboxes[sent.to.0 as usize - 1].push((server.id(), sent.message));
                }
                let Some(write) = self.effects.write.take() else {
                    break;
                };
                server.persisted(write.synced(), self.now);
            }
        }
    }

    fn commit(&mut self, batches: u64, in_flight: u64) {
        static COMMAND: Bytes = Bytes::from_static(b"command!");
        for _ in 0..batches {
            for _ in 0..in_flight {
                self.servers[0].propose(COMMAND.clone(), self.now).unwrap();
            }
            let last = self.servers[0].last_log().index;
            for _ in 0..2 {
                self.turn();
            }
            assert_eq!(self.servers[0].delivered_index(), last);
        }
    }
}

/// One test only, because the allocations of the whole process are counted.
#[test]
fn batch_costs_one_allocation_and_four_messages() {
    for in_flight in [1, 64] {
        let mut cluster = Cluster::elected();
        cluster.commit(BATCHES, in_flight);
        cluster.messages = 0;
        let region = Region::new(MEMORY);
        cluster.commit(BATCHES, in_flight);
        let change = region.change();
        let allocations = (change.allocations + change.reallocations) as u64;
        assert!(
            allocations <= BATCHES + SLACK,
            "{allocations} allocations for {BATCHES} batches of {in_flight}"
        );
        let bytes = change.bytes_allocated as u64;
        let batch = BATCH_BYTES + in_flight * size_of::<Entry>() as u64;
        assert!(
            bytes <= BATCHES * batch + SLACK_BYTES,
            "{bytes} bytes for {BATCHES} batches of {batch}"
        );
        assert_eq!(
            cluster.messages,
            4 * BATCHES,
            "to each follower the entries, and from each an acknowledgement"
        );
    }
}
