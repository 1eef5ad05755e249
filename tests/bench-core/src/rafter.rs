//! A cluster of rafter 0.0.2-alpha.1.

use anyhow::{Result, ensure};
use bytes::Bytes;
use rafter::{
    ApplicationSnapshotKind, ApplicationSnapshotMetadata, ApplicationSnapshotVersion,
    ClientProposalInput, Input, LogIndex, Message, Node, NodeConfig, NodeId, Output, RaftSnapshot,
    RaftSnapshotMetadata, Role, SnapshotGroupId,
};

use crate::{Applied, Case, Cluster, Core, ENTRIES_KEPT, LEADER, MESSAGE_BYTES, SERVERS};

pub const CORE: Core = Core {
    name: "rafter 0.0.2-alpha.1",
    ships: true,
    remark: "`step` for one command, `step_proposal_batch` for more. Its `step` returns \
             outputs for each message and cannot merge them. Commands must be vectors, which \
             it copies",
    elect: |_: &Case| Ok(Box::new(Rafter::elect()?)),
};

struct Rafter {
    servers: Vec<Node>,
    inboxes: [Vec<(NodeId, Message)>; SERVERS],
    applied: [Applied; SERVERS],
    messages: u64,
    application: ApplicationSnapshotMetadata,
    group: SnapshotGroupId,
}

impl Rafter {
    fn elect() -> Result<Self> {
        let ids: Vec<_> = (1..=SERVERS as u64).map(NodeId).collect();
        let servers = ids.iter().map(|id| {
            let others = ids.iter().copied().filter(|other| other != id).collect();
            let timeout = 10 * id.0;
            let config = NodeConfig::new(*id, others, timeout)?
                .with_pre_vote(true)
                .with_check_quorum(true)
                .with_max_append_entries_bytes(MESSAGE_BYTES)
                .with_max_inflight_appends(256)
                .with_max_inflight_bytes(8 * MESSAGE_BYTES);
            Ok(Node::new(config))
        });
        let mut cluster = Self {
            servers: servers.collect::<Result<_>>()?,
            inboxes: Default::default(),
            applied: Default::default(),
            messages: 0,
            application: ApplicationSnapshotMetadata::new(
                ApplicationSnapshotKind::new("bench")?,
                ApplicationSnapshotVersion::new(1)?,
            ),
            group: SnapshotGroupId::new("bench")?,
        };
        for _ in 0..10 {
            let outputs = cluster.servers[LEADER].step(Input::Tick);
            cluster.process_effects(LEADER, outputs);
        }
        for _ in 0..8 {
            cluster.turn()?;
        }
        ensure!(cluster.servers[LEADER].role() == Role::Leader, "no leader");
        Ok(cluster)
    }

    fn process_effects(&mut self, at: usize, outputs: Vec<Output>) {
        let from = self.servers[at].id();
        for output in outputs {
            match output {
                Output::Send { to, message } => {
                    self.messages += 1;
                    self.inboxes[to.0 as usize - 1].push((from, message));
                }
                Output::Apply { payload, .. } => self.applied[at].apply(payload.as_slice()),
                _ => {}
            }
        }
    }

    /// Compacts the log often, because compaction copies the remaining entries.
    fn compact(&mut self, at: usize) -> Result<()> {
        let server = &mut self.servers[at];
        let applied = server.applied_index().0;
        if applied < server.snapshot_index().0 + 2 * ENTRIES_KEPT as u64 {
            return Ok(());
        }
        let last = LogIndex(applied - ENTRIES_KEPT as u64 / 8);
        let term = server.current_term();
        let metadata = RaftSnapshotMetadata::new(
            self.group.clone(),
            server.id(),
            last,
            server.term_at_index(last).unwrap_or(term),
            term,
            self.application.clone(),
        )?;
        let outputs = server.install_local_snapshot(RaftSnapshot::from_payload(metadata, &[]))?;
        self.process_effects(at, outputs);
        Ok(())
    }
}

impl Cluster for Rafter {
    fn propose(&mut self, commands: &[Bytes]) -> Result<()> {
        let leader = &mut self.servers[LEADER];
        let outputs = if let [command] = commands {
            let payload = command.to_vec();
            leader.step(Input::ClientProposal { payload })
        } else {
            let proposals = commands.iter().map(|command| ClientProposalInput {
                proposal_id: None,
                payload: command.to_vec(),
            });
            leader.step_proposal_batch(proposals.collect())
        };
        self.process_effects(LEADER, outputs);
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        for at in 0..SERVERS {
            let mut inbox = std::mem::take(&mut self.inboxes[at]);
            for (from, message) in inbox.drain(..) {
                let outputs = self.servers[at].step(Input::Message { from, message });
                self.process_effects(at, outputs);
            }
            // A server sends no messages to itself.
            self.inboxes[at] = inbox;
            self.compact(at)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        for _ in 0..3 {
            let outputs = self.servers[LEADER].step(Input::Tick);
            self.process_effects(LEADER, outputs);
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
