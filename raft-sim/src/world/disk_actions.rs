//! Actions on disks, and restarts.

use crate::cluster::queue::Event;
use crate::node::Process;
use crate::world::World;
use crate::world::action::Action;
use crate::world::apply_action::ActionError;

impl World {
    /// Applies an action on a disk.
    pub(super) fn apply_disk_action(&mut self, action: &Action) -> Result<(), ActionError> {
        match action {
            Action::FailDisk { node } => {
                self.require_node(*node)?.disk.failing = true;
                self.log_node(*node, "has a disk whose next sync fails");
            }
            Action::SetSyncLatency { node, sync_latency } => {
                let known = self.require_node(*node)?;
                known.sync_latency = *sync_latency;
                known.disk.failing = false;
                self.log_node(*node, &format!("has a disk that takes {sync_latency} to sync"));
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
                self.log_node(*node, "has lost its disk, and never starts again");
            }
            Action::CorruptEntry { node, back } => {
                let corrupted = self.require_node(*node)?.disk.corrupt_entry(*back);
                let index = corrupted.ok_or(ActionError::NoSuchEntry(*node))?;
                self.log_node(*node, &format!("has a disk with a damaged entry {index}"));
            }
            Action::MisdirectWrite { node, back } => {
                self.require_node(*node)?.disk.misdirect_next_write(*back);
                let text = format!("has a disk whose next write lands {back} entries too early");
                self.log_node(*node, &text);
            }
            Action::FillDisk { node } => {
                self.require_node(*node)?.disk.full = true;
                self.log_node(*node, "has a full disk");
                self.report_disk_space(*node);
            }
            Action::FreeDisk { node } => self.free_disk(*node)?,
            Action::TakeSnapshot { node } => self.take_snapshot_now(*node)?,
            _ => {}
        }
        Ok(())
    }

    /// Takes a snapshot of everything that a server has applied.
    fn take_snapshot_now(&mut self, id: u64) -> Result<(), ActionError> {
        if self.require_node(id)?.awake().is_none() {
            return Err(ActionError::NotRunning(id));
        }
        if !self.take_snapshot(id, 1) {
            return Err(ActionError::NothingToSnapshot(id));
        }
        self.settle(id);
        Ok(())
    }

    /// Starts the writes and the installation that wait for space on a disk.
    fn free_disk(&mut self, id: u64) -> Result<(), ActionError> {
        let node = self.require_node(id)?;
        let waiting = node.disk.free();
        let boot = node.boot;
        let is_installing = node.running().is_some_and(|running| running.installing.is_some());
        self.log_node(id, "has space on its disk again");
        for write in waiting {
            self.cluster.start_write(id, write, self.config.disk.reorder_syncs);
        }
        if is_installing {
            let now = self.cluster.now;
            self.cluster.schedule(now, Event::SnapshotInstalled { node: id, boot });
        }
        self.report_disk_space(id);
        Ok(())
    }

    /// Ends the process of a server, if it runs.
    fn stop_node(&mut self, id: u64) -> Result<(), ActionError> {
        match self.require_node(id)?.running() {
            Some(_) => self.crash(id),
            None => Ok(()),
        }
    }

    /// Starts a server that is down from its disk.
    pub(super) fn restart(&mut self, id: u64) -> Result<(), ActionError> {
        let (now, record_events) = (self.cluster.now, self.config.needs_core_events());
        if self.require_node(id)?.running().is_some() {
            return Err(ActionError::Running(id));
        }
        let Some(node) = self.cluster.nodes.get_mut(id as usize - 1) else {
            return Ok(());
        };
        match node.restart(&self.config.cluster, record_events, now, &mut self.cluster.random) {
            Err(reason) => self.log_node(id, &format!("does not start: {reason}")),
            Ok(cut) => {
                self.cluster.set_timer(id);
                self.log_node(id, "starts again from its disk");
                if let Some(first) = cut {
                    let text = format!(
                        "truncates its log before entry {first}, which was torn or damaged before it was acknowledged"
                    );
                    self.log_node(id, &text);
                }
            }
        }
        Ok(())
    }

    /// Reports to a server whether its disk is full.
    pub(super) fn report_disk_space(&mut self, id: u64) {
        let is_full = self.is_disk_full(id);
        if let Some((running, now)) = self.cluster.awake_mut(id) {
            running.raft.set_disk_full(is_full, now);
        }
        self.settle(id);
    }
}
