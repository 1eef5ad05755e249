//! A cluster of raft-core.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use raft_core::{
    Config, Effects, Entry, HardState, Instant, LogIndex, Membership, NodeId, Outbound, Payload,
    Raft, RestoredState, Role, Write,
};

use crate::{Applied, Cluster, Core, ENTRIES_KEPT, LEADER, MESSAGE_BYTES, SERVERS};

pub const CORE: Core = Core {
    name: "raft-core",
    ships: true,
    remark: "one `propose` per command; one `drain` per turn, and a second one for a follower \
             that wrote",
    elect: |case| {
        let window = ENTRIES_KEPT * (size_of::<Entry>() + case.bytes);
        Ok(Box::new(CoreCluster::elect(SERVERS, Some(window))?))
    },
};

/// A cluster with any number of servers.
pub struct CoreCluster {
    pub servers: Vec<Raft>,
    /// The waiting messages of each server. Here `to` is the sender.
    pub inboxes: Vec<Vec<Outbound>>,
    effects: Effects,
    applied: Vec<Applied>,
    pub messages: u64,
    now: Instant,
    /// True if the leader has received commands since its last drain.
    has_commands: bool,
    /// A server that receives no messages.
    pub absent: Option<usize>,
    /// The durable log of the leader, for followers that need entries that have left memory.
    pub log: Option<Vec<Entry>>,
}

impl CoreCluster {
    /// A cluster without a leader. `window` is the size of the log cache in bytes.
    pub fn new(size: usize, window: Option<usize>) -> Result<Self> {
        let voters: Vec<_> = (1..=size as u64).map(NodeId).collect();
        let servers = voters.iter().map(|id| {
            let mut config = Config::new(*id);
            config.log_cache_bytes_max = window.unwrap_or(config.log_cache_bytes_max);
            config.append_bytes_max = MESSAGE_BYTES;
            let membership = Membership::new(voters.iter().copied());
            let window = config.log_cache_bytes_max;
            let fresh =
                RestoredState::new(1, membership, HardState::default(), LogIndex(0), window);
            Raft::new(config, fresh, id.0, Instant(0))
        });
        Ok(Self {
            servers: servers.collect::<Result<_, _>>()?,
            inboxes: voters.iter().map(|_| Vec::new()).collect(),
            effects: Effects::default(),
            applied: voters.iter().map(|_| Applied::default()).collect(),
            messages: 0,
            now: Instant(0),
            has_commands: false,
            absent: None,
            log: None,
        })
    }

    /// A cluster with a leader.
    pub fn elect(size: usize, window: Option<usize>) -> Result<Self> {
        let mut cluster = Self::new(size, window)?;
        cluster.campaign()?;
        Ok(cluster)
    }

    /// Makes the first server the leader.
    pub fn campaign(&mut self) -> Result<()> {
        self.wake()?;
        while self.inboxes.iter().any(|inbox| !inbox.is_empty()) {
            self.turn()?;
        }
        ensure!(self.servers[LEADER].role() == Role::Leader, "no leader");
        Ok(())
    }

    /// Fires the timer of the first server.
    pub fn wake(&mut self) -> Result<()> {
        self.now = self.servers[LEADER].deadline().context("the server has no timer")?;
        self.servers[LEADER].tick(self.now);
        self.receive(LEADER);
        self.process_effects(LEADER);
        Ok(())
    }

    pub fn receive(&mut self, at: usize) {
        let server = &mut self.servers[at];
        for Outbound { to: from, message } in self.inboxes[at].drain(..) {
            server.receive(from, message, self.now);
        }
    }

    /// Drains a server that has received its messages.
    pub fn process_effects(&mut self, at: usize) {
        let wrote = self.drain(at);
        // The acknowledgement of a follower waits for its write, so the follower is drained again.
        // A leader needs acknowledgements to commit, so its next turn is early enough.
        if wrote && self.servers[at].role() != Role::Leader {
            self.drain(at);
        }
    }

    fn drain(&mut self, at: usize) -> bool {
        let server = &mut self.servers[at];
        let from = server.id();
        server.drain(&mut self.effects);
        self.messages += self.effects.messages.len() as u64;
        for Outbound { to, message } in self.effects.messages.drain(..) {
            self.inboxes[to.0 as usize - 1].push(Outbound { to: from, message });
        }
        if let Some(absent) = self.absent {
            self.inboxes[absent].clear();
        }
        for entries in &self.effects.committed {
            for entry in entries {
                if let Payload::Command(command) = &entry.payload {
                    self.applied[at].apply(command);
                }
            }
        }
        self.effects.committed.clear();
        if !self.effects.fetches.is_empty() {
            self.fetch(at);
        }
        if at == LEADER
            && let (Some(log), Some(write)) = (&mut self.log, &self.effects.write)
        {
            log.extend_from_slice(write.entries());
        }
        let Some(durable) = self.effects.write.take().map(Write::synced) else {
            return false;
        };
        self.servers[at].persisted(durable, self.now);
        true
    }

    /// Reads entries that have left memory from the log of the leader.
    fn fetch(&mut self, at: usize) {
        for fetch in self.effects.fetches.drain(..) {
            let Some(log) = &self.log else { continue };
            let wanted = log[fetch.from.0 as usize - 1..fetch.through.0 as usize].iter();
            let mut bytes = 0;
            let wanted = wanted.take_while(|entry| {
                let first = bytes == 0;
                bytes += entry.bytes();
                first || bytes <= fetch.bytes_max
            });
            self.servers[at].fetched(fetch, wanted.cloned().collect(), self.now);
        }
    }
}

impl Cluster for CoreCluster {
    fn propose(&mut self, commands: &[Bytes]) -> Result<()> {
        self.has_commands = true;
        for command in commands {
            self.servers[LEADER].propose(command.clone(), self.now)?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        for at in 0..self.servers.len() {
            // A server without inputs since its last drain has no effects.
            let has_commands = at == LEADER && std::mem::take(&mut self.has_commands);
            if has_commands || !self.inboxes[at].is_empty() {
                self.receive(at);
                self.process_effects(at);
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        for _ in 0..3 {
            self.wake()?;
            self.turn()?;
            self.turn()?;
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
