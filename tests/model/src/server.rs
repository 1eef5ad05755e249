//! One real server with its disk, and what it makes of one input.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{
    Config, Durable, Effects, Entry, HardState, Instant, LogId, LogIndex, Membership, Message,
    NodeId, Payload, Raft, RestoredState, Term,
};

use crate::bounds::{Bounds, Disk, SERVERS};

const NOW: Instant = Instant(0);

/// A server whose clocks rest, and its disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Server {
    pub raft: Raft,
    /// What survives a crash.
    pub hard_state: HardState,
    pub log: Vec<Entry>,
    /// Writes that were handed out and are not durable, oldest first.
    pub writes: Vec<Pending>,
    /// Whether an input was stepped and its effects are still in the server.
    pub undrained: bool,
}

/// A write on its way to the disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Pending {
    hard_state: Option<HardState>,
    entries: Vec<Entry>,
    /// Until the server was told that it is durable.
    token: Option<Durable>,
}

/// What happens to one server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The election timer fires.
    Timeout,
    /// A leader's heartbeat is due.
    Beat,
    /// A leader has not heard anybody for the longest election timeout.
    Isolated,
    /// The leader that was heard last has been silent for the shortest election timeout, and the
    /// election timer has not fired yet.
    Forget,
    Receive(NodeId, Message),
    Propose(Bytes),
    Change(Membership),
    Transfer(NodeId),
    /// A write is durable.
    Sync(usize),
    /// The server loses its memory and all writes but the first so many, and starts again.
    Crash(usize),
    /// Nothing but the drain.
    Drain,
}

/// What came of an input.
pub struct Outcome {
    pub server: Server,
    pub sent: Vec<(NodeId, Message)>,
    pub applied: Vec<Entry>,
}

impl Server {
    /// A server as it is in the beginning.
    pub fn new(bounds: &Bounds, id: NodeId) -> Self {
        let terms = bounds.logs[id.0 as usize - 1];
        let entry = |(index, term): (u64, &u64)| Entry {
            id: LogId::new(Term(*term), LogIndex(index)),
            payload: Payload::Noop,
        };
        let term = bounds.logs.iter().flat_map(|log| log.iter()).max();
        let hard_state = HardState { term: Term(term.copied().unwrap_or(0)), vote: None };
        let log: Vec<_> = (1..).zip(terms).map(entry).collect();
        Self {
            raft: start(bounds, id, hard_state, &log),
            hard_state,
            log,
            writes: Vec::new(),
            undrained: false,
        }
    }

    /// What becomes of the server. `drain` says whether its effects are taken out at once.
    ///
    /// `None` if the input is impossible, or refused.
    pub fn step(&self, bounds: &Bounds, input: Input, drain: bool) -> Option<Outcome> {
        let mut server = self.clone();
        let Config {
            election_timeout_min: min, election_timeout_max: max, heartbeat_interval, ..
        } = bounds.config(self.raft.id());
        let raft = &mut server.raft;
        match input {
            Input::Timeout => raft.tick(NOW + min),
            Input::Beat => raft.tick(NOW + heartbeat_interval),
            Input::Isolated => raft.tick(NOW + max.max(Duration::from_secs(2))),
            // An input that does nothing but to bring the time along.
            Input::Forget => raft.report_unreachable(self.raft.id(), NOW + min),
            Input::Receive(from, message) => raft.receive(from, message, NOW),
            Input::Propose(command) => drop(raft.propose(command, NOW).ok()?),
            Input::Change(target) => drop(raft.change_membership(target, NOW).ok()?),
            Input::Transfer(target) => raft.transfer_leadership(Some(target), NOW).ok()?,
            Input::Sync(which) => server.sync(which)?,
            Input::Crash(survive) => server.crash(bounds, survive)?,
            Input::Drain => {}
        }
        let mut outcome = Outcome { server, sent: Vec::new(), applied: Vec::new() };
        if drain {
            outcome.drain(bounds);
        }
        let server = &mut outcome.server;
        server.undrained = !drain;
        let tokens = server.writes.iter_mut();
        server.raft.canonicalize(tokens.filter_map(|write| write.token.as_mut()));
        Some(outcome)
    }

    fn sync(&mut self, which: usize) -> Option<()> {
        let token = self.writes.get_mut(which)?.token.take()?;
        let complete = self.writes.iter().take_while(|write| write.token.is_none());
        for write in self.writes.drain(..complete.count()) {
            store(&mut self.hard_state, &mut self.log, write);
        }
        self.raft.persisted(token, NOW);
        Some(())
    }

    fn crash(&mut self, bounds: &Bounds, survive: usize) -> Option<()> {
        if survive > self.writes.len() {
            return None;
        }
        for write in self.writes.drain(..).take(survive) {
            store(&mut self.hard_state, &mut self.log, write);
        }
        self.raft = start(bounds, self.raft.id(), self.hard_state, &self.log);
        Some(())
    }
}

impl Outcome {
    fn drain(&mut self, bounds: &Bounds) {
        let server = &mut self.server;
        let mut effects = Effects::default();
        loop {
            server.raft.drain(&mut effects);
            let sent = effects.messages.drain(..);
            self.sent.extend(sent.map(|sent| (sent.to, sent.message)));
            for piece in effects.committed.drain(..) {
                self.applied.extend_from_slice(&piece);
            }
            assert!(
                effects.fetches.is_empty() && effects.install.is_none(),
                "everything is in memory, and nobody takes snapshots"
            );
            let Some(write) = effects.write.take() else {
                return;
            };
            server.writes.push(Pending {
                hard_state: write.hard_state(),
                entries: write.entries().to_vec(),
                token: Some(write.synced()),
            });
            if bounds.disk != Disk::Instant {
                return;
            }
            server.sync(0);
        }
    }
}

/// Carries a write out.
fn store(hard_state: &mut HardState, log: &mut Vec<Entry>, write: Pending) {
    *hard_state = write.hard_state.unwrap_or(*hard_state);
    if let Some(first) = write.entries.first() {
        log.retain(|entry| entry.id.index < first.id.index);
    }
    log.extend(write.entries);
}

/// A start, for the first time or again. Nobody holds a token of an earlier one, so that all can
/// have the same number; the state machine is in memory only, and begins anew.
fn start(bounds: &Bounds, id: NodeId, hard_state: HardState, log: &[Entry]) -> Raft {
    let founders = if bounds.founders.contains(&id.0) {
        Bounds::membership(&bounds.founders)
    } else {
        Membership::default()
    };
    let config = bounds.config(id);
    let window = config.log_cache_bytes_max;
    let mut restored = RestoredState::new(1, founders, hard_state, LogIndex(0), window);
    for entry in log {
        let pushed = restored.push(entry.clone());
        assert!(pushed.is_ok(), "the disk holds a log: {pushed:?}");
    }
    let raft = Raft::new(config, restored, id.0, NOW);
    let mut raft = raft.unwrap_or_else(|error| unreachable!("the disk is in order: {error}"));
    raft.canonicalize([]);
    raft
}

/// All servers, in the beginning.
pub fn founded(bounds: &Bounds) -> [Server; SERVERS] {
    [1, 2, 3].map(|id| Server::new(bounds, NodeId(id)))
}
