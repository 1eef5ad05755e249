//! noraft 0.7.1. It replicates no commands, so the harness transfers them.

use std::collections::VecDeque;
use std::rc::Rc;

use anyhow::{Result, ensure};
use bytes::Bytes;
use noraft::{Action, LogEntries, LogEntry, LogIndex, Message, Node, NodeId};

use crate::{Applied, Case, Cluster, Core, ENTRIES_KEPT, LEADER, SERVERS};

pub const CORE: Core = Core {
    name: "noraft 0.7.1",
    ships: false,
    remark: "replicates, stores and applies no commands, and has no limits. The harness keeps \
             the commands of each server in a queue and sends them beside the messages, in \
             one slice for both followers",
    elect: |_: &Case| Ok(Box::new(Noraft::elect()?)),
};

/// A message, and the commands of its entries. Other entries have empty commands.
type Mail = (Message, Rc<[Bytes]>);

struct Server {
    node: Node,
    /// The commands of the log, beginning at `first`.
    commands: VecDeque<Bytes>,
    first: u64,
    applied_index: u64,
}

struct Noraft {
    servers: Vec<Server>,
    inboxes: [Vec<Mail>; SERVERS],
    applied: [Applied; SERVERS],
    messages: u64,
    none: Rc<[Bytes]>,
    /// The first index and the commands that arrived in this turn.
    arrived: Vec<(u64, Rc<[Bytes]>)>,
}

impl Server {
    fn new(id: NodeId) -> Self {
        Self { node: Node::start(id), commands: VecDeque::new(), first: 1, applied_index: 0 }
    }

    /// Stores the command of an entry.
    fn keep(&mut self, index: u64, command: Bytes) {
        let at = (index - self.first) as usize;
        self.commands.truncate(at);
        self.commands.push_back(command);
    }

    fn copy(&self, entries: &LogEntries) -> Rc<[Bytes]> {
        let from = (entries.prev_position().index.get() + 1 - self.first) as usize;
        let commands = self.commands.range(from..from + entries.len());
        commands.cloned().collect()
    }

    fn apply(&mut self, applied: &mut Applied) {
        let through = self.node.commit_index().get();
        let from = (self.applied_index + 1 - self.first) as usize;
        let count = (through - self.applied_index) as usize;
        for command in self.commands.range(from..from + count) {
            if !command.is_empty() {
                applied.apply(command);
            }
        }
        self.applied_index = through;
        if self.commands.len() > 2 * ENTRIES_KEPT {
            let gone = (self.applied_index + 1 - self.first) as usize - ENTRIES_KEPT;
            self.commands.drain(..gone);
            self.first += gone as u64;
        }
    }
}

impl Noraft {
    fn elect() -> Result<Self> {
        let ids: Vec<_> = (0..SERVERS as u64).map(NodeId::new).collect();
        let mut cluster = Self {
            servers: ids.iter().map(|id| Server::new(*id)).collect(),
            inboxes: Default::default(),
            applied: Default::default(),
            messages: 0,
            none: Rc::from([]),
            arrived: Vec::new(),
        };
        cluster.servers[LEADER].node.create_cluster(&ids);
        for _ in 0..8 {
            cluster.turn()?;
        }
        let leader = &cluster.servers[LEADER].node;
        ensure!(leader.role().is_leader(), "no leader");
        Ok(cluster)
    }

    fn send(&mut self, to: usize, message: Message, commands: Rc<[Bytes]>) {
        self.messages += 1;
        self.inboxes[to].push((message, commands));
    }

    fn commands_of(&self, at: usize, message: &Message) -> Rc<[Bytes]> {
        match message {
            Message::AppendEntriesCall { entries, .. } if !entries.is_empty() => {
                self.servers[at].copy(entries)
            }
            _ => self.none.clone(),
        }
    }

    /// Stores the commands of new entries. Entries of the leader that are not commands get empty
    /// ones.
    fn store(&mut self, at: usize, entries: &LogEntries) {
        let server = &mut self.servers[at];
        let first = entries.prev_position().index.get() + 1;
        let last = first + entries.len() as u64;
        for (begin, commands) in self.arrived.drain(..) {
            let skip = first.saturating_sub(begin) as usize;
            for (index, command) in (begin..last).zip(commands.iter()).skip(skip) {
                server.keep(index, command.clone());
            }
        }
        // The commands of the leader itself are already stored.
        let end = server.first + server.commands.len() as u64;
        for index in end..last {
            debug_assert!(
                server.node.log().entries().get_entry(LogIndex::new(index))
                    != Some(LogEntry::Command)
            );
            server.keep(index, Bytes::new());
        }
    }

    fn process_effects(&mut self, at: usize) {
        while let Some(action) = self.servers[at].node.actions_mut().next() {
            match action {
                Action::AppendLogEntries(entries) => self.store(at, &entries),
                Action::BroadcastMessage(message) => {
                    let commands = self.commands_of(at, &message);
                    let others = (0..SERVERS).filter(|other| *other != at);
                    for to in others {
                        self.send(to, message.clone(), commands.clone());
                    }
                }
                Action::SendMessage(to, message) => {
                    let commands = self.commands_of(at, &message);
                    self.send(to.get() as usize, message, commands);
                }
                Action::SetElectionTimeout
                | Action::SaveCurrentTerm
                | Action::SaveVotedFor
                | Action::InstallSnapshot(_) => {}
            }
        }
        self.arrived.clear();
        self.servers[at].apply(&mut self.applied[at]);
    }
}

impl Cluster for Noraft {
    fn propose(&mut self, commands: &[Bytes]) -> Result<()> {
        let leader = &mut self.servers[LEADER];
        for command in commands {
            let position = leader.node.propose_command();
            leader.keep(position.index.get(), command.clone());
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        for at in 0..SERVERS {
            for (message, commands) in self.inboxes[at].drain(..) {
                if let Message::AppendEntriesCall { entries, .. } = &message
                    && !commands.is_empty()
                {
                    let begin = entries.prev_position().index.get() + 1;
                    self.arrived.push((begin, commands));
                }
                let handled = self.servers[at].node.handle_message(&message);
                ensure!(handled.is_ok(), "a message was not understood");
            }
            self.process_effects(at);
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        for _ in 0..3 {
            self.servers[LEADER].node.heartbeat();
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
