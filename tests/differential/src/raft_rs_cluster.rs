//! Servers of raft 0.7.0, also known as raft-rs.

use anyhow::Result;
use raft::eraftpb::{ConfState, Message, MessageType};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole};

use crate::{Cluster, View};

/// Servers of raft 0.7.0.
pub struct RaftRs {
    servers: Vec<RawNode<MemStorage>>,
    in_flight: Vec<Message>,
}

impl RaftRs {
    /// Servers with empty disks.
    pub fn new(servers: usize) -> Result<Self> {
        let voters: Vec<_> = (1..=servers as u64).collect();
        let nodes = voters.iter().map(|id| {
            let members = ConfState::from((voters.clone(), vec![]));
            start(*id, MemStorage::new_with_conf_state(members), 0)
        });
        Ok(Self { servers: nodes.collect::<Result<_>>()?, in_flight: Vec::new() })
    }

    /// Processes a `Ready` in the order of the documentation of raft 0.7.0.
    fn process_ready(&mut self, at: usize) -> Result<()> {
        let server = &mut self.servers[at];
        while server.has_ready() {
            let mut ready = server.ready();
            self.in_flight.append(&mut ready.take_messages());
            drop(ready.take_committed_entries());
            let mut storage = server.store().wl();
            if !ready.entries().is_empty() {
                storage.append(ready.entries())?;
            }
            if let Some(hard_state) = ready.hs() {
                storage.set_hardstate(hard_state.clone());
            }
            drop(storage);
            self.in_flight.append(&mut ready.take_persisted_messages());
            let mut light = server.advance(ready);
            if let Some(commit) = light.commit_index() {
                server.store().wl().mut_hard_state().set_commit(commit);
            }
            self.in_flight.append(&mut light.take_messages());
            drop(light.take_committed_entries());
            server.advance_apply();
        }
        Ok(())
    }
}

fn start(id: u64, storage: MemStorage, applied: u64) -> Result<RawNode<MemStorage>> {
    let config = Config { applied, max_size_per_msg: 1 << 20, ..Config::new(id) };
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    Ok(RawNode::new(&config, storage, &logger)?)
}

impl Cluster for RaftRs {
    fn campaign(&mut self, at: usize) -> Result<()> {
        self.servers[at].campaign()?;
        self.process_ready(at)
    }

    fn heartbeat(&mut self, at: usize) -> Result<()> {
        self.servers[at].ping();
        self.process_ready(at)
    }

    fn propose(&mut self, at: usize, command: u8) -> Result<()> {
        self.servers[at].propose(Vec::new(), vec![command])?;
        self.process_ready(at)
    }

    fn restart(&mut self, at: usize) -> Result<()> {
        let server = &self.servers[at];
        let applied = server.raft.raft_log.applied;
        self.servers[at] = start(at as u64 + 1, server.store().clone(), applied)?;
        Ok(())
    }

    fn settle(&mut self, links: &[Vec<bool>]) -> Result<()> {
        while !self.in_flight.is_empty() {
            for mut message in std::mem::take(&mut self.in_flight) {
                let kind = message.get_msg_type();
                if [MessageType::MsgRequestVote, MessageType::MsgRequestVoteResponse]
                    .contains(&kind)
                {
                    // Only raft 0.7.0 sends the commit index in an election.
                    message.commit = 0;
                    message.commit_term = 0;
                }
                let (from, to) = (message.from as usize - 1, message.to as usize - 1);
                if links[from][to] && message.term >= self.servers[to].raft.term {
                    self.servers[to].step(message)?;
                    self.process_ready(to)?;
                }
            }
        }
        Ok(())
    }

    fn view(&self, at: usize) -> Result<View> {
        let raft = &self.servers[at].raft;
        let log = raft.raft_log.all_entries();
        let entry = |entry: &raft::eraftpb::Entry| (entry.term, entry.data.to_vec());
        Ok(View {
            leads: raft.state == StateRole::Leader,
            term: raft.term,
            log: log.iter().map(entry).collect(),
            commit: usize::try_from(raft.raft_log.committed)?,
        })
    }
}
