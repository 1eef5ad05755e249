//! A cluster of raft 0.7.0, also known as raft-rs.

use anyhow::{Result, ensure};
use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, Message, MessageType};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole, Storage};

use crate::{Applied, Case, Cluster, Core, ENTRIES_KEPT, LEADER, MESSAGE_BYTES, SERVERS};

pub const CORE: Core = Core {
    name: "raft 0.7.0",
    ships: true,
    remark: "one `MsgPropose` with the whole batch; `batch_append`; `skip_bcast_commit`; its \
             own `MemStorage`",
    elect: |_: &Case| Ok(Box::new(Tikv::elect()?)),
};

struct Tikv {
    servers: Vec<RawNode<MemStorage>>,
    inboxes: [Vec<Message>; SERVERS],
    applied: [Applied; SERVERS],
    messages: u64,
}

impl Tikv {
    fn elect() -> Result<Self> {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let voters: Vec<_> = (1..=SERVERS as u64).collect();
        let servers = voters.iter().map(|id| {
            let config = Config {
                pre_vote: true,
                check_quorum: true,
                max_size_per_msg: MESSAGE_BYTES as u64,
                batch_append: true,
                skip_bcast_commit: true,
                ..Config::new(*id)
            };
            let members = ConfState::from((voters.clone(), vec![]));
            RawNode::new(&config, MemStorage::new_with_conf_state(members), &logger)
        });
        let mut cluster = Self {
            servers: servers.collect::<Result<_, _>>()?,
            inboxes: Default::default(),
            applied: Default::default(),
            messages: 0,
        };
        cluster.servers[LEADER].campaign()?;
        for _ in 0..8 {
            cluster.turn()?;
        }
        let leader = &cluster.servers[LEADER].raft;
        ensure!(leader.state == StateRole::Leader, "no leader");
        Ok(cluster)
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.messages += 1;
            self.inboxes[message.to as usize - 1].push(message);
        }
    }

    fn apply(&mut self, at: usize, entries: Vec<Entry>) {
        for entry in entries.iter().filter(|entry| !entry.data.is_empty()) {
            self.applied[at].apply(&entry.data);
        }
    }

    /// Processes a `Ready` in the order of the documentation of raft 0.7.0.
    fn process_effects(&mut self, at: usize) -> Result<()> {
        if !self.servers[at].has_ready() {
            return Ok(());
        }
        let mut ready = self.servers[at].ready();
        self.send(ready.take_messages());
        self.apply(at, ready.take_committed_entries());
        let mut storage = self.servers[at].store().wl();
        if !ready.entries().is_empty() {
            storage.append(ready.entries())?;
        }
        if let Some(hard_state) = ready.hs() {
            storage.set_hardstate(hard_state.clone());
        }
        drop(storage);
        self.send(ready.take_persisted_messages());
        let mut light = self.servers[at].advance(ready);
        if let Some(commit) = light.commit_index() {
            let mut storage = self.servers[at].store().wl();
            storage.mut_hard_state().set_commit(commit);
        }
        self.send(light.take_messages());
        self.apply(at, light.take_committed_entries());
        self.servers[at].advance_apply();
        self.compact(at)
    }

    fn compact(&mut self, at: usize) -> Result<()> {
        let server = &self.servers[at];
        let (first, applied) = (server.store().first_index()?, server.raft.raft_log.applied);
        if applied > first + 2 * ENTRIES_KEPT as u64 {
            let keep_from = applied - ENTRIES_KEPT as u64;
            server.store().wl().compact(keep_from)?;
        }
        Ok(())
    }
}

impl Cluster for Tikv {
    fn propose(&mut self, commands: &[Bytes]) -> Result<()> {
        let entries = commands
            .iter()
            .map(|command| Entry { data: command.clone().into(), ..Entry::default() });
        let leader = &mut self.servers[LEADER];
        let mut proposal =
            Message { from: leader.raft.id, entries: entries.collect(), ..Message::default() };
        proposal.set_msg_type(MessageType::MsgPropose);
        leader.step(proposal)?;
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        for at in 0..SERVERS {
            for message in self.inboxes[at].drain(..) {
                self.servers[at].step(message)?;
            }
            self.process_effects(at)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        for _ in 0..3 {
            self.servers[LEADER].ping();
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
