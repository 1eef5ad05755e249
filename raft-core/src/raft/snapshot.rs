//! Log compaction and snapshots (§7), in pieces that can be resumed.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::api::effects::{
    Effects, SnapshotChunk, SnapshotChunkRequest, SnapshotInstall, SnapshotInstalled,
};
use crate::api::entry::Snapshot;
use crate::api::event::{Event, IgnoreReason, StopReason};
use crate::api::message::{
    AppendEntriesResponse, AppendResult, InstallSnapshot, InstallSnapshotResponse, Message,
};
use crate::api::types::{Instant, LogId, LogIndex, NodeId};
use crate::raft::{Raft, RoleState};
use crate::sabotage::Rule;
use crate::state::progress::{Mode, Progress, SnapshotWait};

/// A snapshot that arrives.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct IncomingSnapshot {
    snapshot: Snapshot,
    received: u64,
    state: IncomingState,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum IncomingState {
    Receiving,
    /// All pieces are there, and the caller is to install them.
    Complete,
    /// The caller was told.
    Installing,
}

/// Pieces that are kept until the next drain.
const UNDRAINED_CHUNKS_MAX: usize = 4;

impl Raft {
    /// A snapshot of the state machine is durable, together with its [`Snapshot`]. The entries up
    /// to `retain_after` are removed from the log; followers that still need those get the
    /// snapshot instead, so it is good to retain some. While a leader sends an earlier snapshot,
    /// it also retains the entries after that one: the follower needs them next.
    ///
    /// Afterwards the caller may remove each earlier snapshot that is not
    /// [needed](Self::needs_snapshot).
    ///
    /// The membership is the one at [`membership_at`](Self::membership_at) of the snapshot's last
    /// entry. A snapshot that is no later than the previous one changes nothing, nor does that of a
    /// server which has not learned yet who the members are: no server could begin with it.
    pub fn report_snapshot(&mut self, snapshot: Snapshot, retain_after: LogIndex, now: Instant) {
        if self.start_input(now) {
            return;
        }
        let last = snapshot.last;
        let is_news = self.snapshot.as_ref().is_none_or(|known| known.last.index < last.index);
        if !is_news || self.membership_at(last.index).validate().is_err() {
            return;
        }
        if last.index > self.delivered_index || !self.log.contains(last) {
            return self.stop(StopReason::SnapshotNotOfThisLog { last });
        }
        if snapshot.membership != *self.membership_at(last.index) {
            return self.stop(StopReason::SnapshotMembershipMismatch { last });
        }
        self.emit(|| Event::SnapshotTaken { last });
        self.replace_snapshot(snapshot);
        self.memberships.compact(last.index);
        let sent = self.transfers().map(|(_, sent)| sent.last.index).min().unwrap_or(last.index);
        let retain_after = retain_after.min(last.index).min(sent).max(self.log.start().index);
        if let Some(term) = self.log.term_at(retain_after) {
            self.log.compact(LogId::new(term, retain_after));
        }
    }

    /// There is a later snapshot. Transfers of an earlier one go on, or a follower that is slower
    /// than snapshots are taken would never get a whole one. A stalled transfer gives way: it would
    /// retain the earlier snapshot, and the log after it, for as long as the follower is dead.
    fn replace_snapshot(&mut self, snapshot: Snapshot) {
        let (now, timeout) = (self.now, self.config.election_timeout_max);
        let last = snapshot.last;
        let witnesses = self.membership().witnesses().to_vec();
        let finishes = self.config.enforces(Rule::RunningTransferFinishes);
        let mut begun = Vec::new();
        if let RoleState::Leader(leader) = &mut self.role {
            for (id, progress) in &mut leader.followers {
                if progress.transfer_is_stalled(now, timeout)
                    || (!finishes && progress.sending().is_some())
                {
                    progress.send_snapshot(snapshot.sent_to(witnesses.contains(id)), now);
                    begun.push(*id);
                }
            }
        }
        self.snapshot = Some(snapshot);
        for to in begun {
            self.emit(|| Event::SnapshotSent { to, last });
        }
    }

    /// The followers that this leader sends a snapshot, and which.
    fn transfers(&self) -> impl Iterator<Item = (NodeId, &Snapshot)> {
        let leader = match &self.role {
            RoleState::Leader(leader) => Some(leader),
            _ => None,
        };
        let followers = leader.into_iter().flat_map(|leader| &leader.followers);
        followers.filter_map(|(id, progress)| Some((*id, &progress.sending()?.snapshot)))
    }

    /// Returns true while the caller has to keep the bytes of a snapshot: it is the latest one, or
    /// this leader is sending it to a follower.
    ///
    /// A caller that has made a new snapshot durable asks this for each earlier one after
    /// [`report_snapshot`](Self::report_snapshot), and removes those that are not needed. So there
    /// is at most one snapshot besides the latest for each follower that is being sent one. After
    /// a restart only the latest is needed.
    #[must_use]
    pub fn needs_snapshot(&self, snapshot: &Snapshot) -> bool {
        let is_it = |needed: &Snapshot| needed.matches(snapshot.last, snapshot.identity);
        self.snapshot.as_ref().is_some_and(is_it)
            || self.transfers().any(|(_, sent)| sent.size > 0 && is_it(sent))
    }

    /// The latest durable snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The entry before the first one that the log still has.
    #[must_use]
    pub fn log_start(&self) -> LogId {
        self.log.start()
    }

    /// Sends a follower the next piece of the snapshot, if it is its turn.
    pub(crate) fn send_snapshot(
        &mut self,
        follower: NodeId,
        progress: &mut Progress,
        reads: &mut Vec<SnapshotChunkRequest>,
    ) {
        let Mode::Snapshot(sending) = &mut progress.mode else { return };
        let (snapshot, offset) = (&sending.snapshot, sending.offset);
        match sending.awaited {
            SnapshotWait::None => {
                sending.awaited = SnapshotWait::Extent;
                self.send_chunk(follower, snapshot.clone(), offset, Bytes::new());
            }
            SnapshotWait::Turn => {
                sending.awaited = SnapshotWait::Read;
                let left = usize::try_from(snapshot.size - offset).unwrap_or(usize::MAX);
                let bytes = left.min(self.config.snapshot_chunk_bytes_max);
                reads.push(SnapshotChunkRequest {
                    to: follower,
                    snapshot: snapshot.clone(),
                    offset,
                    bytes,
                });
            }
            SnapshotWait::Extent | SnapshotWait::Read | SnapshotWait::Response => {}
        }
    }

    fn send_chunk(&mut self, follower: NodeId, snapshot: Snapshot, offset: u64, data: Bytes) {
        let request = InstallSnapshot { term: self.term(), snapshot, offset, data };
        self.send_bounded(follower, || Message::InstallSnapshot(Box::new(request)));
    }

    /// A piece of the snapshot, in answer to a [`SnapshotChunkRequest`]. Late answers are dropped.
    pub fn provide_snapshot_chunk(
        &mut self,
        read: SnapshotChunkRequest,
        data: Bytes,
        now: Instant,
    ) {
        if self.start_input(now) {
            return;
        }
        let SnapshotChunkRequest { to, snapshot, offset: begin, bytes } = read;
        let Some(progress) = self.role.progress_of(to) else { return };
        let Mode::Snapshot(sending) = &mut progress.mode else { return };
        let is_same = sending.snapshot.matches(snapshot.last, snapshot.identity);
        if !is_same || (sending.offset, sending.awaited) != (begin, SnapshotWait::Read) {
            return;
        }
        if data.is_empty() || data.len() > bytes {
            return self.stop(StopReason::WrongSnapshotChunk);
        }
        sending.awaited = SnapshotWait::Response;
        progress.on_contact();
        self.send_chunk(to, snapshot, begin, data);
    }

    pub(crate) fn on_install_snapshot(&mut self, from: NodeId, request: InstallSnapshot) {
        let InstallSnapshot { term, snapshot, offset, data } = request;
        let (last, identity) = (snapshot.last, snapshot.identity);
        if term < self.term() {
            // The answer says the term, and nothing of a snapshot.
            return self.ack_chunk(from, LogId::default(), 0, 0);
        }
        if !self.recognize_leader(from, term) {
            return;
        }
        if last.index == LogIndex(0)
            || last.index > LogIndex::LAST
            || last.term.0 == 0
            || last.term > term
            || snapshot.membership.validate().is_err()
        {
            self.ignore(from, IgnoreReason::MalformedSnapshot);
        } else if let Some(index) = self.contradicts_committed(last) {
            self.stop(StopReason::CommittedEntryConflict { index });
        } else if last.index <= self.commit_index && self.config.enforces(Rule::SnapshotIsAhead) {
            // It has all that, and says so as soon as it is on disk.
            self.acknowledge_snapshot(last);
        } else {
            let received = self.accept_chunk(from, snapshot, offset, data);
            self.ack_chunk(from, last, identity, received);
        }
    }

    /// The committed entry of this server that a history with the committed entry `last` does not
    /// contain. Such a history shows that a server has lost data.
    fn contradicts_committed(&self, last: LogId) -> Option<LogIndex> {
        let start = self.log.start();
        let (index, is_contradiction) = if last.index > self.commit_index {
            // Terms never fall in a log.
            let committed = self.log.term_at(self.commit_index);
            (self.commit_index, committed.is_some_and(|term| term > last.term))
        } else if last.index < start.index {
            (last.index, last.term > start.term)
        } else {
            (last.index, !self.log.contains(last))
        };
        is_contradiction.then_some(index)
    }

    fn ack_chunk(&mut self, leader: NodeId, last: LogId, identity: u64, received: u64) {
        let response = InstallSnapshotResponse { term: self.term(), last, identity, received };
        self.send_checked(leader, Message::InstallSnapshotResponse(response));
    }

    /// What a snapshot includes is here, however little of it came as entries.
    fn acknowledge_snapshot(&mut self, last: LogId) {
        if let RoleState::Follower(follower) = &mut self.role {
            follower.ack.note_match(LogIndex(0), last.index);
        }
    }

    /// Takes a piece if it is the next one; how much there is of the snapshot then.
    fn accept_chunk(
        &mut self,
        leader: NodeId,
        snapshot: Snapshot,
        offset: u64,
        data: Bytes,
    ) -> u64 {
        let known = self.incoming.as_ref();
        let is_known = known.is_some_and(|incoming| {
            incoming.snapshot.matches(snapshot.last, snapshot.identity)
                || !self.config.enforces(Rule::PiecesOfOneSnapshot)
        });
        if known.is_some_and(|incoming| incoming.state != IncomingState::Receiving) {
            return if is_known { snapshot.size } else { 0 };
        }
        if !is_known && offset > 0 {
            return 0;
        }
        let received = known.filter(|_| is_known).map_or(0, |incoming| incoming.received);
        let end = offset.checked_add(data.len() as u64);
        let Some(end) = end.filter(|end| *end <= snapshot.size) else {
            self.ignore(leader, IgnoreReason::MalformedSnapshot);
            return received;
        };
        // A leader sends a piece when the one before is answered, so few can wait to be drained.
        let is_next = offset == received && self.undrained_chunks.len() < UNDRAINED_CHUNKS_MAX;
        if !is_next || (data.is_empty() && snapshot.size > 0) {
            return received;
        }
        if !is_known {
            let last = snapshot.last;
            self.emit(|| Event::SnapshotReceiveStarted { leader, last });
        }
        let state =
            if end == snapshot.size { IncomingState::Complete } else { IncomingState::Receiving };
        // That of an empty snapshot is empty: without it, the caller would install what it has of
        // another one.
        self.undrained_chunks.push(SnapshotChunk { snapshot: snapshot.clone(), offset, data });
        self.incoming = Some(IncomingSnapshot { snapshot, received: end, state });
        end
    }

    /// Whether a snapshot is about to take the place of the state machine.
    pub(crate) fn is_installing(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.state != IncomingState::Receiving)
    }

    /// Hands out the pieces that came, and the order to install if they are all there.
    pub(crate) fn drain_snapshot(&mut self, effects: &mut Effects) {
        if self.incoming.is_none() && self.undrained_chunks.is_empty() {
            return;
        }
        effects.snapshot_chunks.append(&mut self.undrained_chunks);
        let boot = self.durability.boot();
        if let Some(incoming) = &mut self.incoming
            && incoming.state == IncomingState::Complete
        {
            incoming.state = IncomingState::Installing;
            let (last, identity) = (incoming.snapshot.last, incoming.snapshot.identity);
            effects.install = Some(SnapshotInstall {
                token: SnapshotInstalled { boot, last, identity },
                snapshot: incoming.snapshot.clone(),
            });
        }
        if !self.config.enforces(Rule::SnapshotIsDurable)
            && let Some(install) = &effects.install
            && let Some(leader) = self.leader()
        {
            let result = AppendResult::Accepted { match_index: install.snapshot.last.index };
            let term = self.term();
            let response = AppendEntriesResponse { term, result };
            self.send_checked(leader, Message::AppendEntriesResponse(response));
        }
    }

    /// The snapshot is durable and in the place of the state machine.
    pub fn snapshot_installed(&mut self, token: SnapshotInstalled, now: Instant) {
        if self.start_input(now) || token.boot != self.durability.boot() {
            return;
        }
        let awaited = self.incoming.take_if(|incoming| {
            incoming.state == IncomingState::Installing
                && incoming.snapshot.matches(token.last, token.identity)
        });
        let Some(IncomingSnapshot { snapshot, .. }) = awaited else { return };
        let last = snapshot.last;
        self.release_uncommitted(last.index);
        let conflicts = !self.log.contains(last)
            && (self.config.enforces(Rule::SnapshotReplacesConflict) || last > self.log.last());
        // A snapshot does not conflict with entries that were committed since it arrived, nor with
        // the log of a server that was elected since.
        let leads = matches!(self.role, RoleState::Leader(_));
        let conflict = self.contradicts_committed(last);
        let conflict = conflict.or_else(|| (conflicts && leads).then_some(last.index));
        if let Some(index) = conflict.filter(|_| self.config.enforces(Rule::SnapshotIsAhead)) {
            return self.stop(StopReason::CommittedEntryConflict { index });
        }
        if conflicts || !self.config.enforces(Rule::SnapshotKeepsSuffix) {
            let membership = if self.config.enforces(Rule::SnapshotHasMembership) {
                snapshot.membership.clone()
            } else {
                self.memberships.latest().1.clone()
            };
            self.log.replace(last);
            self.memberships.restart(last.index, membership);
        } else {
            let term = self.log.term_at(last.index).unwrap_or(last.term);
            self.log.compact(LogId::new(term, last.index));
            self.memberships.compact(last.index);
        }
        self.membership_changed();
        self.replace_snapshot(snapshot);
        self.fetch_in_flight = false;
        self.fetched_committed = None;
        if self.config.enforces(Rule::SnapshotIsAhead) {
            self.commit_index = self.commit_index.max(last.index);
            self.delivered_index = self.delivered_index.max(last.index);
        } else {
            self.delivered_index = last.index;
        }
        self.emit(|| Event::SnapshotInstalled { last });
        self.acknowledge_snapshot(last);
    }

    /// The snapshot that was to be installed is damaged. It is fetched again.
    pub fn snapshot_damaged(&mut self, install: SnapshotInstall, now: Instant) {
        if self.start_input(now) || install.token.boot != self.durability.boot() {
            return;
        }
        let last = install.snapshot.last;
        self.incoming = None;
        self.emit(|| Event::SnapshotDamaged { last });
    }

    pub(crate) fn on_install_snapshot_response(
        &mut self,
        from: NodeId,
        response: InstallSnapshotResponse,
    ) {
        if !self.check_response_term(from, response.term) {
            return;
        }
        let now = self.now;
        let Some(progress) = self.role.progress_of(from) else { return };
        progress.last_contact = now;
        let sent = progress.sending().map(|sending| &sending.snapshot);
        let is_meant = sent.is_some_and(|sent| {
            sent.matches(response.last, response.identity) && response.received <= sent.size
        });
        if is_meant {
            progress.has_received(response.received, now);
        } else {
            self.ignore(from, IgnoreReason::StaleResponse);
        }
    }
}
