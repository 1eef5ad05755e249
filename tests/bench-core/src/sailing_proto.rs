//! A cluster of sailing-proto 0.0.0.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use sailing_proto::{
    ByteCursor, Config, Data, DecodeError, Endpoint, EntriesRead, Entry, HardState, Index, Instant,
    LogDone, LogStore, MaybeOwned, Message, OpId, SnapshotChunkRead, SnapshotMeta, StableDone,
    StableStore, StateMachine, Term,
};

use crate::{Applied, Case, Cluster, Core, ENTRIES_KEPT, LEADER, MESSAGE_BYTES, SERVERS};

pub const CORE: Core = Core {
    name: "sailing-proto 0.0.0",
    ships: true,
    remark: "one `propose` per command; `flush_appends` once per turn. It encodes each \
             command into its own vector. It requires a log store (here a vector) and \
             snapshots (here empty). It responds to the acknowledgement of its last entry \
             with an empty AppendEntries, hence twice the messages",
    elect: |_: &Case| Ok(Box::new(Sailing::elect()?)),
};

const HEARTBEAT: Duration = Duration::from_millis(100);

/// A command that is encoded as its bytes.
struct Command(Bytes);

impl Data for Command {
    fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.0);
    }

    fn decode(cursor: &mut ByteCursor) -> Result<Self, DecodeError> {
        cursor.take_bytes(cursor.remaining()).map(Self)
    }
}

#[derive(Default)]
struct Machine(Applied);

impl StateMachine for Machine {
    type Command = Command;
    type Response = ();
    type Snapshot = ();
    type Error = Infallible;

    fn apply(&mut self, _: Index, command: Command) -> Result<(), Infallible> {
        self.0.apply(&command.0);
        Ok(())
    }

    fn snapshot(&self) -> Result<(), Infallible> {
        Ok(())
    }

    fn restore(&mut self, (): ()) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A log in memory. Each write is durable at once.
#[derive(Default)]
struct Log {
    /// The last compacted entry.
    start: Index,
    start_term: Term,
    entries: Vec<Entry>,
    done: VecDeque<LogDone>,
}

impl Log {
    fn position(&self, index: Index) -> usize {
        let position = index.get().saturating_sub(self.start.get() + 1) as usize;
        position.min(self.entries.len())
    }
}

impl LogStore for Log {
    type Error = Infallible;

    fn first_index(&self) -> Index {
        self.start.next()
    }

    fn last_index(&self) -> Index {
        Index::new(self.start.get() + self.entries.len() as u64)
    }

    fn term(&self, index: Index) -> Result<Term, Infallible> {
        Ok(match index.get().checked_sub(self.start.get()) {
            Some(0) => self.start_term,
            Some(after) => {
                let entry = self.entries.get(after as usize - 1);
                entry.map_or(Term::ZERO, Entry::term)
            }
            None => Term::ZERO,
        })
    }

    fn entries(&self, range: Range<Index>, bytes_max: u64) -> Result<EntriesRead<'_>, Infallible> {
        let wanted = &self.entries[self.position(range.start)..self.position(range.end)];
        let mut bytes = 0;
        let fit = wanted.iter().take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.data().len() as u64;
            first || bytes <= bytes_max
        });
        let fit = fit.count();
        Ok(EntriesRead::Ready(MaybeOwned::Borrowed(&wanted[..fit])))
    }

    fn submit_append(&mut self, id: OpId, entries: &[Entry]) {
        if let Some(first) = entries.first() {
            self.entries.truncate(self.position(first.index()));
            self.entries.extend_from_slice(entries);
        }
        self.done.push_back(LogDone::Appended(id));
    }

    fn compact(&mut self, through: Index) {
        let Some(last) = self.position(through.next()).checked_sub(1) else {
            return;
        };
        self.start_term = self.entries[last].term();
        self.start = self.entries[last].index();
        self.entries.drain(..=last);
        self.done.push_back(LogDone::Compacted(through));
    }

    fn restore(&mut self, last: Index, term: Term) {
        *self = Self { start: last, start_term: term, ..Self::default() };
    }

    fn poll(&mut self) -> Option<Result<LogDone, Infallible>> {
        self.done.pop_front().map(Ok)
    }

    fn has_pending(&self) -> bool {
        !self.done.is_empty()
    }
}

/// The term, the vote and the latest snapshot. Each write is durable at once.
struct Stable {
    hard_state: HardState<u64>,
    snapshot: Option<(SnapshotMeta<u64>, Bytes)>,
    done: VecDeque<StableDone>,
}

impl StableStore for Stable {
    type NodeId = u64;
    /// In this benchmark no follower needs a snapshot.
    type Error = &'static str;

    fn hard_state(&self) -> HardState<u64> {
        self.hard_state
    }

    fn submit_write(&mut self, id: OpId, hard_state: HardState<u64>) {
        self.hard_state = hard_state;
        self.done.push_back(StableDone::Wrote(id));
    }

    fn submit_snapshot(&mut self, id: OpId, meta: SnapshotMeta<u64>, data: Bytes) {
        self.snapshot = Some((meta, data));
        self.done.push_back(StableDone::SnapshotWritten(id));
    }

    fn snapshot(&self) -> Option<(SnapshotMeta<u64>, Bytes)> {
        self.snapshot.clone()
    }

    fn durable_snapshot(&self) -> Option<SnapshotMeta<u64>> {
        self.snapshot.as_ref().map(|(meta, _)| meta.clone())
    }

    fn snapshot_chunk(
        &self,
        offset: u64,
        len: u64,
    ) -> Option<Result<(SnapshotMeta<u64>, u64, SnapshotChunkRead), Self::Error>> {
        self.resident_snapshot_chunk(offset, len)
    }

    fn accept_snapshot_chunk(
        &mut self,
        _: &SnapshotMeta<u64>,
        _: u64,
        _: u64,
        _: &Bytes,
    ) -> Result<u64, Self::Error> {
        Err("no follower falls behind")
    }

    fn take_staged_snapshot(&mut self, _: &SnapshotMeta<u64>) -> Option<Bytes> {
        None
    }

    fn discard_snapshot_staging(&mut self) {}

    fn poll(&mut self) -> Option<Result<StableDone, Self::Error>> {
        self.done.pop_front().map(Ok)
    }

    fn has_pending(&self) -> bool {
        !self.done.is_empty()
    }
}

struct Server {
    endpoint: Endpoint<u64, Machine>,
    log: Log,
    stable: Stable,
}

struct Sailing {
    servers: Vec<Server>,
    inboxes: [Vec<(u64, Message<u64>)>; SERVERS],
    applied: [Applied; SERVERS],
    messages: u64,
    now: Instant,
}

impl Server {
    fn new(id: u64, voters: &[u64]) -> Result<Self> {
        let timeout = 10 * HEARTBEAT;
        let config = Config::try_new(id, voters.to_vec(), timeout, HEARTBEAT)?
            .with_pre_vote(true)
            .with_check_quorum(true)
            .with_max_size_per_msg(MESSAGE_BYTES as u64)
            .with_snapshot_threshold(2 * ENTRIES_KEPT);
        Ok(Self {
            endpoint: Endpoint::new(config, Instant::ORIGIN, id, Machine::default()),
            log: Log::default(),
            stable: Stable {
                hard_state: HardState::initial(),
                snapshot: None,
                done: VecDeque::new(),
            },
        })
    }
}

impl Sailing {
    fn elect() -> Result<Self> {
        let voters: Vec<_> = (1..=SERVERS as u64).collect();
        let servers = voters.iter().map(|id| Server::new(*id, &voters));
        let mut cluster = Self {
            servers: servers.collect::<Result<_>>()?,
            inboxes: Default::default(),
            applied: Default::default(),
            messages: 0,
            now: Instant::ORIGIN,
        };
        cluster.wake()?;
        for _ in 0..12 {
            cluster.turn()?;
        }
        let leader = &cluster.servers[LEADER].endpoint;
        ensure!(leader.role().is_leader(), "no leader");
        Ok(cluster)
    }

    /// Fires the timer of the leader, or of the server that must become leader.
    fn wake(&mut self) -> Result<()> {
        let server = &mut self.servers[LEADER];
        self.now = server.endpoint.poll_timeout().context("a timer")?;
        let (log, stable) = (&mut server.log, &mut server.stable);
        server.endpoint.handle_timeout(self.now, log, stable);
        self.process_effects(LEADER)
    }

    fn process_effects(&mut self, at: usize) -> Result<()> {
        let Server { endpoint, log, stable } = &mut self.servers[at];
        while endpoint.handle_storage(self.now, log, stable).is_more_pending() {}
        endpoint.flush_appends(self.now, log, stable);
        let from = endpoint.id();
        while let Some(sent) = endpoint.poll_message() {
            let (to, message) = sent.into_parts();
            self.messages += 1;
            self.inboxes[to as usize - 1].push((from, message));
        }
        while endpoint.poll_event().is_some() {}
        ensure!(!endpoint.is_poisoned(), "{:?}", endpoint.poison_reason());
        self.applied[at] = endpoint.state_machine().0;
        Ok(())
    }
}

impl Cluster for Sailing {
    fn propose(&mut self, commands: &[Bytes]) -> Result<()> {
        let server = &mut self.servers[LEADER];
        for command in commands {
            let (log, command) = (&mut server.log, Command(command.clone()));
            let proposed = server.endpoint.propose(self.now, log, &server.stable, &command);
            proposed.map_err(|error| anyhow!("{error}"))?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        for at in 0..SERVERS {
            let Server { endpoint, log, stable } = &mut self.servers[at];
            for (from, message) in self.inboxes[at].drain(..) {
                endpoint.handle_message(self.now, log, stable, from, message);
            }
            self.process_effects(at)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        for _ in 0..3 {
            self.wake()?;
            for _ in 0..3 {
                self.turn()?;
            }
        }
        Ok(())
    }

    fn applied(&self) -> &[Applied] {
        &self.applied
    }

    fn messages(&self) -> u64 {
        self.messages
    }
}
