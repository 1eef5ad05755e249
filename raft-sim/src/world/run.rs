//! A run: a configuration, and what was done when. Everything else follows.

use serde::{Deserialize, Serialize};

use crate::world::World;
use crate::world::action::Action;
use crate::world::apply_action::ActionError;
use crate::world::config::{WorldConfig, WorldError};

/// An [`Action`] and its moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimedAction {
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
    pub actions: Vec<TimedAction>,
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

    /// The number of the script's actions that are done at this moment.
    #[must_use]
    pub fn done(&self) -> usize {
        self.done
    }

    /// The actions of the script that no world of this configuration allows, by position.
    #[must_use]
    pub fn impossible_actions(&self) -> Vec<(usize, ActionError)> {
        let actions = self.script.actions.iter().enumerate();
        let check = |timed: &TimedAction| timed.action.check(self.world.config()).err();
        actions.filter_map(|(position, timed)| Some((position, check(timed)?))).collect()
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
        while self.world.now() < time && !self.world.has_ended() {
            self.world.run_until(time.min(self.next_stop()));
            self.perform(self.world.now());
            self.keep_checkpoint();
        }
    }

    /// Lets the next thing happen. Returns false if nothing will.
    pub fn step(&mut self) -> bool {
        let next_action = self.script.actions.get(self.done).map(|timed| timed.at);
        let next = self.world.next_at().into_iter().chain(next_action).min();
        let Some(next) = next.filter(|_| !self.world.has_ended()) else {
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

    /// Does something now. Later actions are removed from the script.
    ///
    /// # Errors
    ///
    /// [`ActionError`]; nothing has changed then.
    pub fn act(&mut self, action: Action) -> Result<(), ActionError> {
        self.world.act(&action)?;
        self.script.actions.truncate(self.done);
        self.script.actions.push(TimedAction { at: self.world.now(), action });
        self.done += 1;
        Ok(())
    }

    /// Removes the last action before this moment from the script, and goes to its moment. Later
    /// actions are removed as well. Returns false, and changes nothing, if no action is done yet.
    pub fn undo(&mut self) -> bool {
        let Some(position) = self.done.checked_sub(1) else {
            return false;
        };
        self.script.actions.truncate(self.done);
        let Some(last) = self.script.actions.pop() else {
            return false;
        };
        self.done = position;
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
            // The world refuses an action that is not possible, for example because an earlier one
            // was removed. Such an action stays in the script, without effect.
            let refused = self.world.act(&timed.action).err();
            self.done += 1;
            if let Some(error) = refused {
                self.world.tell_refused(self.done, error);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SimRng;
    use crate::world::action::Request;

    fn run(seed: u64, actions: Vec<TimedAction>) -> Run {
        let config = WorldConfig { nodes: 3, seed, ..WorldConfig::default() };
        Run::new(Script { config, actions }).unwrap()
    }

    fn crash(at: u64, node: u64) -> TimedAction {
        TimedAction { at, action: Action::Crash { node } }
    }

    fn random_action(random: &mut SimRng) -> Action {
        let node = random.within(1..=3);
        let put = |value: u64| Request::Put { key: "x".into(), value: value.to_string() };
        match random.below(8) {
            0 => Action::Crash { node },
            1 | 2 => Action::Restart { node },
            3 => Action::Isolate { node },
            4 => Action::HealNetwork,
            5 => Action::FireTimer { node },
            _ => Action::Request { via: None, request: put(random.below(100)) },
        }
    }

    /// The script, the moment and the number of actions done decide everything else.
    fn assert_replays(run: &Run) {
        let mut again = Run::new(run.script().clone()).unwrap();
        again.seek(run.world().now());
        assert_eq!(again.world().now(), run.world().now());
        assert_eq!(again.done(), run.done());
        assert_eq!(again.world().trace_hash(), run.world().trace_hash());
    }

    #[test]
    fn undo_before_first_action_changes_nothing() {
        let mut run = run(42, vec![crash(400_000, 1), crash(900_000, 2)]);
        run.seek(120_000);
        assert!(!run.undo());
        assert_eq!(run.script().actions.len(), 2);
        assert_eq!(run.world().now(), 120_000);
        run.seek(1_000_000);
        assert_eq!(run.done(), 2);
        assert_replays(&run);
    }

    #[test]
    fn random_acts_undos_and_seeks_keep_script_and_trace_equal() {
        for seed in 0..40 {
            let mut random = SimRng::new(seed);
            let mut run = run(seed, Vec::new());
            let mut expected: Vec<TimedAction> = Vec::new();
            for _ in 0..30 {
                let done = run.done();
                match random.below(6) {
                    0 | 1 => {
                        let (at, action) = (run.world().now(), random_action(&mut random));
                        if run.act(action.clone()).is_ok() {
                            expected.truncate(done);
                            expected.push(TimedAction { at, action });
                        }
                    }
                    2 => {
                        assert_eq!(run.undo(), done > 0);
                        if done > 0 {
                            expected.truncate(done - 1);
                        }
                    }
                    3 => {
                        run.step();
                    }
                    4 => {
                        let previous = run.previous_moment();
                        run.seek(previous);
                    }
                    _ => run.seek(random.below(2_000_000)),
                }
                assert_eq!(run.script().actions, expected, "seed {seed}");
                let before = expected.iter().filter(|timed| timed.at <= run.world().now());
                assert_eq!(run.done(), before.count(), "seed {seed}");
            }
            assert_replays(&run);
        }
    }

    #[test]
    fn impossible_actions_are_named() {
        let mut run = run(1, vec![crash(10, 9), crash(20, 1), crash(30, 1)]);
        assert_eq!(run.impossible_actions(), [(0, ActionError::NoSuchNode(9))]);
        run.seek(100);
        let story: Vec<_> = run.world().story_since(0).map(|record| record.text.clone()).collect();
        for sentence in [
            "Action 1 of this run has no effect: there is no node 9",
            "Action 3 of this run has no effect: n1 is not running",
        ] {
            assert!(story.iter().any(|text| text == sentence), "{story:?}");
        }
    }

    /// All disks are lost after an entry was committed.
    fn broken() -> Run {
        let wipe = |node| TimedAction { at: 1_000_000, action: Action::WipeDisk { node } };
        let mut run = run(7, vec![wipe(1), wipe(2), wipe(3), crash(30_000_000, 1)]);
        run.seek(40_000_000);
        run
    }

    #[test]
    fn run_goes_on_after_violation_on_request() {
        let mut run = broken();
        assert!(run.world().has_ended());
        let at = run.world().now();
        assert_eq!(run.done(), 3, "the crash is later");
        assert_eq!(run.act(Action::HealNetwork), Err(ActionError::Ended));
        run.act(Action::GoOn).unwrap();
        run.seek(at + 1_000_000);
        assert_eq!(run.world().now(), at + 1_000_000);
        assert!(run.world().violation().is_some(), "the violation stays visible");
        assert_replays(&run);
        assert_eq!(run.act(Action::GoOn), Err(ActionError::NotEnded));
        assert!(run.undo());
        assert!(run.world().has_ended());
        assert_eq!(run.world().now(), at);
        assert_replays(&run);
    }

    #[test]
    fn earlier_names_of_settings_and_actions_are_read() {
        for (earlier, present) in crate::EARLIER_SETTING_NAMES {
            let config = serde_json::to_value(WorldConfig::default()).unwrap();
            // A list without elements is left out.
            let value = config.get(present).cloned().unwrap_or_else(|| serde_json::json!([[1]]));
            let read = |name: &str| {
                let config = serde_json::json!({ "config": { name: value } });
                serde_json::from_value::<Script>(config).unwrap()
            };
            assert_eq!(read(earlier), read(present), "{earlier}");
        }
        let sync = serde_json::json!({ "min": 1, "max": 2 });
        for (earlier, present) in [
            (serde_json::json!({ "do": "timeout", "node": 1 }), Action::FireTimer { node: 1 }),
            (serde_json::json!({ "do": "lose-disk", "node": 1 }), Action::DestroyDisk { node: 1 }),
            (
                serde_json::json!({ "do": "rot-disk", "node": 1, "back": 2 }),
                Action::CorruptEntry { node: 1, back: 2 },
            ),
            (
                serde_json::json!({ "do": "set-disk", "node": 1, "sync": sync }),
                Action::SetSyncLatency {
                    node: 1,
                    sync_latency: crate::DurationRange { min: 1, max: 2 },
                },
            ),
        ] {
            assert_eq!(serde_json::from_value::<Action>(earlier).unwrap(), present);
        }
    }
}
