//! The loop that owns the Raft server, and the threads that work for it.
//!
//! The loop takes all waiting inputs, steps the core, drains the effects once, and dispatches them:
//! writes to the disk thread, messages to the peers, committed entries to the apply thread. Nothing
//! in this folder depends on clients or on the API.

pub(crate) mod apply_thread;
pub(crate) mod disk_thread;
pub(crate) mod failure;
mod handle;
pub(crate) mod table_thread;
pub(crate) mod threads;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant as StdInstant;

use bytes::Bytes;
use raft_core::{
    Durable, Effects, Entry, Fetch, Instant, LogIndex, Message, NodeId, Outbound, ProposeError,
    Raft, ReadId, ReadMode, ReadOutcome, Role, Status, StopReason, Term, TransferError,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tracing::error;

use crate::consensus::apply_thread::{ApplyQueue, Committed, ProposalOutcome};
use crate::consensus::disk_thread::DiskQueue;
use crate::consensus::failure::{Failure, Failures};
use crate::observe::Observations;
use crate::observe::event_log::Recorder;
use crate::observe::health::Health;
use crate::peer::Peers;

pub(crate) use handle::{ConsensusHandle, InputError};

/// An input of the loop.
pub(crate) enum Input {
    Message(NodeId, Message),
    Propose {
        command: Bytes,
        reply: oneshot::Sender<ProposalOutcome>,
    },
    Read {
        reply: oneshot::Sender<ReadReply>,
    },
    Status {
        reply: oneshot::Sender<Status>,
    },
    /// Transfers leadership to the best target. The reply is false if there is no target.
    Transfer {
        reply: oneshot::Sender<bool>,
    },
    Persisted(Vec<Durable>),
    Fetched(Fetch, Vec<Entry>),
    /// Whether writes wait for free space.
    DiskFull(bool),
    StorageFailed,
    Stop,
}

/// The response to a read index request.
#[derive(Debug)]
pub(crate) enum ReadReply {
    /// The read must see the entries up to this index.
    Ready(u64),
    /// There is no leader, or the leader changed. The caller can retry.
    NoLeader,
    /// Too many reads are pending.
    Overloaded,
    /// This node has stopped.
    Stopped,
}

/// A summary of the server's state for readers outside of the loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct StateSummary {
    pub(crate) leader: Option<NodeId>,
    pub(crate) is_leader: bool,
    pub(crate) term: Term,
    pub(crate) commit_index: LogIndex,
    pub(crate) last_index: LogIndex,
    pub(crate) stopped: Option<StopReason>,
}

/// The parts of the node that carry out the effects of the server.
pub(crate) struct Outputs {
    pub(crate) peers: Peers,
    pub(crate) disk: DiskQueue,
    pub(crate) apply: ApplyQueue,
    pub(crate) recorder: Recorder,
}

/// The loop. Only one task uses it, so it needs no locks.
pub(crate) struct Consensus {
    raft: Raft,
    /// The start of the time of the server.
    epoch: StdInstant,
    inputs: mpsc::Receiver<Input>,
    outputs: Outputs,
    summary: watch::Sender<StateSummary>,
    applied: watch::Receiver<u64>,
    health: Arc<Health>,
    /// The proposers that wait for the entry at an index, with the term of the entry.
    proposals: BTreeMap<LogIndex, (Term, oneshot::Sender<ProposalOutcome>)>,
    /// The clients that wait for a read index.
    reads: HashMap<ReadId, oneshot::Sender<ReadReply>>,
}

/// The capacity of the queue of inputs. When the queue is full, senders wait.
const INPUTS_MAX: usize = 4096;
/// The number of inputs that are stepped before the effects are drained.
const INPUTS_PER_DRAIN_MAX: usize = 1024;

/// The two ends of the queue of inputs.
pub(crate) fn inputs() -> (mpsc::Sender<Input>, mpsc::Receiver<Input>) {
    mpsc::channel(INPUTS_MAX)
}

impl Consensus {
    /// Starts the loop as a task, and returns watches of the summary and of the applied index.
    pub(crate) fn spawn(
        raft: Raft,
        inputs: mpsc::Receiver<Input>,
        outputs: Outputs,
        observed: &Observations,
        failures: Failures,
        tasks: &mut JoinSet<()>,
    ) -> (watch::Receiver<StateSummary>, watch::Receiver<u64>) {
        let (summary, summary_watch) = watch::channel(StateSummary::default());
        let applied = outputs.apply.applied();
        let consensus = Self {
            raft,
            epoch: StdInstant::now(),
            inputs,
            outputs,
            summary,
            applied: applied.clone(),
            health: observed.health.clone(),
            proposals: BTreeMap::new(),
            reads: HashMap::new(),
        };
        let names = observed.names.clone();
        tasks.spawn(async move {
            let _sentinel = failures.sentinel("the consensus loop");
            if let Some(reason) = consensus.run().await {
                failures.report(Failure::Consensus(names.put_into(reason.to_string())));
            }
        });
        (summary_watch, applied)
    }

    /// Runs until [`Input::Stop`]. Returns the reason if the server stops permanently.
    async fn run(mut self) -> Option<StopReason> {
        let reason = self.run_until_stopped().await;
        // Without a response, the clients would have to assume an unknown outcome.
        self.inputs.close();
        while let Ok(input) = self.inputs.try_recv() {
            match input {
                Input::Propose { reply, .. } => drop(reply.send(ProposalOutcome::Stopped)),
                Input::Read { reply } => drop(reply.send(ReadReply::Stopped)),
                _ => {}
            }
        }
        reason
    }

    async fn run_until_stopped(&mut self) -> Option<StopReason> {
        let mut effects = Effects::default();
        loop {
            self.dispatch_effects(&mut effects);
            if let Some(reason) = self.raft.stopped() {
                return Some(reason);
            }
            let deadline = self.raft.deadline().map(|deadline| self.to_tokio_instant(deadline));
            let timer = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(Input::Stop) | None => return None,
                    Some(input) => self.step(input),
                },
                () = timer => self.raft.tick(self.now()),
            }
            for _ in 0..INPUTS_PER_DRAIN_MAX {
                match self.inputs.try_recv() {
                    Ok(Input::Stop) => return None,
                    Ok(input) => self.step(input),
                    Err(_) => break,
                }
            }
        }
    }

    fn now(&self) -> Instant {
        Instant(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn to_tokio_instant(&self, instant: Instant) -> tokio::time::Instant {
        (self.epoch + std::time::Duration::from_micros(instant.0)).into()
    }

    fn step(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Message(from, message) => {
                let committed = known_commit(&message);
                self.raft.receive(from, message, now);
                if self.raft.leader() == Some(from) {
                    self.health.commit_is_known(committed.0);
                }
            }
            Input::Propose { command, reply } => self.propose(command, reply, now),
            Input::Read { reply } => self.read(reply, now),
            Input::Status { reply } => {
                let _ = reply.send(self.raft.status());
            }
            Input::Transfer { reply } => {
                let started = match self.raft.transfer_leadership(None, now) {
                    // A transfer in progress continues.
                    Ok(()) | Err(TransferError::Transferring { .. }) => true,
                    Err(_) => false,
                };
                let _ = reply.send(started);
            }
            Input::Persisted(tokens) => {
                for token in tokens {
                    self.raft.persisted(token, now);
                }
            }
            Input::Fetched(fetch, entries) => self.raft.fetched(fetch, entries, now),
            Input::DiskFull(full) => self.raft.set_disk_full(full, now),
            Input::StorageFailed => self.raft.storage_failed(now),
            Input::Stop => {}
        }
    }

    fn read(&mut self, reply: oneshot::Sender<ReadReply>, now: Instant) {
        let error = match self.raft.read(ReadMode::Quorum, now) {
            Ok(id) => {
                self.reads.insert(id, reply);
                return;
            }
            Err(error) => error,
        };
        let _ = reply.send(match error {
            raft_core::ReadError::Overloaded => ReadReply::Overloaded,
            raft_core::ReadError::Stopped => ReadReply::Stopped,
            _ => ReadReply::NoLeader,
        });
    }

    fn propose(&mut self, command: Bytes, reply: oneshot::Sender<ProposalOutcome>, now: Instant) {
        if reply.is_closed() {
            // The client has given up already and treats the outcome as unknown.
            return;
        }
        if self.outputs.apply.is_full() {
            let _ = reply.send(ProposalOutcome::Overloaded);
            return;
        }
        match self.raft.propose(command, now) {
            Ok(entry) => {
                // If this log loses the entry, the proposer gets no response: another log may
                // contain the entry, and another leader may commit it.
                self.proposals.insert(entry.index, (entry.term, reply));
            }
            Err(error) => {
                let _ = reply.send(match error {
                    ProposeError::NotLeader { .. } | ProposeError::Transferring { .. } => {
                        ProposalOutcome::NotLeader
                    }
                    ProposeError::Stopped => ProposalOutcome::Stopped,
                    _ => ProposalOutcome::Overloaded,
                });
            }
        }
    }

    /// Drains the effects of the server, and passes them to the parts that carry them out.
    fn dispatch_effects(&mut self, effects: &mut Effects) {
        self.raft.drain(effects);
        // The pattern names all fields, so the compiler rejects a forgotten effect.
        let Effects {
            write,
            messages,
            committed,
            fetches,
            // Nodes keep their whole logs, so no node sends a snapshot.
            snapshot_chunk_requests: _,
            snapshot_chunks,
            install,
            reads,
            events,
        } = effects;
        for event in events.drain(..) {
            self.outputs.recorder.record(&event);
        }
        if let Some(write) = write.take() {
            self.outputs.disk.write(write);
        }
        for fetch in fetches.drain(..) {
            self.outputs.disk.fetch(fetch);
        }
        snapshot_chunks.clear();
        if let Some(install) = install.take() {
            error!("a peer sent a snapshot, which this version does not support");
            self.raft.snapshot_damaged(install, self.now());
        }
        for Outbound { to, message } in messages.drain(..) {
            self.outputs.peers.send(to, message);
        }
        if !committed.is_empty() {
            let committed = committed
                .drain(..)
                .flat_map(|entries| entries.to_vec())
                .map(|entry| self.with_proposer(entry))
                .collect();
            self.outputs.apply.push(committed);
        }
        for outcome in reads.drain(..) {
            self.reply_to_read(outcome);
        }
        self.publish_summary();
    }

    fn reply_to_read(&mut self, outcome: ReadOutcome) {
        let (id, answer) = match outcome {
            ReadOutcome::Ready { id, read_index } => (id, ReadReply::Ready(read_index.0)),
            ReadOutcome::Aborted { id } => (id, ReadReply::NoLeader),
        };
        if let Some(reply) = self.reads.remove(&id) {
            let _ = reply.send(answer);
        }
    }

    fn publish_summary(&self) {
        let summary = StateSummary {
            leader: self.raft.leader(),
            is_leader: self.raft.role() == Role::Leader,
            term: self.raft.term(),
            commit_index: self.raft.commit_index(),
            last_index: self.raft.last_log().index,
            stopped: self.raft.stopped(),
        };
        self.health.commit_is_known(summary.commit_index.0);
        self.health.applied(*self.applied.borrow(), StdInstant::now());
        self.summary.send_if_modified(|current| {
            let has_changed = *current != summary;
            *current = summary;
            has_changed
        });
    }

    /// Adds the proposer to a committed entry. The proposer of another entry at the same index gets
    /// [`ProposalOutcome::Replaced`].
    fn with_proposer(&mut self, entry: Entry) -> Committed {
        let waiting = self.proposals.remove(&entry.id.index);
        let reply = match waiting {
            Some((term, reply)) if term == entry.id.term => Some(reply),
            Some((_, reply)) => {
                let _ = reply.send(ProposalOutcome::Replaced);
                None
            }
            None => None,
        };
        Committed { entry, reply }
    }
}

/// The largest index that the message says is committed in the cluster.
fn known_commit(message: &Message) -> LogIndex {
    match message {
        Message::AppendEntries(append) => append.leader_commit,
        Message::Heartbeat(heartbeat) => heartbeat.commit_index,
        Message::ReadIndexResponse(response) => response.read_index,
        _ => LogIndex(0),
    }
}
