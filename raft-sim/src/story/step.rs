//! Steps: the events of a world, each with what led to it.

use serde::Serialize;

/// One event of the world, with everything that the node does at once because of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Step {
    /// Its number, from 1.
    pub id: u64,
    /// When, in microseconds.
    pub at: u64,
    /// The node at which it happens.
    pub node: Option<u64>,
    /// The kind of the step.
    #[serde(flatten)]
    pub trigger: Trigger,
    /// The step that led to it, such as the one that sent the message; 0 for none.
    pub parent: u64,
}

/// The kind of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(tag = "trigger", rename_all = "kebab-case")]
pub enum Trigger {
    /// The world begins.
    #[default]
    Start,
    /// Someone does something to the world.
    Action,
    /// A timer fires.
    Timer,
    /// A message of another server arrives.
    Message {
        /// Its number.
        message: u64,
    },
    /// A message between a client and a node arrives.
    ClientMessage {
        /// Its number.
        message: u64,
    },
    /// A write is durable.
    Disk,
    /// A snapshot is installed.
    Snapshot,
    /// A client goes on.
    Client,
}

impl Step {
    /// Whether it is the arrival of a message between servers.
    #[must_use]
    pub fn is_message(&self) -> bool {
        matches!(self.trigger, Trigger::Message { .. })
    }
}
