//! Disks at work: what a server wants written and read, and what is done to its disk.

use raft_core::{Entry, Fetch, FetchPurpose, NodeId, Write};

use crate::node::{Node, Process};
use crate::util::units::range;
use crate::world::action::Action;
use crate::world::apply_action::ActionError;
use crate::world::{Event, World, note};

impl World {
    pub(crate) fn write(&mut self, id: u64, write: Write) {
        let number = self.next_write;
        self.next_write += 1;
        let Some(node) = self.nodes.get_mut(id as usize - 1) else {
            return;
        };
        if let (Some(first), Some(running)) = (write.entries().first(), node.running()) {
            let previous = running.raft.term_at(first.id.index.previous()).unwrap_or_default();
            let checked = self.invariants.observe_entries(NodeId(id), previous, write.entries());
            note(&mut self.violation, self.now, checked);
        }
        // What finds no room has not begun, and so cannot fail. It is as if the disk stalled.
        if node.disk.write(number, write) {
            self.begin_write(id, number);
        }
    }

    fn begin_write(&mut self, id: u64, write: u64) {
        let Some(node) = self.nodes.get_mut(id as usize - 1) else {
            return;
        };
        let mut synced_at = self.now + self.random.sample(node.sync);
        if !self.config.reorder_syncs {
            synced_at = synced_at.max(node.disk_busy_until);
            node.disk_busy_until = synced_at;
        }
        let (node, boot) = (id, node.boot);
        self.schedule(synced_at, Event::WriteSynced { node, boot, write });
    }

    pub(crate) fn synced(&mut self, id: u64, write: u64) {
        let Some(node) = self.node_mut(id) else {
            return;
        };
        if node.disk.failing {
            return self.with_running(id, |running, now| running.raft.storage_failed(now));
        }
        if let Some(token) = node.disk.sync(write) {
            self.with_running(id, |running, now| running.raft.persisted(token, now));
        }
    }

    pub(crate) fn fetch(&mut self, id: u64, fetch: Fetch) {
        let Some(node) = self.node(id) else { return };
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let more = bytes == 0 || bytes + entry.bytes() <= fetch.bytes_max;
            bytes += entry.bytes();
            more
        };
        let entries: Vec<_> =
            node.disk.entries(fetch.from, fetch.through).iter().take_while(fits).cloned().collect();
        let damaged = |entry: &&Entry| node.disk.is_corrupt(entry.id.index);
        if let Some(index) = entries.iter().find(damaged).map(|entry| entry.id.index) {
            self.log_node(id, &format!("reads entry {index}, which is damaged"));
            return self.with_running(id, |running, now| running.raft.storage_failed(now));
        }
        if fetch.purpose != FetchPurpose::StateMachine || !entries.is_empty() {
            self.with_running(id, |running, now| {
                running.raft.fetched(fetch, entries, now);
            });
        }
    }

    /// Does something to a disk.
    pub(crate) fn apply_disk_action(&mut self, action: &Action) -> Result<(), ActionError> {
        match action {
            Action::FailDisk { node } => {
                self.require_node(*node)?.disk.failing = true;
                self.log_node(*node, "has a disk whose next sync fails");
            }
            Action::SetSyncLatency { node, sync_latency: sync } => {
                if sync.min > sync.max {
                    return Err(ActionError::EmptyRange);
                }
                let known = self.require_node(*node)?;
                known.sync = *sync;
                known.disk.failing = false;
                let text = format!("has a disk that takes {} to sync", range(*sync));
                self.log_node(*node, &text);
            }
            Action::WipeDisk { node } => {
                self.stop_node(*node)?;
                self.require_node(*node)?.wipe();
                self.log_node(*node, "has lost its disk, and gets an empty one");
                self.restart(*node)?;
            }
            Action::DestroyDisk { node } => {
                self.stop_node(*node)?;
                let known = self.require_node(*node)?;
                known.disk.destroy();
                let reason = known.disk.recover().err();
                known.process = Process::Down { reason };
                self.log_node(*node, "has lost its disk, and is not started again");
            }
            Action::CorruptEntry { node, back } => {
                let decayed = self.require_node(*node)?.disk.corrupt_entry(*back);
                let index = decayed.ok_or(ActionError::NoSuchEntry(*node))?;
                self.log_node(*node, &format!("has a disk on which entry {index} decays"));
            }
            Action::MisdirectWrite { node, back } => {
                self.require_node(*node)?.disk.misdirect_next_write(*back);
                let text = format!("has a disk whose next write lands {back} entries too early");
                self.log_node(*node, &text);
            }
            Action::FillDisk { node } => {
                self.require_node(*node)?.disk.full = true;
                self.log_node(*node, "gets a disk without room");
                self.report_disk_space(*node);
            }
            Action::FreeDisk { node } => {
                let known = self.require_node(*node)?;
                let waiting = known.disk.free();
                let boot = known.boot;
                let installs = known.running().is_some_and(|it| it.installing.is_some());
                self.log_node(*node, "gets more room on its disk");
                for write in waiting {
                    self.begin_write(*node, write);
                }
                if installs {
                    let (node, at) = (*node, self.now);
                    self.schedule(at, Event::Installed { node, boot });
                }
                self.report_disk_space(*node);
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the node's process, if there is one.
    fn stop_node(&mut self, id: u64) -> Result<(), ActionError> {
        match self.require_node(id)?.running() {
            Some(_) => self.crash(id),
            None => Ok(()),
        }
    }

    pub(crate) fn restart(&mut self, id: u64) -> Result<(), ActionError> {
        let now = self.now;
        if matches!(self.require_node(id)?.process, Process::Running(_)) {
            return Err(ActionError::Running(id));
        }
        let Some(node) = self.nodes.get_mut(id as usize - 1) else {
            return Ok(());
        };
        let cut = match node.disk.recover() {
            Ok(cut) => cut,
            Err(reason) => {
                let text = format!("does not start: {reason}");
                let reason = Some(reason);
                node.process = Process::Down { reason };
                self.log_node(id, &text);
                return Ok(());
            }
        };
        if let Err(error) = node.start(&self.config, now, &mut self.random) {
            let reason = Some(format!("it cannot start from its disk: {error}"));
            node.process = Process::Down { reason };
        }
        self.set_timer(id);
        self.log_node(id, "starts again from what is on its disk");
        if let Some(first) = cut {
            let text = format!(
                "cuts its log off before entry {first}, which was torn or damaged before it was acknowledged"
            );
            self.log_node(id, &text);
        }
        Ok(())
    }

    /// Lets the server know whether there is room on its disk.
    pub(crate) fn report_disk_space(&mut self, id: u64) {
        let full = self.is_disk_full(id);
        self.with_running(id, |running, now| running.raft.set_disk_full(full, now));
        self.settle(id);
    }

    /// How long the largest snapshot travels. The leader asks first how much the follower has, and
    /// each piece waits for the answer to the one before.
    pub(crate) fn snapshot_transfer_time(&self) -> u64 {
        (1 + self.snapshot_pieces()) * 2 * self.network.latency.max
    }

    /// How many pieces the largest snapshot has.
    pub(crate) fn snapshot_pieces(&self) -> u64 {
        let snapshots = self.nodes.iter().filter_map(|node| node.disk.snapshot.as_ref());
        let largest = snapshots.map(|(snapshot, _)| snapshot.size).max();
        let piece = self.config.snapshot_chunk_bytes_max.max(1) as u64;
        largest.unwrap_or(0).div_ceil(piece)
    }

    /// Whether a snapshot on its way to the disk of this node has to wait for room.
    pub(crate) fn is_disk_full(&self, id: u64) -> bool {
        self.node(id).is_some_and(|node: &Node| node.disk.full)
    }
}
