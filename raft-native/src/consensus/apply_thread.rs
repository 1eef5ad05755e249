//! The thread that applies committed entries to the state machine, and answers who proposed them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use raft_core::{Entry, Payload};
use raft_kv::{Kv, Outcome};
use tokio::sync::{oneshot, watch};

use crate::consensus::failure::Failure;
use crate::observe::timings::{Timings, timed};
use crate::storage::StateStore;

/// What a proposer is told.
#[derive(Debug)]
pub(crate) enum ProposalOutcome {
    /// The command was applied, with this outcome.
    Applied(Outcome),
    /// It certainly was not: this node does not lead.
    NotLeader,
    /// It certainly was not: too much is under way.
    Overloaded,
    /// It certainly was not: another entry was committed in its place.
    Replaced,
    /// It certainly was not: this node has stopped.
    Stopped,
}

/// A committed entry, and who waits for it.
pub(crate) struct Committed {
    pub(crate) entry: Entry,
    pub(crate) reply: Option<oneshot::Sender<ProposalOutcome>>,
}

/// Bytes of entries that are committed and not applied.
#[derive(Clone, Default)]
pub(crate) struct ApplyBacklog(Arc<AtomicUsize>);

pub(crate) struct ApplyThread {
    pub(crate) kv: Kv<StateStore>,
    pub(crate) applied: watch::Sender<u64>,
    pub(crate) backlog: ApplyBacklog,
    pub(crate) timings: Timings,
}

/// Entries applied in one commit of the store.
const BATCH_MAX: usize = 1024;

impl ApplyBacklog {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn grow(&self, entries: &[Committed]) {
        let bytes: usize = entries.iter().map(|committed| committed.entry.bytes()).sum();
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn shrink(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl ApplyThread {
    /// Works until there will be no more entries, or the state machine fails.
    pub(crate) fn run(mut self, queue: &mpsc::Receiver<Vec<Committed>>) -> Result<(), Failure> {
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
            self.backlog.shrink(bytes);
            self.applied.send_replace(self.kv.applied_index());
            for (outcome, reply) in outcomes.into_iter().zip(replies) {
                if let Some(reply) = reply {
                    // A client that stopped waiting needs no answer.
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
