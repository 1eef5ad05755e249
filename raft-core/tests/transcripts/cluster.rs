//! A cluster whose messages, disks and timers are controlled by a transcript.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{
    Config, Effects, Entry, Fetch, Instant, LogId, LogIndex, Membership, Message, NodeId, Payload,
    Raft, ReadOutcome, Snapshot, SnapshotInstall,
};

use crate::disk::{Disk, Pending};
use crate::format;

/// The rule that no server enforces, if any.
#[cfg(feature = "sabotage")]
pub type BrokenRule = Option<raft_core::Rule>;
/// Without the feature no rule can be disabled.
#[cfg(not(feature = "sabotage"))]
pub type BrokenRule = Option<std::convert::Infallible>;

pub struct Cluster {
    pub servers: BTreeMap<u64, Server>,
    /// The in-flight messages, in the order in which they were sent.
    pub mail: Vec<InFlight>,
    /// The cut links, as pairs of sender and receiver.
    pub cuts: BTreeSet<(u64, u64)>,
    pub now: Instant,
    /// The configuration of all servers.
    pub template: Config,
    pub founders: Membership,
    broken: BrokenRule,
    trace: Vec<String>,
    /// Commands are not traced at the moment.
    pub is_quiet: bool,
}

#[derive(Clone)]
pub struct InFlight {
    pub from: u64,
    pub to: u64,
    pub message: Message,
}

pub struct Server {
    /// `None` while the server is down.
    pub raft: Option<Raft>,
    disk: Disk,
    founders: Membership,
    /// The pending writes.
    pub writes: VecDeque<Waiting>,
    /// Writes stay pending until a command completes them.
    pub is_slow: bool,
    /// The state machine: the applied commands.
    pub applied: Vec<String>,
    arriving: Vec<u8>,
    /// Earlier snapshots under transfer.
    sent_snapshots: Vec<(Snapshot, Bytes)>,
    install: Option<SnapshotInstall>,
    /// A received snapshot waits until a command installs it.
    pub holds_snapshots: bool,
    pub reads: BTreeMap<u64, ReadOutcome>,
}

/// A pending write, with its text.
pub struct Waiting {
    pending: Pending,
    is_synced: bool,
    what: String,
}

impl Cluster {
    pub fn new(broken: BrokenRule) -> Self {
        let mut template = Config::new(NodeId(0));
        template.record_events = true;
        Self {
            servers: BTreeMap::new(),
            mail: Vec::new(),
            cuts: BTreeSet::new(),
            now: Instant(0),
            template,
            founders: Membership::default(),
            broken,
            trace: Vec::new(),
            is_quiet: false,
        }
    }

    pub fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    pub fn say(&mut self, line: String) {
        if !self.is_quiet {
            self.trace.push(line);
        }
    }

    pub fn server(&self, id: u64) -> Result<&Server, String> {
        self.servers.get(&id).ok_or(format!("there is no n{id}"))
    }

    pub fn server_mut(&mut self, id: u64) -> Result<&mut Server, String> {
        let server = self.servers.get_mut(&id);
        server.ok_or(format!("there is no n{id}"))
    }

    pub fn raft(&self, id: u64) -> Result<&Raft, String> {
        let raft = self.server(id)?.raft.as_ref();
        raft.ok_or(format!("n{id} is down"))
    }

    pub fn raft_mut(&mut self, id: u64) -> Result<&mut Raft, String> {
        let raft = self.server_mut(id)?.raft.as_mut();
        raft.ok_or(format!("n{id} is down"))
    }

    /// The running servers.
    pub fn running(&self) -> impl Iterator<Item = &Raft> {
        let rafts = self.servers.values().map(|server| server.raft.as_ref());
        rafts.flatten()
    }

    /// A server before its first start.
    pub fn add(&mut self, id: u64, founders: Membership) -> Result<(), String> {
        let server = Server {
            raft: None,
            disk: Disk::default(),
            founders,
            writes: VecDeque::new(),
            is_slow: false,
            applied: Vec::new(),
            arriving: Vec::new(),
            sent_snapshots: Vec::new(),
            install: None,
            holds_snapshots: false,
            reads: BTreeMap::new(),
        };
        self.servers.insert(id, server);
        self.start(id)
    }

    /// Writes a log to the disk of a server, and starts the server.
    pub fn with_log(&mut self, id: u64, terms: &[u64], term: u64) -> Result<(), String> {
        self.crash(id)?;
        let server = self.server_mut(id)?;
        let entries = (1..).zip(terms).map(|(index, term)| Entry {
            id: LogId::new(raft_core::Term(*term), LogIndex(index)),
            payload: Payload::Command(Bytes::from(format!("{term}.{index}"))),
        });
        server.disk.log = entries.collect();
        server.disk.hard_state.term = raft_core::Term(term);
        self.start(id)
    }

    /// Removes the memory of the server, and its pending writes.
    pub fn crash(&mut self, id: u64) -> Result<(), String> {
        self.raft(id)?;
        let server = self.server_mut(id)?;
        server.raft = None;
        server.writes.clear();
        server.arriving.clear();
        server.sent_snapshots.clear();
        server.install = None;
        server.reads.clear();
        Ok(())
    }

    pub fn start(&mut self, id: u64) -> Result<(), String> {
        let (now, mut config) = (self.now, self.template.clone());
        config.id = NodeId(id);
        config.witness = self.founders.is_witness(NodeId(id));
        self.break_rule(&mut config);
        let server = self.server_mut(id)?;
        if server.raft.is_some() {
            return Err(format!("n{id} runs already"));
        }
        let restored = server.disk.start(&server.founders, config.log_cache_bytes_max);
        let restored = restored.map_err(|error| format!("n{id}: {error}"))?;
        server.applied = server.disk.commands();
        let raft = Raft::new(config, restored, id, now);
        server.raft = Some(raft.map_err(|error| format!("n{id}: {error}"))?);
        Ok(())
    }

    #[cfg(feature = "sabotage")]
    fn break_rule(&self, config: &mut Config) {
        if let Some(rule) = self.broken {
            config.disabled_rules = config.disabled_rules.and(rule);
        }
    }

    #[cfg(not(feature = "sabotage"))]
    fn break_rule(&self, _: &mut Config) {
        debug_assert!(self.broken.is_none());
    }

    /// Executes the effects of a server until there are none. With a slow disk, its writes stay
    /// pending.
    pub fn drain(&mut self, id: u64) -> Result<(), String> {
        loop {
            let now = self.now;
            let mut effects = Effects::default();
            self.raft_mut(id)?.drain(&mut effects);
            if effects.is_empty() {
                return Ok(());
            }
            for event in effects.events.drain(..) {
                self.say(format!("n{id} {event}"));
            }
            let write = effects.write.take().map(|write| Waiting {
                what: format::write(&write),
                pending: Pending::from(write),
                is_synced: false,
            });
            let is_slow = self.server(id)?.is_slow;
            if let Some(write) = &write {
                let verb = if is_slow { "begins to write" } else { "writes" };
                self.say(format!("n{id} {verb}: {}", write.what));
            }
            self.server_mut(id)?.writes.extend(write);
            self.post(id, effects.messages.drain(..).map(|sent| (sent.to.0, sent.message)));
            let committed = effects.committed.iter().flatten().cloned();
            self.apply(id, &committed.collect::<Vec<_>>())?;
            for fetch in effects.fetches.drain(..) {
                self.fetch(id, fetch)?;
            }
            for read in effects.snapshot_chunk_requests.drain(..) {
                let server = self.server(id)?;
                let mut stored = server.disk.snapshot.iter().chain(&server.sent_snapshots);
                let found = stored.find(|(snapshot, _)| *snapshot == read.snapshot);
                let (_, data) = found.ok_or("there is no snapshot to read")?;
                let begin = read.offset as usize;
                let piece = data.slice(begin..begin + read.bytes);
                self.raft_mut(id)?.provide_snapshot_chunk(read, piece, now);
            }
            let server = self.server_mut(id)?;
            for piece in effects.snapshot_chunks.drain(..) {
                server.arriving.truncate(piece.offset as usize);
                server.arriving.extend_from_slice(&piece.data);
            }
            server.install = effects.install.take().or(server.install.take());
            if !server.holds_snapshots {
                server.install_snapshot(now)?;
            }
            for outcome in effects.reads.drain(..) {
                self.read_ended(id, outcome)?;
            }
            if !is_slow {
                while self.sync(id, 0)? {}
            }
        }
    }

    fn read_ended(&mut self, id: u64, outcome: ReadOutcome) -> Result<(), String> {
        let (ReadOutcome::Ready { id: read, .. } | ReadOutcome::Aborted { id: read }) = outcome;
        if let ReadOutcome::Aborted { .. } = outcome {
            self.say(format!("n{id} gives up read {}: ask the next leader", read.0));
        }
        self.server_mut(id)?.reads.insert(read.0, outcome);
        Ok(())
    }

    /// Sends messages. The trace shows the same message to several servers once.
    fn post(&mut self, from: u64, messages: impl Iterator<Item = (u64, Message)>) {
        let mut said: Vec<(String, String, &str)> = Vec::new();
        for (to, message) in messages {
            let words = format::message(&message);
            let is_cut = self.cuts.contains(&(from, to)) || !self.servers.contains_key(&to);
            let fate = if is_cut { " (lost)" } else { "" };
            match said.last_mut() {
                Some((receivers, same, end)) if *same == words && *end == fate => {
                    receivers.push_str(&format!(", n{to}"));
                }
                _ => said.push((format!("n{to}"), words, fate)),
            }
            if fate.is_empty() {
                self.mail.push(InFlight { from, to, message });
            }
        }
        for (receivers, words, fate) in said {
            self.say(format!("n{from} → {receivers}: {words}{fate}"));
        }
    }

    /// Loses the selected in-flight messages.
    pub fn lose(&mut self, chosen: impl Fn(&InFlight) -> bool) -> usize {
        let (lost, kept): (Vec<_>, Vec<_>) = self.mail.drain(..).partition(chosen);
        self.mail = kept;
        for InFlight { from, to, message } in &lost {
            self.say(format!("lost: n{from} → n{to}: {}", format::message(message)));
        }
        lost.len()
    }

    /// Delivers the first of the selected messages. Returns true if there was one.
    pub fn deliver_one(&mut self, chosen: impl Fn(&InFlight) -> bool) -> Result<bool, String> {
        let Some(position) = self.mail.iter().position(chosen) else {
            return Ok(false);
        };
        let InFlight { from, to, message } = self.mail.remove(position);
        let now = self.now;
        if self.server(to)?.raft.is_none() {
            let words = format::message(&message);
            self.say(format!("lost, for n{to} is down: n{from} → n{to}: {words}"));
            return Ok(true);
        }
        self.raft_mut(to)?.receive(NodeId(from), message, now);
        self.drain(to)?;
        Ok(true)
    }

    /// Advances the time of a server.
    pub fn elapse(&mut self, id: u64) -> Result<(), String> {
        let now = self.now;
        self.raft_mut(id)?.tick(now);
        self.drain(id)
    }

    /// Reports one of the pending writes of a server as durable. Returns true if there was one.
    /// After a crash, the disk contains the writes before the first pending one.
    pub fn sync(&mut self, id: u64, position: usize) -> Result<bool, String> {
        let now = self.now;
        let server = self.server_mut(id)?;
        let mut waiting = server.writes.iter_mut().filter(|write| !write.is_synced);
        let Some(write) = waiting.nth(position) else {
            return Ok(false);
        };
        write.is_synced = true;
        let token = write.pending.token.clone();
        while let Some(write) = server.writes.pop_front_if(|write| write.is_synced) {
            server.disk.take(write.pending);
        }
        self.raft_mut(id)?.persisted(token, now);
        Ok(true)
    }

    fn apply(&mut self, id: u64, entries: &[Entry]) -> Result<(), String> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(());
        };
        let range = if first.id.index == last.id.index {
            format!("entry {}", first.id.index)
        } else {
            format!("entries {} to {}", first.id.index, last.id.index)
        };
        let mut commands = Vec::new();
        for entry in entries {
            if let Payload::Command(command) = &entry.payload {
                commands.push(String::from_utf8_lossy(command).into_owned());
            }
        }
        let shown: Vec<_> = commands.iter().map(|c| format::text(c.as_bytes())).collect();
        let colon = if shown.is_empty() { "" } else { ": " };
        self.say(format!("n{id} applies {range}{colon}{}", shown.join(" ")));
        self.server_mut(id)?.applied.extend(commands);
        Ok(())
    }

    fn fetch(&mut self, id: u64, fetch: Fetch) -> Result<(), String> {
        self.say(format!("n{id} reads entries {} to {} from its disk", fetch.from, fetch.through));
        let now = self.now;
        let wanted = fetch.from..=fetch.through;
        let log = &self.server(id)?.disk.log;
        let entries = log.iter().filter(|entry| wanted.contains(&entry.id.index));
        let entries = entries.cloned().collect();
        self.raft_mut(id)?.fetched(fetch, entries, now);
        Ok(())
    }

    /// Takes a snapshot of the applied state, and retains this number of log entries.
    pub fn take_snapshot(&mut self, id: u64, keep: u64) -> Result<(), String> {
        let now = self.now;
        let server = self.server_mut(id)?;
        let raft = server.raft.as_mut().ok_or(format!("n{id} is down"))?;
        let index = raft.delivered_index();
        let term = raft.term_at(index).ok_or("nothing was applied")?;
        let lines = server.applied.iter().map(|command| format!("{command}\n"));
        let data = Bytes::from(lines.collect::<String>());
        let snapshot = Snapshot {
            last: LogId::new(term, index),
            membership: raft.membership_at(index).clone(),
            identity: data.len() as u64,
            size: data.len() as u64,
        };
        server.sent_snapshots.extend(server.disk.snapshot.replace((snapshot.clone(), data)));
        let retain_after = LogIndex(index.0.saturating_sub(keep));
        raft.report_snapshot(snapshot, retain_after, now);
        server.sent_snapshots.retain(|(snapshot, _)| raft.needs_snapshot(snapshot));
        self.drain(id)
    }

    /// The time at which a server's timer fires, not earlier than now.
    pub fn deadline(&self, id: u64) -> Result<Instant, String> {
        let deadline = self.raft(id)?.deadline();
        let deadline = deadline.ok_or(format!("n{id} has no timer"))?;
        Ok(deadline.max(self.now))
    }

    pub fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }
}

impl Server {
    /// Installs the received snapshot. Returns true if there was one.
    pub fn install_snapshot(&mut self, now: Instant) -> Result<bool, String> {
        let (Some(install), Some(raft)) = (self.install.take(), &mut self.raft) else {
            return Ok(false);
        };
        let data = std::mem::take(&mut self.arriving);
        if install.snapshot().size != data.len() as u64 {
            return Err("a snapshot arrived with another size than it was to have".into());
        }
        self.disk.snapshot = Some((install.snapshot().clone(), data.into()));
        self.applied = self.disk.commands();
        raft.snapshot_installed(install.installed(), now);
        Ok(true)
    }
}
