//! How far a model goes, and what may happen in it.

use std::collections::BTreeSet;

use raft_core::{Config, Membership, NodeId};

/// The number of servers, members or not.
pub const SERVERS: usize = 3;

/// What may happen, and how often. Whatever has no bound here may happen at any time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// Who is a voter in the beginning.
    pub founders: BTreeSet<u64>,
    /// The logs in the beginning, as the terms of their entries; all are durable.
    pub logs: [&'static [u64]; SERVERS],
    /// No server stands for election in a later term.
    pub last_term: u64,
    /// Election timers that fire. Without pre-vote the terms are bound enough.
    pub timeouts: u8,
    /// Heartbeats that a leader sends to all.
    pub heartbeats: u8,
    /// Commands that clients propose.
    pub commands: u8,
    /// Crashes, of any server.
    pub crashes: u8,
    /// The voters that a leader may be asked for, if a change is left.
    pub targets: Vec<BTreeSet<u64>>,
    /// Changes of the membership.
    pub changes: u8,
    /// Transfers of the leadership.
    pub transfers: u8,
    /// What becomes of messages.
    pub network: Network,
    /// What becomes of writes.
    pub disk: Disk,
    /// Whether servers ask around before they stand.
    pub pre_vote: bool,
    /// Whether servers stay with a leader they hear, and leaders step down that hear nobody.
    pub check_quorum: bool,
    /// Whether an AppendEntries holds as many entries as there are, or one.
    pub batches: bool,
    /// Whether a server may take two inputs before it is drained.
    pub late_drains: bool,
    /// A rule that all servers break.
    #[cfg(feature = "sabotage")]
    pub broken: Option<raft_core::Rule>,
}

/// What becomes of messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// Every message that was ever sent may arrive at any later time, any number of times, or
    /// never: loss, repetition and reordering without bounds.
    Keeps,
    /// Every message may arrive once, at any later time, or never.
    Once,
}

/// What becomes of writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    /// They are durable at once.
    Instant,
    /// They become durable at any later time, in their order. A crash loses any number of those
    /// that are not, from the last one on.
    InOrder,
    /// The same, and the server may learn of them in any order.
    AnyOrder,
}

impl Bounds {
    /// Three voters with empty logs, one election, and nothing that goes wrong but the network.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            founders: BTreeSet::from([1, 2, 3]),
            logs: [&[]; SERVERS],
            last_term: 1,
            timeouts: u8::MAX,
            heartbeats: 0,
            commands: 0,
            crashes: 0,
            targets: Vec::new(),
            changes: 0,
            transfers: 0,
            network: Network::Keeps,
            disk: Disk::Instant,
            pre_vote: false,
            check_quorum: false,
            batches: true,
            late_drains: false,
            #[cfg(feature = "sabotage")]
            broken: None,
        }
    }

    /// The number of terms in which there may be an election.
    pub(crate) fn terms(&self) -> u64 {
        let entries = self.logs.iter().flat_map(|log| log.iter());
        self.last_term - entries.max().copied().unwrap_or(0)
    }

    /// Whether the servers are alike in the beginning, but for their names.
    pub(crate) fn are_alike(&self) -> bool {
        self.founders.len() == SERVERS
            && self.logs.iter().all(|log| log.is_empty())
            && self.targets.is_empty()
    }

    /// Whether a message that cannot have any effect by the rules may be forgotten.
    pub(crate) fn keeps_rules(&self) -> bool {
        #[cfg(feature = "sabotage")]
        return self.broken.is_none();
        #[cfg(not(feature = "sabotage"))]
        true
    }

    pub(crate) fn membership(voters: &BTreeSet<u64>) -> Membership {
        Membership::new(voters.iter().copied().map(NodeId))
    }

    pub(crate) fn config(&self, id: NodeId) -> Config {
        let mut config = Config::new(id);
        config.pre_vote = self.pre_vote;
        config.check_quorum = self.check_quorum;
        if !self.batches {
            config.append_bytes_max = 1;
        }
        #[cfg(feature = "sabotage")]
        if let Some(rule) = self.broken {
            config.disabled_rules = config.disabled_rules.and(rule);
        }
        config
    }
}
