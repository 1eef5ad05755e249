//! The thread that writes the log.
//!
//! The thread makes all waiting writes durable with one sync (group commit). The longer a sync
//! takes, the more writes share the next one.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use fjall::{Database, Keyspace, PersistMode};
use raft_core::{Fetch, LogIndex, Write};
use tokio::sync::mpsc as async_mpsc;

use crate::consensus::Input;
use crate::consensus::failure::Failure;
use crate::consensus::threads::Threads;
use crate::observe::health::Health;
use crate::observe::timings::{Timings, timed};
use crate::storage::{HardStateRecord, HighWaterMarkFile, LogStore, StorageError};

/// The work of the disk thread.
enum DiskRequest {
    Write(Write),
    Fetch(Fetch),
}

/// The queue of the disk thread. The thread ends when the queue is dropped.
pub(crate) struct DiskQueue(mpsc::Sender<DiskRequest>);

/// The files that the disk thread writes.
pub(crate) struct LogFiles {
    pub(crate) database: Database,
    pub(crate) meta: Keyspace,
    pub(crate) log: LogStore,
    pub(crate) mark: HighWaterMarkFile,
    /// The last index of the stored log.
    pub(crate) last: LogIndex,
}

/// The thread that writes the log.
pub(crate) struct DiskThread {
    files: LogFiles,
    health: Arc<Health>,
    timings: Timings,
    /// The inputs of the consensus loop, which get the completed requests.
    inputs: async_mpsc::Sender<Input>,
}

impl DiskQueue {
    pub(crate) fn write(&self, write: Write) {
        self.push(DiskRequest::Write(write));
    }

    pub(crate) fn fetch(&self, fetch: Fetch) {
        self.push(DiskRequest::Fetch(fetch));
    }

    fn push(&self, request: DiskRequest) {
        // The thread has ended only if the node is stopping.
        let _ = self.0.send(request);
    }
}

impl DiskThread {
    /// Starts the thread. If the disk fails, the thread reports the failure and stops the consensus
    /// loop. The state of the failed write is unknown, and the thread does not retry it.
    pub(crate) fn spawn(
        files: LogFiles,
        health: Arc<Health>,
        timings: Timings,
        inputs: async_mpsc::Sender<Input>,
        threads: &mut Threads,
    ) -> io::Result<DiskQueue> {
        let (queue, requests) = mpsc::channel();
        let thread = Self { files, health, timings, inputs };
        threads.spawn("raft-disk", move |failures| {
            let inputs = thread.inputs.clone();
            if let Err(failure) = thread.run(&requests) {
                failures.report(failure);
                let _ = inputs.blocking_send(Input::StorageFailed);
            }
        })?;
        Ok(DiskQueue(queue))
    }

    /// Serves requests until the queue is dropped or the disk fails.
    fn run(mut self, requests: &mpsc::Receiver<DiskRequest>) -> Result<(), Failure> {
        while let Ok(first) = requests.recv() {
            let mut writes = Vec::new();
            let mut fetches = Vec::new();
            for request in std::iter::once(first).chain(requests.try_iter()) {
                match request {
                    DiskRequest::Write(write) => writes.push(write),
                    DiskRequest::Fetch(fetch) => fetches.push(fetch),
                }
            }
            if !writes.is_empty() {
                let histogram = self.timings.log_write.clone();
                timed(&histogram, || self.write(&writes)).map_err(Failure::Disk)?;
                let written = writes.into_iter().map(Write::synced).collect();
                self.complete(Input::Persisted(written));
            }
            for fetch in fetches {
                let log = &self.files.log;
                let entries = log.read(fetch.from, fetch.through, fetch.bytes_max);
                self.complete(Input::Fetched(fetch, entries.map_err(Failure::Log)?));
            }
        }
        Ok(())
    }

    fn complete(&self, input: Input) {
        // The consensus loop has ended only if the node is stopping.
        let _ = self.inputs.blocking_send(input);
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        self.health.write_begins(Instant::now());
        let mut batch = self.files.database.batch();
        let mut latest = None;
        for write in writes {
            if let Some(hard_state) = write.hard_state() {
                latest = Some(hard_state);
                HardStateRecord::stage(&mut batch, &self.files.meta, hard_state);
            }
            self.files.log.stage(&mut batch, write.entries(), self.files.last);
            self.files.last = write.last().map_or(self.files.last, |last| last.index);
        }
        self.files.mark.lower_to(self.files.last)?;
        batch.commit()?;
        self.files.database.persist(PersistMode::SyncData)?;
        self.files.mark.raise_to(self.files.last, latest)?;
        self.health.write_ends();
        Ok(())
    }
}
