//! A cluster in memory, in which a test delivers messages and completes writes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{
    Config, Effects, Entry, Event, Fetch, IgnoreReason, Instant, LogId, LogIndex, Membership,
    Message, NodeId, Payload, Raft, ReadId, ReadMode, ReadOutcome, Role, Snapshot,
    SnapshotChunkRequest, SnapshotInstall, Term,
};

use crate::disk::{Disk, Pending};

pub struct Server {
    pub raft: Raft,
    pub disk: Disk,
    founders: Membership,
    /// The pending writes.
    pub writes: VecDeque<Pending>,
    pub applied: Vec<Entry>,
    /// The applied commands.
    pub state: Vec<String>,
    /// The received part of a snapshot.
    pub arriving: Vec<u8>,
    /// A snapshot that the test has to install.
    pub install: Option<SnapshotInstall>,
    pub fetches: Vec<Fetch>,
    /// Requests for snapshot chunks that the test has to answer.
    pub snapshot_reads: Vec<SnapshotChunkRequest>,
    /// Earlier snapshots under transfer.
    pub kept: Vec<(Snapshot, Bytes)>,
    pub reads: Vec<ReadOutcome>,
    pub events: Vec<Event>,
}

pub struct Cluster {
    pub servers: BTreeMap<u64, Server>,
    /// The in-flight messages: sender, receiver, message.
    pub mail: Vec<(u64, u64, Message)>,
    pub now: Instant,
    /// Syncs writes as soon as they are drained.
    pub sync: bool,
    /// The servers with full disks.
    pub full: BTreeSet<u64>,
    /// Installs snapshots as soon as they have arrived.
    pub install: bool,
    /// Answers requests for snapshot chunks immediately.
    pub read_snapshots: bool,
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
            full: BTreeSet::new(),
            install: true,
            read_snapshots: true,
            configure,
        };
        for id in 1..=size {
            cluster.add(id, Membership::new((1..=size).map(NodeId)));
        }
        cluster
    }

    /// A cluster whose servers have these logs, given as the terms of their entries. Their term is
    /// the largest of these.
    pub fn with_logs(logs: &[&[u64]], configure: fn(&mut Config)) -> Self {
        let mut cluster = Self::configured(logs.len() as u64, configure);
        let term = logs.iter().flat_map(|log| log.iter()).max();
        for (id, terms) in (1..).zip(logs) {
            let server = cluster.server(id);
            server.disk.log = (1..).zip(*terms).map(|(index, term)| entry(*term, index)).collect();
            server.disk.hard_state.term = Term(term.copied().unwrap_or(0));
            cluster.crash_and_restart(id);
        }
        cluster
    }

    /// A server that starts for the first time.
    pub fn add(&mut self, id: u64, founders: Membership) {
        let mut disk = Disk::default();
        let server = Server {
            raft: self.start(id, &founders, &mut disk),
            disk,
            founders,
            writes: VecDeque::new(),
            applied: Vec::new(),
            state: Vec::new(),
            arriving: Vec::new(),
            install: None,
            fetches: Vec::new(),
            snapshot_reads: Vec::new(),
            kept: Vec::new(),
            reads: Vec::new(),
            events: Vec::new(),
        };
        self.servers.insert(id, server);
    }

    fn start(&self, id: u64, founders: &Membership, disk: &mut Disk) -> Raft {
        let mut config = Config::new(NodeId(id));
        config.record_events = true;
        (self.configure)(&mut config);
        #[cfg(feature = "sabotage")]
        if let Some(rule) = broken_rule() {
            config.disabled_rules = config.disabled_rules.and(rule);
        }
        let restored = disk.start(founders, config.log_cache_bytes_max).unwrap();
        Raft::new(config, restored, id, self.now).unwrap()
    }

    /// Removes the memory of the server and its pending writes, and restarts it.
    pub fn crash_and_restart(&mut self, id: u64) {
        let mut server = self.servers.remove(&id).unwrap();
        server.raft = self.start(id, &server.founders, &mut server.disk);
        server.snapshot_reads.clear();
        server.kept.clear();
        server.writes.clear();
        server.applied.clear();
        server.state = server.disk.commands();
        server.arriving.clear();
        server.install = None;
        self.servers.insert(id, server);
    }

    pub fn raft(&mut self, id: u64) -> &mut Raft {
        &mut self.servers.get_mut(&id).unwrap().raft
    }

    pub fn server(&mut self, id: u64) -> &mut Server {
        self.servers.get_mut(&id).unwrap()
    }

    /// Drains each server once.
    pub fn drain(&mut self) {
        let (now, sync, install) = (self.now, self.sync, self.install);
        let read_snapshots = self.read_snapshots;
        for (id, server) in &mut self.servers {
            loop {
                let mut effects = Effects::default();
                server.raft.drain(&mut effects);
                if effects.is_empty() {
                    break;
                }
                if let Some(write) = effects.write.take() {
                    server.writes.push_back(Pending::from(write));
                }
                if sync && !self.full.contains(id) {
                    server.sync(now);
                }
                let sent = effects.messages.drain(..).map(|sent| (*id, sent.to.0, sent.message));
                self.mail.extend(sent);
                server.apply(effects.committed.drain(..).flat_map(|piece| piece.to_vec()));
                server.snapshot_reads.append(&mut effects.snapshot_chunk_requests);
                if read_snapshots {
                    server.read_snapshots(now);
                }
                for piece in effects.snapshot_chunks.drain(..) {
                    server.arriving.truncate(piece.offset as usize);
                    assert_eq!(server.arriving.len() as u64, piece.offset);
                    server.arriving.extend_from_slice(&piece.data);
                }
                server.install = effects.install.take().or(server.install.take());
                if install {
                    server.install(now);
                }
                server.fetches.append(&mut effects.fetches);
                server.reads.append(&mut effects.reads);
                server.events.append(&mut effects.events);
            }
        }
    }

    /// Delivers the in-flight messages that `allow` accepts, and those that they cause. The others
    /// are lost.
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

    /// Removes and returns the in-flight messages of a link.
    /// The reason of the last ignored message of a server.
    pub fn ignored(&mut self, id: u64) -> Option<IgnoreReason> {
        self.drain();
        self.server(id).events.iter().rev().find_map(|event| match event {
            Event::MessageIgnored { reason, .. } => Some(*reason),
            _ => None,
        })
    }

    pub fn take_mail(&mut self, from: u64, to: u64) -> Vec<Message> {
        let mail = std::mem::take(&mut self.mail);
        let (taken, left) = mail.into_iter().partition(|(f, t, _)| (*f, *t) == (from, to));
        self.mail = left;
        taken.into_iter().map(|(_, _, message)| message).collect::<Vec<_>>()
    }

    pub fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Fires the election timer of one server.
    pub fn time_out(&mut self, id: u64) {
        let deadline = self.raft(id).deadline().unwrap().max(self.now);
        self.now = deadline;
        self.raft(id).tick(deadline);
    }

    /// Elects a server with all votes.
    pub fn elect(&mut self, id: u64) {
        self.time_out(id);
        self.deliver();
        assert_eq!(self.raft(id).role(), Role::Leader);
    }

    pub fn beat(&mut self, leader: u64) {
        self.pass(Duration::from_millis(100));
        let now = self.now;
        self.raft(leader).tick(now);
    }

    pub fn propose(&mut self, id: u64, command: &'static str) -> LogId {
        let now = self.now;
        self.raft(id).propose(Bytes::from_static(command.as_bytes()), now).unwrap()
    }

    /// The terms of a server's log.
    pub fn terms(&mut self, id: u64) -> Vec<u64> {
        let raft = self.raft(id);
        let last = raft.last_log().index.0;
        (1..=last).map(|index| raft.term_at(LogIndex(index)).unwrap().0).collect()
    }

    /// The commands that a server has applied.
    pub fn commands(&mut self, id: u64) -> Vec<String> {
        self.server(id).state.clone()
    }

    pub fn read(&mut self, id: u64, mode: ReadMode) -> ReadId {
        let now = self.now;
        self.raft(id).read(mode, now).unwrap()
    }

    /// Takes a snapshot of the applied state, and retains `keep` entries.
    pub fn take_snapshot(&mut self, id: u64, retain: u64) {
        let now = self.now;
        let server = self.server(id);
        let last = server.raft.commit_index();
        let data = Bytes::from(server.state.iter().map(|c| format!("{c}\n")).collect::<String>());
        let snapshot = Snapshot {
            last: LogId::new(server.raft.term_at(last).unwrap(), last),
            membership: server.raft.membership_at(last).clone(),
            identity: data.len() as u64,
            size: data.len() as u64,
        };
        let earlier = server.disk.snapshot.replace((snapshot.clone(), data));
        server.kept.extend(earlier);
        let retain_after = LogIndex(last.0.saturating_sub(retain));
        server.raft.report_snapshot(snapshot, retain_after, now);
        server.kept.retain(|(snapshot, _)| server.raft.needs_snapshot(snapshot));
        self.drain();
    }

    /// Lets heartbeat intervals pass, and delivers between these servers until nothing changes.
    pub fn settle_among(&mut self, leader: u64, island: &[u64]) {
        for _ in 0..6 {
            self.beat(leader);
            self.deliver_among(island);
        }
    }

    /// Lets heartbeat intervals pass, and delivers messages until nothing changes.
    pub fn settle(&mut self, leader: u64) {
        for _ in 0..6 {
            self.beat(leader);
            self.deliver();
        }
    }
}

/// The rule that all servers do not enforce. A test that still passes does not guard it.
#[cfg(feature = "sabotage")]
fn broken_rule() -> Option<raft_core::Rule> {
    let name = std::env::var("RAFT_BROKEN_RULE").ok()?;
    let mut rules = raft_core::Rule::ALL.iter();
    rules.find(|rule| rule.name() == name).copied()
}

impl Server {
    /// Syncs all pending writes.
    pub fn sync(&mut self, now: Instant) {
        while let Some(pending) = self.writes.pop_front() {
            let token = pending.token.clone();
            self.disk.take(pending);
            self.raft.persisted(token, now);
        }
    }

    fn apply(&mut self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            if let Payload::Command(bytes) = &entry.payload {
                self.state.push(String::from_utf8(bytes.to_vec()).unwrap());
            }
            self.applied.push(entry);
        }
    }

    /// Answers all requests for chunks of the snapshot.
    pub fn read_snapshots(&mut self, now: Instant) {
        for read in self.snapshot_reads.drain(..) {
            let stored = self.disk.snapshot.iter().chain(&self.kept);
            let mut found = stored.filter(|(snapshot, _)| *snapshot == read.snapshot);
            let (_, data) = found.next().expect("a snapshot is there while it is needed");
            let begin = read.offset as usize;
            let piece = data.slice(begin..begin + read.bytes);
            self.raft.provide_snapshot_chunk(read, piece, now);
        }
    }

    /// Installs the received snapshot, if there is one.
    pub fn install(&mut self, now: Instant) {
        if let Some(install) = self.install.take() {
            let data = std::mem::take(&mut self.arriving);
            assert_eq!(install.snapshot().size, data.len() as u64);
            self.disk.snapshot = Some((install.snapshot().clone(), data.into()));
            self.state = self.disk.commands();
            self.raft.snapshot_installed(install.installed(), now);
        }
    }
}

pub fn entry(term: u64, index: u64) -> Entry {
    let payload = Payload::Command(Bytes::from(format!("{term}/{index}")));
    Entry { id: LogId::new(Term(term), LogIndex(index)), payload }
}
