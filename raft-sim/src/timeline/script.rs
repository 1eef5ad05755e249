//! A script: a configuration and the actions on it, in order of time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::world::action::Action;
use crate::world::config::{WorldConfig, WorldError};

/// An [`Action`] and its moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimedAction {
    /// In microseconds. The action is done after everything else that happens in that microsecond.
    pub at: u64,
    /// The action.
    #[serde(flatten)]
    pub action: Action,
}

/// A configuration and the actions on it. A script determines every event of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The world.
    pub config: WorldConfig,
    /// The actions, in order of time.
    pub actions: Vec<TimedAction>,
}

/// The reason why a script was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ScriptError {
    /// The configuration is impossible.
    World(WorldError),
    /// The actions are not in order of time.
    OutOfOrder {
        /// The first action that is too early, counted from 0.
        position: usize,
    },
}

impl Script {
    /// Fails if the actions are not in order of time.
    pub(crate) fn check_order(&self) -> Result<(), ScriptError> {
        let late = self.actions.windows(2).position(|pair| pair[0].at > pair[1].at);
        late.map_or(Ok(()), |position| Err(ScriptError::OutOfOrder { position: position + 1 }))
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World(error) => error.fmt(f),
            Self::OutOfOrder { position } => {
                write!(f, "action {position} is earlier than the one before it")
            }
        }
    }
}

impl std::error::Error for ScriptError {}
