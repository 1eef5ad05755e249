//! Operations of a server on its disk: completing writes, and reading entries.

use raft_core::{Entry, Fetch, FetchPurpose, LogIndex};

use crate::node::config::ClusterConfig;
use crate::node::{Node, Process};
use crate::util::rng::SimRng;

impl Node {
    /// Completes a write, or reports a failure of the disk to the server.
    pub(crate) fn complete_write(&mut self, now: u64, write: u64) {
        if self.disk.failing {
            return self.fail_storage(now);
        }
        if let Some(token) = self.disk.sync(write)
            && let Some((running, now)) = self.awake_mut(now)
        {
            running.raft.persisted(token, now);
        }
    }

    /// Gives the server the entries that it requests. If one of them is damaged, reports a failure
    /// to the server and returns the index of the entry.
    pub(crate) fn fetch(&mut self, now: u64, fetch: Fetch) -> Result<(), LogIndex> {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let fits = bytes == 0 || bytes + entry.bytes() <= fetch.bytes_max;
            bytes += entry.bytes();
            fits
        };
        let stored = self.disk.entries(fetch.from, fetch.through);
        let entries: Vec<_> = stored.iter().take_while(fits).cloned().collect();
        let is_damaged = |entry: &&Entry| self.disk.is_corrupt(entry.id.index);
        if let Some(index) = entries.iter().find(is_damaged).map(|entry| entry.id.index) {
            self.fail_storage(now);
            return Err(index);
        }
        if (fetch.purpose != FetchPurpose::StateMachine || !entries.is_empty())
            && let Some((running, now)) = self.awake_mut(now)
        {
            running.raft.fetched(fetch, entries, now);
        }
        Ok(())
    }

    fn fail_storage(&mut self, now: u64) {
        if let Some((running, now)) = self.awake_mut(now) {
            running.raft.storage_failed(now);
        }
    }

    /// Checks the disk and starts the process. Returns the first entry that was cut from the log,
    /// or why the server does not start.
    pub(crate) fn restart(
        &mut self,
        config: &ClusterConfig,
        record_events: bool,
        now: u64,
        random: &mut SimRng,
    ) -> Result<Option<LogIndex>, String> {
        let recovered = self.disk.recover();
        match &recovered {
            Ok(_) => {
                if let Err(error) = self.start(config, record_events, now, random) {
                    let reason = Some(format!("cannot start from the disk: {error}"));
                    self.process = Process::Down { reason };
                }
            }
            Err(reason) => self.process = Process::Down { reason: Some(reason.clone()) },
        }
        recovered
    }
}
