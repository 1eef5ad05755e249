//! Linearizable reads without writing to the log: ReadIndex (dissertation 6.4).

use alloc::collections::VecDeque;
use core::fmt;

use crate::effects::{ReadId, ReadOutcome};
use crate::event::Event;
use crate::id::{Instant, LogIndex, NodeId};
use crate::raft::{Raft, RoleState};

/// Reads that wait until a majority has confirmed that the leader still leads.
///
/// A read is confirmed by a round of heartbeats that began after the read arrived. Rounds are
/// numbered and the numbers only grow, so an answer to an earlier round cannot confirm it
/// (etcd #20418).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Reads {
    waiting: VecDeque<Read>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Read {
    id: ReadId,
    read_index: LogIndex,
    round: u64,
}

/// Why a read was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// Only a leader can tell what is committed.
    NotLeader {
        /// Where to ask instead, if known.
        leader: Option<NodeId>,
    },
    /// Too many reads wait already; ask again later
    /// ([`Config::reads_max`](crate::Config::reads_max)).
    Overloaded,
    /// The server stopped for good.
    Stopped,
}

impl Raft {
    /// Asks for the index that a linearizable read must see. The answer is a [`ReadOutcome`].
    ///
    /// Reads that arrive between two drains share a round of heartbeats. A leader that has not
    /// committed an entry of its own term yet makes them wait for it: before, it may not know what
    /// is committed (etcd #7331).
    ///
    /// # Errors
    ///
    /// [`ReadError`]; there is no outcome then.
    pub fn read(&mut self, now: Instant) -> Result<ReadId, ReadError> {
        if self.begin(now) {
            return Err(ReadError::Stopped);
        }
        let (hint, commit_index, id) = (self.leader(), self.commit_index, ReadId(self.next_read));
        let RoleState::Leader(leader) = &mut self.role else {
            return Err(ReadError::NotLeader { leader: hint });
        };
        if leader.reads.waiting.len() >= self.config.reads_max {
            return Err(ReadError::Overloaded);
        }
        let read_index = commit_index.max(leader.first_index);
        leader.reads.waiting.push_back(Read {
            id,
            read_index,
            round: leader.round + 1,
        });
        self.next_read += 1;
        Ok(id)
    }

    /// Begins a round of heartbeats for the reads that no round covers yet.
    pub(crate) fn start_read_round(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else {
            return;
        };
        if leader
            .reads
            .waiting
            .back()
            .is_none_or(|read| read.round <= leader.round)
        {
            return;
        }
        leader.round += 1;
        let round = leader.round;
        for (_, progress) in &mut leader.followers {
            progress.heartbeat_due = true;
        }
        self.explain(|| Event::ReadRoundStarted { round });
        self.confirm_reads();
    }

    /// Answers the reads whose round a majority has confirmed.
    pub(crate) fn confirm_reads(&mut self) {
        let RoleState::Leader(leader) = &self.role else {
            return;
        };
        if leader.reads.waiting.is_empty() || self.commit_index < leader.first_index {
            return;
        }
        let acked = |voter| {
            leader
                .follower(voter)
                .map_or(leader.round, |progress| progress.acked_round)
        };
        let confirmed = self.membership.reached_by_majority(acked).unwrap_or(0);
        while let RoleState::Leader(leader) = &mut self.role
            && let Some(read) = leader
                .reads
                .waiting
                .pop_front_if(|read| read.round <= confirmed)
        {
            let (id, read_index) = (read.id, read.read_index);
            self.read_outcomes
                .push(ReadOutcome::Ready { id, read_index });
            self.explain(|| Event::ReadConfirmed { id, read_index });
        }
    }

    /// Gives up the reads of a leadership that ends.
    pub(crate) fn abort_reads(&mut self) {
        if let RoleState::Leader(leader) = &mut self.role {
            let aborted = leader.reads.waiting.drain(..);
            self.read_outcomes
                .extend(aborted.map(|read| ReadOutcome::Aborted { id: read.id }));
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader {
                leader: Some(leader),
            } => {
                write!(f, "only the leader knows what is committed: ask {leader}")
            }
            Self::NotLeader { leader: None } => {
                f.write_str("no leader is known that could tell what is committed: ask again later")
            }
            Self::Overloaded => f.write_str("too many reads wait already: ask again later"),
            Self::Stopped => f.write_str("the server has stopped for good"),
        }
    }
}

impl core::error::Error for ReadError {}
