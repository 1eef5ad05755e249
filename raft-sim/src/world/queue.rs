//! What will happen, in order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::node::RequestId;

/// Something that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    MessageArrives(u64),
    TimerFires(u64),
    WriteSynced { node: u64, boot: u64, write: u64 },
    Installed { node: u64, boot: u64 },
    LetterArrives(u64),
    ClientWakes(u64),
    AttemptTimesOut(RequestId),
    AttemptAgain(RequestId),
    HolderWakes(usize),
    RevocationArrives(u64),
    TraderWakes(usize),
    WatcherWakes(usize),
    ChangesArrive(u64),
}

/// A moment, and a number that grows: what was scheduled first happens first.
type Key = (u64, u64);

/// What will happen. Every node has a timer, which is set anew by most messages that reach the
/// node, so timers stand apart from what is never taken back.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    happenings: BinaryHeap<Reverse<Scheduled>>,
    next_number: u64,
    /// When each node's timer fires.
    timers: Vec<Key>,
    /// The timer that fires first, and whose it is.
    first_timer: (Key, usize),
}

#[derive(Clone, Debug)]
struct Scheduled {
    key: Key,
    happening: Event,
    /// The step of the world that scheduled it.
    step: u64,
}

/// A timer that is not set.
const NEVER: Key = (u64::MAX, u64::MAX);

impl Queue {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            happenings: BinaryHeap::new(),
            next_number: 0,
            timers: vec![NEVER; nodes],
            first_timer: (NEVER, 0),
        }
    }

    /// Schedules an event, which a step of the world leads to.
    pub(crate) fn schedule(&mut self, at: u64, happening: Event, step: u64) {
        let key = (at, self.number());
        let scheduled = Scheduled { key, happening, step };
        self.happenings.push(Reverse(scheduled));
    }

    /// Sets a node's timer, counted from 0, to a moment or to none. One that is set to this moment
    /// already keeps its turn.
    pub(crate) fn set_timer(&mut self, slot: usize, at: Option<u64>) {
        let set = Some(self.timers[slot].0).filter(|_| self.timers[slot] != NEVER);
        if set == at {
            return;
        }
        let key = at.map_or(NEVER, |at| (at, self.number()));
        self.timers[slot] = key;
        if key < self.first_timer.0 {
            self.first_timer = (key, slot);
        } else if self.first_timer.1 == slot {
            let timers = self.timers.iter().copied().zip(0..);
            self.first_timer = timers.min().unwrap_or((NEVER, 0));
        }
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<u64> {
        let next = self.next_key().min(self.first_timer.0);
        Some(next.0).filter(|_| next != NEVER)
    }

    /// Takes the next event, with the step that scheduled it; 0 for a timer.
    pub(crate) fn pop(&mut self) -> Option<(Event, u64)> {
        let (timer, slot) = self.first_timer;
        if timer < self.next_key() {
            self.set_timer(slot, None);
            return Some((Event::TimerFires(slot as u64 + 1), 0));
        }
        let Reverse(scheduled) = self.happenings.pop()?;
        Some((scheduled.happening, scheduled.step))
    }

    fn next_key(&self) -> Key {
        let next = self.happenings.peek();
        next.map_or(NEVER, |Reverse(scheduled)| scheduled.key)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken next, in numbers: a client's, or a hundred and a node's.
    fn take(queue: &mut Queue) -> Option<(u64, u64)> {
        let at = queue.next_at()?;
        let what = match queue.pop()?.0 {
            Event::ClientWakes(client) => client,
            Event::TimerFires(node) => 100 + node,
            _ => unreachable!("nothing else is scheduled"),
        };
        Some((at, what))
    }

    #[test]
    fn events_are_ordered_by_time_then_insertion() {
        let mut queue = Queue::new(3);
        queue.schedule(20, Event::ClientWakes(1), 0);
        queue.set_timer(0, Some(10));
        queue.set_timer(1, Some(20));
        queue.schedule(20, Event::ClientWakes(2), 0);
        queue.set_timer(2, Some(5));
        // Set anew, it loses its turn; set to the same moment, it keeps it.
        queue.set_timer(0, Some(20));
        queue.set_timer(1, Some(20));
        assert_eq!(take(&mut queue), Some((5, 103)));
        queue.set_timer(2, Some(30));
        queue.set_timer(2, None);
        let rest: Vec<_> = std::iter::from_fn(|| take(&mut queue)).collect();
        assert_eq!(rest, [(20, 1), (20, 102), (20, 2), (20, 101)]);
        assert_eq!(queue.next_at(), None);
    }
}
