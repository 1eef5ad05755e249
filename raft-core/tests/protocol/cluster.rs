//! A cluster in memory whose messages and writes move only when a test says so.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{
    Config, Durable, Effects, Entry, Event, Fetch, HardState, Instant, LogId, LogIndex, Membership,
    Message, NodeId, Payload, Raft, ReadOutcome, Restored, Role, Term,
};

pub struct Server {
    pub raft: Raft,
    /// What survives a crash.
    pub hard_state: HardState,
    pub log: Vec<Entry>,
    /// Writes that were handed out and not synced.
    pub writes: VecDeque<(Option<HardState>, Vec<Entry>, Durable)>,
    pub applied: Vec<Entry>,
    pub fetches: Vec<Fetch>,
    pub reads: Vec<ReadOutcome>,
    pub events: Vec<Event>,
    boot: u64,
}

pub struct Cluster {
    pub servers: BTreeMap<u64, Server>,
    /// Messages on the way: sender, receiver, message.
    pub mail: Vec<(u64, u64, Message)>,
    pub now: Instant,
    /// Whether writes are synced as soon as they are handed out.
    pub sync: bool,
    configure: fn(&mut Config),
}

pub const TIMEOUT_MIN: Duration = Duration::from_millis(1000);

impl Cluster {
    pub fn new(size: u64) -> Self {
        Self::configured(size, |_| {})
    }

    pub fn configured(size: u64, configure: fn(&mut Config)) -> Self {
        let mut cluster = Self {
            servers: BTreeMap::new(),
            mail: Vec::new(),
            now: Instant(0),
            sync: true,
            configure,
        };
        for id in 1..=size {
            cluster.start(id, size, HardState::default(), Vec::new(), 1);
        }
        cluster
    }

    /// A cluster whose servers have these logs, given as the terms of their entries, and the
    /// term of the last entry of any of them.
    pub fn with_logs(logs: &[&[u64]], configure: fn(&mut Config)) -> Self {
        let mut cluster = Self::configured(0, configure);
        let term = logs
            .iter()
            .flat_map(|log| log.iter())
            .max()
            .copied()
            .unwrap_or(0);
        for (id, terms) in (1..).zip(logs) {
            let entries = (1..)
                .zip(*terms)
                .map(|(index, term)| entry(*term, index))
                .collect();
            let hard_state = HardState {
                term: Term(term),
                vote: None,
            };
            cluster.start(id, logs.len() as u64, hard_state, entries, 1);
        }
        cluster
    }

    fn start(&mut self, id: u64, size: u64, hard_state: HardState, log: Vec<Entry>, boot: u64) {
        let mut config = Config::new(NodeId(id));
        config.explain = true;
        (self.configure)(&mut config);
        let membership = Membership::new((1..=size).map(NodeId));
        let window = config.window_bytes_max;
        let mut restored = Restored::new(boot, membership, hard_state, LogIndex(0), window);
        for entry in &log {
            restored.push(entry.clone()).unwrap();
        }
        let raft = Raft::new(config, restored, id, self.now).unwrap();
        let server = Server {
            raft,
            hard_state,
            log,
            writes: VecDeque::new(),
            applied: Vec::new(),
            fetches: Vec::new(),
            reads: Vec::new(),
            events: Vec::new(),
            boot,
        };
        self.servers.insert(id, server);
    }

    /// The server loses its memory and what it had not synced, and starts again.
    pub fn crash_and_restart(&mut self, id: u64) {
        let size = self.servers.len() as u64;
        let server = self.servers.remove(&id).unwrap();
        self.start(id, size, server.hard_state, server.log, server.boot + 1);
    }

    pub fn raft(&mut self, id: u64) -> &mut Raft {
        &mut self.servers.get_mut(&id).unwrap().raft
    }

    pub fn server(&mut self, id: u64) -> &mut Server {
        self.servers.get_mut(&id).unwrap()
    }

    /// Drains every server once.
    pub fn drain(&mut self) {
        let (now, sync) = (self.now, self.sync);
        for (id, server) in &mut self.servers {
            loop {
                let mut effects = Effects::default();
                server.raft.drain(&mut effects);
                if effects.is_empty() {
                    break;
                }
                if let Some(write) = effects.write.take() {
                    let (hard_state, entries) = (write.hard_state(), write.entries().to_vec());
                    server
                        .writes
                        .push_back((hard_state, entries, write.synced()));
                }
                if sync {
                    server.sync(now);
                }
                let sent = effects
                    .messages
                    .drain(..)
                    .map(|sent| (*id, sent.to.0, sent.message));
                self.mail.extend(sent);
                server.applied.append(&mut effects.committed);
                server.fetches.append(&mut effects.fetches);
                server.reads.append(&mut effects.reads);
                server.events.append(&mut effects.events);
            }
        }
    }

    /// Delivers what is on the way, and what that brings about, for as long as `allow` lets a
    /// message through. The others are lost.
    pub fn deliver_where(&mut self, allow: impl Fn(u64, u64, &Message) -> bool) {
        self.drain();
        while !self.mail.is_empty() {
            for (from, to, message) in std::mem::take(&mut self.mail) {
                if allow(from, to, &message) {
                    self.hand_over(from, to, message);
                }
            }
            self.drain();
        }
    }

    pub fn deliver(&mut self) {
        self.deliver_where(|_, _, _| true);
    }

    /// Delivers only between these servers.
    pub fn deliver_among(&mut self, island: &[u64]) {
        self.deliver_where(|from, to, _| island.contains(&from) && island.contains(&to));
    }

    pub fn hand_over(&mut self, from: u64, to: u64, message: Message) {
        let now = self.now;
        self.raft(to).receive(NodeId(from), message, now);
    }

    /// Takes the messages on the way from one server to another.
    pub fn take_mail(&mut self, from: u64, to: u64) -> Vec<Message> {
        let mail = std::mem::take(&mut self.mail);
        let (taken, left) = mail
            .into_iter()
            .partition(|(f, t, _)| (*f, *t) == (from, to));
        self.mail = left;
        taken
            .into_iter()
            .map(|(_, _, message)| message)
            .collect::<Vec<_>>()
    }

    pub fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Lets the election timer of a server fire, and no other.
    pub fn time_out(&mut self, id: u64) {
        let deadline = self.raft(id).deadline().unwrap().max(self.now);
        self.now = deadline;
        self.raft(id).elapse(deadline);
    }

    /// Makes a server the leader, with the votes of all.
    pub fn elect(&mut self, id: u64) {
        self.time_out(id);
        self.deliver();
        assert_eq!(self.raft(id).role(), Role::Leader);
    }

    pub fn beat(&mut self, leader: u64) {
        self.pass(Duration::from_millis(100));
        let now = self.now;
        self.raft(leader).elapse(now);
    }

    pub fn propose(&mut self, id: u64, command: &'static str) -> LogId {
        let now = self.now;
        self.raft(id)
            .propose(Bytes::from_static(command.as_bytes()), now)
            .unwrap()
    }

    /// The terms of a server's log.
    pub fn terms(&mut self, id: u64) -> Vec<u64> {
        let raft = self.raft(id);
        let last = raft.last_log().index.0;
        (1..=last)
            .map(|index| raft.term_at(LogIndex(index)).unwrap().0)
            .collect()
    }

    /// The commands that a server has applied.
    pub fn commands(&mut self, id: u64) -> Vec<String> {
        let command = |entry: &Entry| match &entry.payload {
            Payload::Noop => None,
            Payload::Command(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
        };
        self.server(id).applied.iter().filter_map(command).collect()
    }
}

impl Server {
    /// Syncs all writes.
    pub fn sync(&mut self, now: Instant) {
        while let Some((hard_state, entries, token)) = self.writes.pop_front() {
            self.hard_state = hard_state.unwrap_or(self.hard_state);
            if let Some(first) = entries.first() {
                self.log.truncate(first.id.index.0 as usize - 1);
            }
            self.log.extend(entries);
            self.raft.persisted(token, now);
        }
    }
}

pub fn entry(term: u64, index: u64) -> Entry {
    let payload = Payload::Command(Bytes::from(format!("{term}/{index}")));
    Entry {
        id: LogId::new(Term(term), LogIndex(index)),
        payload,
    }
}
