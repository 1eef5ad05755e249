//! The leadership transfer of a leader (dissertation 3.10).

use crate::api::types::{Instant, NodeId};

/// A leadership transfer in progress.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Transfer {
    target: NodeId,
    /// The leader gives up the transfer at this time.
    deadline: Instant,
    /// The leader has sent TimeoutNow since the last heartbeat timer.
    timeout_now_sent: bool,
}

impl Transfer {
    /// A transfer to `target` that the leader gives up at `deadline`.
    pub(crate) fn new(target: NodeId, deadline: Instant) -> Self {
        Self { target, deadline, timeout_now_sent: false }
    }

    /// The server that is to lead.
    pub(crate) fn target(&self) -> NodeId {
        self.target
    }

    /// Returns true if the deadline has passed at `now`.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    /// Returns true if TimeoutNow is not sent yet, or may be lost.
    pub(crate) fn needs_timeout_now(&self) -> bool {
        !self.timeout_now_sent
    }

    /// Records that TimeoutNow is sent.
    pub(crate) fn note_timeout_now(&mut self) {
        self.timeout_now_sent = true;
    }

    /// Treats a sent TimeoutNow as lost, once per heartbeat interval.
    pub(crate) fn on_heartbeat(&mut self) {
        self.timeout_now_sent = false;
    }

    /// Replaces the deadline.
    #[cfg(feature = "model")]
    pub(crate) fn canonicalize(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_now_is_repeated_each_heartbeat_until_deadline() {
        let mut transfer = Transfer::new(NodeId(2), Instant(10));
        assert!(transfer.needs_timeout_now());
        transfer.note_timeout_now();
        assert!(!transfer.needs_timeout_now());
        transfer.on_heartbeat();
        assert!(transfer.needs_timeout_now());
        assert_eq!([9, 10].map(|now| transfer.is_expired(Instant(now))), [false, true]);
    }
}
