//! A run: a configuration, and what was done when. Everything else follows.

use serde::{Deserialize, Serialize};

use crate::act::ActionError;
use crate::action::Action;
use crate::config::{WorldConfig, WorldError};
use crate::world::World;

/// An [`Action`] and its moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timed {
    /// In microseconds. It is done after everything else that happens in that microsecond.
    pub at: u64,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
}

/// What a run is made of, and all that has to be kept of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The world.
    pub config: WorldConfig,
    /// What is done to it, in order of time.
    pub actions: Vec<Timed>,
}

/// A world with a past that can be visited, and changed.
#[derive(Clone, Debug)]
pub struct Run {
    script: Script,
    /// The world at the present moment.
    world: World,
    /// How many of the script's actions are done.
    done: usize,
    /// Earlier moments, to go back to. The first is the beginning.
    checkpoints: Vec<Checkpoint>,
    /// Time between two checkpoints, in microseconds. It grows with the run.
    spacing: u64,
}

#[derive(Clone, Debug)]
struct Checkpoint {
    world: World,
    done: usize,
}

/// Beyond this many checkpoints, every second one is forgotten.
const CHECKPOINTS_MAX: usize = 64;

/// Why a script was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ScriptError {
    /// The world makes no sense.
    World(WorldError),
    /// The actions are not in order of time.
    OutOfOrder {
        /// The first one that is too early, counted from 0.
        position: usize,
    },
}

impl Run {
    /// Begins a run at time zero.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] if the script makes no sense.
    pub fn new(script: Script) -> Result<Self, ScriptError> {
        let late = script.actions.windows(2).position(|pair| pair[0].at > pair[1].at);
        if let Some(position) = late {
            return Err(ScriptError::OutOfOrder { position: position + 1 });
        }
        let world = World::new(script.config.clone()).map_err(ScriptError::World)?;
        let checkpoints = vec![Checkpoint { world: world.clone(), done: 0 }];
        let mut run = Self { script, world, done: 0, checkpoints, spacing: 1_000_000 };
        run.perform(0);
        Ok(run)
    }

    /// The world as it is at this moment.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What makes this run, up to its last action, which may lie in the future.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// How many earlier moments are kept to go back to.
    #[must_use]
    pub fn checkpoints(&self) -> usize {
        self.checkpoints.len()
    }

    /// The world as it is at this moment, without its past.
    #[must_use]
    pub fn into_world(self) -> World {
        self.world
    }

    /// Goes to a moment, forwards or backwards.
    pub fn seek(&mut self, time: u64) {
        if time < self.world.now() {
            self.checkpoints.truncate(1.max(
                self.checkpoints.partition_point(|checkpoint| checkpoint.world.now() <= time),
            ));
            if let Some(checkpoint) = self.checkpoints.last() {
                self.world = checkpoint.world.clone();
                self.done = checkpoint.done;
            }
            // The actions of the very first moment come after the first checkpoint.
            self.perform(self.world.now());
        }
        while self.world.now() < time && self.world.violation().is_none() {
            let stop = time.min(self.next_stop());
            self.world.run_until(stop);
            self.perform(stop);
            self.keep_checkpoint();
        }
    }

    /// Lets the next thing happen. Returns false if nothing will.
    pub fn step(&mut self) -> bool {
        let next_action = self.script.actions.get(self.done).map(|timed| timed.at);
        let next = self.world.next_at().into_iter().chain(next_action).min();
        let Some(next) = next.filter(|_| self.world.violation().is_none()) else {
            return false;
        };
        self.seek(next.max(self.world.now()));
        true
    }

    /// The moment of the latest thing that happened before this one, to step back to.
    #[must_use]
    pub fn previous_moment(&self) -> u64 {
        let now = self.world.now();
        let start = self.checkpoints.iter().rev().find(|checkpoint| checkpoint.world.now() < now);
        let Some(start) = start else { return 0 };
        let mut past = Self {
            script: self.script.clone(),
            world: start.world.clone(),
            done: start.done,
            checkpoints: vec![start.clone()],
            spacing: u64::MAX,
        };
        past.perform(past.world.now());
        let mut previous = past.world.now();
        while past.step() && past.world.now() < now {
            previous = past.world.now();
        }
        previous
    }

    /// Does something now. What the script had in store for later is given up.
    ///
    /// # Errors
    ///
    /// [`ActionError`]; nothing has changed then.
    pub fn act(&mut self, action: Action) -> Result<(), ActionError> {
        self.world.act(&action)?;
        self.script.actions.truncate(self.done);
        self.script.actions.push(Timed { at: self.world.now(), action });
        self.done += 1;
        Ok(())
    }

    /// Takes back the last thing that was done, and goes to the moment at which it was.
    /// Returns false if nothing was.
    pub fn undo(&mut self) -> bool {
        self.script.actions.truncate(self.done);
        let Some(last) = self.script.actions.pop() else {
            return false;
        };
        self.checkpoints.retain(|checkpoint| checkpoint.done <= self.script.actions.len());
        if let Some(checkpoint) = self.checkpoints.last() {
            self.world = checkpoint.world.clone();
            self.done = checkpoint.done;
        }
        self.perform(self.world.now());
        self.seek(last.at);
        true
    }

    /// Does what the script has in store up to `time`.
    fn perform(&mut self, time: u64) {
        while let Some(timed) = self.script.actions.get(self.done).filter(|timed| timed.at <= time)
        {
            // An action that makes no sense any more, because an earlier one was taken back, is
            // refused by the world and stays without effect, each time anew.
            let _ = self.world.act(&timed.action);
            self.done += 1;
        }
    }

    /// The next action or checkpoint.
    fn next_stop(&self) -> u64 {
        let action = self.script.actions.get(self.done).map_or(u64::MAX, |timed| timed.at);
        let newest = self.checkpoints.last().map_or(0, |checkpoint| checkpoint.world.now());
        action
            .max(self.world.now() + 1)
            .min(newest.saturating_add(self.spacing).max(self.world.now() + 1))
    }

    fn keep_checkpoint(&mut self) {
        let newest = self.checkpoints.last().map_or(0, |checkpoint| checkpoint.world.now());
        if self.world.now() < newest.saturating_add(self.spacing) {
            return;
        }
        self.checkpoints.push(Checkpoint { world: self.world.clone(), done: self.done });
        if self.checkpoints.len() > CHECKPOINTS_MAX {
            let mut position = 0;
            self.checkpoints.retain(|_| {
                position += 1;
                position % 2 == 1
            });
            self.spacing *= 2;
        }
    }
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::World(error) => error.fmt(f),
            Self::OutOfOrder { position } => {
                write!(f, "action {position} is earlier than the one before it")
            }
        }
    }
}

impl std::error::Error for ScriptError {}
