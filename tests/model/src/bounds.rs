//! The bounds of a model: the initial servers, and the events that may happen.

use std::collections::BTreeSet;

use raft_core::{Config, Membership, NodeId};

/// The number of servers, members or not.
pub const SERVERS: usize = 3;

/// The events that may happen, and their numbers. Events without a bound may happen at any time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The name on the command line.
    pub name: &'static str,
    /// The initial voters.
    pub founders: BTreeSet<u64>,
    /// The initial logs as the terms of their entries. All entries are durable.
    pub logs: [&'static [u64]; SERVERS],
    /// The last term in which a server campaigns.
    pub last_term: u64,
    /// The number of election timers that fire. Without pre-vote, `last_term` is a sufficient
    /// bound.
    pub timeouts: u8,
    /// The number of heartbeats, each to all followers.
    pub heartbeats: u8,
    /// The number of proposed commands.
    pub commands: u8,
    /// The number of crashes of any servers.
    pub crashes: u8,
    /// The voters of requested membership changes.
    pub targets: Vec<BTreeSet<u64>>,
    /// The number of membership changes.
    pub changes: u8,
    /// The number of leadership transfers.
    pub transfers: u8,
    /// The behaviour of the network.
    pub network: Network,
    /// The behaviour of the disks.
    pub disk: Disk,
    /// True if servers use pre-vote.
    pub pre_vote: bool,
    /// True if servers use check-quorum.
    pub check_quorum: bool,
    /// True if an AppendEntries contains all missing entries, false if it contains one.
    pub batches: bool,
    /// True if a server may receive two inputs before a drain.
    pub late_drains: bool,
    /// A rule that is disabled on all servers.
    #[cfg(feature = "sabotage")]
    pub disabled: Option<raft_core::Rule>,
}

/// The behaviour of the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// Each message may arrive at any later time, any number of times, or never. Loss, duplication
    /// and reordering have no bounds.
    Keeps,
    /// Each message may arrive once, at any later time, or never.
    Once,
}

/// The behaviour of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    /// A write is durable at once.
    Instant,
    /// Writes become durable at any later time, in order. A crash loses any number of writes that
    /// are not durable, from the last one on.
    InOrder,
    /// As [`Disk::InOrder`], but completions reach the server in any order.
    AnyOrder,
}

impl Bounds {
    /// Bounds of three voters with empty logs, one election, and faults of the network only.
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
            disabled: None,
        }
    }

    /// The number of terms in which an election is possible.
    pub(crate) fn terms(&self) -> u64 {
        let entries = self.logs.iter().flat_map(|log| log.iter());
        self.last_term - entries.max().copied().unwrap_or(0)
    }

    /// Returns true if the initial servers differ only in their names.
    pub(crate) fn are_symmetric(&self) -> bool {
        self.founders.len() == SERVERS
            && self.logs.iter().all(|log| log.is_empty())
            && self.targets.is_empty()
    }

    /// Returns true if no rule is disabled. Only then can messages without an effect be dropped.
    pub(crate) fn enforces_all_rules(&self) -> bool {
        #[cfg(feature = "sabotage")]
        return self.disabled.is_none();
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
        if let Some(rule) = self.disabled {
            config.disabled_rules = config.disabled_rules.and(rule);
        }
        config
    }
}
