//! The values that properties depend on: observations of one server, and the history.

use raft_core::{Entry, Membership, Payload, Role};

use crate::interner::Interner;
use crate::server::Server;

/// An observation of a server. Logs are lists of interned entries.
pub struct Observation {
    pub term: u64,
    pub leads: bool,
    pub may_campaign: bool,
    pub stopped: bool,
    pub log: Box<[u32]>,
    pub durable_log: Box<[u32]>,
    pub durable_term: u64,
    pub commit: usize,
    pub writes: u8,
    pub undrained: bool,
    /// The last membership in the log.
    pub membership: Membership,
}

impl Observation {
    /// Observes a server.
    pub fn of(server: &Server, entries: &Interner<Entry>) -> Self {
        let raft = &server.raft;
        let numbers = |log: &mut dyn Iterator<Item = &Entry>| {
            log.map(|entry| entries.intern(entry.clone())).collect()
        };
        Self {
            term: raft.term().0,
            leads: raft.role() == Role::Leader,
            may_campaign: raft.role() != Role::Leader && raft.status().election_timer.is_some(),
            stopped: raft.stopped().is_some(),
            log: numbers(&mut raft.entries(raft_core::LogIndex(1))),
            durable_log: numbers(&mut server.log.iter()),
            durable_term: server.hard_state.term.0,
            commit: raft.commit_index().0 as usize,
            writes: server.writes.len() as u8,
            undrained: server.undrained,
            membership: raft.membership_at(raft.last_log().index).clone(),
        }
    }
}

/// The part of the past that properties depend on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct History {
    /// The leader of each term, if there was one.
    pub leaders: Vec<Option<u8>>,
    /// All committed entries, with the terms in which they were committed.
    pub committed: Vec<(u32, u64)>,
    /// The violated property.
    pub fault: Option<Fault>,
}

/// A property that a step violated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    ElectionSafety,
    LeaderAppendOnly,
    StateMachineSafety,
    DurableCommit,
    Monotonicity,
    Contradiction,
}

impl History {
    /// Records a step of one server. `alive` is false for a crash. `is_durable` returns true if a
    /// member has the entry at an index on its disk.
    pub fn record(
        &mut self,
        id: usize,
        before: &Observation,
        after: &Observation,
        alive: bool,
        is_durable: impl Fn(u64, usize) -> bool,
    ) {
        if after.leads {
            let term = after.term as usize;
            if self.leaders.len() <= term {
                self.leaders.resize(term + 1, None);
            }
            match self.leaders[term] {
                Some(other) if other as usize != id => return self.fault(Fault::ElectionSafety),
                _ => self.leaders[term] = Some(id as u8),
            }
        }
        if after.stopped {
            return self.fault(Fault::Contradiction);
        }
        if alive && (after.term < before.term || after.commit < before.commit) {
            return self.fault(Fault::Monotonicity);
        }
        let still_leads = before.leads && after.leads && before.term == after.term;
        if still_leads && !after.log.starts_with(&before.log) {
            return self.fault(Fault::LeaderAppendOnly);
        }
        let known = self.committed.len().min(after.commit);
        let agree = |index: usize| after.log.get(index) == Some(&self.committed[index].0);
        if after.commit > after.log.len() || !(0..known).all(agree) {
            return self.fault(Fault::StateMachineSafety);
        }
        for index in known..after.commit {
            let on_majority = |membership: &Membership| {
                let is_stored = |node: raft_core::NodeId| Some(is_durable(node.0, index));
                membership.vote_result(is_stored) == raft_core::VoteResult::Won
            };
            // A removed leader steps down when it commits its removal. Followers learn the commit
            // index later.
            let counted = before.leads || after.leads;
            if counted && !on_majority(&after.membership) && !on_majority(&before.membership) {
                return self.fault(Fault::DurableCommit);
            }
            self.committed.push((after.log[index], after.term));
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }
}

/// Returns true if an entry is a command.
pub fn is_command(entry: &Entry) -> bool {
    matches!(entry.payload, Payload::Command(_))
}

/// Returns true if an entry completes a membership change.
pub fn ends_change(entry: &Entry) -> bool {
    matches!(&entry.payload, Payload::Membership(membership) if !membership.is_joint())
}
