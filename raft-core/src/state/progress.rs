//! What a leader knows of one follower, and how fast it may send.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use core::time::Duration;

use crate::api::entry::Snapshot;
use crate::api::types::{Instant, LogIndex};

/// The leader's view of one follower (Figure 2: `nextIndex`, `matchIndex`), with flow control.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Progress {
    pub(crate) next_index: LogIndex,
    pub(crate) match_index: LogIndex,
    pub(crate) mode: Mode,
    /// The last index and the size of each AppendEntries that is not acknowledged.
    in_flight: VecDeque<(LogIndex, usize)>,
    in_flight_bytes: usize,
    pub(crate) last_contact: Instant,
    /// It has all that the leader had at this moment.
    caught_up_at: Instant,
    /// What the leader had at a later moment: when the follower has it, too, that is the moment up
    /// to which it kept up.
    catch_up_target: (LogIndex, Instant),
    /// The latest round of heartbeats that the follower answered.
    pub(crate) acked_round: u64,
    /// A heartbeat is to be sent.
    pub(crate) heartbeat_due: bool,
    /// An AppendEntries without entries is to be sent, to find out what the follower has.
    pub(crate) probe_due: bool,
    catch_up: CatchUp,
    /// Transfers of leadership to it that came to nothing.
    pub(crate) transfers_failed: u32,
    /// A message was in flight at the last heartbeat, or is known to be lost, and nothing came
    /// back.
    no_response_since_heartbeat: bool,
}

/// How entries go to a follower.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Mode {
    /// One AppendEntries at a time, until it is known where the logs agree.
    Probe {
        /// Whether an answer is awaited.
        awaiting: bool,
    },
    /// A stream of AppendEntries, sent before the earlier ones are acknowledged (dissertation
    /// 10.2.2).
    Pipeline,
    /// The entries have left memory and were asked for.
    Fetching {
        /// What to return to.
        pipeline: bool,
    },
    /// The entries are in no log any more; a snapshot is on its way, piece by piece (§7).
    Snapshot(Box<Sending>),
}

/// A snapshot that is being sent to one follower.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Sending {
    /// The snapshot with which the transfer began. A later snapshot of this server does not
    /// replace it while the transfer is running: otherwise a follower might never get a whole one.
    pub(crate) snapshot: Snapshot,
    /// How many bytes of it the follower has.
    pub(crate) offset: u64,
    pub(crate) awaited: SnapshotWait,
    /// When the transfer began, or the follower last received more of the snapshot.
    advanced: Instant,
}

/// What has to come before the next piece of a snapshot is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum SnapshotWait {
    /// Nothing: an empty piece is due, which asks how much the follower has. A transfer begins
    /// with this question, and repeats it while the follower is silent: a dead follower costs no
    /// reads and no bandwidth.
    None,
    /// The answer to the empty piece.
    Extent,
    /// Nothing: the next piece is due.
    Turn,
    /// The piece, which the caller reads. It comes however long it takes.
    Read,
    /// The answer to the piece. The piece, or the answer, may be lost.
    Response,
}

/// How a learner catches up: in rounds, each of which brings it what the log held when the round
/// began. It has caught up when a round took less than an election timeout (dissertation 4.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum CatchUp {
    NotStarted,
    Round { through: LogIndex, began: Instant },
    Done,
}

impl Progress {
    pub(crate) fn new(next_index: LogIndex, now: Instant) -> Self {
        Self {
            next_index,
            match_index: LogIndex(0),
            mode: Mode::Probe { awaiting: false },
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            last_contact: now,
            caught_up_at: now,
            catch_up_target: (LogIndex(0), now),
            acked_round: 0,
            heartbeat_due: false,
            probe_due: false,
            catch_up: CatchUp::NotStarted,
            transfers_failed: 0,
            no_response_since_heartbeat: false,
        }
    }

    /// Whether the follower was sent all of a log that ends with `last`, and is owed nothing else.
    #[inline]
    pub(crate) fn has_all(&self, last: LogIndex) -> bool {
        let is_owed = self.heartbeat_due || self.probe_due || self.next_index <= last;
        self.mode == Mode::Pipeline && !is_owed
    }

    /// Whether another AppendEntries with entries may leave.
    pub(crate) fn may_send(&self, messages_max: usize, bytes_max: usize) -> bool {
        match self.mode {
            Mode::Probe { awaiting } => !awaiting,
            Mode::Pipeline => {
                self.in_flight.len() < messages_max && self.in_flight_bytes < bytes_max
            }
            Mode::Fetching { .. } | Mode::Snapshot(_) => false,
        }
    }

    /// Notes that entries up to `last` left.
    pub(crate) fn sent(&mut self, last: LogIndex, bytes: usize) {
        match &mut self.mode {
            Mode::Probe { awaiting } => *awaiting = true,
            Mode::Snapshot(_) => {}
            Mode::Pipeline | Mode::Fetching { .. } => {
                self.in_flight.push_back((last, bytes));
                self.in_flight_bytes += bytes;
                self.next_index = last.next();
            }
        }
    }

    /// Notes that the follower's log agrees up to `match_index`; whether that is news.
    pub(crate) fn accepted(&mut self, match_index: LogIndex) -> bool {
        self.on_contact();
        let news = match_index > self.match_index;
        self.match_index = self.match_index.max(match_index);
        match self.mode {
            Mode::Probe { .. } | Mode::Fetching { pipeline: false } => {
                self.mode = Mode::Pipeline;
                self.next_index = self.match_index.next();
            }
            Mode::Pipeline | Mode::Fetching { .. } | Mode::Snapshot(_) => {}
        }
        self.next_index = self.next_index.max(self.match_index.next());
        while self.in_flight.front().is_some_and(|(last, _)| *last <= self.match_index) {
            if let Some((_, bytes)) = self.in_flight.pop_front() {
                self.in_flight_bytes -= bytes;
            }
        }
        news
    }

    /// Whether a refusal of entries that build on `prev_index` answers what is on the way. One
    /// that doesn't is late (openraft #1500).
    pub(crate) fn is_current_rejection(&self, prev_index: LogIndex) -> bool {
        if prev_index.0 == 0 {
            // Every log agrees there: what was refused is the term, not the entries.
            return false;
        }
        match self.mode {
            Mode::Pipeline | Mode::Fetching { pipeline: true } => {
                prev_index > self.match_index && prev_index < self.next_index
            }
            Mode::Probe { .. } | Mode::Fetching { pipeline: false } => {
                prev_index.next() == self.next_index
            }
            Mode::Snapshot(_) => false,
        }
    }

    /// Starts again from `next_index`, one message at a time.
    pub(crate) fn backtrack(&mut self, next_index: LogIndex) {
        self.next_index = next_index.max(self.match_index.next());
        self.mode = Mode::Probe { awaiting: false };
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.probe_due = false;
        self.no_response_since_heartbeat = false;
    }

    /// The follower's disk has lost what it acknowledged. There is no use in asking at once whether
    /// it has it again: a heartbeat will tell it, as soon as that is committed.
    pub(crate) fn pause_until_heartbeat(&mut self) {
        self.mode = Mode::Probe { awaiting: true };
    }

    /// Begins to send a snapshot.
    pub(crate) fn send_snapshot(&mut self, snapshot: Snapshot, now: Instant) {
        self.backtrack(self.next_index);
        let (offset, awaited) = (0, SnapshotWait::None);
        self.mode = Mode::Snapshot(Box::new(Sending { snapshot, offset, awaited, advanced: now }));
    }

    /// The snapshot that the follower is being sent.
    pub(crate) fn sending(&self) -> Option<&Sending> {
        match &self.mode {
            Mode::Snapshot(sending) => Some(sending),
            _ => None,
        }
    }

    /// Returns true if a snapshot is being sent and the follower was not heard for `timeout`, or
    /// received no more of the snapshot for many times as long. The follower may install the
    /// snapshot, or the leader's caller may read a piece, for any time.
    ///
    /// One `timeout` without progress is not enough. A piece can take longer over a slow link, and
    /// a transfer that gives way to each later snapshot never ends.
    pub(crate) fn transfer_is_stalled(&self, now: Instant, timeout: Duration) -> bool {
        const TIMEOUTS_PER_PIECE: u32 = 10;
        self.sending().is_some_and(|sending| {
            let is_whole = sending.offset == sending.snapshot.size;
            let waits = is_whole || sending.awaited == SnapshotWait::Read;
            let piece_max = timeout.saturating_mul(TIMEOUTS_PER_PIECE);
            let is_stuck = !waits && now.saturating_since(sending.advanced) >= piece_max;
            is_stuck || !self.was_heard(now, timeout)
        })
    }

    /// The follower has `received` bytes of the snapshot that it is being sent.
    pub(crate) fn has_received(&mut self, received: u64, now: Instant) {
        let Mode::Snapshot(sending) = &mut self.mode else { return };
        if sending.offset == received && sending.awaited != SnapshotWait::Extent {
            return;
        }
        if received > sending.offset {
            sending.advanced = now;
        }
        sending.offset = received;
        // When all is there, the acknowledgement of the entries comes by itself.
        let is_whole = received == sending.snapshot.size;
        sending.awaited = if is_whole { SnapshotWait::Response } else { SnapshotWait::Turn };
        self.on_contact();
    }

    /// Goes on with the catching up of a learner, whose leader's log ends with `last`.
    pub(crate) fn catch_up(&mut self, last: LogIndex, now: Instant, timeout: Duration) {
        if let CatchUp::Round { through, began } = self.catch_up {
            if self.match_index < through {
                return;
            }
            if now.saturating_since(began) < timeout {
                self.catch_up = CatchUp::Done;
            }
        }
        if self.match_index >= last {
            self.catch_up = CatchUp::Done;
        }
        if self.catch_up != CatchUp::Done {
            self.catch_up = CatchUp::Round { through: last, began: now };
        }
    }

    /// A learner is to become a voter: what it once was does not count.
    pub(crate) fn restart_catch_up(&mut self) {
        self.catch_up = CatchUp::NotStarted;
    }

    /// Whether the learner has caught up, and was heard within `timeout`.
    pub(crate) fn has_caught_up(&self, now: Instant, timeout: Duration) -> bool {
        self.catch_up == CatchUp::Done && self.was_heard(now, timeout)
    }

    /// Looks how well the follower keeps up with a log that ends with `last`.
    pub(crate) fn update_lag(&mut self, last: LogIndex, now: Instant) {
        let (index, at) = self.catch_up_target;
        if self.match_index >= index {
            self.caught_up_at = at;
            self.catch_up_target = (last, now);
        }
    }

    /// Whether the follower was heard within `timeout`, and has what the leader had then, as far as
    /// it was looked at.
    pub(crate) fn is_up_to_date(&self, now: Instant, timeout: Duration) -> bool {
        self.was_heard(now, timeout) && now.saturating_since(self.caught_up_at) < timeout
    }

    /// Whether the follower was heard within `timeout`.
    pub(crate) fn was_heard(&self, now: Instant, timeout: Duration) -> bool {
        now.saturating_since(self.last_contact) < timeout
    }

    /// The follower cannot be reached: messages in flight are lost. The next heartbeat brings an
    /// empty message that asks what the follower has. Nothing is sent before, because that would
    /// be lost like the messages before it.
    pub(crate) fn on_unreachable(&mut self) {
        if self.mode == Mode::Pipeline {
            self.backtrack(self.match_index.next());
            self.mode = Mode::Probe { awaiting: true };
        }
        self.no_response_since_heartbeat = self.is_waiting();
    }

    /// Returns true if a message is in flight that the follower answers.
    fn is_waiting(&self) -> bool {
        match &self.mode {
            Mode::Probe { awaiting } => *awaiting,
            Mode::Pipeline => !self.in_flight.is_empty(),
            Mode::Fetching { .. } => false,
            Mode::Snapshot(sending) => {
                matches!(sending.awaited, SnapshotWait::Extent | SnapshotWait::Response)
            }
        }
    }

    /// Something came back.
    pub(crate) fn on_contact(&mut self) {
        self.no_response_since_heartbeat = false;
    }

    /// Called once a heartbeat interval. A message that was sent before the last one and is not
    /// answered may be lost; an empty AppendEntries, or an empty piece of the snapshot, asks.
    pub(crate) fn on_heartbeat(&mut self) {
        self.heartbeat_due = true;
        let waiting = self.is_waiting();
        let asks = waiting && self.no_response_since_heartbeat;
        match &mut self.mode {
            Mode::Snapshot(sending) if asks => sending.awaited = SnapshotWait::None,
            Mode::Snapshot(_) => {}
            _ => self.probe_due = asks,
        }
        self.no_response_since_heartbeat = waiting;
    }

    /// The follower was heard just now, and answered no round of heartbeats yet.
    #[cfg(feature = "model")]
    pub(crate) fn canonicalize(&mut self, at: Instant) {
        self.last_contact = at;
        self.caught_up_at = at;
        self.catch_up_target.1 = at;
        self.acked_round = 0;
        if let Mode::Snapshot(sending) = &mut self.mode {
            sending.advanced = at;
        }
        if let CatchUp::Round { began, .. } = &mut self.catch_up {
            *began = at;
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::LogId;
    use crate::state::membership::Membership;

    fn pipelining() -> Progress {
        let mut progress = Progress::new(LogIndex(5), Instant(0));
        progress.accepted(LogIndex(4));
        progress
    }

    #[test]
    fn pipeline_is_bounded_in_messages_and_bytes() {
        let mut progress = pipelining();
        progress.sent(LogIndex(5), 100);
        assert!(progress.may_send(2, 150));
        assert!(!progress.may_send(1, 150));
        progress.sent(LogIndex(6), 100);
        assert!(!progress.may_send(9, 150));
        progress.accepted(LogIndex(6));
        assert!(progress.may_send(1, 1));
    }

    /// etcd #14633: what was in flight before a refusal must not count afterwards.
    #[test]
    fn rejection_clears_in_flight() {
        let mut progress = pipelining();
        progress.sent(LogIndex(9), 1000);
        progress.backtrack(LogIndex(5));
        progress.accepted(LogIndex(4));
        assert!(progress.may_send(1, 1));
        assert_eq!(progress.in_flight(), 0);
    }

    #[test]
    fn stale_ack_does_not_lower_match_index() {
        let mut progress = pipelining();
        progress.sent(LogIndex(9), 10);
        assert!(progress.accepted(LogIndex(9)));
        assert!(!progress.accepted(LogIndex(6)));
        assert_eq!((progress.match_index, progress.next_index), (LogIndex(9), LogIndex(10)));
    }

    #[test]
    fn no_response_within_heartbeat_interval_triggers_probe() {
        let mut progress = pipelining();
        progress.on_heartbeat();
        assert!(!progress.probe_due);
        progress.sent(LogIndex(5), 10);
        progress.on_heartbeat();
        assert!(!progress.probe_due, "it may be on the way");
        progress.on_heartbeat();
        assert!(progress.probe_due, "an interval passed without an answer");
        progress.accepted(LogIndex(5));
        progress.on_heartbeat();
        assert!(!progress.probe_due);
    }

    #[test]
    fn follower_is_up_to_date_within_election_timeout() {
        let timeout = Duration::from_millis(100);
        let mut progress = Progress::new(LogIndex(1), Instant(0));
        let mut look = |match_index, last, millis: u64| {
            progress.accepted(LogIndex(match_index));
            progress.last_contact = Instant(millis * 1000);
            progress.update_lag(LogIndex(last), Instant(millis * 1000));
            progress.is_up_to_date(Instant(millis * 1000), timeout)
        };
        assert!(look(0, 10, 0));
        assert!(look(0, 20, 99), "there is time");
        assert!(!look(9, 30, 100), "one is missing");
        assert!(!look(10, 40, 150), "it took too long");
        assert!(!look(39, 1000, 200), "it is on its way");
        assert!(look(40, 1000, 240), "that was quick");
        assert!(look(1000, 1000, 241));
        for millis in (300..1000).step_by(50) {
            assert!(look(1000, 1000, millis), "nothing is missing");
        }
    }

    #[test]
    fn learner_is_caught_up_after_short_round() {
        let timeout = Duration::from_millis(100);
        let mut progress = Progress::new(LogIndex(1), Instant(0));
        let mut ack = |match_index, last, millis: u64| {
            let now = Instant(millis * 1000);
            progress.accepted(LogIndex(match_index));
            progress.last_contact = now;
            progress.catch_up(LogIndex(last), now, timeout);
            progress.has_caught_up(now, timeout)
        };
        assert!(!ack(0, 1000, 0), "the first round begins");
        assert!(!ack(600, 1400, 200), "it is under way");
        assert!(!ack(1000, 1500, 300), "it took too long");
        assert!(!ack(1499, 1600, 350), "the second round is under way");
        assert!(ack(1500, 1600, 399), "it was short");
        assert!(progress.has_caught_up(Instant(498_999), timeout));
        assert!(!progress.has_caught_up(Instant(499_000), timeout), "it may be dead");
    }

    #[test]
    fn lost_piece_is_asked_about_after_an_interval() {
        let after_two_beats = |awaited| {
            let mut progress = pipelining();
            let snapshot = Snapshot {
                last: LogId::default(),
                membership: Membership::default(),
                identity: 0,
                size: 9,
            };
            progress.send_snapshot(snapshot, Instant(0));
            if let Mode::Snapshot(sending) = &mut progress.mode {
                sending.awaited = awaited;
            }
            [(); 2].map(|()| {
                progress.on_heartbeat();
                progress.sending().map(|sending| sending.awaited)
            })
        };
        // It may be in flight.
        let lost = |awaited| [Some(awaited), Some(SnapshotWait::None)];
        for awaited in [SnapshotWait::Response, SnapshotWait::Extent] {
            assert_eq!(after_two_beats(awaited), lost(awaited));
        }
        let read = [Some(SnapshotWait::Read); 2];
        assert_eq!(after_two_beats(SnapshotWait::Read), read, "only slow");
    }

    #[test]
    fn stale_rejections_are_ignored() {
        let mut progress = pipelining();
        progress.sent(LogIndex(9), 10);
        assert!(!progress.is_current_rejection(LogIndex(4)), "known to match");
        assert!(progress.is_current_rejection(LogIndex(7)));
        assert!(!progress.is_current_rejection(LogIndex(10)), "never sent");
        progress.backtrack(LogIndex(6));
        assert!(progress.is_current_rejection(LogIndex(5)));
        assert!(!progress.is_current_rejection(LogIndex(7)), "from before the reset");
    }
}
