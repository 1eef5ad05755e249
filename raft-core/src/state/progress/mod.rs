//! The leader's view of one follower.

mod catch_up;
mod in_flight;
pub(crate) mod snapshot_transfer;

use alloc::boxed::Box;
use core::time::Duration;

use crate::api::entry::Snapshot;
use crate::api::types::{Instant, LogIndex};
use crate::state::progress::catch_up::{CatchUp, Lag};
use crate::state::progress::in_flight::InFlight;
use crate::state::progress::snapshot_transfer::SnapshotTransfer;

/// The replication state of one follower (Figure 2: `nextIndex`, `matchIndex`), with flow control.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Progress {
    /// The index of the next entry to send. Always greater than `match_index`.
    next_index: LogIndex,
    /// The last index up to which the follower's durable log is known to match the leader's.
    match_index: LogIndex,
    mode: Mode,
    /// The AppendEntries messages that are not acknowledged, in pipeline mode.
    in_flight: InFlight,
    contact: Contact,
    /// The distance to the leader's log, for the rule of witnesses.
    lag: Lag,
    /// The catch-up of a learner that is to become a voter.
    catch_up: CatchUp,
    /// The number of leadership transfers to this follower that timed out.
    transfers_failed: u32,
}

/// The mode in which a follower receives entries.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Mode {
    /// One AppendEntries at a time, until it is known where the logs match.
    Probe {
        /// A message is in flight.
        awaiting: bool,
    },
    /// AppendEntries are sent before earlier ones are acknowledged (dissertation 10.2.2).
    Pipeline,
    /// The next entries have left memory, and the caller reads them from the durable log.
    Fetching {
        /// The mode afterwards is `Pipeline`, and not `Probe`.
        pipeline: bool,
    },
    /// The next entries are compacted, and the follower receives a snapshot (§7).
    Snapshot(Box<SnapshotTransfer>),
}

/// The messages of a follower, and the heartbeats and probes that it is due.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Contact {
    /// The leader last received a message of the follower, or was elected, at this time.
    last: Instant,
    /// The latest heartbeat round that the follower has answered.
    acked_round: u64,
    /// The next drain sends a heartbeat.
    heartbeat_due: bool,
    /// The next drain sends an AppendEntries without entries, which requests the match index.
    probe_due: bool,
    /// A message was in flight at the last heartbeat timer, or is known to be lost, and the
    /// follower has not responded since.
    no_response_since_heartbeat: bool,
}

impl Progress {
    /// The progress of a follower of which nothing is known.
    pub(crate) fn new(next_index: LogIndex, now: Instant) -> Self {
        Self {
            next_index,
            match_index: LogIndex(0),
            mode: Mode::Probe { awaiting: false },
            in_flight: InFlight::default(),
            contact: Contact {
                last: now,
                acked_round: 0,
                heartbeat_due: false,
                probe_due: false,
                no_response_since_heartbeat: false,
            },
            lag: Lag::new(now),
            catch_up: CatchUp::NotStarted,
            transfers_failed: 0,
        }
    }

    /// The index of the next entry to send.
    pub(crate) fn next_index(&self) -> LogIndex {
        self.next_index
    }

    /// The last index up to which the follower's durable log is known to match the leader's.
    pub(crate) fn match_index(&self) -> LogIndex {
        self.match_index
    }

    /// The mode in which the follower receives entries.
    pub(crate) fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The number of AppendEntries messages that are not acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns true if the follower was sent a log that ends at `last`, and is due nothing else.
    #[inline]
    pub(crate) fn is_idle(&self, last: LogIndex) -> bool {
        let is_due = self.contact.heartbeat_due || self.contact.probe_due;
        self.mode == Mode::Pipeline && !is_due && self.next_index > last
    }

    /// Returns true if flow control allows another AppendEntries with entries.
    pub(crate) fn may_send(&self, messages_max: usize, bytes_max: usize) -> bool {
        match self.mode {
            Mode::Probe { awaiting } => !awaiting,
            Mode::Pipeline => {
                self.in_flight.len() < messages_max && self.in_flight.bytes() < bytes_max
            }
            Mode::Fetching { .. } | Mode::Snapshot(_) => false,
        }
    }

    /// Records that an AppendEntries with entries up to `last` is sent.
    pub(crate) fn note_sent(&mut self, last: LogIndex, bytes: usize) {
        match &mut self.mode {
            Mode::Probe { awaiting } => *awaiting = true,
            Mode::Snapshot(_) => {}
            Mode::Pipeline | Mode::Fetching { .. } => {
                self.in_flight.push(last, bytes);
                self.next_index = last.next();
            }
        }
    }

    /// Records that the follower's log matches up to `match_index`. Returns true if that is news.
    pub(crate) fn accept(&mut self, match_index: LogIndex) -> bool {
        self.on_response();
        let is_news = match_index > self.match_index;
        self.match_index = self.match_index.max(match_index);
        match self.mode {
            Mode::Probe { .. } | Mode::Fetching { pipeline: false } => {
                self.mode = Mode::Pipeline;
                self.next_index = self.match_index.next();
            }
            Mode::Pipeline | Mode::Fetching { .. } | Mode::Snapshot(_) => {}
        }
        self.next_index = self.next_index.max(self.match_index.next());
        self.in_flight.acknowledge(self.match_index);
        is_news
    }

    /// Returns true if a rejection with the previous index `prev_index` answers a message in
    /// flight. Other rejections are stale (openraft #1500).
    pub(crate) fn is_current_rejection(&self, prev_index: LogIndex) -> bool {
        if prev_index.0 == 0 {
            // All logs match at index 0, so the follower has rejected the term.
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

    /// Restarts at `next_index` in probe mode. Messages in flight no longer count.
    pub(crate) fn backtrack(&mut self, next_index: LogIndex) {
        self.next_index = next_index.max(self.match_index.next());
        self.mode = Mode::Probe { awaiting: false };
        self.in_flight.clear();
        self.contact.probe_due = false;
        self.contact.no_response_since_heartbeat = false;
    }

    /// Sends nothing more until a heartbeat finds no response, because the follower's disk has lost
    /// entries that it had acknowledged.
    ///
    /// A probe would only be rejected again. The follower stops at the next heartbeat that contains
    /// the commit index of a lost entry.
    pub(crate) fn pause_until_heartbeat(&mut self) {
        self.mode = Mode::Probe { awaiting: true };
    }

    /// Starts to read the next entries from the durable log.
    pub(crate) fn start_fetch(&mut self) {
        self.mode = Mode::Fetching { pipeline: self.mode == Mode::Pipeline };
    }

    /// Returns to the mode before [`start_fetch`](Self::start_fetch). Returns false in any other
    /// mode.
    pub(crate) fn finish_fetch(&mut self) -> bool {
        let Mode::Fetching { pipeline } = self.mode else { return false };
        self.mode = if pipeline { Mode::Pipeline } else { Mode::Probe { awaiting: false } };
        true
    }

    /// Starts the transfer of a snapshot.
    pub(crate) fn start_snapshot(&mut self, snapshot: Snapshot, now: Instant) {
        self.backtrack(self.next_index);
        self.mode = Mode::Snapshot(Box::new(SnapshotTransfer::new(snapshot, now)));
    }

    /// Ends a snapshot transfer, because the log contains the next entry.
    pub(crate) fn end_snapshot(&mut self) {
        self.mode = Mode::Pipeline;
    }

    /// The snapshot transfer in progress.
    pub(crate) fn snapshot_transfer(&self) -> Option<&SnapshotTransfer> {
        match &self.mode {
            Mode::Snapshot(transfer) => Some(transfer),
            _ => None,
        }
    }

    /// The snapshot transfer in progress.
    pub(crate) fn snapshot_transfer_mut(&mut self) -> Option<&mut SnapshotTransfer> {
        match &mut self.mode {
            Mode::Snapshot(transfer) => Some(transfer),
            _ => None,
        }
    }

    /// Returns true if a snapshot transfer is stuck, or the follower was not heard for `timeout`
    /// during the transfer.
    pub(crate) fn transfer_is_stalled(&self, now: Instant, timeout: Duration) -> bool {
        self.snapshot_transfer().is_some_and(|transfer| {
            transfer.is_stuck(now, timeout) || !self.was_heard(now, timeout)
        })
    }

    /// Records that a chunk of the snapshot is sent.
    pub(crate) fn note_chunk_sent(&mut self) {
        if let Mode::Snapshot(transfer) = &mut self.mode {
            transfer.note_chunk_sent();
            self.on_response();
        }
    }

    /// Records that the follower has `received` bytes of the snapshot.
    pub(crate) fn note_received(&mut self, received: u64, now: Instant) {
        if let Mode::Snapshot(transfer) = &mut self.mode
            && transfer.note_received(received, now)
        {
            self.on_response();
        }
    }

    /// Advances the catch-up of a learner, in a log that ends at `last`.
    pub(crate) fn advance_catch_up(&mut self, last: LogIndex, now: Instant, timeout: Duration) {
        self.catch_up.advance(self.match_index, last, now, timeout);
    }

    /// Restarts the catch-up, because the learner is to become a voter.
    pub(crate) fn restart_catch_up(&mut self) {
        self.catch_up = CatchUp::NotStarted;
    }

    /// Returns true if the learner has caught up, and was heard within `timeout`.
    pub(crate) fn has_caught_up(&self, now: Instant, timeout: Duration) -> bool {
        self.catch_up == CatchUp::Done && self.was_heard(now, timeout)
    }

    /// Samples the follower's distance to a log that ends at `last`.
    pub(crate) fn update_lag(&mut self, last: LogIndex, now: Instant) {
        self.lag.update(self.match_index, last, now);
    }

    /// Returns true if the follower was heard within `timeout`, and has what the leader had then.
    pub(crate) fn is_up_to_date(&self, now: Instant, timeout: Duration) -> bool {
        self.was_heard(now, timeout) && self.lag.is_below(now, timeout)
    }

    /// The time of the follower's last message, or of the leader's election.
    pub(crate) fn last_contact(&self) -> Instant {
        self.contact.last
    }

    /// Records a message of the follower.
    pub(crate) fn note_contact(&mut self, now: Instant) {
        self.contact.last = now;
    }

    /// Returns true if the follower was heard within `timeout`.
    pub(crate) fn was_heard(&self, now: Instant, timeout: Duration) -> bool {
        now.saturating_since(self.contact.last) < timeout
    }

    /// The latest heartbeat round that the follower has answered.
    pub(crate) fn acked_round(&self) -> u64 {
        self.contact.acked_round
    }

    /// Records a response to a heartbeat round.
    pub(crate) fn ack_round(&mut self, round: u64) {
        self.contact.acked_round = self.contact.acked_round.max(round);
    }

    /// Makes the next drain send a heartbeat.
    pub(crate) fn schedule_heartbeat(&mut self) {
        self.contact.heartbeat_due = true;
    }

    /// Returns true, once, if a heartbeat is due.
    pub(crate) fn take_heartbeat(&mut self) -> bool {
        core::mem::take(&mut self.contact.heartbeat_due)
    }

    /// Returns true, once, if an AppendEntries without entries is due.
    pub(crate) fn take_probe(&mut self) -> bool {
        core::mem::take(&mut self.contact.probe_due)
    }

    /// Treats the messages in flight as lost, because the follower is reported as unreachable.
    ///
    /// The next heartbeat timer sends a probe. A probe before that would be lost too.
    pub(crate) fn on_unreachable(&mut self) {
        if self.mode == Mode::Pipeline {
            self.backtrack(self.match_index.next());
            self.mode = Mode::Probe { awaiting: true };
        }
        self.contact.no_response_since_heartbeat = self.awaits_response();
    }

    /// Returns true if a message is in flight that the follower answers.
    fn awaits_response(&self) -> bool {
        match &self.mode {
            Mode::Probe { awaiting } => *awaiting,
            Mode::Pipeline => self.in_flight.len() > 0,
            Mode::Fetching { .. } => false,
            Mode::Snapshot(transfer) => transfer.awaits_response(),
        }
    }

    /// Records that the follower has responded, or that its next response has a new request.
    fn on_response(&mut self) {
        self.contact.no_response_since_heartbeat = false;
    }

    /// Called once per heartbeat interval. A message that was in flight at the previous call, and
    /// has no response, may be lost. A probe then requests what the follower has.
    pub(crate) fn on_heartbeat_timer(&mut self) {
        self.contact.heartbeat_due = true;
        let awaits = self.awaits_response();
        let may_be_lost = awaits && self.contact.no_response_since_heartbeat;
        match &mut self.mode {
            Mode::Snapshot(transfer) if may_be_lost => transfer.probe(),
            Mode::Snapshot(_) => {}
            _ => self.contact.probe_due = may_be_lost,
        }
        self.contact.no_response_since_heartbeat = awaits;
    }

    /// The number of leadership transfers to this follower that timed out.
    pub(crate) fn transfers_failed(&self) -> u32 {
        self.transfers_failed
    }

    /// Records a leadership transfer that timed out.
    pub(crate) fn note_failed_transfer(&mut self) {
        self.transfers_failed = self.transfers_failed.saturating_add(1);
    }

    /// Moves all times to `now`, and forgets the heartbeat rounds.
    #[cfg(feature = "model")]
    pub(crate) fn canonicalize(&mut self, now: Instant) {
        self.contact.last = now;
        self.contact.acked_round = 0;
        self.lag.canonicalize(now);
        self.catch_up.canonicalize(now);
        if let Mode::Snapshot(transfer) = &mut self.mode {
            transfer.canonicalize(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::membership::Membership;
    use crate::api::types::LogId;
    use crate::state::progress::snapshot_transfer::TransferStep;

    fn pipelining() -> Progress {
        let mut progress = Progress::new(LogIndex(5), Instant(0));
        progress.accept(LogIndex(4));
        progress
    }

    #[test]
    fn pipeline_is_bounded_in_messages_and_bytes() {
        let mut progress = pipelining();
        progress.note_sent(LogIndex(5), 100);
        assert!(progress.may_send(2, 150));
        assert!(!progress.may_send(1, 150));
        progress.note_sent(LogIndex(6), 100);
        assert!(!progress.may_send(9, 150));
        progress.accept(LogIndex(6));
        assert!(progress.may_send(1, 1));
    }

    /// etcd #14633: what was in flight before a refusal must not count afterwards.
    #[test]
    fn rejection_clears_in_flight() {
        let mut progress = pipelining();
        progress.note_sent(LogIndex(9), 1000);
        progress.backtrack(LogIndex(5));
        progress.accept(LogIndex(4));
        assert!(progress.may_send(1, 1));
        assert_eq!(progress.in_flight(), 0);
    }

    #[test]
    fn stale_ack_does_not_lower_match_index() {
        let mut progress = pipelining();
        progress.note_sent(LogIndex(9), 10);
        assert!(progress.accept(LogIndex(9)));
        assert!(!progress.accept(LogIndex(6)));
        assert_eq!((progress.match_index, progress.next_index), (LogIndex(9), LogIndex(10)));
    }

    #[test]
    fn no_response_within_heartbeat_interval_triggers_probe() {
        let mut progress = pipelining();
        progress.on_heartbeat_timer();
        assert!(!progress.contact.probe_due);
        progress.note_sent(LogIndex(5), 10);
        progress.on_heartbeat_timer();
        assert!(!progress.contact.probe_due, "it may be in flight");
        progress.on_heartbeat_timer();
        assert!(progress.contact.probe_due, "an interval passed without an answer");
        progress.accept(LogIndex(5));
        progress.on_heartbeat_timer();
        assert!(!progress.contact.probe_due);
    }

    #[test]
    fn follower_is_up_to_date_within_election_timeout() {
        let timeout = Duration::from_millis(100);
        let mut progress = Progress::new(LogIndex(1), Instant(0));
        let mut update = |match_index, last, millis: u64| {
            progress.accept(LogIndex(match_index));
            progress.note_contact(Instant(millis * 1000));
            progress.update_lag(LogIndex(last), Instant(millis * 1000));
            progress.is_up_to_date(Instant(millis * 1000), timeout)
        };
        assert!(update(0, 10, 0));
        assert!(update(0, 20, 99), "the timeout has not passed");
        assert!(!update(9, 30, 100), "one entry is missing");
        assert!(!update(10, 40, 150), "it took too long");
        assert!(!update(39, 1000, 200), "it is behind");
        assert!(update(40, 1000, 240), "it caught up in time");
        assert!(update(1000, 1000, 241));
        for millis in (300..1000).step_by(50) {
            assert!(update(1000, 1000, millis), "nothing is missing");
        }
    }

    #[test]
    fn learner_is_caught_up_after_short_round() {
        let timeout = Duration::from_millis(100);
        let mut progress = Progress::new(LogIndex(1), Instant(0));
        let mut ack = |match_index, last, millis: u64| {
            let now = Instant(millis * 1000);
            progress.accept(LogIndex(match_index));
            progress.note_contact(now);
            progress.advance_catch_up(LogIndex(last), now, timeout);
            progress.has_caught_up(now, timeout)
        };
        assert!(!ack(0, 1000, 0), "the first round begins");
        assert!(!ack(600, 1400, 200), "the round continues");
        assert!(!ack(1000, 1500, 300), "it took too long");
        assert!(!ack(1499, 1600, 350), "the second round continues");
        assert!(ack(1500, 1600, 399), "it was short");
        assert!(progress.has_caught_up(Instant(498_999), timeout));
        assert!(!progress.has_caught_up(Instant(499_000), timeout), "it may be dead");
    }

    #[test]
    fn lost_chunk_triggers_probe_after_one_interval() {
        fn next_step(progress: &mut Progress) -> Option<TransferStep> {
            progress.snapshot_transfer_mut().unwrap().start_step(9)
        }
        let two_intervals = |progress: &mut Progress| {
            [(); 2].map(|()| {
                progress.on_heartbeat_timer();
                next_step(progress)
            })
        };
        let (last, membership) = (LogId::default(), Membership::default());
        let snapshot = Snapshot { last, membership, identity: 0, size: 9 };
        let mut progress = pipelining();
        progress.start_snapshot(snapshot, Instant(0));
        assert_eq!(next_step(&mut progress), Some(TransferStep::Probe));
        assert_eq!(two_intervals(&mut progress), [None, Some(TransferStep::Probe)]);
        progress.note_received(0, Instant(0));
        assert_eq!(next_step(&mut progress), Some(TransferStep::Chunk { bytes: 9 }));
        assert_eq!(two_intervals(&mut progress), [None, None], "the caller reads");
        progress.note_chunk_sent();
        assert_eq!(two_intervals(&mut progress), [None, Some(TransferStep::Probe)]);
    }

    #[test]
    fn stale_rejections_are_ignored() {
        let mut progress = pipelining();
        progress.note_sent(LogIndex(9), 10);
        assert!(!progress.is_current_rejection(LogIndex(4)), "known to match");
        assert!(progress.is_current_rejection(LogIndex(7)));
        assert!(!progress.is_current_rejection(LogIndex(10)), "never sent");
        progress.backtrack(LogIndex(6));
        assert!(progress.is_current_rejection(LogIndex(5)));
        assert!(!progress.is_current_rejection(LogIndex(7)), "from before the reset");
    }
}
