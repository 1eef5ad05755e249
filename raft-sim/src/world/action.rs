//! The actions of a person, a campaign or a scenario on a world.

use raft_core::{Membership, NodeId};
use serde::{Deserialize, Serialize};

use crate::network::latency::DurationRange;
pub(crate) use crate::workload::request::Request;
use crate::world::apply_action::ActionError;
use crate::world::config::{PER_MILLE, TIME_MAX, WorldConfig};

/// An action on a world. Servers have numbers from 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Ends the process of a server. Writes that are not synced may be lost.
    Crash {
        /// The server.
        node: u64,
    },
    /// Ends all processes at once.
    PowerCut,
    /// Starts a server that is down from its disk.
    Restart {
        /// The server.
        node: u64,
    },
    /// Stops a process, which keeps its memory.
    Pause {
        /// The server.
        node: u64,
    },
    /// Continues a paused process.
    Resume {
        /// The server.
        node: u64,
    },
    /// Fires the election or heartbeat timer of a server. Its clock jumps to the deadline.
    #[serde(alias = "timeout")]
    FireTimer {
        /// The server.
        node: u64,
    },
    /// Lets the next sync of a disk fail.
    FailDisk {
        /// The server.
        node: u64,
    },
    /// Replaces a disk by an empty one and restarts the server. The server has lost its votes and
    /// entries, and keeps its number.
    WipeDisk {
        /// The server.
        node: u64,
    },
    /// Ends a server and destroys its disk. The server never starts again.
    #[serde(alias = "lose-disk")]
    DestroyDisk {
        /// The server.
        node: u64,
    },
    /// Corrupts an entry on a disk. Reads fail the checksum of the entry.
    #[serde(alias = "rot-disk")]
    CorruptEntry {
        /// The server.
        node: u64,
        /// The number of entries after the corrupt entry.
        back: u64,
    },
    /// Writes the first entry of the next write over an earlier entry, although the disk reports
    /// success.
    MisdirectWrite {
        /// The server.
        node: u64,
        /// The distance to the overwritten entry.
        back: u64,
    },
    /// Fills a disk. Writes wait for space.
    FillDisk {
        /// The server.
        node: u64,
    },
    /// Frees space on a full disk.
    FreeDisk {
        /// The server.
        node: u64,
    },
    /// Sets the duration of a sync, and repairs a failing disk.
    #[serde(alias = "set-disk")]
    SetSyncLatency {
        /// The server.
        node: u64,
        /// The duration in microseconds.
        #[serde(alias = "sync")]
        sync_latency: DurationRange,
    },
    /// Sets the drift of a clock. Negative means slow.
    SetClock {
        /// The server.
        node: u64,
        /// The drift in parts per million.
        drift: i32,
    },
    /// Moves a clock forward. Clocks never run backwards.
    JumpClock {
        /// The server.
        node: u64,
        /// The distance in microseconds.
        by: u64,
    },
    /// Cuts a link: messages from one server to another are lost.
    CutLink {
        /// The sender.
        from: u64,
        /// The receiver.
        to: u64,
    },
    /// Heals a link that was cut.
    HealLink {
        /// The sender.
        from: u64,
        /// The receiver.
        to: u64,
    },
    /// Isolates a server: all messages from and to it are lost.
    Isolate {
        /// The server.
        node: u64,
    },
    /// Ends the isolation of a server.
    Reconnect {
        /// The server.
        node: u64,
    },
    /// Cuts all links between servers that share no group. A server without a group is alone.
    Partition {
        /// The groups.
        groups: Vec<Vec<u64>>,
    },
    /// Heals all links and ends all isolations.
    HealNetwork,
    /// Sets the latencies, losses and duplicates of all links.
    SetNetwork {
        /// The latencies in microseconds.
        latency: DurationRange,
        /// The lost messages per thousand.
        loss_per_mille: u32,
        /// The duplicated messages per thousand.
        duplicate_per_mille: u32,
    },
    /// Sets the latencies of one link, regardless of those of other links.
    SetLatency {
        /// The sender.
        from: u64,
        /// The receiver.
        to: u64,
        /// The latencies in microseconds.
        latency: DurationRange,
    },
    /// Drops a message in flight.
    DropMessage {
        /// The number of the message.
        message: u64,
    },
    /// Duplicates a message in flight.
    DuplicateMessage {
        /// The number of the message.
        message: u64,
    },
    /// Delivers a message in flight or a held message now.
    DeliverMessage {
        /// The number of the message.
        message: u64,
    },
    /// Delays a message in flight.
    DelayMessage {
        /// The number of the message.
        message: u64,
        /// The delay in microseconds.
        by: u64,
    },
    /// Holds all messages between servers, including those in flight. They arrive only when they
    /// are delivered by an action or released.
    HoldMessages,
    /// Releases all held messages and stops holding messages.
    ReleaseMessages,
    /// Sets the losses of one link, in addition to those of the network.
    SetLoss {
        /// The sender.
        from: u64,
        /// The receiver.
        to: u64,
        /// The lost messages per thousand.
        loss_per_mille: u32,
    },
    /// Moves the clocks of all servers without leadership forward, so that their election timers
    /// fire at the time of the earliest one.
    AlignTimers,
    /// Moves the clocks of all servers without leadership forward, so that their election timers
    /// fire one by one at equal distances.
    SpreadTimers,
    /// Takes a snapshot of everything that a server has applied.
    TakeSnapshot {
        /// The server.
        node: u64,
    },
    /// Requests a membership change from the leader. Without a leader, or if the leader refuses,
    /// the action has no effect.
    ChangeMembership {
        /// The voters.
        voters: Vec<u64>,
        /// The learners.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        learners: Vec<u64>,
        /// The learners that become voters when they have caught up.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        joining: Vec<u64>,
    },
    /// Requests a leadership transfer from the leader.
    Transfer {
        /// The transfer target.
        to: u64,
    },
    /// Starts an operation of a client.
    Request {
        /// The server of the first attempt. By default the server that the clients believe to lead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<u64>,
        /// The operation.
        request: Request,
    },
    /// Stops the clients of the world after their current operations.
    StopClients,
    /// Continues after a violation, which otherwise ends the run.
    GoOn,
}

/// The part of the world that an action changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ActionCategory {
    Process,
    Clock,
    Disk,
    Network,
    Membership,
    Client,
    Run,
}

impl Action {
    /// The part of the world that the action changes.
    pub(crate) fn category(&self) -> ActionCategory {
        match self {
            Self::Crash { .. }
            | Self::PowerCut
            | Self::Restart { .. }
            | Self::Pause { .. }
            | Self::Resume { .. } => ActionCategory::Process,
            Self::FireTimer { .. }
            | Self::SetClock { .. }
            | Self::JumpClock { .. }
            | Self::AlignTimers
            | Self::SpreadTimers => ActionCategory::Clock,
            Self::FailDisk { .. }
            | Self::WipeDisk { .. }
            | Self::DestroyDisk { .. }
            | Self::CorruptEntry { .. }
            | Self::MisdirectWrite { .. }
            | Self::FillDisk { .. }
            | Self::FreeDisk { .. }
            | Self::SetSyncLatency { .. }
            | Self::TakeSnapshot { .. } => ActionCategory::Disk,
            Self::CutLink { .. }
            | Self::HealLink { .. }
            | Self::Isolate { .. }
            | Self::Reconnect { .. }
            | Self::Partition { .. }
            | Self::HealNetwork
            | Self::SetNetwork { .. }
            | Self::SetLatency { .. }
            | Self::SetLoss { .. }
            | Self::DropMessage { .. }
            | Self::DuplicateMessage { .. }
            | Self::DeliverMessage { .. }
            | Self::DelayMessage { .. }
            | Self::HoldMessages
            | Self::ReleaseMessages => ActionCategory::Network,
            Self::ChangeMembership { .. } | Self::Transfer { .. } => ActionCategory::Membership,
            Self::Request { .. } | Self::StopClients => ActionCategory::Client,
            Self::GoOn => ActionCategory::Run,
        }
    }

    /// The servers that the action names.
    pub(crate) fn nodes(&self) -> Vec<u64> {
        match self {
            Self::Crash { node }
            | Self::Restart { node }
            | Self::Pause { node }
            | Self::Resume { node }
            | Self::FireTimer { node }
            | Self::FailDisk { node }
            | Self::WipeDisk { node }
            | Self::DestroyDisk { node }
            | Self::CorruptEntry { node, .. }
            | Self::MisdirectWrite { node, .. }
            | Self::FillDisk { node }
            | Self::FreeDisk { node }
            | Self::TakeSnapshot { node }
            | Self::SetSyncLatency { node, .. }
            | Self::SetClock { node, .. }
            | Self::JumpClock { node, .. }
            | Self::Isolate { node }
            | Self::Reconnect { node }
            | Self::Transfer { to: node }
            | Self::Request { via: Some(node), .. } => vec![*node],
            Self::CutLink { from, to }
            | Self::HealLink { from, to }
            | Self::SetLatency { from, to, .. }
            | Self::SetLoss { from, to, .. } => vec![*from, *to],
            Self::Partition { groups } => groups.concat(),
            Self::ChangeMembership { voters, learners, joining } => {
                [&voters[..], learners, joining].concat()
            }
            Self::PowerCut
            | Self::HealNetwork
            | Self::SetNetwork { .. }
            | Self::DropMessage { .. }
            | Self::DuplicateMessage { .. }
            | Self::DeliverMessage { .. }
            | Self::DelayMessage { .. }
            | Self::HoldMessages
            | Self::ReleaseMessages
            | Self::AlignTimers
            | Self::SpreadTimers
            | Self::Request { via: None, .. }
            | Self::StopClients
            | Self::GoOn => Vec::new(),
        }
    }

    /// Checks that the action is valid in a world of this configuration, in any state.
    pub(crate) fn check(&self, config: &WorldConfig) -> Result<(), ActionError> {
        let mut nodes = self.nodes().into_iter();
        if let Some(unknown) = nodes.find(|node| !(1..=config.cluster.nodes).contains(node)) {
            return Err(ActionError::NoSuchNode(unknown));
        }
        match self {
            Self::SetLoss { loss_per_mille, .. } if *loss_per_mille > PER_MILLE => {
                Err(ActionError::MoreThanAll)
            }
            Self::CutLink { from, to }
            | Self::HealLink { from, to }
            | Self::SetLatency { from, to, .. }
            | Self::SetLoss { from, to, .. }
                if from == to =>
            {
                Err(ActionError::NoSuchLink(*from, *to))
            }
            Self::SetNetwork { loss_per_mille, duplicate_per_mille, .. }
                if *loss_per_mille.max(duplicate_per_mille) > PER_MILLE =>
            {
                Err(ActionError::MoreThanAll)
            }
            Self::SetSyncLatency { sync_latency: range, .. }
            | Self::SetLatency { latency: range, .. }
            | Self::SetNetwork { latency: range, .. } => {
                if range.min > range.max {
                    return Err(ActionError::EmptyRange);
                }
                check_time(range.max)
            }
            Self::JumpClock { by, .. } | Self::DelayMessage { by, .. } => check_time(*by),
            _ => Ok(()),
        }
    }

    /// The membership that the action requests. None for other actions.
    pub(crate) fn membership(&self, config: &WorldConfig) -> Option<Membership> {
        let Self::ChangeMembership { voters, learners, joining } = self else {
            return None;
        };
        let nodes = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect::<Vec<_>>();
        let witnesses = config.cluster.witnesses.iter();
        let witnesses = witnesses.filter(|node| voters.contains(node)).copied();
        let membership = Membership::new(nodes(voters))
            .with_learners(nodes(learners))
            .with_auto_promoted(nodes(joining))
            .with_witnesses(witnesses.map(NodeId));
        Some(membership)
    }
}

fn check_time(time: u64) -> Result<(), ActionError> {
    if time > TIME_MAX { Err(ActionError::TooLong) } else { Ok(()) }
}
