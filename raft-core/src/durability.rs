//! Writes that are on the way to the disk, and the promises that wait for them.

use alloc::collections::VecDeque;

use crate::effects::{Durable, Write};
use crate::entry::HardState;
use crate::event::Event;
use crate::id::{Instant, LogId};
use crate::message::{AppendEntriesResponse, AppendResult, Message, RequestVoteResponse};
use crate::raft::{Raft, RoleState};

/// Which writes are on the way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Durability {
    boot: u64,
    next_sequence: u64,
    /// Writes that were handed out and are not known to be durable, oldest first.
    on_the_way: VecDeque<OnTheWay>,
    /// The hard state of the latest write.
    written: HardState,
    /// The hard state that survives a crash.
    durable: HardState,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct OnTheWay {
    sequence: u64,
    hard_state: Option<HardState>,
    last: Option<LogId>,
    synced: bool,
}

impl Durability {
    pub(crate) fn new(boot: u64, hard_state: HardState) -> Self {
        Self {
            boot,
            next_sequence: 1,
            on_the_way: VecDeque::new(),
            written: hard_state,
            durable: hard_state,
        }
    }

    /// Marks the write as synced, and returns the writes that are durable by that: those before
    /// which none is missing.
    fn synced(&mut self, token: &Durable) -> impl Iterator<Item = OnTheWay> {
        if token.boot == self.boot {
            let write = self
                .on_the_way
                .iter_mut()
                .find(|write| write.sequence == token.sequence);
            if let Some(write) = write {
                write.synced = true;
            }
        }
        let complete = self
            .on_the_way
            .iter()
            .take_while(|write| write.synced)
            .count();
        self.on_the_way.drain(..complete)
    }
}

impl Raft {
    /// A write is durable, and with it all writes before it.
    ///
    /// Tokens may come late, repeatedly or out of order: one of an earlier boot, or of entries that
    /// have been replaced since, changes nothing, and one that overtakes an earlier write takes
    /// effect together with it.
    pub fn persisted(&mut self, token: Durable, now: Instant) {
        if self.begin(now) {
            return;
        }
        let mut hard_state = None;
        let mut through = None;
        for write in self.durability.synced(&token) {
            hard_state = write.hard_state.or(hard_state);
            if let Some(last) = write.last
                && self.log.persisted(last)
            {
                through = Some(last);
            }
        }
        if let Some(hard_state) = hard_state {
            self.durability.durable = hard_state;
        }
        if let Some(through) = through {
            self.explain(|| Event::LogPersisted { through });
            self.advance_commit();
        }
        self.request_votes();
    }

    /// Whether the current term and vote survive a crash. What another server may build on must
    /// not leave before.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.durability.durable == self.hard_state
    }

    pub(crate) fn take_write(&mut self) -> Option<Write> {
        let durability = &mut self.durability;
        let hard_state = (durability.written != self.hard_state).then_some(self.hard_state);
        if hard_state.is_none() && !self.log.has_unwritten() {
            return None;
        }
        let sequence = durability.next_sequence;
        durability.next_sequence += 1;
        durability.written = self.hard_state;
        let token = Durable {
            boot: durability.boot,
            sequence,
        };
        let write = Write {
            token,
            hard_state,
            entries: self.log.take_unwritten(),
        };
        let last = write.last();
        self.durability.on_the_way.push_back(OnTheWay {
            sequence,
            hard_state,
            last,
            synced: false,
        });
        Some(write)
    }

    /// Sends the vote and the acknowledgement that waited for a write, if it is durable.
    pub(crate) fn release_promises(&mut self) {
        if !self.hard_state_is_durable() {
            return;
        }
        let term = self.term();
        if let Some(candidate) = self.grant.take() {
            let response = RequestVoteResponse {
                term,
                granted: true,
            };
            self.send(candidate, Message::RequestVoteResponse(response));
        }
        let durable = self.log.durable();
        let RoleState::Follower(follower) = &mut self.role else {
            return;
        };
        let Some((leader, _)) = follower.leader else {
            return;
        };
        let ack = &mut follower.ack;
        let match_index = ack.matched.min(durable);
        if ack.due && (match_index == ack.matched || match_index > ack.sent) {
            ack.due = match_index < ack.matched;
            ack.sent = match_index;
            let result = AppendResult::Accepted { match_index };
            let response = AppendEntriesResponse { term, result };
            self.send(leader, Message::AppendEntriesResponse(response));
        }
    }
}
