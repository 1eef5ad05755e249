//! Read access to the parts of a world.

use std::collections::BTreeMap;

use raft_core::{Entry, LogIndex, Membership, Payload, Status};
use raft_kv::{Command, KeyRange, RangeRequest, Request};
use serde::Serialize;

use crate::check::auditor::Auditor;
use crate::check::catch_up;
use crate::check::invariants::{Invariant, Violation};
use crate::linearizability::{HistoryOperation, Limits, Verdict};
use crate::network::in_flight::InFlight;
use crate::network::{LostMessage, Network};
use crate::node::client_api::ClientKind;
use crate::node::{Node, Process};
use crate::story::{Flight, LaneChange, LaneState, LogRecord, Step};
use crate::workload::kv::Operation;
use crate::world::World;

/// The state of a process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "process", rename_all = "kebab-case")]
pub enum ProcessView {
    /// The process runs.
    Running,
    /// The process is paused and keeps its memory.
    Paused,
    /// The process has ended.
    Down {
        /// Why the process ended, if it ended itself.
        reason: Option<String>,
    },
}

/// An entry of a log, for display.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EntryView {
    /// The index of the entry.
    pub index: u64,
    /// The term of the entry.
    pub term: u64,
    /// The content of the entry in words.
    pub text: String,
}

/// A key and its value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KeyView {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The revision of the last change of the key.
    pub mod_revision: i64,
    /// The number of writes since the key was created.
    pub version: i64,
}

/// A message in flight between a client and a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ClientMessageView {
    /// The number of the message.
    pub id: u64,
    /// The number of the client's operation.
    pub asking: u64,
    /// The server.
    pub node: u64,
    /// The message is a response.
    pub is_answer: bool,
    /// When the message was sent.
    pub sent_at: u64,
    /// When the message arrives.
    pub arrives_at: u64,
}

impl World {
    /// The state of a server's process. None if the server does not exist.
    #[must_use]
    pub fn process(&self, node: u64) -> Option<ProcessView> {
        Some(match &self.node(node)?.process {
            Process::Running(running) if running.paused.is_some() => ProcessView::Paused,
            Process::Running(_) => ProcessView::Running,
            Process::Down { reason } => ProcessView::Down { reason: reason.clone() },
        })
    }

    /// The status of a server. None if its process is down.
    #[must_use]
    pub fn status(&self, node: u64) -> Option<Status> {
        Some(self.node(node)?.running()?.raft.status())
    }

    /// The core of a server. None if its process is down. Reading single values is cheaper than
    /// [`status`](Self::status).
    #[must_use]
    pub fn raft(&self, node: u64) -> Option<&raft_core::Raft> {
        Some(&self.node(node)?.running()?.raft)
    }

    /// The membership on the disk with the most up-to-date log, and the server of that disk. None
    /// if no disk contains a membership.
    #[must_use]
    pub fn stored_membership(&self) -> Option<(u64, Membership)> {
        let stored = self.cluster.nodes.iter().filter_map(|node| {
            let logged = node.disk.log.iter().rev().find_map(|entry| match &entry.payload {
                Payload::Membership(membership) => Some(&**membership),
                _ => None,
            });
            let snapshot = node.disk.snapshot.as_ref().map(|(snapshot, _)| &snapshot.membership);
            let config = &self.config.cluster;
            let initial = config.is_founder(node.id).then(|| config.initial_membership());
            let membership = logged.or(snapshot).cloned().or(initial)?;
            let last = node.disk.log.last().map_or(node.disk.log_start, |entry| entry.id);
            Some((last, node.id, membership))
        });
        let members = stored.filter(|(_, _, membership)| !membership.voters().is_empty());
        let best = members.max_by_key(|(last, ..)| *last);
        best.map(|(_, node, membership)| (node, membership))
    }

    /// When the election timer of a server was started and when it fires, in virtual time.
    #[must_use]
    pub fn election_timer(&self, node: u64) -> Option<(u64, u64)> {
        let node = self.node(node)?;
        let timer = node.running()?.raft.status().election_timer?;
        let fires_at = node.clock.world_time_of(timer.deadline);
        let length = timer.deadline.saturating_since(timer.started).as_micros() as u64;
        Some((fires_at.saturating_sub(length), fires_at))
    }

    /// The last index that the state machine of a server has applied.
    #[must_use]
    pub fn applied_index(&self, node: u64) -> Option<u64> {
        Some(self.node(node)?.running()?.kv.applied_index())
    }

    /// The index before the first entry of a server's log, and the index of the last entry. From
    /// the disk if the process is down.
    #[must_use]
    pub fn log_bounds(&self, node: u64) -> Option<(u64, u64)> {
        let node = self.node(node)?;
        Some(match node.running() {
            Some(running) => (running.raft.log_start().index.0, running.raft.last_log().index.0),
            None => (node.disk.log_start.index.0, node.disk.end().0),
        })
    }

    /// The entries of a server's log between two indexes, including both. From the disk if the
    /// process is down.
    #[must_use]
    pub fn log(&self, node: u64, from: u64, to: u64) -> Vec<EntryView> {
        let Some(node) = self.node(node) else {
            return Vec::new();
        };
        let (from, to) = (LogIndex(from), LogIndex(to));
        let on_disk = |to| node.disk.entries(from.max(node.disk.log_start.index.next()), to);
        let view = |entry: &Entry| EntryView {
            index: entry.id.index.0,
            term: entry.id.term.0,
            text: describe(&entry.payload),
        };
        let Some(running) = node.running() else {
            return on_disk(to).iter().map(view).collect();
        };
        let recent = running.raft.entries(from).take_while(|entry| entry.id.index <= to);
        let recent: Vec<_> = recent.collect();
        // The server keeps only recent entries in memory.
        let first = recent.first().map_or(to.next(), |entry| entry.id.index);
        on_disk(first.previous()).iter().chain(recent).map(view).collect()
    }

    /// The keys in the state machine of a server.
    #[must_use]
    pub fn keys(&self, node: u64) -> Vec<KeyView> {
        let Some(running) = self.node(node).and_then(Node::running) else {
            return Vec::new();
        };
        let all = running.kv.range(&RangeRequest::new(KeyRange::all()));
        let view = |kv: raft_kv::KeyValue| KeyView {
            key: String::from_utf8_lossy(&kv.key).into_owned(),
            value: String::from_utf8_lossy(&kv.value).into_owned(),
            mod_revision: kv.mod_revision,
            version: kv.version,
        };
        all.map(|found| found.kvs.into_iter().map(view).collect()).unwrap_or_default()
    }

    /// The messages in flight between servers.
    pub fn messages(&self) -> impl Iterator<Item = &InFlight> {
        self.cluster.network.in_flight().iter()
    }

    /// A message in flight between servers.
    #[must_use]
    pub fn message(&self, id: u64) -> Option<&InFlight> {
        self.cluster.network.in_flight().get(id)
    }

    /// The most recently lost messages.
    #[must_use]
    pub fn lost(&self) -> &[LostMessage] {
        self.cluster.network.lost()
    }

    /// The messages in flight between servers and clients of the key-value workload.
    pub fn letters(&self) -> impl Iterator<Item = ClientMessageView> {
        let messages = self.cluster.client_messages.iter();
        let messages = messages.filter(|(_, message)| message.request.kind == ClientKind::Kv);
        messages.map(|(id, message)| ClientMessageView {
            id,
            asking: message.request.operation,
            node: message.node,
            is_answer: message.response.is_some(),
            sent_at: message.sent_at,
            arrives_at: message.arrives_at,
        })
    }

    /// Returns true if the link from one server to another is cut. Isolation is not included.
    #[must_use]
    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cluster.network.is_cut(from, to)
    }

    /// Returns true if a server is isolated.
    #[must_use]
    pub fn is_isolated(&self, node: u64) -> bool {
        self.cluster.network.is_isolated(node)
    }

    /// The records of the story from number `id` on that are kept. A world removes old records, and
    /// a [`Run`](crate::Run) replays them.
    pub fn story_since(&self, id: u64) -> impl Iterator<Item = &LogRecord> {
        self.story.since(id)
    }

    /// The number of records so far, including those that are not kept.
    #[must_use]
    pub fn story_length(&self) -> usize {
        self.story.count() as usize
    }

    /// The time from which records, flights and lanes are complete.
    #[must_use]
    pub fn story_complete_since(&self) -> u64 {
        self.story.complete_since()
    }

    /// The messages that were sent and are kept, in order.
    pub fn flights(&self) -> impl DoubleEndedIterator<Item = &Flight> {
        self.story.flights()
    }

    /// The steps that are kept, in order.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &Step> {
        self.story.steps()
    }

    /// The steps after a step.
    pub fn steps_since(&self, id: u64) -> impl Iterator<Item = &Step> {
        self.story.steps_since(id)
    }

    /// The number of the latest step.
    #[must_use]
    pub fn step_count(&self) -> u64 {
        self.story.step()
    }

    /// The states of the servers before the first of [`World::lane_changes`].
    #[must_use]
    pub fn lanes_before(&self) -> &[LaneState] {
        self.story.lanes().before()
    }

    /// The changes of the roles, terms and processes of the servers that are kept, in order.
    pub fn lane_changes(&self) -> impl Iterator<Item = &LaneChange> {
        self.story.lanes().changes()
    }

    /// A clone without the story, which is most of the memory of a world.
    pub(crate) fn checkpoint(&mut self) -> Self {
        let forgotten = self.story.forget(self.cluster.now);
        let story = std::mem::replace(&mut self.story, forgotten);
        let copy = self.clone();
        self.story = story;
        copy
    }

    /// The number of messages that servers have sent.
    #[must_use]
    pub fn messages_sent(&self) -> u64 {
        self.cluster.network.sent()
    }

    /// The number of terms with a leader.
    #[must_use]
    pub fn elections(&self) -> u64 {
        self.observers.invariants.terms_led()
    }

    /// The number of times that each [branch](crate::coverage) of the protocol was covered, if
    /// [`WorldConfig::count_coverage`](crate::WorldConfig::count_coverage) is set.
    #[must_use]
    pub fn branches(&self) -> &BTreeMap<&'static str, u64> {
        self.observers.coverage.points()
    }

    /// The first violation. The run ends with it, unless [`Action::GoOn`](crate::Action::GoOn) is
    /// applied.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.observers.violations.first()
    }

    /// Returns true if a violation has ended the run.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.observers.violations.has_ended()
    }

    /// The number of entries that are known to be committed, on whatever servers.
    #[must_use]
    pub fn committed_entries(&self) -> u64 {
        self.observers.invariants.committed() as u64
    }

    /// The operations of the key-value workload and of scripts, in order. A long run removes old
    /// operations.
    pub fn askings(&self) -> impl DoubleEndedIterator<Item = &Operation> {
        self.workloads.kv.workload().operations()
    }

    /// An operation of the key-value workload or of a script.
    #[must_use]
    pub fn asking(&self, id: u64) -> Option<&Operation> {
        self.workloads.kv.workload().operation(id)
    }

    /// The operations on single keys, without early operations of a long run.
    /// [`judge_within`](Self::judge_within) checks all operations.
    #[must_use]
    pub fn history(&self) -> Vec<HistoryOperation> {
        self.workloads.history().collect()
    }

    /// The number of operations that [`judge_within`](Self::judge_within) checks.
    #[must_use]
    pub fn operations_judged(&self) -> usize {
        self.observers.history.summarized() + self.workloads.history().count()
    }

    /// Checks all responses to clients for linearizability. A long run contains an exact summary of
    /// early operations. The check gives up at a key whose summary would be too large.
    #[must_use]
    pub fn judge_within(&self, limits: Limits) -> Verdict {
        self.observers.history.check(&self.history(), limits)
    }

    /// Checks all responses to clients for linearizability, with at most `steps_max` steps for each
    /// key. A violation has the time of the first response that no order explains.
    #[must_use]
    pub fn judge_history(&self, steps_max: u64) -> Option<Violation> {
        self.observers.history.find_violation(&self.history(), steps_max, self.cluster.now)
    }

    pub(crate) fn node(&self, id: u64) -> Option<&Node> {
        self.cluster.node(id)
    }

    #[cfg(test)]
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.cluster.nodes
    }

    pub(crate) fn network(&self) -> &Network {
        &self.cluster.network
    }

    pub(crate) fn auditor(&self) -> &Auditor {
        &self.observers.auditor
    }

    /// Returns true if each watcher has received all changes up to a revision.
    pub(crate) fn watchers_have_seen(&self, revision: i64) -> bool {
        self.workloads.watch.have_received(revision)
    }

    /// Returns true if the disk of a server is full.
    pub(crate) fn is_disk_full(&self, id: u64) -> bool {
        self.cluster.node(id).is_some_and(|node| node.disk.full)
    }

    /// The longest time that the largest snapshot takes to reach a follower.
    pub(crate) fn snapshot_transfer_time(&self) -> u64 {
        self.cluster.snapshot_transfer_time(self.config.cluster.snapshot_chunk_bytes_max)
    }

    /// See [`Reachability::is_self_sufficient`](crate::check::reachability::Reachability).
    pub(crate) fn is_self_sufficient(&self, nodes: &[u64]) -> bool {
        self.reachability().is_self_sufficient(nodes)
    }

    /// Returns true if the selected servers and all witnesses are a quorum of any membership that a
    /// server knows.
    pub(crate) fn is_majority_with_witnesses(&self, is_selected: impl Fn(u64) -> bool) -> bool {
        self.reachability().is_quorum_with_witnesses(is_selected)
    }

    /// Returns true if each follower of which this can be expected has caught up with its leader.
    pub(crate) fn all_have_caught_up(&self) -> bool {
        catch_up::all_have_caught_up(self.reachability())
    }

    /// The longest time until a follower is found that does not catch up.
    pub(crate) fn catch_up_time(&self) -> u64 {
        catch_up::catch_up_time(self.reachability())
    }

    /// Checks the tables of each state machine against each other and against their counters. Their
    /// content was compared with that of other servers when entries were applied.
    pub(crate) fn check_stores(&self) -> Option<Violation> {
        self.cluster.nodes.iter().find_map(|node| {
            let error = node.running()?.kv.audit().err()?;
            let text = format!("n{}: {error}", node.id);
            Some(Violation { invariant: Invariant::StateMachineSafety, text, at: self.cluster.now })
        })
    }
}

/// The content of an entry in words.
fn describe(payload: &Payload) -> String {
    let bytes = match payload {
        Payload::Noop => return "no-op".into(),
        Payload::Membership(membership) => return membership.to_string(),
        Payload::Stripped => return "stored by other servers".into(),
        Payload::Command(bytes) => bytes,
    };
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    match Command::decode(bytes.clone()).map(|command| command.request) {
        Ok(Request::Put(put)) => format!("{} = {}", text(&put.key), text(&put.value)),
        Ok(Request::Delete(delete)) => format!("delete {}", text(&delete.keys.start)),
        Ok(Request::Txn(_)) => "transaction".into(),
        Ok(Request::Grant(grant)) => format!("lease {} for {} s", grant.id, grant.ttl),
        Ok(Request::Revoke(revoke)) => match revoke.expiry {
            Some(_) => format!("lease {} has expired", revoke.id),
            None => format!("revoke lease {}", revoke.id),
        },
        Err(_) => format!("{} bytes", bytes.len()),
    }
}
