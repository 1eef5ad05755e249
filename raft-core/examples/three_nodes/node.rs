//! The driver: a thread that owns the server and executes its effects.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use raft_core::{
    Config, Effects, Entries, Instant, LogIndex, Membership, Message, NodeId, Payload, Raft,
    ReadId, ReadMode, ReadOutcome, RestoredState, Term,
};

use crate::journal::Journal;

/// An input of a node.
pub enum Input {
    Message(NodeId, Message),
    Propose(Bytes, Sender<Answer>),
    Read(Sender<Answer>),
    Stop,
}

/// The response to a client.
pub enum Answer {
    /// The request was executed. Contains the state afterwards.
    Done(Vec<String>),
    /// Nothing was started.
    Refused,
    /// Another entry was committed at the index of the command.
    Lost,
    /// The outcome is unknown: the command may have been executed, or may be executed later.
    Unknown,
}

/// The input queues of all nodes.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<HashMap<NodeId, Sender<Input>>>>);

impl Network {
    /// Returns true if the receiver runs. Other messages are lost, as on any network.
    pub fn send(&self, to: NodeId, input: Input) -> bool {
        let inboxes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inbox = inboxes.get(&to);
        inbox.is_some_and(|inbox| inbox.send(input).is_ok())
    }
}

/// A running node.
pub struct Handle {
    pub id: NodeId,
    pub thread: JoinHandle<io::Result<()>>,
}

/// Starts a node, for the first time or again.
pub fn start(
    id: NodeId,
    founders: &[NodeId],
    journal: &Path,
    network: &Network,
) -> io::Result<Handle> {
    let (journal, hard_state, entries) = Journal::open(journal)?;
    let mut config = Config::new(id);
    config.election_timeout_min = Duration::from_millis(300);
    config.election_timeout_max = Duration::from_millis(600);
    config.heartbeat_interval = Duration::from_millis(30);

    // The time of day differs between two starts. With the number of the node, it is also a seed of
    // the election timeouts.
    let boot = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let boot = boot.map_or(0, |time| time.as_nanos() as u64);
    // The state machine is in memory, so it starts at 0 and receives all entries again.
    let applied = LogIndex(0);
    let founders = Membership::new(founders.iter().copied());
    let window = config.log_cache_bytes_max;
    let mut restored = RestoredState::new(boot, founders, hard_state, applied, window);
    for entry in entries {
        restored.push(entry).map_err(io::Error::other)?;
    }
    let seed = boot ^ id.0.rotate_left(32);
    let raft = Raft::new(config, restored, seed, Instant(0)).map_err(io::Error::other)?;

    let (inbox, inputs) = mpsc::channel();
    let mut inboxes = network.0.lock().unwrap_or_else(PoisonError::into_inner);
    inboxes.insert(id, inbox);
    let node = Node {
        raft,
        journal,
        network: network.clone(),
        began: std::time::Instant::now(),
        state: Vec::new(),
        applied,
        proposals: BTreeMap::new(),
        reads: HashMap::new(),
        confirmed: Vec::new(),
    };
    let thread = thread::Builder::new().name(id.to_string());
    let thread = thread.spawn(move || node.run(&inputs))?;
    Ok(Handle { id, thread })
}

/// The maximum number of inputs before their effects are executed. Without a limit, the server
/// would neither write nor send while inputs arrive quickly.
const STEPS_MAX: usize = 1024;

struct Node {
    raft: Raft,
    journal: Journal,
    network: Network,
    /// The origin of the clock of the node.
    began: std::time::Instant,
    state: Vec<String>,
    applied: LogIndex,
    /// The clients of commands, by the index and term of the proposal. Several clients can wait for
    /// one index: another server may still commit an entry that was replaced here.
    proposals: BTreeMap<(LogIndex, Term), Sender<Answer>>,
    /// The clients of reads that are not confirmed.
    reads: HashMap<ReadId, Sender<Answer>>,
    /// The clients of confirmed reads, by the index that must be applied.
    confirmed: Vec<(LogIndex, Sender<Answer>)>,
}

impl Node {
    fn run(mut self, inputs: &Receiver<Input>) -> io::Result<()> {
        // The buffer is reused.
        let mut effects = Effects::default();
        loop {
            let deadline = self.raft.deadline();
            let wait = deadline.map(|deadline| deadline.saturating_since(self.now()));
            match inputs.recv_timeout(wait.unwrap_or(Duration::MAX)) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(input) => self.step(input),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // The other waiting inputs share a write and messages with the first one.
            for input in inputs.try_iter().take(STEPS_MAX) {
                if let Input::Stop = input {
                    return Ok(());
                }
                self.step(input);
            }
            let now = self.now();
            self.raft.tick(now);
            self.carry_out(&mut effects)?;
        }
    }

    fn now(&self) -> Instant {
        Instant(self.began.elapsed().as_micros() as u64)
    }

    fn step(&mut self, input: Input) {
        // The clock is read after the input was received. With an earlier time, leases would last
        // too long.
        let now = self.now();
        match input {
            Input::Message(from, message) => self.raft.receive(from, message, now),
            Input::Propose(command, client) => match self.raft.propose(command, now) {
                Ok(id) => {
                    self.proposals.insert((id.index, id.term), client);
                }
                Err(_) => tell(Some(client), Answer::Refused),
            },
            Input::Read(client) => match self.raft.read(ReadMode::Quorum, now) {
                Ok(id) => {
                    self.reads.insert(id, client);
                }
                Err(_) => tell(Some(client), Answer::Refused),
            },
            Input::Stop => {}
        }
    }

    /// Executes effects until there are none. A durable write has effects, so there are several
    /// drains.
    fn carry_out(&mut self, effects: &mut Effects) -> io::Result<()> {
        loop {
            self.raft.drain(effects);
            if let Some(reason) = self.raft.stopped() {
                return Err(io::Error::other(reason.to_string()));
            }
            if effects.is_empty() {
                return Ok(());
            }
            // By name: an effect of a later version does not compile before it is executed here.
            let Effects {
                write,
                messages,
                committed,
                fetches,
                reads,
                events,
                // This node takes no snapshots.
                snapshot_chunk_requests: _,
                snapshot_chunks: _,
                install: _,
            } = effects;
            let id = self.raft.id();
            for sent in messages.drain(..) {
                self.network.send(sent.to, Input::Message(id, sent.message));
            }
            for piece in committed.drain(..) {
                self.apply(&piece);
            }
            for outcome in reads.drain(..) {
                self.read_ended(outcome);
            }
            for fetch in fetches.drain(..) {
                let now = self.now();
                let entries = self.journal.read(fetch.from, fetch.through, fetch.bytes_max)?;
                self.raft.fetched(fetch, entries, now);
            }
            events.clear();
            if let Some(write) = write.take() {
                let written = self.journal.write(&write);
                let now = self.now();
                match written {
                    Ok(()) => self.raft.persisted(write.synced(), now),
                    // The content of the disk is unknown. The server stops with a reason.
                    Err(_) => self.raft.storage_failed(now),
                }
            }
        }
    }

    fn apply(&mut self, entries: &Entries) {
        for entry in entries {
            self.applied = entry.id.index;
            if let Payload::Command(command) = &entry.payload {
                self.state.push(String::from_utf8_lossy(command).into_owned());
            }
            // Only now it is certain that this entry is at this index.
            let later = self.proposals.split_off(&(entry.id.index.next(), Term(0)));
            for ((_, term), client) in std::mem::replace(&mut self.proposals, later) {
                let is_same = term == entry.id.term;
                let answer = if is_same { Answer::Done(self.state.clone()) } else { Answer::Lost };
                tell(Some(client), answer);
            }
        }
        self.answer_reads();
    }

    fn read_ended(&mut self, outcome: ReadOutcome) {
        match outcome {
            ReadOutcome::Ready { id, read_index } => {
                let client = self.reads.remove(&id);
                self.confirmed.extend(client.map(|client| (read_index, client)));
                self.answer_reads();
            }
            ReadOutcome::Aborted { id } => tell(self.reads.remove(&id), Answer::Refused),
        }
    }

    /// Responds to the reads whose index is applied.
    fn answer_reads(&mut self) {
        let applied = self.applied;
        for (_, client) in self.confirmed.extract_if(.., |(index, _)| *index <= applied) {
            tell(Some(client), Answer::Done(self.state.clone()));
        }
    }
}

/// Sends a response. A client that no longer waits is ignored.
fn tell(client: Option<Sender<Answer>>, answer: Answer) {
    if let Some(client) = client {
        let _ = client.send(answer);
    }
}
