//! Records: what happened and why, as data and as sentences.

use raft_core::{Event, IgnoreReason, LogId, NodeId, VoteRefusal};
use serde::{Serialize, Serializer};

use crate::check::invariants::{Invariant, Violation};
use crate::workload::kv::OperationState;
use crate::workload::request::Request;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    /// Its number, from 0.
    pub id: u64,
    /// When, in microseconds.
    pub at: u64,
    /// The node that it is about.
    pub node: Option<u64>,
    /// Its kind.
    pub kind: EventKind,
    /// The step of the world in which it happened; see [`Step`](crate::Step).
    pub step: u64,
    /// The event.
    pub body: Happening,
}

/// An event of the run.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Happening {
    /// A decision of the node's server.
    Decision(Event),
    /// A client sends a request.
    Asked {
        /// The number of the operation.
        operation: u64,
        /// The request.
        request: Request,
    },
    /// An operation of a client ends.
    Answered {
        /// The number of the operation.
        operation: u64,
        /// The request.
        request: Request,
        /// How it ended.
        state: OperationState,
    },
    /// An invariant is violated.
    Violated(Violation),
    /// Something else, in words.
    Note(String),
}

/// The kind of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Candidates, votes, leaders.
    Election,
    /// Entries on their way to the followers and to the disks.
    Replication,
    /// Snapshots that are taken, sent or installed.
    Snapshot,
    /// Entries committed.
    Commit,
    /// Reads confirmed.
    Read,
    /// Requests of clients, and the responses.
    Client,
    /// Faults and their ends, and other actions.
    Fault,
    /// A violated invariant.
    Violation,
}

impl LogRecord {
    /// A sentence.
    #[must_use]
    pub fn text(&self) -> String {
        let node = self.node.unwrap_or_default();
        match &self.body {
            Happening::Decision(event) => decision_text(node, event),
            Happening::Asked { request, .. } => format!("A client asks: {request}"),
            Happening::Answered { request, state, .. } => {
                format!(
                    "The client that asked n{node} to {request} {}",
                    ending_text(request, state)
                )
            }
            Happening::Violated(violation) => violation.to_string(),
            Happening::Note(text) => text.clone(),
        }
    }

    /// Where the rule behind it is written.
    #[must_use]
    pub fn source(&self) -> Option<&'static str> {
        match &self.body {
            Happening::Decision(event) => Some(event.reference()),
            _ => None,
        }
    }

    /// The decision of a server, if it is one.
    #[must_use]
    pub fn decision(&self) -> Option<&Event> {
        match &self.body {
            Happening::Decision(event) => Some(event),
            _ => None,
        }
    }

    /// The facts of the record, by the names that all records share.
    #[must_use]
    pub fn facts(&self) -> Facts {
        match &self.body {
            Happening::Decision(event) => Facts::of(event),
            Happening::Asked { operation, .. } => Facts::client("asked", *operation),
            Happening::Answered { operation, .. } => Facts::client("answered", *operation),
            Happening::Violated(violation) => {
                Facts { invariant: Some(violation.invariant), ..Facts::new("violated") }
            }
            Happening::Note(_) => Facts::new("note"),
        }
    }
}

/// The facts of a record: the name of the event, and the parameters that it has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Facts {
    /// The name of the event, such as `vote-refused`.
    pub event: &'static str,
    /// The term.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// The other server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<u64>,
    /// The first entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// The last entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The votes so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub votes: Option<u64>,
    /// The votes that win.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<u64>,
    /// Whether a vote is only the promise of one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pre_vote: bool,
    /// Whether a vote was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted: Option<bool>,
    /// The operation of a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<u64>,
    /// The violated invariant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invariant: Option<Invariant>,
}

impl Facts {
    fn new(event: &'static str) -> Self {
        Self {
            event,
            term: None,
            peer: None,
            first: None,
            index: None,
            votes: None,
            needed: None,
            pre_vote: false,
            granted: None,
            operation: None,
            invariant: None,
        }
    }

    fn client(event: &'static str, operation: u64) -> Self {
        Self { operation: Some(operation), ..Self::new(event) }
    }

    fn term(event: &'static str, term: raft_core::Term) -> Self {
        Self { term: Some(term.0), ..Self::new(event) }
    }

    fn entry(event: &'static str, entry: LogId) -> Self {
        Self { term: Some(entry.term.0), index: Some(entry.index.0), ..Self::new(event) }
    }

    fn with(self, peer: NodeId) -> Self {
        Self { peer: Some(peer.0), ..self }
    }

    fn of(event: &Event) -> Self {
        match event {
            Event::BecamePreCandidate { campaign_term } => {
                Self::term("became-pre-candidate", *campaign_term)
            }
            Event::BecameCandidate { term } => Self::term("became-candidate", *term),
            Event::BecameLeader { term, first_index } => {
                Self { first: Some(first_index.0), ..Self::term("became-leader", *term) }
            }
            Event::SteppedDown { term, .. } => Self::term("stepped-down", *term),
            Event::TermAdvanced { to, learned_from, .. } => {
                Self { peer: learned_from.map(|node| node.0), ..Self::term("term-advanced", *to) }
            }
            Event::LeaderRecognized { term, leader } => {
                Self::term("leader-recognized", *term).with(*leader)
            }
            Event::VoteGranted { term, candidate, pre_vote } => {
                let facts = Self::term("vote-granted", *term).with(*candidate);
                Self { pre_vote: *pre_vote, ..facts }
            }
            Event::VoteRefused { term, candidate, pre_vote, .. } => {
                let facts = Self::term("vote-refused", *term).with(*candidate);
                Self { pre_vote: *pre_vote, ..facts }
            }
            Event::VoteCounted { voter, granted, pre_vote, votes, needed } => Self {
                granted: Some(*granted),
                pre_vote: *pre_vote,
                votes: Some(*votes as u64),
                needed: Some(*needed as u64),
                ..Self::new("vote-counted").with(*voter)
            },
            Event::Proposed { entry } => Self::entry("proposed", *entry),
            Event::EntriesAppended { leader, first, last } => {
                let facts = Self::entry("entries-appended", *last).with(*leader);
                Self { first: Some(first.0), ..facts }
            }
            Event::EntriesTruncated { leader, first, last } => Self {
                first: Some(first.0),
                index: Some(last.0),
                ..Self::new("entries-truncated").with(*leader)
            },
            Event::AppendRefused { leader, .. } => Self::new("append-refused").with(*leader),
            Event::Backtracked { follower, next_index } => {
                Self { index: Some(next_index.0), ..Self::new("backtracked").with(*follower) }
            }
            Event::MatchAdvanced { follower, match_index } => {
                Self { index: Some(match_index.0), ..Self::new("match-advanced").with(*follower) }
            }
            Event::CommitAdvanced { from, to, learned_from } => Self {
                first: Some(from.0 + 1),
                index: Some(to.0),
                peer: learned_from.map(|node| node.0),
                ..Self::new("commit-advanced")
            },
            Event::LogPersisted { through } => Self::entry("log-persisted", *through),
            _ => Self::of_rare(event),
        }
    }

    /// The facts of events outside of elections and replication.
    fn of_rare(event: &Event) -> Self {
        match event {
            Event::ReadRoundStarted { .. } => Self::new("read-round-started"),
            Event::ReadConfirmed { read_index, .. } => {
                Self { index: Some(read_index.0), ..Self::new("read-confirmed") }
            }
            Event::MembershipProposed { entry } => Self::entry("membership-proposed", *entry),
            Event::MembershipChanged { .. } => Self::new("membership-changed"),
            Event::LearnerCaughtUp { learner } => Self::new("learner-caught-up").with(*learner),
            Event::TransferStarted { to } => Self::new("transfer-started").with(*to),
            Event::TransferTimedOut { to } => Self::new("transfer-timed-out").with(*to),
            Event::TimeoutNowReceived { by } => Self::new("timeout-now-received").with(*by),
            Event::SnapshotTaken { last } => Self::entry("snapshot-taken", *last),
            Event::SnapshotSent { to, last } => Self::entry("snapshot-sent", *last).with(*to),
            Event::SnapshotReceiveStarted { leader, last } => {
                Self::entry("snapshot-receive-started", *last).with(*leader)
            }
            Event::SnapshotInstalled { last } => Self::entry("snapshot-installed", *last),
            Event::SnapshotDamaged { last } => Self::entry("snapshot-damaged", *last),
            Event::DiskFull { full: true } => Self::new("disk-full"),
            Event::DiskFull { full: false } => Self::new("disk-freed"),
            Event::MessageIgnored { from, .. } => Self::new("message-ignored").with(*from),
            Event::Stopped { .. } => Self::new("stopped"),
            _ => Self::new("decision"),
        }
    }
}

/// A record as an object: its fields, its facts, its sentence and its source.
#[derive(Serialize)]
struct RecordObject {
    id: u64,
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    kind: EventKind,
    step: u64,
    #[serde(flatten)]
    facts: Facts,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
}

impl Serialize for LogRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, at, node, kind, step, .. } = *self;
        let (facts, text, source) = (self.facts(), self.text(), self.source());
        RecordObject { id, at, node, kind, step, facts, text, source }.serialize(serializer)
    }
}

/// The sentence of a decision. A voter's reason names both servers, because "mine" is ambiguous in
/// a list of sentences about several servers.
fn decision_text(node: u64, event: &Event) -> String {
    match event {
        Event::VoteRefused {
            candidate,
            pre_vote,
            reason: VoteRefusal::LogBehind { theirs, ours },
            ..
        } => {
            let verb = if *pre_vote { "would refuse" } else { "refuses" };
            let (theirs, ours) = match theirs.term == ours.term {
                true => (format!("at entry {}", theirs.index), format!("at entry {}", ours.index)),
                false => (format!("in term {}", theirs.term), format!("in term {}", ours.term)),
            };
            format!(
                "n{node} {verb} its vote to {candidate}: {candidate}'s log ends {theirs}, n{node}'s {ours}"
            )
        }
        _ => format!("n{node} {event}"),
    }
}

fn ending_text(request: &Request, state: &OperationState) -> String {
    match state {
        OperationState::Done { found: Some(value), .. } => format!("is answered: {value}"),
        OperationState::Done { succeeded: false, .. } => {
            "is answered: not what was expected".into()
        }
        OperationState::Done { .. } if matches!(request, Request::Get { .. }) => {
            "is answered: there is no such key".into()
        }
        OperationState::Done { .. } => "is answered: done".into(),
        OperationState::Waiting | OperationState::Unknown => {
            "gives up: it may have been done, or not".into()
        }
    }
}

/// The kind of an event of the core.
pub(super) fn kind_of(event: &Event) -> EventKind {
    match event {
        // The network is slow, or the leader busy, and nothing is wrong.
        Event::MessageIgnored {
            reason:
                IgnoreReason::StaleResponse
                | IgnoreReason::NotLeader
                | IgnoreReason::WrongTerm
                | IgnoreReason::Overloaded,
            ..
        } => EventKind::Replication,
        Event::CommitAdvanced { .. } => EventKind::Commit,
        Event::ReadRoundStarted { .. } | Event::ReadConfirmed { .. } => EventKind::Read,
        Event::Stopped { .. } | Event::DiskFull { .. } | Event::MessageIgnored { .. } => {
            EventKind::Fault
        }
        Event::Proposed { .. }
        | Event::EntriesAppended { .. }
        | Event::EntriesTruncated { .. }
        | Event::AppendRefused { .. }
        | Event::Backtracked { .. }
        | Event::MatchAdvanced { .. }
        | Event::LogPersisted { .. } => EventKind::Replication,
        Event::SnapshotTaken { .. }
        | Event::SnapshotSent { .. }
        | Event::SnapshotReceiveStarted { .. }
        | Event::SnapshotInstalled { .. }
        | Event::SnapshotDamaged { .. } => EventKind::Snapshot,
        _ => EventKind::Election,
    }
}
