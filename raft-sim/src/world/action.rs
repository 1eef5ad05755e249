//! What a person, or a fault schedule, can do to a world.

use raft_core::{Membership, NodeId};
use serde::{Deserialize, Serialize};

use crate::util::rng::DurationRange;
use crate::world::apply_action::ActionError;
use crate::world::config::{PER_MILLE, TIME_MAX, WorldConfig};

/// An intervention. Nodes are named by their numbers, from 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// The node's process ends at once; what it had not synced may be lost.
    Crash {
        /// Which node.
        node: u64,
    },
    /// All nodes lose power at once.
    PowerCut,
    /// A crashed node starts again from its disk.
    Restart {
        /// Which node.
        node: u64,
    },
    /// The node's process stops running, but keeps its memory.
    Pause {
        /// Which node.
        node: u64,
    },
    /// A paused node goes on.
    Resume {
        /// Which node.
        node: u64,
    },
    /// The node's election timer, or heartbeat timer, fires at once: its clock jumps there.
    #[serde(alias = "timeout")]
    FireTimer {
        /// Which node.
        node: u64,
    },
    /// The next sync of the node's disk fails.
    FailDisk {
        /// Which node.
        node: u64,
    },
    /// The node loses its disk, and starts at once with an empty one, under the same name: it knows
    /// of no vote and of no entry.
    WipeDisk {
        /// Which node.
        node: u64,
    },
    /// The node ends, and its disk is gone for good. It never starts again under this name.
    #[serde(alias = "lose-disk")]
    DestroyDisk {
        /// Which node.
        node: u64,
    },
    /// An entry on the node's disk decays. Whoever reads it sees that its checksum does not fit.
    #[serde(alias = "rot-disk")]
    CorruptEntry {
        /// Which node.
        node: u64,
        /// How many entries come after it on that disk.
        back: u64,
    },
    /// The first entry of the node's next write lands in a wrong place, over an earlier one, and
    /// the disk says that all went well.
    MisdirectWrite {
        /// Which node.
        node: u64,
        /// How many places too early.
        back: u64,
    },
    /// The node's disk has no room left: what is to be written waits.
    FillDisk {
        /// Which node.
        node: u64,
    },
    /// There is room on the node's disk again.
    FreeDisk {
        /// Which node.
        node: u64,
    },
    /// The node has a disk that works, and takes this long to make a write durable.
    #[serde(alias = "set-disk")]
    SetSyncLatency {
        /// Which node.
        node: u64,
        /// In microseconds.
        #[serde(alias = "sync")]
        sync_latency: DurationRange,
    },
    /// The node's clock runs fast by this many parts in a million; slow, if negative.
    SetClock {
        /// Which node.
        node: u64,
        /// Parts in a million.
        drift: i32,
    },
    /// The node's clock jumps forward, and does not come back: it is one that never runs backwards.
    JumpClock {
        /// Which node.
        node: u64,
        /// In microseconds.
        by: u64,
    },
    /// Messages from one node to another are lost.
    CutLink {
        /// The sender.
        from: u64,
        /// The receiver.
        to: u64,
    },
    /// Messages from one node to another travel again.
    HealLink {
        /// The sender.
        from: u64,
        /// The receiver.
        to: u64,
    },
    /// The node is cut off from all others, in both directions.
    Isolate {
        /// Which node.
        node: u64,
    },
    /// The node's links work again.
    Reconnect {
        /// Which node.
        node: u64,
    },
    /// Only nodes of the same group reach each other. A node in no group is alone.
    Partition {
        /// The groups.
        groups: Vec<Vec<u64>>,
    },
    /// All links work again.
    HealNetwork,
    /// Messages travel this long, and so many of a thousand are lost or delivered twice.
    SetNetwork {
        /// In microseconds.
        latency: DurationRange,
        /// Of a thousand.
        loss_per_mille: u32,
        /// Of a thousand.
        duplicate_per_mille: u32,
    },
    /// Messages from one node to another travel this long, whatever all others do.
    SetLatency {
        /// The sender.
        from: u64,
        /// The receiver.
        to: u64,
        /// In microseconds.
        latency: DurationRange,
    },
    /// A message on its way is lost.
    DropMessage {
        /// Which message.
        message: u64,
    },
    /// A message on its way arrives a second time.
    DuplicateMessage {
        /// Which message.
        message: u64,
    },
    /// A message in flight or held back arrives now.
    DeliverMessage {
        /// Which message.
        message: u64,
    },
    /// A message in flight arrives later.
    DelayMessage {
        /// Which message.
        message: u64,
        /// In microseconds.
        by: u64,
    },
    /// All messages between servers are held back, those in flight included, until they are
    /// delivered by hand or released.
    HoldMessages,
    /// Messages are held back no more. Those that were held back leave now.
    ReleaseMessages,
    /// Messages from one node to another are lost, so many of a thousand, in addition to those that
    /// the network loses.
    SetLoss {
        /// The sender.
        from: u64,
        /// The receiver.
        to: u64,
        /// Of a thousand.
        loss_per_mille: u32,
    },
    /// The clocks of all servers that wait for a leader jump forward, so that their election timers
    /// fire at the moment of the earliest one.
    AlignTimers,
    /// The clocks of all servers that wait for a leader jump forward, so that their election timers
    /// fire one after the other, at equal distances.
    SpreadTimers,
    /// The node takes a snapshot of everything that is applied.
    TakeSnapshot {
        /// Which node.
        node: u64,
    },
    /// The leader is asked to change the membership. If there is none, or it refuses, nothing
    /// happens.
    ChangeMembership {
        /// The voters.
        voters: Vec<u64>,
        /// The servers without a vote.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        learners: Vec<u64>,
        /// The servers that get a vote when they have caught up.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        joining: Vec<u64>,
    },
    /// The leader is asked to hand over.
    Transfer {
        /// To this node.
        to: u64,
    },
    /// A client asks for something.
    Request {
        /// The node that it asks first; the one that it believes to lead, if none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<u64>,
        /// What it asks for.
        request: Request,
    },
    /// The clients of the world stop sending requests.
    StopClients,
    /// The world continues after a violation, which ends it otherwise.
    GoOn,
}

impl Action {
    /// Whether it makes sense in such a world, whatever has happened there.
    pub(crate) fn check(&self, config: &WorldConfig) -> Result<(), ActionError> {
        let known = |node: &u64| match (1..=config.nodes).contains(node) {
            true => Ok(()),
            false => Err(ActionError::NoSuchNode(*node)),
        };
        let in_time = |time: u64| match time <= TIME_MAX {
            true => Ok(()),
            false => Err(ActionError::TooLong),
        };
        let range = |span: &DurationRange| match span.min <= span.max {
            true => in_time(span.max),
            false => Err(ActionError::EmptyRange),
        };
        let link = |from: &u64, to: &u64| {
            known(from)?;
            known(to)?;
            match from == to {
                true => Err(ActionError::NoSuchLink(*from, *to)),
                false => Ok(()),
            }
        };
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
            | Self::SetClock { node, .. }
            | Self::Isolate { node }
            | Self::Reconnect { node }
            | Self::Transfer { to: node }
            | Self::Request { via: Some(node), .. } => known(node),
            Self::SetSyncLatency { node, sync_latency: sync } => {
                known(node).and_then(|()| range(sync))
            }
            Self::JumpClock { node, by } => known(node).and_then(|()| in_time(*by)),
            Self::CutLink { from, to } | Self::HealLink { from, to } => link(from, to),
            Self::SetLoss { from, to, loss_per_mille } => match *loss_per_mille > PER_MILLE {
                true => Err(ActionError::MoreThanAll),
                false => link(from, to),
            },
            Self::DelayMessage { by, .. } => in_time(*by),
            Self::SetLatency { from, to, latency } => link(from, to).and_then(|()| range(latency)),
            Self::Partition { groups } => groups.iter().flatten().try_for_each(known),
            Self::ChangeMembership { voters, learners, joining } => {
                [voters, learners, joining].into_iter().flatten().try_for_each(known)
            }
            Self::SetNetwork { latency, loss_per_mille, duplicate_per_mille } => {
                match *loss_per_mille.max(duplicate_per_mille) > PER_MILLE {
                    true => Err(ActionError::MoreThanAll),
                    false => range(latency),
                }
            }
            Self::Request { via: None, .. }
            | Self::PowerCut
            | Self::HealNetwork
            | Self::DropMessage { .. }
            | Self::DuplicateMessage { .. }
            | Self::DeliverMessage { .. }
            | Self::HoldMessages
            | Self::ReleaseMessages
            | Self::AlignTimers
            | Self::SpreadTimers
            | Self::StopClients
            | Self::GoOn => Ok(()),
        }
    }

    /// The membership that is asked for, if it is one that is.
    pub(crate) fn membership(&self, config: &WorldConfig) -> Option<Membership> {
        let Self::ChangeMembership { voters, learners, joining } = self else {
            return None;
        };
        let nodes = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect::<Vec<_>>();
        let witnesses = config.witnesses.iter();
        let witnesses = witnesses.filter(|node| voters.contains(node)).copied();
        let membership = Membership::new(nodes(voters))
            .with_learners(nodes(learners))
            .with_auto_promoted(nodes(joining))
            .with_witnesses(witnesses.map(NodeId));
        Some(membership)
    }
}

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Set a key.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Read a key, linearizably.
    Get {
        /// The key.
        key: String,
    },
    /// Remove a key.
    Delete {
        /// The key.
        key: String,
    },
    /// Set a key if it holds what is expected.
    Cas {
        /// The key.
        key: String,
        /// What it must hold; none means that it must not be there.
        expected: Option<String>,
        /// The value.
        value: String,
    },
}

impl Request {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. }
            | Self::Get { key }
            | Self::Delete { key }
            | Self::Cas { key, .. } => key,
        }
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Put { key, value } => write!(f, "put {key} = {value}"),
            Self::Get { key } => write!(f, "get {key}"),
            Self::Delete { key } => write!(f, "delete {key}"),
            Self::Cas { key, expected: Some(expected), value } => {
                write!(f, "put {key} = {value} if it is {expected}")
            }
            Self::Cas { key, expected: None, value } => write!(f, "put {key} = {value} if absent"),
        }
    }
}
