//! The acknowledgement that a follower owes its leader.

use crate::api::types::LogIndex;

/// The part of a follower's log that matches its leader's log. It is acknowledged once it is
/// durable, and several requests may share one acknowledgement.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Acknowledgement {
    /// The last index that matches the leader's log.
    matched: LogIndex,
    /// The last index that the leader already knows to match.
    known: LogIndex,
    /// A request was not acknowledged in full yet.
    due: bool,
}

impl Acknowledgement {
    /// Records that the log matches up to `matched`, by a request with the previous index
    /// `prev_index`.
    pub(crate) fn note_match(&mut self, prev_index: LogIndex, matched: LogIndex) {
        if !self.due {
            // An acknowledgement of no more than this would make the leader send everything again.
            self.known = self.known.max(prev_index);
        }
        self.matched = self.matched.max(matched);
        self.due = true;
    }

    /// The match index to acknowledge now, given the last durable index; `None` if the leader
    /// would learn nothing from it. Matching entries that are not durable stay due.
    pub(crate) fn take_due(&mut self, durable: LogIndex) -> Option<LogIndex> {
        let match_index = self.matched.min(durable);
        let is_news = self.due && (match_index == self.matched || match_index > self.known);
        if is_news {
            self.due = match_index < self.matched;
            self.known = match_index;
        }
        is_news.then_some(match_index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_acknowledged_as_they_become_durable() {
        let mut ack = Acknowledgement::default();
        assert_eq!(ack.take_due(LogIndex(9)), None, "nothing was requested");
        ack.note_match(LogIndex(2), LogIndex(4));
        ack.note_match(LogIndex(4), LogIndex(6));
        assert_eq!(ack.take_due(LogIndex(2)), None, "the leader knows that");
        assert_eq!(ack.take_due(LogIndex(5)), Some(LogIndex(5)));
        assert_eq!(ack.take_due(LogIndex(5)), None, "no more is durable");
        assert_eq!(ack.take_due(LogIndex(7)), Some(LogIndex(6)), "no more matches");
        assert_eq!(ack.take_due(LogIndex(7)), None);
    }

    #[test]
    fn repeated_request_is_acknowledged_again() {
        let mut ack = Acknowledgement::default();
        for _ in 0..2 {
            ack.note_match(LogIndex(3), LogIndex(3));
            assert_eq!(ack.take_due(LogIndex(9)), Some(LogIndex(3)));
        }
    }
}
