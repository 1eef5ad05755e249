//! The effects that wait for the next drain.

use alloc::vec::Vec;
use core::iter;

use crate::api::effects::{Effects, Outbound};
use crate::api::event::Event;
use crate::api::message::Message;
use crate::api::read::ReadOutcome;
use crate::api::types::NodeId;

/// Messages that depend on no write, outcomes of reads, and events.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Outbox {
    messages: Vec<Outbound>,
    reads: Vec<ReadOutcome>,
    events: Vec<Event>,
}

/// The largest number of messages for [`Outbox::send_checked`]; more are dropped, as a network may
/// drop them.
const MESSAGES_MAX: usize = 4096;
/// The largest number of events between two drains; more are dropped.
const EVENTS_MAX: usize = 4096;

impl Outbox {
    /// Adds a message, or drops it if a peer has caused too many of them.
    pub(crate) fn send_checked(&mut self, to: NodeId, message: Message) {
        if self.messages.len() < MESSAGES_MAX {
            self.send_bounded(to, || message);
        }
    }

    /// Adds a message whose number is bounded, by flow control or because a drain sends only one.
    ///
    /// The closure builds the message in its place in the vector, so it is not copied.
    #[inline(always)]
    pub(crate) fn send_bounded(&mut self, to: NodeId, message: impl FnOnce() -> Message) {
        self.messages.extend(iter::once_with(|| Outbound { to, message: message() }));
    }

    /// Adds the outcome of a read.
    pub(crate) fn push_read(&mut self, outcome: ReadOutcome) {
        self.reads.push(outcome);
    }

    /// Adds an event, or drops it if there are too many.
    pub(crate) fn push_event(&mut self, event: impl FnOnce() -> Event) {
        if self.events.len() < EVENTS_MAX {
            self.events.push(event());
        }
    }

    /// Removes all messages, because the server stops.
    pub(crate) fn clear_messages(&mut self) {
        self.messages.clear();
    }

    /// Moves everything into `effects`.
    pub(crate) fn drain(&mut self, effects: &mut Effects) {
        append_drained(&mut self.messages, &mut effects.messages);
        append_drained(&mut self.reads, &mut effects.reads);
        append_drained(&mut self.events, &mut effects.events);
    }
}

/// Appends `from` to `into`, and leaves `from` empty. An empty `into` is exchanged with `from`,
/// which copies nothing.
fn append_drained<T>(from: &mut Vec<T>, into: &mut Vec<T>) {
    if from.is_empty() {
        return;
    }
    if into.is_empty() {
        core::mem::swap(from, into);
    } else {
        into.append(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::message::TimeoutNow;
    use crate::api::types::Term;

    #[test]
    fn messages_of_peers_and_events_are_bounded() {
        let mut outbox = Outbox::default();
        for _ in 0..MESSAGES_MAX + EVENTS_MAX {
            let message = Message::TimeoutNow(TimeoutNow { term: Term(1) });
            outbox.send_checked(NodeId(2), message);
            outbox.push_event(|| Event::DiskFull { full: true });
        }
        let mut effects = Effects::default();
        outbox.drain(&mut effects);
        assert_eq!((effects.messages.len(), effects.events.len()), (MESSAGES_MAX, EVENTS_MAX));
        outbox.push_event(|| Event::DiskFull { full: false });
        outbox.drain(&mut effects);
        assert_eq!(effects.events.last(), Some(&Event::DiskFull { full: false }));
    }
}
