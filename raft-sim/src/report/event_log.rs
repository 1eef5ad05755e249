//! What happened and why, in words.

use serde::Serialize;

use crate::util::cow::CowVec;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogRecord {
    /// Its number, from 0.
    pub id: u64,
    /// When, in microseconds.
    pub at: u64,
    /// The node that it is about.
    pub node: Option<u64>,
    /// What it is about.
    pub kind: EventKind,
    /// A sentence.
    pub text: String,
    /// Where the rule behind it is written.
    pub source: Option<&'static str>,
}

/// What a record is about.
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
    /// What a client asked, and what it was told.
    Client,
    /// What went wrong, or was broken on purpose, or was mended.
    Fault,
    /// A rule that must always hold does not.
    Violation,
}

/// The records of a world, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventLog {
    enabled: bool,
    records: CowVec<LogRecord>,
}

impl EventLog {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, records: CowVec::default() }
    }

    pub(crate) fn record(
        &mut self,
        at: u64,
        node: Option<u64>,
        kind: EventKind,
        source: Option<&'static str>,
        text: impl FnOnce() -> String,
    ) {
        if self.enabled {
            let id = self.records.len() as u64;
            self.records.push(LogRecord { id, at, node, kind, text: text(), source });
        }
    }

    pub(crate) fn since(&self, id: u64) -> impl Iterator<Item = &LogRecord> {
        let start = usize::try_from(id).unwrap_or(usize::MAX);
        self.records.iter_from(start)
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}

/// What an event of the core is about.
pub(crate) fn kind_of(event: &raft_core::Event) -> EventKind {
    use raft_core::{Event, IgnoreReason};
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
