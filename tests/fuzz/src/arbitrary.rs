//! Messages that no server would send, or might.

use bytes::Bytes;
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendResult, Entry, Heartbeat, HeartbeatResponse,
    InstallSnapshot, InstallSnapshotResponse, LogId, LogIndex, Membership, Message, NodeId,
    Payload, PreVote, PreVoteResponse, Raft, ReadIndex, ReadIndexResponse, RequestVote,
    RequestVoteResponse, Snapshot, Term, TimeoutNow,
};

use crate::chance::Chance;

/// Where numbers come from: from nowhere, or from near what a server has.
pub struct Source<'a> {
    pub chance: &'a mut Chance,
    /// The receiver, if the message is to fit it more or less.
    pub near: Option<&'a Raft>,
}

impl Source<'_> {
    fn term(&mut self) -> Term {
        Term(match self.near {
            Some(raft) => self.chance.near(raft.term().0),
            None => self.chance.number(),
        })
    }

    fn index(&mut self) -> LogIndex {
        LogIndex(match self.near {
            Some(raft) => {
                let known = [
                    raft.last_log().index,
                    raft.commit_index(),
                    raft.durable_index(),
                    raft.log_start().index,
                ];
                let which = self.chance.below(known.len() as u64);
                self.chance.near(known[which as usize].0)
            }
            None => self.chance.number(),
        })
    }

    /// An entry that the receiver has, or nearly.
    fn log_id(&mut self) -> LogId {
        let index = self.index();
        let known = self.near.and_then(|raft| raft.term_at(index));
        let term = match known {
            Some(term) if !self.chance.once_in(8) => term,
            _ => self.term(),
        };
        LogId::new(term, index)
    }

    /// Any membership at all, sensible or not.
    pub fn membership(&mut self) -> Membership {
        let chance = &mut *self.chance;
        let mut nodes = |most: u64| {
            let count = chance.below(most);
            let nodes: Vec<_> = (0..count).map(|_| NodeId(chance.below(6))).collect();
            nodes
        };
        Membership::new(nodes(5))
            .with_outgoing(nodes(3))
            .with_learners(nodes(2))
            .with_auto_promoted(nodes(2))
            .with_witnesses(nodes(2))
    }

    fn payload(&mut self) -> Payload {
        match self.chance.below(16) {
            0 => Payload::Noop,
            1 => Payload::Stripped,
            2 => Payload::Membership(self.membership().into()),
            _ => Payload::Command(Bytes::from_static(b"command").slice(..3)),
        }
    }

    /// Entries behind `prev_log`, mostly without gaps.
    pub fn entries(&mut self, prev_log: LogId) -> Vec<Entry> {
        let mut last = prev_log;
        let count = self.chance.below(5);
        (0..count)
            .map(|_| {
                let step = u64::from(self.chance.once_in(4));
                let term = last.term.0.saturating_add(step).max(1);
                let index = if self.chance.once_in(40) { self.index() } else { last.index.next() };
                last = LogId::new(Term(term), index);
                let payload = self.payload();
                Entry { id: last, payload }
            })
            .collect()
    }

    fn snapshot(&mut self) -> Snapshot {
        Snapshot {
            last: self.log_id(),
            membership: self.membership(),
            identity: self.chance.below(3),
            size: match self.chance.below(8) {
                0 => self.chance.number(),
                _ => self.chance.below(8),
            },
        }
    }

    /// Any message.
    pub fn message(&mut self) -> Message {
        let term = self.term();
        match self.chance.below(14) {
            0 => Message::PreVote(PreVote { campaign_term: term, last_log: self.log_id() }),
            1 => Message::PreVoteResponse(PreVoteResponse {
                term,
                campaign_term: self.term(),
                granted: !self.chance.once_in(4),
            }),
            2 => Message::RequestVote(RequestVote {
                term,
                last_log: self.log_id(),
                transfer: self.chance.once_in(4),
            }),
            3 => Message::RequestVoteResponse(RequestVoteResponse {
                term,
                granted: !self.chance.once_in(4),
            }),
            4 => {
                let prev_log = self.log_id();
                Message::AppendEntries(AppendEntries {
                    term,
                    prev_log,
                    entries: self.entries(prev_log).into(),
                    leader_commit: self.index(),
                })
            }
            5 => Message::AppendEntriesResponse(AppendEntriesResponse {
                term,
                result: AppendResult::Accepted { match_index: self.index() },
            }),
            6 => Message::AppendEntriesResponse(AppendEntriesResponse {
                term,
                result: AppendResult::Rejected { prev_log: self.log_id(), hint: self.log_id() },
            }),
            7 => Message::Heartbeat(Heartbeat {
                term,
                round: self.chance.number(),
                commit_index: self.index(),
            }),
            8 => {
                Message::HeartbeatResponse(HeartbeatResponse { term, round: self.chance.number() })
            }
            9 => Message::InstallSnapshot(Box::new(self.piece(term))),
            10 => Message::InstallSnapshotResponse(InstallSnapshotResponse {
                term,
                last: self.log_id(),
                identity: self.chance.below(3),
                received: self.chance.number(),
            }),
            11 => Message::TimeoutNow(TimeoutNow { term }),
            12 => Message::ReadIndex(ReadIndex {
                term,
                boot: self.chance.below(3),
                batch: self.chance.number(),
                lease: self.chance.once_in(2),
            }),
            _ => Message::ReadIndexResponse(ReadIndexResponse {
                term,
                boot: self.chance.below(3),
                batch: self.chance.number(),
                read_index: self.index(),
            }),
        }
    }

    /// A piece of a snapshot, or all of one that is news for the receiver.
    fn piece(&mut self, term: Term) -> InstallSnapshot {
        let mut snapshot = self.snapshot();
        let data = self.data();
        if let Some(raft) = self.near.filter(|_| !self.chance.once_in(4)) {
            let ahead = 1 + self.chance.below(3);
            snapshot.last.index.0 = raft.commit_index().0.saturating_add(ahead);
            snapshot.size = data.len() as u64;
            snapshot.membership = Membership::new((1..=3).map(NodeId));
            let offset = 0;
            return InstallSnapshot { term, snapshot, offset, data };
        }
        InstallSnapshot { term, snapshot, offset: self.chance.number(), data }
    }

    fn data(&mut self) -> Bytes {
        let bytes = self.chance.below(5) as usize;
        Bytes::from_static(b"data").slice(..bytes)
    }

    /// Changes one field of a message that a server sent.
    pub fn mutate(&mut self, message: &mut Message) {
        let bit = self.chance.once_in(2);
        let chance = &mut *self.chance;
        let shift = |chance: &mut Chance, number: &mut u64| *number = chance.near(*number);
        let shift_id = |chance: &mut Chance, id: &mut LogId| match bit {
            true => id.term.0 = chance.near(id.term.0),
            false => id.index.0 = chance.near(id.index.0),
        };
        match message {
            Message::PreVote(m) if bit => shift(chance, &mut m.campaign_term.0),
            Message::PreVote(m) => shift_id(chance, &mut m.last_log),
            Message::PreVoteResponse(m) if bit => shift(chance, &mut m.campaign_term.0),
            Message::PreVoteResponse(m) => m.granted = !m.granted,
            Message::RequestVote(m) if bit => shift(chance, &mut m.term.0),
            Message::RequestVote(m) => m.transfer = !m.transfer,
            Message::RequestVoteResponse(m) if bit => shift(chance, &mut m.term.0),
            Message::RequestVoteResponse(m) => m.granted = !m.granted,
            Message::AppendEntries(m) => match chance.below(4) {
                0 => shift(chance, &mut m.term.0),
                1 => shift_id(chance, &mut m.prev_log),
                2 => shift(chance, &mut m.leader_commit.0),
                _ => m.entries = self.entries(m.prev_log).into(),
            },
            Message::AppendEntriesResponse(m) if bit => shift(chance, &mut m.term.0),
            Message::AppendEntriesResponse(m) => match &mut m.result {
                AppendResult::Accepted { match_index } => shift(chance, &mut match_index.0),
                AppendResult::Rejected { prev_log, hint } => {
                    shift(chance, &mut prev_log.index.0);
                    shift(chance, &mut hint.term.0);
                }
            },
            Message::Heartbeat(m) if bit => shift(chance, &mut m.commit_index.0),
            Message::Heartbeat(m) => shift(chance, &mut m.term.0),
            Message::HeartbeatResponse(m) => shift(chance, &mut m.round),
            Message::InstallSnapshot(m) => match chance.below(4) {
                0 => shift(chance, &mut m.offset),
                1 => shift(chance, &mut m.snapshot.size),
                2 => shift_id(chance, &mut m.snapshot.last),
                _ => m.snapshot.identity ^= 1,
            },
            Message::InstallSnapshotResponse(m) if bit => shift(chance, &mut m.received),
            Message::InstallSnapshotResponse(m) => shift_id(chance, &mut m.last),
            Message::TimeoutNow(m) => shift(chance, &mut m.term.0),
            Message::ReadIndex(m) if bit => shift(chance, &mut m.batch),
            Message::ReadIndex(m) => m.boot ^= 1,
            Message::ReadIndexResponse(m) if bit => shift(chance, &mut m.read_index.0),
            Message::ReadIndexResponse(m) => shift(chance, &mut m.batch),
        }
    }
}
