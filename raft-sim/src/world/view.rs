//! What can be seen of a world.

use raft_core::{Entry, LogIndex, Membership, Payload, Status};
use raft_kv::{Command, KeyRange, RangeRequest, Request};
use serde::Serialize;

use crate::check::invariants::{Invariant, Violation};
use crate::network::{InFlight, LostMessage};
use crate::node::{Node, Process};
use crate::story::{Flight, LaneChange, LaneState, LogRecord, Step};
use crate::workload::txn::is_in_company;
use crate::world::World;

/// How a node's process is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "process", rename_all = "kebab-case")]
pub enum ProcessView {
    /// It runs.
    Running,
    /// It is stopped and keeps its memory.
    Paused,
    /// It ended.
    Down {
        /// Why, if it ended itself.
        reason: Option<String>,
    },
}

/// An entry of a log, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EntryView {
    /// Its position.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What it does, in words.
    pub text: String,
}

/// A key and what it holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KeyView {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The revision of its last change.
    pub mod_revision: i64,
    /// How often it was written since it was there.
    pub version: i64,
}

/// Something on its way between a client and a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ClientMessageView {
    /// Its number.
    pub id: u64,
    /// The client's request that it belongs to.
    pub asking: u64,
    /// The node.
    pub node: u64,
    /// Whether it is an answer.
    pub is_answer: bool,
    /// When it left.
    pub sent_at: u64,
    /// When it arrives.
    pub arrives_at: u64,
}

impl World {
    /// How a node's process is; none if there is no such node.
    #[must_use]
    pub fn process(&self, node: u64) -> Option<ProcessView> {
        Some(match &self.node(node)?.process {
            Process::Running(running) if running.paused.is_some() => ProcessView::Paused,
            Process::Running(_) => ProcessView::Running,
            Process::Down { reason } => ProcessView::Down { reason: reason.clone() },
        })
    }

    /// What the node's server says of itself; none if its process is down.
    #[must_use]
    pub fn status(&self, node: u64) -> Option<Status> {
        Some(self.node(node)?.running()?.raft.status())
    }

    /// The term and role and leader of the node's server without the rest, which is cheap.
    #[must_use]
    pub fn raft(&self, node: u64) -> Option<&raft_core::Raft> {
        Some(&self.node(node)?.running()?.raft)
    }

    /// The membership on the disk whose log is the most up-to-date, and the node of that disk.
    /// Returns none if no disk belongs to a member.
    #[must_use]
    pub fn stored_membership(&self) -> Option<(u64, Membership)> {
        let stored = self.nodes.iter().filter_map(|node| {
            let logged = node.disk.log.iter().rev().find_map(|entry| match &entry.payload {
                Payload::Membership(membership) => Some(&**membership),
                _ => None,
            });
            let snapshot = node.disk.snapshot.as_ref().map(|(snapshot, _)| &snapshot.membership);
            let founding = self.config.is_founder(node.id).then(|| self.config.founding());
            let membership = logged.or(snapshot).cloned().or(founding)?;
            let last = node.disk.log.last().map_or(node.disk.log_start, |entry| entry.id);
            Some((last, node.id, membership))
        });
        let members = stored.filter(|(_, _, membership)| !membership.voters().is_empty());
        let best = members.max_by_key(|(last, ..)| *last);
        best.map(|(_, node, membership)| (node, membership))
    }

    /// When the node's election timer was armed and when it fires, in the world's time.
    #[must_use]
    pub fn election_timer(&self, node: u64) -> Option<(u64, u64)> {
        let node = self.node(node)?;
        let timer = node.running()?.raft.status().election_timer?;
        let fires_at = node.clock.world_time_of(timer.deadline);
        let length = timer.deadline.saturating_since(timer.started).as_micros() as u64;
        Some((fires_at.saturating_sub(length), fires_at))
    }

    /// The last position that the node's state machine has applied.
    #[must_use]
    pub fn applied_index(&self, node: u64) -> Option<u64> {
        Some(self.node(node)?.running()?.kv.applied_index())
    }

    /// The position before the first entry of the node's log, and the position of the last one;
    /// from the disk if the node's process is down.
    #[must_use]
    pub fn log_bounds(&self, node: u64) -> Option<(u64, u64)> {
        let node = self.node(node)?;
        Some(match node.running() {
            Some(running) => (running.raft.log_start().index.0, running.raft.last_log().index.0),
            None => (node.disk.log_start.index.0, node.disk.end().0),
        })
    }

    /// The entries of the node's log between two positions, both included; from the disk if the
    /// node's process is down.
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

    /// What the node's state machine holds.
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

    /// The messages on their way.
    pub fn messages(&self) -> impl Iterator<Item = &InFlight> {
        self.network.in_flight.iter()
    }

    /// A message on its way.
    #[must_use]
    pub fn message(&self, id: u64) -> Option<&InFlight> {
        self.network.in_flight.get(id)
    }

    /// The latest messages that were lost.
    #[must_use]
    pub fn lost(&self) -> &[LostMessage] {
        &self.network.lost
    }

    /// What is on its way between clients and nodes.
    pub fn letters(&self) -> impl Iterator<Item = ClientMessageView> {
        let letters = self.clients.letters.iter();
        let letters = letters.filter(|(_, letter)| !is_in_company(letter.asked));
        letters.map(|(id, letter)| ClientMessageView {
            id: *id,
            asking: letter.asked.operation,
            node: letter.node,
            is_answer: letter.answer.is_some(),
            sent_at: letter.sent_at,
            arrives_at: letter.arrives_at,
        })
    }

    /// Whether messages from one node to another are cut off, by that link alone.
    #[must_use]
    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.network.is_cut(from, to)
    }

    /// Whether a node is cut off from all others.
    #[must_use]
    pub fn is_isolated(&self, node: u64) -> bool {
        self.network.is_isolated(node)
    }

    /// The records from the record `id` on, as far as they are kept: a world forgets old records,
    /// and a [`Run`](crate::Run) plays them again.
    pub fn story_since(&self, id: u64) -> impl Iterator<Item = &LogRecord> {
        self.story.since(id)
    }

    /// The number of records so far, including those that are not kept.
    #[must_use]
    pub fn story_length(&self) -> usize {
        self.story.count() as usize
    }

    /// The first moment from which records, flights and lanes are complete.
    #[must_use]
    pub fn story_complete_since(&self) -> u64 {
        self.story.complete_since()
    }

    /// The ways of messages, in the order in which they left, as far as they are kept.
    pub fn flights(&self) -> impl DoubleEndedIterator<Item = &Flight> {
        self.story.flights()
    }

    /// The steps, in order, as far as they are kept.
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

    /// The states of the nodes before the first of [`World::lane_changes`].
    #[must_use]
    pub fn lanes_before(&self) -> &[LaneState] {
        self.story.lanes().before()
    }

    /// The changes of the nodes' roles, terms and processes, in order of time, as far as they are
    /// kept.
    pub fn lane_changes(&self) -> impl Iterator<Item = &LaneChange> {
        self.story.lanes().changes()
    }

    /// A copy without the story, which is most of a world that a run goes back to.
    pub(crate) fn checkpoint(&mut self) -> Self {
        let forgotten = self.story.forget(self.now);
        let story = std::mem::replace(&mut self.story, forgotten);
        let copy = self.clone();
        self.story = story;
        copy
    }

    /// How many messages servers have sent.
    #[must_use]
    pub fn messages_sent(&self) -> u64 {
        self.network.sent
    }

    /// Judges what the state machine of each server that runs holds: its tables must agree with
    /// each other, and with what it counts. What it holds was compared with what others hold when
    /// it was applied.
    pub(crate) fn check_stores(&self) -> Option<Violation> {
        self.nodes.iter().find_map(|node| {
            let error = node.running()?.kv.audit().err()?;
            let text = format!("n{}: {error}", node.id);
            Some(Violation { invariant: Invariant::StateMachineSafety, text, at: self.now })
        })
    }
}

fn describe(payload: &Payload) -> String {
    let bytes = match payload {
        Payload::Noop => return "no-op".into(),
        Payload::Membership(membership) => return membership.to_string(),
        Payload::Stripped => return "kept by others".into(),
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
            None => format!("end lease {}", revoke.id),
        },
        Err(_) => format!("{} bytes", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use raft_kv::Kv;

    use super::*;
    use crate::node::kv_store::SharedStore;
    use crate::world::config::WorldConfig;

    /// A lease that miscounts its keys does so on every server alike: no comparison of servers
    /// finds it.
    #[test]
    fn inconsistent_store_is_detected() {
        let config = WorldConfig { nodes: 1, lease_clients: 1, ..WorldConfig::default() };
        let mut world = World::new(config).unwrap();
        let is_lease = |key: &[u8]| key.starts_with(b"P");
        let store = |world: &World| {
            let running = world.nodes[0].running();
            running.map(|it| it.kv.store().clone()).unwrap_or_default()
        };
        while !store(&world).iter().any(|(key, _)| is_lease(key)) {
            assert!(world.now() < 60_000_000, "no lease is ever granted");
            world.step();
        }
        assert_eq!(world.check_stores(), None);
        let held = store(&world);
        let miscounted = held.iter().map(|(key, value)| {
            let mut value = value.to_vec();
            if is_lease(key)
                && let Some(keys) = value.last_mut()
            {
                *keys += 1;
            }
            (key.clone(), value.into())
        });
        let kv = Kv::open(miscounted.collect::<SharedStore>()).unwrap();
        let fingerprint = kv.fingerprint();
        let running = world.nodes[0].running_mut().unwrap();
        assert_eq!(running.kv.fingerprint(), fingerprint);
        running.kv = kv;
        let found = world.check_stores().map(|violation| violation.invariant);
        assert_eq!(found, Some(Invariant::StateMachineSafety));
    }
}
