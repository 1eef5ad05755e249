//! The unacknowledged entries of one follower, for flow control.

use alloc::collections::VecDeque;

use crate::api::types::LogIndex;

/// The AppendEntries messages that were sent to a follower and are not acknowledged.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct InFlight {
    /// The last index and the size of each message, oldest first.
    messages: VecDeque<(LogIndex, usize)>,
    /// The sum of the sizes, in bytes.
    bytes: usize,
}

impl InFlight {
    /// The number of messages.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The sum of the sizes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message with entries up to `last`.
    pub(super) fn push(&mut self, last: LogIndex, bytes: usize) {
        self.messages.push_back((last, bytes));
        self.bytes += bytes;
    }

    /// Removes the messages whose entries end at or before `match_index`.
    pub(super) fn acknowledge(&mut self, match_index: LogIndex) {
        while let Some((_, bytes)) = self.messages.pop_front_if(|(last, _)| *last <= match_index) {
            self.bytes -= bytes;
        }
    }

    /// Removes all messages, because they are lost or rejected.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgement_covers_earlier_messages() {
        let mut in_flight = InFlight::default();
        for index in 1..=3 {
            in_flight.push(LogIndex(index), 10);
        }
        in_flight.acknowledge(LogIndex(2));
        assert_eq!((in_flight.len(), in_flight.bytes()), (1, 10));
        in_flight.clear();
        assert_eq!((in_flight.len(), in_flight.bytes()), (0, 0));
    }
}
