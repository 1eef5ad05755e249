//! The queue of future events.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::node::client_api::{ClientKind, RequestId};

/// A future event.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A message of a server arrives.
    MessageArrives(u64),
    /// The timer of a server fires.
    TimerFires(u64),
    /// A write to a disk completes, unless the server has restarted since.
    WriteCompletes { node: u64, boot: u64, write: u64 },
    /// A snapshot is durable, unless the server has restarted since.
    SnapshotInstalled { node: u64, boot: u64 },
    /// A message between a client and a server arrives.
    ClientMessageArrives(u64),
    /// A client starts its next operation.
    ClientTimer(ClientKind, u64),
    /// A client stops waiting for the response to an attempt.
    AttemptTimesOut(RequestId),
    /// A client sends a request again.
    RetryTimer(RequestId),
    /// A revocation of a lease that was delayed reaches a leader.
    DelayedRevokeArrives(u64),
    /// A watcher checks its connection.
    WatcherTimer(usize),
    /// A batch of changes reaches a watcher.
    WatchBatchArrives(u64),
}

/// A time and a number that grows. Events of the same time are processed in the order in which they
/// were scheduled.
type Key = (u64, u64);

/// The future events in order.
///
/// Most messages reset the timer of a server, so timers are kept outside of the heap, from which
/// nothing can be removed.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// All events except timers of servers.
    scheduled: BinaryHeap<Reverse<Scheduled>>,
    /// The number of the latest event.
    latest_number: u64,
    /// When the timer of each server fires.
    timers: Vec<Key>,
    /// The earliest of `timers`, and its position.
    first_timer: (Key, usize),
}

#[derive(Clone, Debug)]
struct Scheduled {
    key: Key,
    event: Event,
    /// The step of the world that scheduled the event.
    step: u64,
}

/// The key of a timer that is not set.
const NEVER: Key = (u64::MAX, u64::MAX);

impl Queue {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            scheduled: BinaryHeap::new(),
            latest_number: 0,
            timers: vec![NEVER; nodes],
            first_timer: (NEVER, 0),
        }
    }

    /// Schedules an event, which a step of the world leads to.
    pub(crate) fn schedule(&mut self, at: u64, event: Event, step: u64) {
        let key = (at, self.next_number());
        self.scheduled.push(Reverse(Scheduled { key, event, step }));
    }

    /// Sets or clears the timer of a server, which is given by its position. A timer that already
    /// has this time keeps its place in the order.
    pub(crate) fn set_timer(&mut self, position: usize, at: Option<u64>) {
        let timer = self.timers[position];
        let set = Some(timer.0).filter(|_| timer != NEVER);
        if set == at {
            return;
        }
        let key = at.map_or(NEVER, |at| (at, self.next_number()));
        self.timers[position] = key;
        if key < self.first_timer.0 {
            self.first_timer = (key, position);
        } else if self.first_timer.1 == position {
            let timers = self.timers.iter().copied().zip(0..);
            self.first_timer = timers.min().unwrap_or((NEVER, 0));
        }
    }

    /// The time of the next event.
    pub(crate) fn next_at(&self) -> Option<u64> {
        let next = self.next_key().min(self.first_timer.0);
        Some(next.0).filter(|_| next != NEVER)
    }

    /// Removes and returns the next event, and the step that scheduled it, or 0 for a timer.
    pub(crate) fn pop(&mut self) -> Option<(Event, u64)> {
        let (timer, position) = self.first_timer;
        if timer < self.next_key() {
            self.set_timer(position, None);
            return Some((Event::TimerFires(position as u64 + 1), 0));
        }
        let Reverse(scheduled) = self.scheduled.pop()?;
        Some((scheduled.event, scheduled.step))
    }

    /// The key of the next event in the heap.
    fn next_key(&self) -> Key {
        let next = self.scheduled.peek();
        next.map_or(NEVER, |Reverse(scheduled)| scheduled.key)
    }

    fn next_number(&mut self) -> u64 {
        self.latest_number += 1;
        self.latest_number
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

    /// Takes the next event. Returns its time, and the client, or 100 plus the server.
    fn take(queue: &mut Queue) -> Option<(u64, u64)> {
        let at = queue.next_at()?;
        let who = match queue.pop()?.0 {
            Event::ClientTimer(ClientKind::Kv, client) => client,
            Event::TimerFires(node) => 100 + node,
            _ => unreachable!("no other event is scheduled"),
        };
        Some((at, who))
    }

    #[test]
    fn events_are_ordered_by_time_then_insertion() {
        let mut queue = Queue::new(3);
        queue.schedule(20, Event::ClientTimer(ClientKind::Kv, 1), 0);
        queue.set_timer(0, Some(10));
        queue.set_timer(1, Some(20));
        queue.schedule(20, Event::ClientTimer(ClientKind::Kv, 2), 0);
        queue.set_timer(2, Some(5));
        // A timer with a new time loses its place; a timer with the same time keeps it.
        queue.set_timer(0, Some(20));
        queue.set_timer(1, Some(20));
        assert_eq!(take(&mut queue), Some((5, 103)));
        queue.set_timer(2, Some(30));
        queue.set_timer(2, None);
        let remaining: Vec<_> = std::iter::from_fn(|| take(&mut queue)).collect();
        assert_eq!(remaining, [(20, 1), (20, 102), (20, 2), (20, 101)]);
        assert_eq!(queue.next_at(), None);
    }
}
