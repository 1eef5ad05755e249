//! The driver: one thread that owns the server, and does what it says.

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

/// What can happen to a node.
pub enum Input {
    Message(NodeId, Message),
    Propose(Bytes, Sender<Answer>),
    Read(Sender<Answer>),
    Stop,
}

/// What a client is told.
pub enum Answer {
    /// It is done; this is the state afterwards.
    Done(Vec<String>),
    /// Nothing was begun.
    Refused,
    /// Something else was committed in the command's place.
    Lost,
    /// It may have been done, or may still be.
    Unknown,
}

/// Where each node takes its inputs.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<HashMap<NodeId, Sender<Input>>>>);

impl Network {
    /// Whether there is anybody to send it to. Messages to nobody are lost, as on any network.
    pub fn send(&self, to: NodeId, input: Input) -> bool {
        let inboxes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inbox = inboxes.get(&to);
        inbox.is_some_and(|inbox| inbox.send(input).is_ok())
    }
}

/// A node that runs.
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

    // Never the same at two starts, so the time of day will do; and another one for each node, so
    // it seeds the election timeouts, too.
    let boot = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let boot = boot.map_or(0, |time| time.as_nanos() as u64);
    // The state machine lives in memory, so it begins at 0, and is handed everything again.
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

/// Inputs that are taken before their effects are carried out. They may come as fast as they are
/// taken: without a limit the server would never get to write or send anything.
const STEPS_MAX: usize = 1024;

struct Node {
    raft: Raft,
    journal: Journal,
    network: Network,
    /// The origin of the node's clock.
    began: std::time::Instant,
    state: Vec<String>,
    applied: LogIndex,
    /// Who waits for a command, by the index and term at which it was proposed. Several can wait
    /// for one index: an entry that was replaced here may still be committed by a server that has
    /// kept it.
    proposals: BTreeMap<(LogIndex, Term), Sender<Answer>>,
    /// Who waits for a read to be confirmed.
    reads: HashMap<ReadId, Sender<Answer>>,
    /// Who waits for an index to be applied.
    confirmed: Vec<(LogIndex, Sender<Answer>)>,
}

impl Node {
    fn run(mut self, inputs: &Receiver<Input>) -> io::Result<()> {
        // Filled and emptied again and again.
        let mut effects = Effects::default();
        loop {
            let deadline = self.raft.deadline();
            let wait = deadline.map(|deadline| deadline.saturating_since(self.now()));
            match inputs.recv_timeout(wait.unwrap_or(Duration::MAX)) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(input) => self.step(input),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // What else waits shares a write and messages with it.
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
        // After the input was taken: a moment from before it arrived would let leases last too
        // long.
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

    /// Does all that the server wants. A write that is on disk lets it want more, so it is asked
    /// until it wants nothing.
    fn carry_out(&mut self, effects: &mut Effects) -> io::Result<()> {
        loop {
            self.raft.drain(effects);
            if let Some(reason) = self.raft.stopped() {
                return Err(io::Error::other(reason.to_string()));
            }
            if effects.is_empty() {
                return Ok(());
            }
            // All of them, by name: one that comes with a later version does not compile until
            // somebody carries it out.
            let Effects {
                write,
                messages,
                committed,
                fetches,
                reads,
                events,
                // Nobody here takes snapshots.
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
                    // Nobody knows what is on the disk. The server promises nothing any more, and
                    // says why.
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
            // Only now it is certain what stands at this index, for ever: this entry, and no other
            // one.
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

    /// Answers the reads that see all they must see.
    fn answer_reads(&mut self) {
        let applied = self.applied;
        for (_, client) in self.confirmed.extract_if(.., |(index, _)| *index <= applied) {
            tell(Some(client), Answer::Done(self.state.clone()));
        }
    }
}

/// A client that does not wait any more is no concern of ours.
fn tell(client: Option<Sender<Answer>>, answer: Answer) {
    if let Some(client) = client {
        let _ = client.send(answer);
    }
}
