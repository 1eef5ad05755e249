//! The decisions of this node, in words, for whoever watches.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use raft_core::{Event, IgnoreReason};
use serde::Serialize;
use tokio::sync::broadcast;
use tracing::{debug, info};

use crate::names::Names;

/// One decision.
#[derive(Clone, Debug, Serialize)]
pub struct EventRecord {
    /// Its number, from 0, since the node started.
    pub id: u64,
    /// When, in milliseconds of Unix time.
    pub at_ms: u64,
    /// The node's name.
    pub node: String,
    /// What it is about: `election`, `replication`, `commit`, `read` or `fault`.
    pub kind: &'static str,
    /// A sentence that begins with the node's name.
    pub text: String,
    /// Where the rule behind it is written.
    pub source: &'static str,
}

/// The latest decisions, and a channel for those to come.
pub(crate) struct Journal {
    node: String,
    names: Names,
    recent: Mutex<Recent>,
    sender: broadcast::Sender<EventRecord>,
}

#[derive(Default)]
struct Recent {
    next: u64,
    records: VecDeque<EventRecord>,
}

/// How many decisions are remembered, without those about single entries.
const RECENT_MAX: usize = 500;
/// How many a watcher may be behind before it misses some.
const CHANNEL_MAX: usize = 1024;

impl Journal {
    pub(crate) fn new(node: String, names: Names) -> Self {
        let sender = broadcast::channel(CHANNEL_MAX).0;
        Self { node, names, recent: Mutex::default(), sender }
    }

    pub(crate) fn record(&self, event: &Event) {
        let kind = kind_of(event);
        let routine = matches!(kind, "replication" | "read" | "commit");
        if routine && self.sender.receiver_count() == 0 && !tracing::enabled!(tracing::Level::DEBUG)
        {
            return;
        }
        let text = self.names.put_into(format!("{} {event}", self.node));
        if routine {
            debug!(kind, "{text}");
        } else {
            info!(kind, "{text}");
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        let mut recent = self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (id, node, source) = (recent.next, self.node.clone(), event.source());
        let record = EventRecord { id, at_ms, node, kind, text, source };
        recent.next += 1;
        if !routine {
            if recent.records.len() == RECENT_MAX {
                recent.records.pop_front();
            }
            recent.records.push_back(record.clone());
        }
        // Sent under the lock, so that a new watcher misses nothing and sees nothing twice.
        let _ = self.sender.send(record);
    }

    /// What is remembered, and what follows.
    pub(crate) fn watch(&self) -> (Vec<EventRecord>, broadcast::Receiver<EventRecord>) {
        let recent = self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (recent.records.iter().cloned().collect(), self.sender.subscribe())
    }
}

fn kind_of(event: &Event) -> &'static str {
    match event {
        // The network is slow, or the leader busy, and nothing is wrong.
        Event::MessageIgnored {
            reason:
                IgnoreReason::LateAnswer
                | IgnoreReason::NotLeader
                | IgnoreReason::OtherTerm
                | IgnoreReason::Overloaded,
            ..
        } => "replication",
        Event::CommitAdvanced { .. } => "commit",
        Event::ReadRoundStarted { .. } | Event::ReadConfirmed { .. } => "read",
        Event::Stopped { .. } | Event::DiskFull { .. } | Event::MessageIgnored { .. } => "fault",
        Event::Proposed { .. }
        | Event::EntriesAppended { .. }
        | Event::EntriesTruncated { .. }
        | Event::AppendRefused { .. }
        | Event::Backtracked { .. }
        | Event::MatchAdvanced { .. }
        | Event::LogPersisted { .. } => "replication",
        Event::SnapshotTaken { .. }
        | Event::SnapshotSent { .. }
        | Event::SnapshotBegun { .. }
        | Event::SnapshotInstalled { .. }
        | Event::SnapshotDamaged { .. } => "snapshot",
        _ => "election",
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{NodeId, Term};

    use super::*;

    #[test]
    fn a_watcher_sees_every_decision_once_and_by_the_nodes_names() {
        let names = Names::new([(NodeId(77), "localhost:2".to_owned())]);
        names.learn(NodeId(77), "node2".to_owned());
        let journal = Journal::new("node1".into(), names);
        let event = |term| Event::LeaderRecognized { term: Term(term), leader: NodeId(77) };
        journal.record(&event(1));
        let (recent, mut rest) = journal.watch();
        journal.record(&event(2));
        assert_eq!(recent.len(), 1);
        assert_eq!(recent[0].text, "node1 follows node2, the leader of term 1");
        assert_eq!(rest.try_recv().unwrap().id, 1);
        assert!(rest.try_recv().is_err());
    }
}
