//! Reasons why an action is not offered: the world would refuse it, or it would have no effect.

use std::fmt;

use raft_core::Role;
use serde::Serialize;

use crate::node::Node;
use crate::world::World;
use crate::world::action::Action;
use crate::world::apply_action::ActionError;

/// The reason why an action makes no sense at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhyNot {
    /// The world refuses it.
    Refused(ActionError),
    /// The action would have no effect.
    NoEffect(NoEffect),
}

/// The reason why an action would have no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NoEffect {
    /// The process is paused already.
    AlreadyPaused,
    /// The process is not paused.
    NotPaused,
    /// The link is cut already.
    AlreadyCut,
    /// The link is not cut.
    NotCut,
    /// The node is isolated already.
    AlreadyIsolated,
    /// The node is not isolated.
    NotIsolated,
    /// No link is cut and no node is isolated.
    NothingToHeal,
    /// The disk is full already.
    AlreadyFull,
    /// The disk is not full.
    NotFull,
    /// No server leads.
    NoLeader,
    /// Messages are held back already.
    AlreadyHeld,
    /// Messages are not held back.
    NotHeld,
    /// No server waits for a leader.
    NoTimers,
}

impl World {
    /// The reason why an action makes no sense now; none if it does.
    #[must_use]
    pub fn why_not(&mut self, action: &Action) -> Option<WhyNot> {
        if let Err(error) = self.checkpoint().act(action) {
            return Some(WhyNot::Refused(error));
        }
        self.no_effect(action).map(WhyNot::NoEffect)
    }

    fn no_effect(&self, action: &Action) -> Option<NoEffect> {
        let is_paused = |node: u64| {
            self.node(node).and_then(Node::running).is_some_and(|running| running.paused.is_some())
        };
        let network = &self.cluster.network;
        let is_full = |node: u64| self.node(node).is_some_and(|node| node.disk.full);
        let nodes = || 1..=self.config.cluster.nodes;
        let (expected, reason) = match action {
            Action::Pause { node } => (!is_paused(*node), NoEffect::AlreadyPaused),
            Action::Resume { node } => (is_paused(*node), NoEffect::NotPaused),
            Action::CutLink { from, to } => (!self.is_cut(*from, *to), NoEffect::AlreadyCut),
            Action::HealLink { from, to } => (self.is_cut(*from, *to), NoEffect::NotCut),
            Action::Isolate { node } => (!self.is_isolated(*node), NoEffect::AlreadyIsolated),
            Action::Reconnect { node } => (self.is_isolated(*node), NoEffect::NotIsolated),
            Action::HealNetwork => {
                let is_cut = |from| nodes().any(|to| self.is_cut(from, to));
                let any = nodes().any(|node| self.is_isolated(node) || is_cut(node));
                (any, NoEffect::NothingToHeal)
            }
            Action::FillDisk { node } => (!is_full(*node), NoEffect::AlreadyFull),
            Action::FreeDisk { node } => (is_full(*node), NoEffect::NotFull),
            Action::Transfer { .. } | Action::ChangeMembership { .. } => {
                let leads = |node| self.raft(node).is_some_and(|raft| raft.role() == Role::Leader);
                (nodes().any(leads), NoEffect::NoLeader)
            }
            Action::HoldMessages => (!network.holds(), NoEffect::AlreadyHeld),
            Action::ReleaseMessages => (network.holds(), NoEffect::NotHeld),
            Action::AlignTimers | Action::SpreadTimers => {
                (nodes().any(|node| self.election_timer(node).is_some()), NoEffect::NoTimers)
            }
            _ => return None,
        };
        (!expected).then_some(reason)
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::NoEffect(reason) => reason.fmt(f),
        }
    }
}

impl fmt::Display for NoEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyPaused => "the process is paused already",
            Self::NotPaused => "the process is not paused",
            Self::AlreadyCut => "the link is cut already",
            Self::NotCut => "the link is not cut",
            Self::AlreadyIsolated => "the node is cut off already",
            Self::NotIsolated => "the node is not cut off",
            Self::NothingToHeal => "no link is cut and no node is cut off",
            Self::AlreadyFull => "the disk is full already",
            Self::NotFull => "the disk is not full",
            Self::NoLeader => "no server leads",
            Self::AlreadyHeld => "messages are held back already",
            Self::NotHeld => "messages are not held back",
            Self::NoTimers => "no server waits for a leader",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::config::WorldConfig;

    #[test]
    fn impossible_and_useless_actions_say_why() {
        let mut config = WorldConfig::default();
        config.cluster.nodes = 3;
        let mut world = World::new(config).unwrap();
        let hash = world.trace_hash();
        let mut why = |action: Action| world.why_not(&action);
        let refused = Some(WhyNot::Refused(ActionError::Running(1)));
        assert_eq!(why(Action::Restart { node: 1 }), refused);
        assert_eq!(why(Action::Crash { node: 1 }), None);
        let no_effect = |reason| Some(WhyNot::NoEffect(reason));
        assert_eq!(why(Action::Resume { node: 1 }), no_effect(NoEffect::NotPaused));
        assert_eq!(why(Action::HealNetwork), no_effect(NoEffect::NothingToHeal));
        assert_eq!(why(Action::Transfer { to: 2 }), no_effect(NoEffect::NoLeader));
        assert_eq!(why(Action::AlignTimers), None);
        assert_eq!(world.trace_hash(), hash, "nothing was done");
    }
}
