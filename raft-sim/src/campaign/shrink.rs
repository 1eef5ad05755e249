//! A run that breaks a rule, made small: delta debugging over what was done.

use crate::invariants::{Invariant, Violation};
use crate::run::{Script, Timed};
use crate::world::World;

/// A small run that breaks the same rule.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The run.
    pub script: Script,
    /// What is broken, and when.
    pub violation: Violation,
    /// How many runs it took to find it.
    pub runs: u32,
}

/// How many runs may be tried.
const RUNS_MAX: u32 = 8_000;
/// Whatever is left out changes what chance decides afterwards. So a smaller run is tried with this many
/// seeds of the world before it counts as one that breaks nothing.
const SEEDS: u64 = 6;

/// Makes a run that breaks a rule as small as it can: fewer actions, fewer clients, a simpler network. None if the
/// run does not break `invariant`, which must be one that is checked after every event or at the end, and not
/// [`Invariant::Availability`]: what is missing has no moment at which it could be cut off.
#[must_use]
pub fn shrink(script: &Script, violation: &Violation) -> Option<Shrunk> {
    shrink_by(broken, script, violation)
}

fn shrink_by(
    judge: fn(&Script, u64) -> Option<Violation>,
    script: &Script,
    violation: &Violation,
) -> Option<Shrunk> {
    let mut search = Search {
        judge,
        invariant: violation.invariant,
        runs: 0,
    };
    let mut best = search.attempt(script, violation.at)?;
    loop {
        let before = size(&best.0);
        best = search.without_actions(best);
        best = search.shorter_gaps(best);
        best = search.simpler_world(best);
        if size(&best.0) >= before || search.runs >= RUNS_MAX {
            break;
        }
    }
    let (script, violation) = best;
    Some(Shrunk {
        script,
        violation,
        runs: search.runs,
    })
}

type Broken = (Script, Violation);

struct Search {
    /// Plays a script until a moment, and says what it breaks.
    judge: fn(&Script, u64) -> Option<Violation>,
    invariant: Invariant,
    runs: u32,
}

impl Search {
    /// Runs it until `until`, with several seeds, and returns it without what comes after the
    /// violation, if there is one.
    fn attempt(&mut self, script: &Script, until: u64) -> Option<Broken> {
        (0..SEEDS).find_map(|more| {
            self.runs += 1;
            if self.runs > RUNS_MAX {
                return None;
            }
            let mut script = script.clone();
            script.config.seed = script.config.seed.wrapping_add(more);
            let violation = (self.judge)(&script, until)?;
            if violation.invariant != self.invariant {
                return None;
            }
            script.actions.retain(|timed| timed.at <= violation.at);
            Some((script, violation))
        })
    }

    /// Lets less time pass between two actions.
    fn shorter_gaps(&mut self, mut best: Broken) -> Broken {
        let mut position = 0;
        while position < best.0.actions.len() {
            let mut script = best.0.clone();
            let before = position
                .checked_sub(1)
                .map_or(0, |before| script.actions[before].at);
            let gap = script.actions[position].at - before;
            let less = gap - gap.min(GAP);
            for timed in &mut script.actions[position..] {
                timed.at -= less;
            }
            if less > GAP
                && let Some(shorter) = self.attempt(&script, best.1.at - less + PATIENCE)
            {
                best = shorter;
            }
            position += 1;
        }
        best
    }

    /// Leaves out halves of the actions, then quarters, and so on (Zeller's ddmin, complements only).
    fn without_actions(&mut self, mut best: Broken) -> Broken {
        let mut chunk = best.0.actions.len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < best.0.actions.len() {
                let mut script = best.0.clone();
                let to = (from + chunk).min(script.actions.len());
                script.actions.drain(from..to);
                match self.attempt(&script, best.1.at + PATIENCE) {
                    Some(smaller) => best = smaller,
                    None => from += chunk,
                }
            }
            chunk /= 2;
        }
        best
    }

    fn simpler_world(&mut self, mut best: Broken) -> Broken {
        let changes: [fn(&mut Script); 8] = [
            |script| script.config.clients = 0,
            |script| script.config.clients = script.config.clients.min(1),
            |script| script.config.clients = script.config.clients.saturating_sub(1),
            |script| script.config.duplicate_per_mille = 0,
            |script| script.config.loss_per_mille = 0,
            |script| script.config.reorder = false,
            |script| script.config.bandwidth = 0,
            |script| script.config.latency_shape = crate::Shape::Uniform,
        ];
        for change in changes {
            let mut script = best.0.clone();
            change(&mut script);
            if script != best.0
                && let Some(simpler) = self.attempt(&script, best.1.at + PATIENCE)
            {
                best = simpler;
            }
        }
        best
    }
}

/// A smaller run may take a little longer to break the rule, in microseconds.
const PATIENCE: u64 = 500_000;

/// A gap that is short enough, in microseconds: an election takes about as long.
const GAP: u64 = 30_000;

/// What is to become smaller.
fn size(script: &Script) -> u64 {
    let config = &script.config;
    let noise = [
        config.loss_per_mille,
        config.duplicate_per_mille,
        u32::from(config.reorder),
    ];
    script.actions.len() as u64 + config.clients + u64::from(noise.iter().sum::<u32>())
}

/// Plays a script, and looks whether a rule is broken.
fn broken(script: &Script, until: u64) -> Option<Violation> {
    let world = play(script, until)?;
    world
        .violation()
        .cloned()
        .or_else(|| world.judge_history(super::STEPS_MAX))
}

fn play(script: &Script, until: u64) -> Option<World> {
    let mut world = World::new(script.config.clone()).ok()?;
    let mut at = None;
    for Timed { at: time, action } in &script.actions {
        if at < Some(*time) {
            world.run_until(*time);
            at = Some(*time);
        }
        let _ = world.act(action);
    }
    world.run_until(until);
    Some(world)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;

    /// As if it were a rule that node 1 is not down while node 2 is cut off.
    fn both(script: &Script, until: u64) -> Option<Violation> {
        let world = play(script, until)?;
        let broken = world.raft(1).is_none() && world.is_isolated(2);
        broken.then(|| Violation {
            invariant: Invariant::ElectionSafety,
            text: String::new(),
            at: until,
        })
    }

    #[test]
    fn what_matters_is_left_and_nothing_else() {
        let mut script = Script::default();
        script.config.clients = 4;
        script.config.loss_per_mille = 10;
        let actions = (1..=40).map(|step| Timed {
            at: step * 100_000,
            action: match step {
                11 => Action::Crash { node: 1 },
                33 => Action::Isolate { node: 2 },
                _ if step % 2 == 0 => Action::Timeout { node: 3 },
                _ => Action::CutLink { from: 4, to: 5 },
            },
        });
        script.actions = actions.collect();
        let violation = both(&script, 4_000_000).unwrap();
        let small = shrink_by(both, &script, &violation).unwrap();
        let left: Vec<_> = small
            .script
            .actions
            .iter()
            .map(|timed| &timed.action)
            .collect();
        assert_eq!(
            left,
            [&Action::Crash { node: 1 }, &Action::Isolate { node: 2 }]
        );
        assert!(
            small.script.actions[1].at <= 2 * GAP,
            "{:?}",
            small.script.actions
        );
        assert_eq!(
            (
                small.script.config.clients,
                small.script.config.loss_per_mille
            ),
            (0, 0)
        );
    }

    #[test]
    fn a_run_that_breaks_nothing_is_not_shrunk() {
        let violation = Violation {
            invariant: Invariant::ElectionSafety,
            text: String::new(),
            at: 1_000_000,
        };
        assert!(shrink(&Script::default(), &violation).is_none());
    }
}
