//! The messages in flight, ordered by number.

use std::collections::VecDeque;

use raft_core::Message;

/// A message in flight.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// The number of the message. Later messages have larger numbers.
    pub id: u64,
    /// The sender.
    pub from: u64,
    /// The receiver.
    pub to: u64,
    /// The content.
    pub message: Message,
    /// When the message was sent.
    pub sent_at: u64,
    /// When the message arrives.
    pub arrives_at: u64,
}

impl InFlight {
    /// When the message has completed this share of its way, in thousandths.
    pub(super) fn position_at(&self, thousandths: u64) -> u64 {
        self.sent_at + (self.arrives_at - self.sent_at) * thousandths / 1000
    }
}

/// The messages in flight. Most messages arrive about in the order in which they were sent, so a
/// queue with gaps is smaller and faster than a map.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlightMessages {
    /// The number of the message at the front of the queue.
    first: u64,
    /// The messages by number, without those that arrived or were lost.
    slots: VecDeque<Option<InFlight>>,
}

impl InFlightMessages {
    /// Adds a message. Its number must be larger than all earlier numbers.
    pub(super) fn insert(&mut self, flight: InFlight) {
        if self.slots.is_empty() {
            self.first = flight.id;
        }
        let slot = (flight.id - self.first) as usize;
        self.slots.resize(slot, None);
        self.slots.push_back(Some(flight));
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<InFlight> {
        let slot = usize::try_from(id.checked_sub(self.first)?).ok()?;
        let flight = self.slots.get_mut(slot)?.take();
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        flight
    }

    pub(crate) fn get(&self, id: u64) -> Option<&InFlight> {
        let slot = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut InFlight> {
        let slot = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.slots.iter().flatten()
    }
}
