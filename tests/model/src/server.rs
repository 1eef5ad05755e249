//! One server with its disk, and the result of one input.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{
    Config, Durable, Effects, Entry, HardState, Instant, LogId, LogIndex, Membership, Message,
    NodeId, Payload, Raft, RestoredState, Term,
};

use crate::bounds::{Bounds, Disk, SERVERS};

/// The time of all inputs.
const NOW: Instant = Instant(0);

/// A server in canonical form, and its disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Server {
    pub raft: Raft,
    /// The durable state.
    pub hard_state: HardState,
    pub log: Vec<Entry>,
    /// Pending writes, oldest first.
    pub writes: Vec<PendingWrite>,
    /// True if the effects of the latest input are not drained yet.
    pub undrained: bool,
}

/// A write that is not durable yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PendingWrite {
    hard_state: Option<HardState>,
    entries: Vec<Entry>,
    /// `None` after the server has received the token.
    token: Option<Durable>,
}

/// An input of one server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The election timer fires.
    Timeout,
    /// A leader's heartbeat is due.
    Heartbeat,
    /// A leader had no contact for the longest election timeout.
    Isolated,
    /// The leader was silent for the shortest election timeout, and the election timer has not
    /// fired.
    LeaderSilent,
    Receive(NodeId, Message),
    Propose(Bytes),
    Change(Membership),
    Transfer(NodeId),
    /// A write is durable.
    Sync(usize),
    /// The server restarts. This number of pending writes survives.
    Crash(usize),
    /// Only a drain.
    Drain,
}

/// The result of an input.
pub struct Outcome {
    pub server: Server,
    pub sent: Vec<(NodeId, Message)>,
    pub applied: Vec<Entry>,
}

impl Server {
    /// An initial server.
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

    /// Applies an input. `drain` is true if the effects are drained at once. Returns `None` if the
    /// input is impossible or rejected.
    pub fn step(&self, bounds: &Bounds, input: Input, drain: bool) -> Option<Outcome> {
        let mut server = self.clone();
        let Config {
            election_timeout_min: min, election_timeout_max: max, heartbeat_interval, ..
        } = bounds.config(self.raft.id());
        let raft = &mut server.raft;
        match input {
            Input::Timeout => raft.tick(NOW + min),
            Input::Heartbeat => raft.tick(NOW + heartbeat_interval),
            Input::Isolated => raft.tick(NOW + max.max(Duration::from_secs(2))),
            // This call only advances the time.
            Input::LeaderSilent => raft.report_unreachable(self.raft.id(), NOW + min),
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
            apply_write(&mut self.hard_state, &mut self.log, write);
        }
        self.raft.persisted(token, NOW);
        Some(())
    }

    fn crash(&mut self, bounds: &Bounds, survive: usize) -> Option<()> {
        if survive > self.writes.len() {
            return None;
        }
        for write in self.writes.drain(..).take(survive) {
            apply_write(&mut self.hard_state, &mut self.log, write);
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
            for entries in effects.committed.drain(..) {
                self.applied.extend_from_slice(&entries);
            }
            assert!(
                effects.fetches.is_empty() && effects.install.is_none(),
                "all entries are in memory, and no server takes snapshots"
            );
            let Some(write) = effects.write.take() else {
                return;
            };
            server.writes.push(PendingWrite {
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

/// Applies a write to the contents of the disk.
fn apply_write(hard_state: &mut HardState, log: &mut Vec<Entry>, write: PendingWrite) {
    *hard_state = write.hard_state.unwrap_or(*hard_state);
    if let Some(first) = write.entries.first() {
        log.retain(|entry| entry.id.index < first.id.index);
    }
    log.extend(write.entries);
}

/// Starts a server, for the first time or again. No token from before the start exists, so all
/// starts have the same boot number. The state machine is empty after a start.
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
        assert!(pushed.is_ok(), "the entries on the disk form a log: {pushed:?}");
    }
    let raft = Raft::new(config, restored, id.0, NOW);
    let mut raft =
        raft.unwrap_or_else(|error| unreachable!("the state on the disk is consistent: {error}"));
    raft.canonicalize([]);
    raft
}

/// The initial servers.
pub fn founded(bounds: &Bounds) -> [Server; SERVERS] {
    [1, 2, 3].map(|id| Server::new(bounds, NodeId(id)))
}
