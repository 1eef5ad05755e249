//! Arbitrary messages, from plausible to impossible ones.

use bytes::Bytes;
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendResult, Entry, Heartbeat, HeartbeatResponse,
    InstallSnapshot, InstallSnapshotResponse, LogId, LogIndex, Membership, Message, NodeId,
    Payload, PreVote, PreVoteResponse, Raft, ReadIndex, ReadIndexResponse, RequestVote,
    RequestVoteResponse, Snapshot, Term, TimeoutNow,
};

use crate::rng::Rng;

/// A source of arbitrary values. They are random, or close to the state of a server.
pub struct Source<'a> {
    pub rng: &'a mut Rng,
    /// The receiver, if the values must be plausible for it.
    pub near: Option<&'a Raft>,
}

impl Source<'_> {
    fn term(&mut self) -> Term {
        Term(match self.near {
            Some(raft) => self.rng.near(raft.term().0),
            None => self.rng.number(),
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
                let which = self.rng.below(known.len() as u64);
                self.rng.near(known[which as usize].0)
            }
            None => self.rng.number(),
        })
    }

    /// The position of an entry that the receiver has, or a similar one.
    fn log_id(&mut self) -> LogId {
        let index = self.index();
        let known = self.near.and_then(|raft| raft.term_at(index));
        let term = match known {
            Some(term) if !self.rng.once_in(8) => term,
            _ => self.term(),
        };
        LogId::new(term, index)
    }

    /// An arbitrary membership, valid or not.
    pub fn membership(&mut self) -> Membership {
        let rng = &mut *self.rng;
        let mut nodes = |most: u64| {
            let count = rng.below(most);
            let nodes: Vec<_> = (0..count).map(|_| NodeId(rng.below(6))).collect();
            nodes
        };
        Membership::new(nodes(5))
            .with_outgoing(nodes(3))
            .with_learners(nodes(2))
            .with_auto_promoted(nodes(2))
            .with_witnesses(nodes(2))
    }

    fn payload(&mut self) -> Payload {
        match self.rng.below(16) {
            0 => Payload::Noop,
            1 => Payload::Stripped,
            2 => Payload::Membership(self.membership().into()),
            _ => Payload::Command(Bytes::from_static(b"command").slice(..3)),
        }
    }

    /// Entries after `prev_log`, mostly without gaps.
    pub fn entries(&mut self, prev_log: LogId) -> Vec<Entry> {
        let mut last = prev_log;
        let count = self.rng.below(5);
        (0..count)
            .map(|_| {
                let step = u64::from(self.rng.once_in(4));
                let term = last.term.0.saturating_add(step).max(1);
                let index = if self.rng.once_in(40) { self.index() } else { last.index.next() };
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
            identity: self.rng.below(3),
            size: match self.rng.below(8) {
                0 => self.rng.number(),
                _ => self.rng.below(8),
            },
        }
    }

    /// An arbitrary message.
    pub fn message(&mut self) -> Message {
        let term = self.term();
        match self.rng.below(14) {
            0 => Message::PreVote(PreVote { campaign_term: term, last_log: self.log_id() }),
            1 => Message::PreVoteResponse(PreVoteResponse {
                term,
                campaign_term: self.term(),
                granted: !self.rng.once_in(4),
            }),
            2 => Message::RequestVote(RequestVote {
                term,
                last_log: self.log_id(),
                transfer: self.rng.once_in(4),
            }),
            3 => Message::RequestVoteResponse(RequestVoteResponse {
                term,
                granted: !self.rng.once_in(4),
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
                round: self.rng.number(),
                commit_index: self.index(),
            }),
            8 => Message::HeartbeatResponse(HeartbeatResponse { term, round: self.rng.number() }),
            9 => Message::InstallSnapshot(Box::new(self.chunk(term))),
            10 => Message::InstallSnapshotResponse(InstallSnapshotResponse {
                term,
                last: self.log_id(),
                identity: self.rng.below(3),
                received: self.rng.number(),
            }),
            11 => Message::TimeoutNow(TimeoutNow { term }),
            12 => Message::ReadIndex(ReadIndex {
                term,
                boot: self.rng.below(3),
                batch: self.rng.number(),
                lease: self.rng.once_in(2),
            }),
            _ => Message::ReadIndexResponse(ReadIndexResponse {
                term,
                boot: self.rng.below(3),
                batch: self.rng.number(),
                read_index: self.index(),
            }),
        }
    }

    /// A chunk of an arbitrary snapshot, or a whole snapshot that advances the receiver.
    fn chunk(&mut self, term: Term) -> InstallSnapshot {
        let mut snapshot = self.snapshot();
        let data = self.data();
        if let Some(raft) = self.near.filter(|_| !self.rng.once_in(4)) {
            let ahead = 1 + self.rng.below(3);
            snapshot.last.index.0 = raft.commit_index().0.saturating_add(ahead);
            snapshot.size = data.len() as u64;
            snapshot.membership = Membership::new((1..=3).map(NodeId));
            let offset = 0;
            return InstallSnapshot { term, snapshot, offset, data };
        }
        InstallSnapshot { term, snapshot, offset: self.rng.number(), data }
    }

    fn data(&mut self) -> Bytes {
        let bytes = self.rng.below(5) as usize;
        Bytes::from_static(b"data").slice(..bytes)
    }

    /// Changes one field of a message that a server sent.
    pub fn mutate(&mut self, message: &mut Message) {
        let bit = self.rng.once_in(2);
        let rng = &mut *self.rng;
        let shift = |rng: &mut Rng, number: &mut u64| *number = rng.near(*number);
        let shift_id = |rng: &mut Rng, id: &mut LogId| {
            if bit {
                id.term.0 = rng.near(id.term.0);
            } else {
                id.index.0 = rng.near(id.index.0);
            }
        };
        match message {
            Message::PreVote(m) if bit => shift(rng, &mut m.campaign_term.0),
            Message::PreVote(m) => shift_id(rng, &mut m.last_log),
            Message::PreVoteResponse(m) if bit => shift(rng, &mut m.campaign_term.0),
            Message::PreVoteResponse(m) => m.granted = !m.granted,
            Message::RequestVote(m) if bit => shift(rng, &mut m.term.0),
            Message::RequestVote(m) => m.transfer = !m.transfer,
            Message::RequestVoteResponse(m) if bit => shift(rng, &mut m.term.0),
            Message::RequestVoteResponse(m) => m.granted = !m.granted,
            Message::AppendEntries(m) => match rng.below(4) {
                0 => shift(rng, &mut m.term.0),
                1 => shift_id(rng, &mut m.prev_log),
                2 => shift(rng, &mut m.leader_commit.0),
                _ => m.entries = self.entries(m.prev_log).into(),
            },
            Message::AppendEntriesResponse(m) if bit => shift(rng, &mut m.term.0),
            Message::AppendEntriesResponse(m) => match &mut m.result {
                AppendResult::Accepted { match_index } => shift(rng, &mut match_index.0),
                AppendResult::Rejected { prev_log, hint } => {
                    shift(rng, &mut prev_log.index.0);
                    shift(rng, &mut hint.term.0);
                }
            },
            Message::Heartbeat(m) if bit => shift(rng, &mut m.commit_index.0),
            Message::Heartbeat(m) => shift(rng, &mut m.term.0),
            Message::HeartbeatResponse(m) => shift(rng, &mut m.round),
            Message::InstallSnapshot(m) => match rng.below(4) {
                0 => shift(rng, &mut m.offset),
                1 => shift(rng, &mut m.snapshot.size),
                2 => shift_id(rng, &mut m.snapshot.last),
                _ => m.snapshot.identity ^= 1,
            },
            Message::InstallSnapshotResponse(m) if bit => shift(rng, &mut m.received),
            Message::InstallSnapshotResponse(m) => shift_id(rng, &mut m.last),
            Message::TimeoutNow(m) => shift(rng, &mut m.term.0),
            Message::ReadIndex(m) if bit => shift(rng, &mut m.batch),
            Message::ReadIndex(m) => m.boot ^= 1,
            Message::ReadIndexResponse(m) if bit => shift(rng, &mut m.read_index.0),
            Message::ReadIndexResponse(m) => shift(rng, &mut m.batch),
        }
    }
}
