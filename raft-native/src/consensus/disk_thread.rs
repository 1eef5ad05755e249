//! The thread that writes the log.
//!
//! It takes all writes that wait and makes them durable with one sync: the longer a sync takes,
//! the more writes share the next one (group commit).

use std::sync::{Arc, mpsc};
use std::time::Instant;

use fjall::{Database, Keyspace, PersistMode};
use raft_core::{Durable, Entry, Fetch, LogIndex, Write};

use crate::consensus::failure::Failure;
use crate::observe::health::Health;
use crate::observe::timings::{Timings, timed};
use crate::storage::{HardStateRecord, HighWaterMarkFile, LogStore, StorageError};

/// Work for the disk.
pub(crate) enum DiskRequest {
    Write(Write),
    Fetch(Fetch),
}

/// What became of it.
pub(crate) enum DiskCompletion {
    Written(Vec<Durable>),
    Fetched(Fetch, Vec<Entry>),
    /// The disk failed. Nothing is known of what was to be written, and nothing is tried again.
    Failed(Failure),
}

pub(crate) struct DiskThread {
    pub(crate) database: Database,
    pub(crate) meta: Keyspace,
    pub(crate) log: LogStore,
    /// Where the log on the disk ends.
    pub(crate) last: LogIndex,
    pub(crate) mark: HighWaterMarkFile,
    pub(crate) health: Arc<Health>,
    pub(crate) timings: Timings,
}

impl DiskThread {
    /// Works until nobody has anything more to write, or the disk fails.
    pub(crate) fn run(
        mut self,
        jobs: &mpsc::Receiver<DiskRequest>,
        finished: impl Fn(DiskCompletion),
    ) {
        while let Ok(first) = jobs.recv() {
            let mut writes = Vec::new();
            let mut fetches = Vec::new();
            for job in std::iter::once(first).chain(jobs.try_iter()) {
                match job {
                    DiskRequest::Write(write) => writes.push(write),
                    DiskRequest::Fetch(fetch) => fetches.push(fetch),
                }
            }
            let written = match &writes[..] {
                [] => Ok(()),
                writes => timed(&self.timings.clone().log_write, || self.write(writes)),
            };
            if let Err(error) = written {
                return finished(DiskCompletion::Failed(Failure::Disk(error)));
            }
            if !writes.is_empty() {
                finished(DiskCompletion::Written(writes.into_iter().map(Write::synced).collect()));
            }
            for fetch in fetches {
                match self.log.read(fetch.from, fetch.through, fetch.bytes_max) {
                    Ok(entries) => finished(DiskCompletion::Fetched(fetch, entries)),
                    Err(error) => return finished(DiskCompletion::Failed(Failure::Log(error))),
                }
            }
        }
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        self.health.write_begins(Instant::now());
        let mut batch = self.database.batch();
        let mut latest = None;
        for write in writes {
            if let Some(hard_state) = write.hard_state() {
                latest = Some(hard_state);
                HardStateRecord::stage(&mut batch, &self.meta, hard_state);
            }
            self.log.stage(&mut batch, write.entries(), self.last);
            self.last = write.last().map_or(self.last, |last| last.index);
        }
        self.mark.lower_to(self.last)?;
        batch.commit()?;
        self.database.persist(PersistMode::SyncData)?;
        self.mark.raise_to(self.last, latest)?;
        self.health.write_ends();
        Ok(())
    }
}
