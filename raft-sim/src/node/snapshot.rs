//! Snapshots of the state machine: taken, sent as bytes, and installed.

use bytes::{Buf, BufMut, Bytes};
use raft_core::{LogIndex, NodeId, Snapshot, SnapshotChunkRequest, SnapshotInstall};
use raft_kv::Kv;

use crate::node::kv_store::SharedStore;
use crate::node::{Installing, Running};
use crate::world::apply_action::ActionError;
use crate::world::trace::TraceHash;
use crate::world::{Event, World, note};

impl World {
    /// Lets a node take a snapshot, if it has applied enough since the last one.
    pub(crate) fn compact(&mut self, id: u64) {
        match self.config.snapshot_every {
            0 => {}
            every => {
                self.compact_after(id, every);
            }
        }
    }

    /// Lets a node take a snapshot by hand.
    pub(crate) fn take_snapshot(&mut self, id: u64) -> Result<(), ActionError> {
        if self.require_node(id)?.awake_mut().is_none() {
            return Err(ActionError::NotRunning(id));
        }
        if !self.compact_after(id, 1) {
            return Err(ActionError::NothingToSnapshot(id));
        }
        self.settle(id);
        Ok(())
    }

    /// Lets a node take a snapshot, if it has applied so much since the last one. Returns whether
    /// it did.
    fn compact_after(&mut self, id: u64, every: u64) -> bool {
        let retain = self.config.snapshot_retain;
        let Some(node) = self.nodes.get_mut(id as usize - 1) else {
            return false;
        };
        let last = node.disk.snapshot.as_ref().map(|(snapshot, _)| snapshot.last.index);
        let last = last.unwrap_or_default();
        let Some(running) = node.running() else {
            return false;
        };
        // A witness applies nothing, and has what is committed.
        let applied = running.raft.delivered_index();
        if applied - last < every || node.disk.full {
            return false;
        }
        let data = if self.config.witnesses.contains(&id) {
            Bytes::new()
        } else {
            encode(running.kv.store())
        };
        let Some(term) = running.raft.term_at(applied) else {
            return false;
        };
        let snapshot = Snapshot {
            last: raft_core::LogId::new(term, applied),
            membership: running.raft.membership_at(applied).clone(),
            identity: identity(&data),
            size: data.len() as u64,
        };
        let kv = running.kv.clone();
        node.kv_on_disk = kv;
        let earlier = node.disk.snapshot.replace((snapshot.clone(), data));
        let retain_after = LogIndex(applied.0.saturating_sub(retain));
        self.with_running(id, |running, now| {
            running.raft.report_snapshot(snapshot, retain_after, now);
            running.keep_sent_snapshots(earlier);
        });
        true
    }

    pub(crate) fn provide_chunk(&mut self, id: u64, read: SnapshotChunkRequest) {
        let Some(node) = self.node(id) else { return };
        let sent = node.running().into_iter().flat_map(|running| &running.sent_snapshots);
        let mut stored = node.disk.snapshot.iter().chain(sent);
        if let Some((_, data)) = stored.find(|(snapshot, _)| *snapshot == read.snapshot) {
            let begin = read.offset as usize;
            let piece = data.slice(begin..begin + read.bytes);
            self.with_running(id, |running, now| {
                running.raft.provide_snapshot_chunk(read, piece, now);
            });
        }
    }

    /// A whole snapshot has arrived: it is checked, and written to the disk.
    pub(crate) fn install(&mut self, id: u64, install: SnapshotInstall) {
        let synced_in = match self.nodes.get(id as usize - 1) {
            Some(node) => self.random.sample(node.sync),
            None => return,
        };
        let is_witness = self.config.witnesses.contains(&id);
        let boot = self.node(id).map_or(0, |node| node.boot);
        self.with_running(id, |running, now| {
            let data = Bytes::from(std::mem::take(&mut running.arriving));
            let snapshot = install.snapshot().clone();
            let kv = if is_witness {
                Some(running.kv.clone())
            } else {
                decode(data.clone()).filter(|_| identity(&data) == snapshot.identity)
            };
            match kv {
                Some(kv) => {
                    running.installing =
                        Some(Installing { snapshot, data, kv, token: install.installed() });
                }
                None => running.raft.snapshot_damaged(install, now),
            }
        });
        let at = self.now + synced_in;
        self.schedule(at, Event::Installed { node: id, boot });
    }

    /// The snapshot is on the disk: the state machine is replaced.
    pub(crate) fn finish_install(&mut self, id: u64) {
        if self.is_disk_full(id) {
            // It is tried again when there is.
            return;
        }
        let Some(node) = self.nodes.get_mut(id as usize - 1) else {
            return;
        };
        let Some(installing) = node.running_mut().and_then(|running| running.installing.take())
        else {
            return;
        };
        let Installing { snapshot, data, kv, token } = installing;
        let last = snapshot.last.index;
        let earlier = node.disk.snapshot.replace((snapshot, data));
        node.kv_on_disk = kv.clone();
        if !self.config.witnesses.contains(&id) {
            let state = self.invariants.observe_state(NodeId(id), last.0, kv.fingerprint());
            note(&mut self.violation, self.now, state);
        }
        self.with_running(id, |running, now| {
            running.kv = kv;
            // Whoever proposed what the snapshot includes never learns what became of it.
            running.proposals.retain(|index, _| *index > last);
            running.raft.snapshot_installed(token, now);
            running.keep_sent_snapshots(earlier);
        });
        self.tell_watchers(id);
    }
}

impl Running {
    /// Another snapshot is on the disk. The earlier ones are removed, except those under transfer.
    fn keep_sent_snapshots(&mut self, earlier: Option<(Snapshot, Bytes)>) {
        self.sent_snapshots.extend(earlier);
        self.sent_snapshots.retain(|(snapshot, _)| self.raft.needs_snapshot(snapshot));
    }
}

fn identity(data: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = TraceHash::new();
    hasher.write(data);
    hasher.finish()
}

/// Every pair with the lengths of its parts before it.
fn encode(store: &SharedStore) -> Bytes {
    let mut data = Vec::new();
    for (key, value) in store.iter() {
        for part in [key, value] {
            data.put_u32(part.len() as u32);
            data.put_slice(part);
        }
    }
    data.into()
}

fn decode(mut data: Bytes) -> Option<Kv<SharedStore>> {
    let part = |data: &mut Bytes| {
        let length = data.try_get_u32().ok()? as usize;
        (length <= data.len()).then(|| data.split_to(length))
    };
    let mut pairs = Vec::new();
    while !data.is_empty() {
        pairs.push((part(&mut data)?, part(&mut data)?));
    }
    Kv::open(pairs.into_iter().collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::action::Action;
    use crate::world::config::WorldConfig;

    /// F3: a leader that took snapshots faster than they travel began to send each of them, and
    /// a follower never had a whole one.
    #[test]
    fn follower_catches_up_while_the_leader_takes_snapshots() {
        let config = WorldConfig {
            seed: 7,
            clients: 5,
            snapshot_every: 100,
            record_events: false,
            ..WorldConfig::default()
        };
        let mut world = World::new(config).unwrap();
        world.run_until(120_000_000);
        world.act(&Action::Crash { node: 5 }).unwrap();
        world.run_until(135_000_000);
        world.act(&Action::Restart { node: 5 }).unwrap();
        let applied = |world: &World, id| {
            let running = world.node(id).and_then(|node| node.running());
            running.map_or(0, |running| running.raft.delivered_index().0)
        };
        let leader = applied(&world, 1);
        world.run_until(180_000_000);
        let behind = applied(&world, 1) - applied(&world, 5);
        let taken = applied(&world, 1) - leader;
        assert!(taken > 500, "there were many snapshots: {taken} entries");
        assert!(behind < 100, "node 5 is {behind} entries behind");
    }

    #[test]
    fn state_machine_roundtrips_through_snapshot() {
        let mut kv = Kv::open(SharedStore::default()).unwrap();
        let put = raft_kv::Command::new(raft_kv::Put::new("key", "value"));
        kv.apply(raft_kv::Entry::command(1, 1, put.encode())).unwrap();
        let data = encode(kv.store());
        assert_eq!(decode(data.clone()), Some(kv));
        assert_eq!(decode(data.slice(..data.len() - 1)), None);
    }
}
