//! The memory of a leader stays within its configured limits, regardless of its followers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::alloc::System;
use std::sync::Mutex;

use bytes::Bytes;
use raft_core::{
    AppendEntriesResponse, AppendResult, Config, Effects, HardState, Instant, LogIndex, Membership,
    Message, NodeId, PreVoteResponse, ProposeError, Raft, RequestVoteResponse, RestoredState, Role,
    Write,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The memory of the whole process is measured, so one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

const COMMAND_BYTES: usize = 1000;
const UNCOMMITTED_MAX: usize = 4 << 20;
const IN_FLIGHT_MAX: usize = 1 << 20;
const WINDOW_MAX: usize = 2 << 20;
/// The allowance for vectors that grow by doubling, and for small allocations.
const SLACK: usize = 1 << 20;

/// The leader of three servers. Server 2 responds on request.
struct Leader {
    raft: Raft,
    effects: Effects,
}

impl Leader {
    fn elected() -> Self {
        let mut config = Config::new(NodeId(1));
        config.uncommitted_bytes_max = UNCOMMITTED_MAX;
        config.in_flight_bytes_max = IN_FLIGHT_MAX;
        config.log_cache_bytes_max = WINDOW_MAX;
        let membership = Membership::new([1, 2, 3].map(NodeId));
        let restored =
            RestoredState::new(1, membership, HardState::default(), LogIndex(0), WINDOW_MAX);
        let raft = Raft::new(config, restored, 1, Instant(0)).unwrap();
        let effects = Effects::default();
        let mut leader = Self { raft, effects };
        let now = leader.raft.deadline().unwrap();
        leader.raft.tick(now);
        leader.carry_out();
        let term = leader.raft.term();
        let promise = PreVoteResponse { term, campaign_term: raft_core::Term(1), granted: true };
        leader.receive(Message::PreVoteResponse(promise));
        leader.carry_out();
        let vote = RequestVoteResponse { term: raft_core::Term(1), granted: true };
        leader.receive(Message::RequestVoteResponse(vote));
        leader.carry_out();
        assert_eq!(leader.raft.role(), Role::Leader);
        leader
    }

    fn receive(&mut self, message: Message) {
        self.raft.receive(NodeId(2), message, Instant(0));
    }

    /// Writes are durable immediately, messages are lost, and committed entries are applied.
    fn carry_out(&mut self) {
        self.raft.drain(&mut self.effects);
        if let Some(token) = self.effects.write.take().map(Write::synced) {
            self.raft.persisted(token, Instant(0));
            self.raft.drain(&mut self.effects);
        }
        self.effects.messages.clear();
        self.effects.committed.clear();
        self.effects.fetches.clear();
    }

    fn acknowledge_all(&mut self) {
        let result = AppendResult::Accepted { match_index: self.raft.last_log().index };
        let term = self.raft.term();
        self.receive(Message::AppendEntriesResponse(AppendEntriesResponse { term, result }));
    }
}

fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}

#[test]
fn isolated_leader_memory_is_bounded() {
    let _alone = ALONE.lock().unwrap();
    let mut leader = Leader::elected();
    let region = Region::new(MEMORY);
    let mut refused = 0;
    for _ in 0..20 * UNCOMMITTED_MAX / COMMAND_BYTES {
        let command = Bytes::from(vec![7; COMMAND_BYTES]);
        match leader.raft.propose(command, Instant(0)) {
            Ok(_) => {}
            Err(ProposeError::Overloaded { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        leader.carry_out();
    }
    assert!(refused > 0);
    let held = held(&region);
    assert!(held <= UNCOMMITTED_MAX + SLACK, "{held} bytes");
    // The limit is reached.
    assert!(held >= UNCOMMITTED_MAX / 2, "{held} bytes");
}

#[test]
fn dead_follower_memory_is_bounded() {
    let _alone = ALONE.lock().unwrap();
    let mut leader = Leader::elected();
    let region = Region::new(MEMORY);
    let mut most = 0;
    for _ in 0..30 * WINDOW_MAX / COMMAND_BYTES {
        let command = Bytes::from(vec![7; COMMAND_BYTES]);
        leader.raft.propose(command, Instant(0)).unwrap();
        leader.carry_out();
        leader.acknowledge_all();
        leader.carry_out();
        most = most.max(held(&region));
    }
    assert_eq!(leader.raft.commit_index(), leader.raft.last_log().index);
    assert!(most <= WINDOW_MAX + SLACK, "{most} bytes");
}
