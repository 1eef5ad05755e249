//! A world on its way through a script.

use crate::timeline::script::TimedAction;
use crate::world::World;

/// A world, and the number of actions of a script that are done in it.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) world: World,
    pub(crate) done: usize,
}

impl Cursor {
    /// Does the actions up to this moment.
    pub(crate) fn perform(&mut self, actions: &[TimedAction]) {
        let now = self.world.now();
        while let Some(timed) = actions.get(self.done).filter(|timed| timed.at <= now) {
            // The world refuses an action that is not possible, for example because an earlier one
            // was removed. Such an action stays in the script, without effect.
            let refused = self.world.act(&timed.action).err();
            self.done += 1;
            if let Some(error) = refused {
                self.world.tell_refused(self.done, error);
            }
        }
    }

    /// The next moment at which something happens. It is later than this one: events of this moment
    /// that follow from its actions happen with those of the next microsecond, because the script
    /// cannot tell whether a further action comes before or after them.
    pub(crate) fn next_at(&self, actions: &[TimedAction]) -> Option<u64> {
        let action = actions.get(self.done).map(|timed| timed.at);
        let next = self.world.next_at().into_iter().chain(action).min()?;
        (!self.world.has_ended()).then_some(next.max(self.world.now() + 1))
    }

    /// Advances to a moment, or until the world has processed so many events in total. Returns true
    /// at the moment itself, and where a violation stops the world.
    pub(crate) fn advance(&mut self, actions: &[TimedAction], time: u64, events_max: u64) -> bool {
        while self.world.now() < time && !self.world.has_ended() {
            if self.world.events() >= events_max {
                return false;
            }
            let action = actions.get(self.done).map_or(u64::MAX, |timed| timed.at);
            let stop = time.min(action.max(self.world.now() + 1));
            let is_next = |world: &World| world.next_at().is_some_and(|at| at <= stop);
            while is_next(&self.world) && self.world.events() < events_max {
                self.world.step();
            }
            if !is_next(&self.world) {
                self.world.run_until(stop);
            }
            self.perform(actions);
        }
        true
    }
}
