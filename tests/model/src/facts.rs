//! What the rules of the paper are about: of one server at one moment, and of the past.

use raft_core::{Entry, Membership, Payload, Role};

use crate::server::Server;
use crate::table::Table;

/// What a server shows. Logs are lists of the numbers of their entries.
pub struct Facts {
    pub term: u64,
    pub leads: bool,
    pub may_stand: bool,
    pub stopped: bool,
    pub log: Box<[u32]>,
    pub durable_log: Box<[u32]>,
    pub durable_term: u64,
    pub commit: usize,
    pub writes: u8,
    pub undrained: bool,
    /// The last one in the log, whatever the server makes of it.
    pub membership: Membership,
}

impl Facts {
    pub fn of(server: &Server, entries: &Table<Entry>) -> Self {
        let raft = &server.raft;
        let numbers = |log: &mut dyn Iterator<Item = &Entry>| {
            log.map(|entry| entries.number(entry.clone())).collect()
        };
        Self {
            term: raft.term().0,
            leads: raft.role() == Role::Leader,
            may_stand: raft.role() != Role::Leader && raft.status().election_timer.is_some(),
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

/// What must be remembered of the past to judge the present.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct History {
    /// The leader of each term from the first on, if there was one.
    pub leaders: Vec<Option<u8>>,
    /// The entries that were ever committed anywhere, with the terms in which they were.
    pub committed: Vec<(u32, u64)>,
    /// The rule that was broken.
    pub fault: Option<Fault>,
}

/// A rule that a step broke.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    ElectionSafety,
    LeaderAppendOnly,
    StateMachineSafety,
    DurableCommit,
    Monotony,
    Contradiction,
}

impl History {
    /// Notes what a step of one server brought about. `alive` says that it did not crash, and
    /// `is_durable` whether a member has an entry of a log on its disk.
    pub fn note(
        &mut self,
        id: usize,
        before: &Facts,
        after: &Facts,
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
            return self.fault(Fault::Monotony);
        }
        let still_leads = before.leads && after.leads && before.term == after.term;
        if still_leads && !after.log.starts_with(&before.log) {
            return self.fault(Fault::LeaderAppendOnly);
        }
        let known = self.committed.len().min(after.commit);
        let agree = |place: usize| after.log.get(place) == Some(&self.committed[place].0);
        if after.commit > after.log.len() || !(0..known).all(agree) {
            return self.fault(Fault::StateMachineSafety);
        }
        for place in known..after.commit {
            let on_majority = |membership: &Membership| {
                let answer = |node: raft_core::NodeId| Some(is_durable(node.0, place));
                membership.vote_result(answer) == raft_core::VoteResult::Won
            };
            // Who is removed steps down when it commits that, and followers learn it only
            // afterwards.
            let counted = before.leads || after.leads;
            if counted && !on_majority(&after.membership) && !on_majority(&before.membership) {
                return self.fault(Fault::DurableCommit);
            }
            self.committed.push((after.log[place], after.term));
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }
}

/// Whether an entry is a command.
pub fn is_command(entry: &Entry) -> bool {
    matches!(entry.payload, Payload::Command(_))
}

/// Whether an entry ends a change of the membership.
pub fn ends_change(entry: &Entry) -> bool {
    matches!(&entry.payload, Payload::Membership(membership) if !membership.is_joint())
}
