//! The thread that applies committed entries to the state machine and responds to the proposers.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use raft_core::{Entry, Payload};
use raft_kv::{Kv, Outcome};
use raft_storage::StateStore;
use tokio::sync::{mpsc as async_mpsc, oneshot, watch};

use crate::consensus::Input;
use crate::consensus::failure::Failure;
use crate::consensus::threads::Threads;
use crate::observe::timings::{Timings, timed};

/// The response to a proposal.
#[derive(Debug)]
pub(crate) enum ProposalOutcome {
    /// The command was applied, with this outcome.
    Applied(Outcome),
    /// The command was not applied: this node is not the leader.
    NotLeader,
    /// The command was not applied: too many proposals are pending.
    Overloaded,
    /// The command was not applied: another entry was committed at its index.
    Replaced,
    /// The command was not applied: this node has stopped.
    Stopped,
}

/// A committed entry and its proposer, if the entry was proposed by this node.
pub(crate) struct Committed {
    pub(crate) entry: Entry,
    pub(crate) reply: Option<oneshot::Sender<ProposalOutcome>>,
}

/// The queue of the apply thread. The thread ends when the queue is dropped.
pub(crate) struct ApplyQueue {
    queue: mpsc::Sender<Vec<Committed>>,
    /// The bytes of the entries that are committed and not applied.
    backlog: Arc<AtomicUsize>,
    applied: watch::Receiver<u64>,
}

/// The thread that owns the state machine.
pub(crate) struct ApplyThread {
    kv: Kv<StateStore>,
    /// The index of the last applied entry.
    applied: watch::Sender<u64>,
    /// Shared with the queue.
    backlog: Arc<AtomicUsize>,
    timings: Timings,
}

/// The number of entries that are applied in one commit of the store.
const BATCH_MAX: usize = 1024;
/// The node accepts no proposals while the backlog exceeds this many bytes.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

impl ApplyQueue {
    pub(crate) fn push(&self, entries: Vec<Committed>) {
        let bytes: usize = entries.iter().map(|committed| committed.entry.bytes()).sum();
        self.backlog.fetch_add(bytes, Ordering::Relaxed);
        // The thread has ended only if the node is stopping.
        let _ = self.queue.send(entries);
    }

    /// Returns true if so many entries wait that the node should accept no proposals.
    pub(crate) fn is_full(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) > BACKLOG_BYTES_MAX
    }

    /// The index of the last applied entry.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }
}

impl ApplyThread {
    /// Starts the thread. If the state machine fails, the thread reports the failure and stops the
    /// consensus loop.
    pub(crate) fn spawn(
        kv: Kv<StateStore>,
        timings: Timings,
        inputs: async_mpsc::Sender<Input>,
        threads: &mut Threads,
    ) -> io::Result<ApplyQueue> {
        let (queue, batches) = mpsc::channel();
        let (sender, applied) = watch::channel(kv.applied_index());
        let backlog = Arc::<AtomicUsize>::default();
        let thread = Self { kv, applied: sender, backlog: Arc::clone(&backlog), timings };
        threads.spawn("raft-apply", move |failures| {
            if let Err(failure) = thread.run(&batches) {
                failures.report(failure);
                let _ = inputs.blocking_send(Input::StorageFailed);
            }
        })?;
        Ok(ApplyQueue { queue, backlog, applied })
    }

    /// Applies entries until the queue is dropped or the state machine fails.
    fn run(mut self, queue: &mpsc::Receiver<Vec<Committed>>) -> Result<(), Failure> {
        while let Ok(mut batch) = queue.recv() {
            while batch.len() < BATCH_MAX
                && let Ok(more) = queue.try_recv()
            {
                batch.extend(more);
            }
            let bytes = batch.iter().map(|committed| committed.entry.bytes()).sum();
            let (entries, replies): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .map(|committed| (to_kv(committed.entry), committed.reply))
                .unzip();
            let applied = timed(&self.timings.apply, || self.kv.apply_batch(entries));
            let outcomes = applied.map_err(Failure::StateMachine)?;
            self.backlog.fetch_sub(bytes, Ordering::Relaxed);
            self.applied.send_replace(self.kv.applied_index());
            for (outcome, reply) in outcomes.into_iter().zip(replies) {
                if let Some(reply) = reply {
                    // The proposer may have stopped waiting.
                    let _ = reply.send(ProposalOutcome::Applied(outcome));
                }
            }
        }
        Ok(())
    }
}

fn to_kv(entry: Entry) -> raft_kv::Entry {
    let (index, term) = (entry.id.index.0, entry.id.term.0);
    match entry.payload {
        Payload::Noop | Payload::Membership(_) | Payload::Stripped => {
            raft_kv::Entry::noop(index, term)
        }
        Payload::Command(command) => raft_kv::Entry::command(index, term, command),
    }
}
