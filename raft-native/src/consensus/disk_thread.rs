//! The thread that writes the log.
//!
//! The thread makes all waiting writes durable with one sync (group commit). The longer a sync
//! takes, the more writes share the next one.

use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use raft_core::{Durable, Fetch, Write};
use raft_storage::{AppendError, Log};
use tokio::sync::mpsc as async_mpsc;

use crate::consensus::Input;
use crate::consensus::failure::Failure;
use crate::consensus::threads::Threads;
use crate::observe::health::Health;
use crate::observe::timings::{Timings, timed};

/// The work of the disk thread.
enum DiskRequest {
    Write(Write),
    Fetch(Fetch),
}

/// The queue of the disk thread. The thread ends when the queue is dropped.
pub(crate) struct DiskQueue(mpsc::Sender<DiskRequest>);

/// The thread that writes the log.
pub(crate) struct DiskThread {
    log: Log,
    health: Arc<Health>,
    timings: Timings,
    /// The inputs of the consensus loop, which get the completed requests.
    inputs: async_mpsc::Sender<Input>,
}

/// The pause before the thread tries to write to a full disk again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

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
        log: Log,
        health: Arc<Health>,
        timings: Timings,
        inputs: async_mpsc::Sender<Input>,
        threads: &mut Threads,
    ) -> io::Result<DiskQueue> {
        let (queue, requests) = mpsc::channel();
        let thread = Self { log, health, timings, inputs };
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
        // Writes for which the disk has no space. None of them has begun.
        let mut held = Vec::new();
        while let Some(waiting) = receive(requests, !held.is_empty()) {
            let was_full = !held.is_empty();
            let mut writes = std::mem::take(&mut held);
            let mut fetches = Vec::new();
            for request in waiting {
                match request {
                    DiskRequest::Write(write) => writes.push(write),
                    DiskRequest::Fetch(fetch) => fetches.push(fetch),
                }
            }
            if !writes.is_empty() {
                let (durable, unwritten) = self.write(writes)?;
                held = unwritten;
                if !durable.is_empty() {
                    self.complete(Input::Persisted(durable));
                }
                if held.is_empty() == was_full {
                    self.complete(Input::DiskFull(!was_full));
                }
            }
            for fetch in fetches {
                let entries = self.log.reader().read(fetch.from, fetch.through, fetch.bytes_max);
                self.complete(Input::Fetched(fetch, entries.map_err(Failure::Log)?));
            }
        }
        Ok(())
    }

    fn complete(&self, input: Input) {
        // The consensus loop has ended only if the node is stopping.
        let _ = self.inputs.blocking_send(input);
    }

    /// Returns the tokens of the durable writes, and the writes for which there is no space.
    fn write(&mut self, writes: Vec<Write>) -> Result<(Vec<Durable>, Vec<Write>), Failure> {
        self.health.write_begins(Instant::now());
        let histogram = self.timings.log_write.clone();
        let result = timed(&histogram, || self.log.append(writes));
        self.health.write_ends();
        match result {
            Ok(durable) => Ok((durable, Vec::new())),
            Err(AppendError { error, durable, unwritten }) if error.is_full() => {
                Ok((durable, unwritten))
            }
            Err(AppendError { error, .. }) => Err(Failure::Disk(error)),
        }
    }
}

/// Waits for requests and returns all that are in the queue. Returns none after some time if the
/// disk is full. Returns `None` if the queue was dropped.
fn receive(requests: &mpsc::Receiver<DiskRequest>, is_full: bool) -> Option<Vec<DiskRequest>> {
    let first = if is_full {
        match requests.recv_timeout(RETRY_INTERVAL) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    } else {
        Some(requests.recv().ok()?)
    };
    Some(first.into_iter().chain(requests.try_iter()).collect())
}
