//! The ways of messages, and the states of nodes over time: the data of a space-time diagram.

use std::collections::VecDeque;

use raft_core::{AppendResult, Message, Role};
use serde::Serialize;

use crate::network::in_flight::InFlight;

/// The way of a message from one server to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Flight {
    /// The number of the message.
    pub id: u64,
    /// The sender.
    pub from: u64,
    /// The receiver.
    pub to: u64,
    /// The kind of message.
    pub kind: MessageKind,
    /// The number of entries that it carries.
    pub entries: u64,
    /// Its term.
    pub term: u64,
    /// When it left, in microseconds.
    pub sent_at: u64,
    /// When it arrives or would have arrived, in microseconds.
    pub arrives_at: u64,
    /// When it was lost, in microseconds.
    pub lost_at: Option<u64>,
    /// The step that sent it.
    pub step: u64,
}

/// The kind of a message. The numbers are part of the packed pictures of `raft-wasm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are those of the messages")]
pub enum MessageKind {
    PreVote = 0,
    PreVoteResponse = 1,
    RequestVote = 2,
    RequestVoteResponse = 3,
    AppendEntries = 4,
    AppendEntriesAccepted = 5,
    AppendEntriesRejected = 6,
    Heartbeat = 7,
    HeartbeatResponse = 8,
    InstallSnapshot = 9,
    InstallSnapshotResponse = 10,
    TimeoutNow = 11,
    ReadIndex = 12,
    ReadIndexResponse = 13,
}

impl Flight {
    /// The way of a message that is in flight, or that was lost at a moment.
    #[must_use]
    pub fn of(message: &InFlight, lost_at: Option<u64>) -> Self {
        let (kind, entries, term) = MessageKind::of(&message.message);
        let InFlight { id, from, to, sent_at, arrives_at, .. } = *message;
        Self { id, from, to, kind, entries, term, sent_at, arrives_at, lost_at, step: 0 }
    }

    /// When it arrived or was lost, in microseconds.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.lost_at.unwrap_or(self.arrives_at)
    }
}

impl MessageKind {
    /// The kind of a message, its number of entries and its term.
    #[must_use]
    pub fn of(message: &Message) -> (Self, u64, u64) {
        let (kind, entries, term) = match message {
            Message::PreVote(m) => (Self::PreVote, 0, m.campaign_term),
            Message::PreVoteResponse(m) => (Self::PreVoteResponse, 0, m.term),
            Message::RequestVote(m) => (Self::RequestVote, 0, m.term),
            Message::RequestVoteResponse(m) => (Self::RequestVoteResponse, 0, m.term),
            Message::AppendEntries(m) => (Self::AppendEntries, m.entries.len() as u64, m.term),
            Message::AppendEntriesResponse(m) => match m.result {
                AppendResult::Accepted { .. } => (Self::AppendEntriesAccepted, 0, m.term),
                AppendResult::Rejected { .. } => (Self::AppendEntriesRejected, 0, m.term),
            },
            Message::Heartbeat(m) => (Self::Heartbeat, 0, m.term),
            Message::HeartbeatResponse(m) => (Self::HeartbeatResponse, 0, m.term),
            Message::InstallSnapshot(m) => (Self::InstallSnapshot, 0, m.term),
            Message::InstallSnapshotResponse(m) => (Self::InstallSnapshotResponse, 0, m.term),
            Message::TimeoutNow(m) => (Self::TimeoutNow, 0, m.term),
            Message::ReadIndex(m) => (Self::ReadIndex, 0, m.term),
            Message::ReadIndexResponse(m) => (Self::ReadIndexResponse, 0, m.term),
        };
        (kind, entries, term.0)
    }

    /// Whether it answers a request.
    #[must_use]
    pub fn is_response(self) -> bool {
        matches!(
            self,
            Self::PreVoteResponse
                | Self::RequestVoteResponse
                | Self::AppendEntriesAccepted
                | Self::AppendEntriesRejected
                | Self::HeartbeatResponse
                | Self::InstallSnapshotResponse
                | Self::ReadIndexResponse
        )
    }
}

/// The state of a node, as its lane shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LaneState {
    /// 0 runs, 1 paused, 2 down.
    pub process: u8,
    /// 0 follower, 1 pre-candidate, 2 candidate, 3 leader.
    pub role: u8,
    /// The term.
    pub term: u64,
}

/// A node's state from a moment on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct LaneChange {
    /// When, in microseconds.
    pub at: u64,
    /// The node.
    pub node: u64,
    /// The state from then on.
    pub state: LaneState,
}

impl LaneState {
    pub(crate) fn role_number(role: Role) -> u8 {
        match role {
            Role::Follower => 0,
            Role::PreCandidate => 1,
            Role::Candidate => 2,
            Role::Leader => 3,
        }
    }
}

/// The latest changes of all nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lanes {
    changes: VecDeque<LaneChange>,
    /// Before the first change that is kept, by node.
    before: Vec<LaneState>,
    now: Vec<LaneState>,
}

impl Lanes {
    pub(super) fn set(&mut self, at: u64, node: u64, state: LaneState, most: usize) {
        let slot = node as usize - 1;
        if self.now.len() <= slot {
            self.now.resize(slot + 1, LaneState::default());
            self.before.resize(slot + 1, LaneState::default());
        }
        if self.now[slot] == state {
            return;
        }
        self.now[slot] = state;
        if self.changes.len() == most
            && let Some(gone) = self.changes.pop_front()
        {
            self.before[gone.node as usize - 1] = gone.state;
        }
        self.changes.push_back(LaneChange { at, node, state });
    }

    pub(super) fn forget(&self) -> Self {
        Self { changes: VecDeque::new(), before: self.now.clone(), now: self.now.clone() }
    }

    /// The states before all changes that are kept, by node.
    pub(crate) fn before(&self) -> &[LaneState] {
        &self.before
    }

    /// The changes that are kept, in order of time.
    pub(crate) fn changes(&self) -> impl Iterator<Item = &LaneChange> {
        self.changes.iter()
    }
}
