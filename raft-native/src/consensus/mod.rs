//! The loop that owns the server: it takes what waits, steps the core, and hands out the effects.

pub(crate) mod apply_thread;
pub(crate) mod disk_thread;
pub(crate) mod failure;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc as thread_mpsc;
use std::time::Instant as Clock;

use bytes::Bytes;
use raft_core::{
    Durable, Effects, Entry, Fetch, Instant, LogIndex, Message, NodeId, Outbound, ProposeError,
    Raft, ReadId, ReadMode, ReadOutcome, Role, Status, StopReason, Term, TransferError,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tracing::error;

use crate::consensus::apply_thread::{ApplyBacklog, Committed, ProposalOutcome};
use crate::consensus::disk_thread::DiskRequest;
use crate::observe::event_log::Recorder;
use crate::observe::health::Health;
use crate::peer::Peers;

/// What reaches the loop.
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
    /// Transfer leadership to the best target. The reply says whether there is one.
    Transfer {
        reply: oneshot::Sender<bool>,
    },
    Persisted(Vec<Durable>),
    Fetched(Fetch, Vec<Entry>),
    StorageFailed,
    Stop,
}

/// What becomes of a read.
#[derive(Debug)]
pub(crate) enum ReadReply {
    /// Read when this index is applied.
    Ready(u64),
    /// Nobody leads, or not any more: ask again.
    NoLeader,
    /// Too many reads wait.
    Overloaded,
    /// This node has stopped.
    Stopped,
}

/// What everybody may know of the server at any time, without asking the loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct StateSummary {
    pub(crate) leader: Option<NodeId>,
    pub(crate) leads: bool,
    pub(crate) term: Term,
    pub(crate) commit_index: LogIndex,
    pub(crate) last_index: LogIndex,
    pub(crate) stopped: Option<StopReason>,
}

pub(crate) struct Consensus {
    pub(crate) raft: Raft,
    pub(crate) began: Clock,
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) peers: Peers,
    pub(crate) disk: thread_mpsc::Sender<DiskRequest>,
    pub(crate) apply: thread_mpsc::Sender<Vec<Committed>>,
    pub(crate) backlog: ApplyBacklog,
    pub(crate) recorder: Recorder,
    pub(crate) summary: watch::Sender<StateSummary>,
    pub(crate) applied: watch::Receiver<u64>,
    pub(crate) health: Arc<Health>,
    pub(crate) proposals: BTreeMap<LogIndex, (Term, oneshot::Sender<ProposalOutcome>)>,
    pub(crate) reads: HashMap<ReadId, oneshot::Sender<ReadReply>>,
}

/// Inputs that are stepped before the effects are drained.
const INPUTS_PER_DRAIN_MAX: usize = 1024;
/// When more bytes than this are committed and wait to be applied, no more are taken.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

impl Consensus {
    /// Runs until the node is told to stop. Returns the reason if the server stops for good.
    pub(crate) async fn run(mut self) -> Option<StopReason> {
        let reason = self.run_until_stopped().await;
        // Without an answer, the clients would have to assume that these may be done.
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
        Instant(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn to_tokio_instant(&self, instant: Instant) -> tokio::time::Instant {
        (self.began + std::time::Duration::from_micros(instant.0)).into()
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
            Input::Read { reply } => match self.raft.read(ReadMode::Quorum, now) {
                Ok(id) => {
                    self.reads.insert(id, reply);
                }
                Err(error) => {
                    let _ = reply.send(match error {
                        raft_core::ReadError::Overloaded => ReadReply::Overloaded,
                        raft_core::ReadError::Stopped => ReadReply::Stopped,
                        _ => ReadReply::NoLeader,
                    });
                }
            },
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
            Input::StorageFailed => self.raft.storage_failed(now),
            Input::Stop => {}
        }
    }

    fn propose(&mut self, command: Bytes, reply: oneshot::Sender<ProposalOutcome>, now: Instant) {
        if reply.is_closed() {
            // Its client has stopped waiting already: not proposing is the kinder choice.
            return;
        }
        if self.backlog.bytes() > BACKLOG_BYTES_MAX {
            let _ = reply.send(ProposalOutcome::Overloaded);
            return;
        }
        match self.raft.propose(command, now) {
            Ok(entry) => {
                // Whoever waits for an entry that this log has lost since learns nothing: the
                // entry may be in other logs, and be committed by another leader yet.
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

    fn dispatch_effects(&mut self, effects: &mut Effects) {
        self.raft.drain(effects);
        // All by name, so that a new one cannot be forgotten.
        let Effects {
            write,
            messages,
            committed,
            fetches,
            // Nodes keep their whole logs, so none of them sends a snapshot.
            snapshot_chunk_requests: _,
            snapshot_chunks: snapshot_pieces,
            install,
            reads,
            events,
        } = effects;
        for event in events.drain(..) {
            self.recorder.record(&event);
        }
        // Sending fails only when the other thread is gone, and then the node is stopping.
        if let Some(write) = write.take() {
            let _ = self.disk.send(DiskRequest::Write(write));
        }
        for fetch in fetches.drain(..) {
            let _ = self.disk.send(DiskRequest::Fetch(fetch));
        }
        snapshot_pieces.clear();
        if let Some(install) = install.take() {
            error!("a peer sent a snapshot, which this version does not take");
            self.raft.snapshot_damaged(install, self.now());
        }
        for Outbound { to, message } in messages.drain(..) {
            self.peers.send(to, message);
        }
        if !committed.is_empty() {
            let committed: Vec<_> = committed
                .drain(..)
                .flat_map(|piece| piece.to_vec())
                .map(|entry| self.with_proposer(entry))
                .collect();
            self.backlog.grow(&committed);
            let _ = self.apply.send(committed);
        }
        for outcome in reads.drain(..) {
            let (id, answer) = match outcome {
                ReadOutcome::Ready { id, read_index } => (id, ReadReply::Ready(read_index.0)),
                ReadOutcome::Aborted { id } => (id, ReadReply::NoLeader),
            };
            if let Some(reply) = self.reads.remove(&id) {
                let _ = reply.send(answer);
            }
        }
        let glance = StateSummary {
            leader: self.raft.leader(),
            leads: self.raft.role() == Role::Leader,
            term: self.raft.term(),
            commit_index: self.raft.commit_index(),
            last_index: self.raft.last_log().index,
            stopped: self.raft.stopped(),
        };
        self.health.commit_is_known(glance.commit_index.0);
        self.health.applied(*self.applied.borrow(), Clock::now());
        self.summary.send_if_modified(|current| {
            let changed = *current != glance;
            *current = glance;
            changed
        });
    }

    /// Finds who waits for a committed entry. Whoever proposed another entry for its place is told
    /// that it was replaced.
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

/// The last index that is committed in the cluster, as the sender says.
fn known_commit(message: &Message) -> LogIndex {
    match message {
        Message::AppendEntries(append) => append.leader_commit,
        Message::Heartbeat(heartbeat) => heartbeat.commit_index,
        Message::ReadIndexResponse(response) => response.read_index,
        _ => LogIndex(0),
    }
}
