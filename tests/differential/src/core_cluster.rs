//! Servers of raft-core.

use anyhow::{Result, anyhow};
use bytes::Bytes;
use raft_core::{
    Config, Effects, Entry, HardState, Instant, LogIndex, Membership, Message, NodeId, Payload,
    Raft, RestoredState, Role,
};

use crate::{Cluster, View};

/// The disabled rules of the servers of raft-core. Tests disable rules to show that the comparison
/// detects them.
#[derive(Clone, Copy, Default)]
pub struct Rules {
    /// The disabled rules.
    #[cfg(feature = "sabotage")]
    pub disabled: raft_core::DisabledRules,
}

impl Rules {
    pub(crate) fn apply(self, config: &mut Config) {
        #[cfg(feature = "sabotage")]
        {
            config.disabled_rules = self.disabled;
        }
        #[cfg(not(feature = "sabotage"))]
        let (Self {}, _) = (self, config);
    }
}

/// Servers of raft-core.
pub struct RaftCore {
    servers: Vec<Server>,
    in_flight: Vec<(usize, NodeId, Message)>,
    effects: Effects,
    now: Instant,
}

struct Server {
    raft: Raft,
    config: Config,
    founders: Membership,
    hard_state: HardState,
    log: Vec<Entry>,
    applied: LogIndex,
    boot: u64,
}

impl RaftCore {
    /// Servers with empty disks.
    pub fn new(servers: usize, rules: Rules) -> Result<Self> {
        let founders = Membership::new((1..=servers as u64).map(NodeId));
        let server = |id| {
            let mut config = Config::new(NodeId(id));
            // The implementations of pre-vote and check-quorum differ, so neither uses them.
            config.pre_vote = false;
            config.check_quorum = false;
            rules.apply(&mut config);
            Ok(Server {
                raft: start(
                    &config,
                    &founders,
                    HardState::default(),
                    LogIndex(0),
                    &[],
                    1,
                    Instant(0),
                )?,
                config,
                founders: founders.clone(),
                hard_state: HardState::default(),
                log: Vec::new(),
                applied: LogIndex(0),
                boot: 1,
            })
        };
        Ok(Self {
            servers: (1..=servers as u64).map(server).collect::<Result<_>>()?,
            in_flight: Vec::new(),
            effects: Effects::default(),
            now: Instant(0),
        })
    }

    fn elapse(&mut self, at: usize) {
        if let Some(deadline) = self.servers[at].raft.deadline() {
            self.now = self.now.max(deadline);
            self.servers[at].raft.tick(self.now);
        }
        self.process_ready(at);
    }

    fn process_ready(&mut self, at: usize) {
        let Server { raft, hard_state, log, applied, .. } = &mut self.servers[at];
        let from = raft.id();
        loop {
            raft.drain(&mut self.effects);
            for sent in self.effects.messages.drain(..) {
                self.in_flight.push((sent.to.0 as usize - 1, from, sent.message));
            }
            for entry in self.effects.committed.drain(..).flat_map(|piece| piece.to_vec()) {
                *applied = entry.id.index;
            }
            let Some(write) = self.effects.write.take() else {
                return;
            };
            *hard_state = write.hard_state().unwrap_or(*hard_state);
            if let Some(first) = write.entries().first() {
                log.truncate(first.id.index.0 as usize - 1);
            }
            log.extend_from_slice(write.entries());
            raft.persisted(write.synced(), self.now);
        }
    }
}

fn start(
    config: &Config,
    founders: &Membership,
    hard_state: HardState,
    applied: LogIndex,
    log: &[Entry],
    boot: u64,
    now: Instant,
) -> Result<Raft> {
    let window = config.log_cache_bytes_max;
    let mut restored = RestoredState::new(boot, founders.clone(), hard_state, applied, window);
    for entry in log {
        restored.push(entry.clone())?;
    }
    Ok(Raft::new(config.clone(), restored, config.id.0, now)?)
}

impl Cluster for RaftCore {
    fn campaign(&mut self, at: usize) -> Result<()> {
        self.elapse(at);
        Ok(())
    }

    fn heartbeat(&mut self, at: usize) -> Result<()> {
        self.elapse(at);
        Ok(())
    }

    fn propose(&mut self, at: usize, command: u8) -> Result<()> {
        let command = Bytes::copy_from_slice(&[command]);
        self.servers[at].raft.propose(command, self.now)?;
        self.process_ready(at);
        Ok(())
    }

    fn restart(&mut self, at: usize) -> Result<()> {
        let server = &mut self.servers[at];
        server.boot += 1;
        server.raft = start(
            &server.config,
            &server.founders,
            server.hard_state,
            server.applied,
            &server.log,
            server.boot,
            self.now,
        )?;
        Ok(())
    }

    fn settle(&mut self, links: &[Vec<bool>]) -> Result<()> {
        while !self.in_flight.is_empty() {
            for (to, from, message) in std::mem::take(&mut self.in_flight) {
                let is_up = links[from.0 as usize - 1][to];
                if is_up && term_of(&message)? >= self.servers[to].raft.term().0 {
                    self.servers[to].raft.receive(from, message, self.now);
                    self.process_ready(to);
                }
            }
        }
        Ok(())
    }

    fn view(&self, at: usize) -> Result<View> {
        let raft = &self.servers[at].raft;
        if let Some(reason) = raft.stopped() {
            return Err(anyhow!("server {at} stopped: {reason:?}"));
        }
        let entry = |entry: &Entry| match &entry.payload {
            Payload::Command(command) => (entry.id.term.0, command.to_vec()),
            _ => (entry.id.term.0, Vec::new()),
        };
        Ok(View {
            leads: raft.role() == Role::Leader,
            term: raft.term().0,
            log: raft.entries(LogIndex(1)).map(entry).collect(),
            commit: raft.commit_index().0 as usize,
        })
    }
}

fn term_of(message: &Message) -> Result<u64> {
    Ok(match message {
        Message::RequestVote(m) => m.term.0,
        Message::RequestVoteResponse(m) => m.term.0,
        Message::AppendEntries(m) => m.term.0,
        Message::AppendEntriesResponse(m) => m.term.0,
        Message::Heartbeat(m) => m.term.0,
        Message::HeartbeatResponse(m) => m.term.0,
        other => return Err(anyhow!("unexpected payload: {other:?}")),
    })
}
