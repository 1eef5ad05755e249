//! What an entry carries, in parts that both the log and the messages between nodes have room for.

use bytes::Bytes;
use raft_core::{Membership, NodeId, Payload};

/// A membership as it is stored and sent.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(crate) struct Members {
    #[prost(uint64, repeated, tag = "1")]
    voters: Vec<u64>,
    #[prost(uint64, repeated, tag = "2")]
    outgoing: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    learners: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    joining: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    witnesses: Vec<u64>,
}

/// A payload in parts. With none of them it is a no-op.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) command: Option<Bytes>,
    pub(crate) members: Option<Members>,
    pub(crate) withheld: bool,
}

impl From<&Payload> for Parts {
    fn from(payload: &Payload) -> Self {
        let mut parts = Self::default();
        match payload {
            Payload::Noop => {}
            Payload::Command(command) => parts.command = Some(command.clone()),
            Payload::Membership(membership) => parts.members = Some(Members::from(&**membership)),
            Payload::Stripped => parts.withheld = true,
        }
        parts
    }
}

impl From<Parts> for Payload {
    fn from(parts: Parts) -> Self {
        match parts {
            Parts { command: Some(command), .. } => Self::Command(command),
            Parts { members: Some(members), .. } => Self::Membership(Box::new(members.into())),
            Parts { withheld: true, .. } => Self::Stripped,
            Parts { .. } => Self::Noop,
        }
    }
}

impl From<&Membership> for Members {
    fn from(membership: &Membership) -> Self {
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        Self {
            voters: numbers(membership.voters()),
            outgoing: numbers(membership.outgoing()),
            learners: numbers(membership.learners()),
            joining: numbers(membership.auto_promoted()),
            witnesses: numbers(membership.witnesses()),
        }
    }
}

impl From<Members> for Membership {
    fn from(members: Members) -> Self {
        let nodes = |numbers: Vec<u64>| numbers.into_iter().map(NodeId);
        Membership::new(nodes(members.voters))
            .with_outgoing(nodes(members.outgoing))
            .with_learners(nodes(members.learners))
            .with_auto_promoted(nodes(members.joining))
            .with_witnesses(nodes(members.witnesses))
    }
}

/// One payload of each kind.
#[cfg(test)]
pub(crate) fn examples() -> Vec<Payload> {
    let nodes = |numbers: [u64; 2]| numbers.map(NodeId);
    let membership = Membership::new(nodes([1, 2]))
        .with_outgoing(nodes([2, 3]))
        .with_learners(nodes([4, 5]))
        .with_auto_promoted(nodes([5, 6]))
        .with_witnesses(nodes([1, 3]));
    vec![
        Payload::Noop,
        Payload::Command(Bytes::from_static(b"command")),
        Payload::Command(Bytes::new()),
        Payload::Membership(Box::new(membership)),
        Payload::Stripped,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_roundtrip() {
        for payload in examples() {
            assert_eq!(Payload::from(Parts::from(&payload)), payload);
        }
    }
}
