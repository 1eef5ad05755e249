//! Log compaction and snapshots (§7), in chunks that resume after a loss.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::api::effects::{Effects, SnapshotChunkRequest, SnapshotInstall, SnapshotInstalled};
use crate::api::entry::Snapshot;
use crate::api::event::{Event, IgnoreReason, StopReason};
use crate::api::message::{InstallSnapshot, InstallSnapshotResponse, Message};
use crate::api::types::{Instant, LogId, LogIndex, NodeId};
use crate::raft::replication::Sender;
use crate::raft::role::RoleState;
use crate::raft::{Persistent, Raft};
use crate::sabotage::Rule;
use crate::state::incoming_snapshot::ChunkOutcome;
use crate::state::membership_history::MembershipHistory;
use crate::state::progress::Progress;
use crate::state::progress::snapshot_transfer::TransferStep;

impl Raft {
    /// Input: a snapshot of the state machine is durable, together with its [`Snapshot`].
    ///
    /// The log is compacted up to `retain_after`. A follower that needs a compacted entry receives
    /// the snapshot instead, so a caller should retain some entries. A leader that sends an earlier
    /// snapshot also retains the entries after that one, because the follower needs them next.
    ///
    /// The membership must be [`membership_at`](Self::membership_at) the last entry of the
    /// snapshot. The server stops if the snapshot includes entries that were not delivered, or has
    /// another membership. Two kinds of snapshots are ignored: those that are not later than the
    /// previous one, and those of a server that does not know the members yet.
    ///
    /// Afterwards the caller may remove each earlier snapshot that
    /// [`needs_snapshot`](Self::needs_snapshot) does not name.
    pub fn report_snapshot(&mut self, snapshot: Snapshot, retain_after: LogIndex, now: Instant) {
        if self.has_stopped(now) {
            return;
        }
        let last = snapshot.last;
        let is_news = self.snapshot().is_none_or(|known| known.last.index < last.index);
        if !is_news || self.membership_at(last.index).validate().is_err() {
            return;
        }
        if last.index > self.delivery.index() || !self.persistent.log.contains(last) {
            return self.stop(StopReason::SnapshotNotOfThisLog { last });
        }
        if snapshot.membership != *self.membership_at(last.index) {
            return self.stop(StopReason::SnapshotMembershipMismatch { last });
        }
        self.emit(|| Event::SnapshotTaken { last });
        self.replace_snapshot(snapshot);
        self.persistent.memberships.compact(last.index);
        let sent = self.sent_snapshots().map(|sent| sent.last.index).min().unwrap_or(last.index);
        let log = &mut self.persistent.log;
        let retain_after = retain_after.min(last.index).min(sent).max(log.start().index);
        if let Some(term) = log.term_at(retain_after) {
            log.compact(LogId::new(term, retain_after));
        }
    }

    /// Stores a later snapshot. It replaces the snapshot of each stalled transfer.
    ///
    /// Other transfers continue. Otherwise a follower that receives a snapshot more slowly than
    /// they are taken would never receive a complete one. A stalled transfer would retain its
    /// snapshot, and the log after it, for as long as the follower is dead.
    fn replace_snapshot(&mut self, snapshot: Snapshot) {
        let (now, timeout) = (self.volatile.now, self.config.election_timeout_max);
        let last = snapshot.last;
        let witnesses = self.membership().witnesses().to_vec();
        let finishes = self.config.enforces(Rule::RunningTransferFinishes);
        let mut restarted = Vec::new();
        if let RoleState::Leader(leader) = &mut self.role {
            for (id, progress) in &mut leader.followers {
                if progress.transfer_is_stalled(now, timeout)
                    || (!finishes && progress.snapshot_transfer().is_some())
                {
                    progress.start_snapshot(snapshot.sent_to(witnesses.contains(id)), now);
                    restarted.push(*id);
                }
            }
        }
        self.persistent.snapshot = Some(snapshot);
        for to in restarted {
            self.emit(|| Event::SnapshotSent { to, last });
        }
    }

    /// The snapshots that this leader sends to followers.
    fn sent_snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        let followers = self.role.leader().into_iter().flat_map(|leader| &leader.followers);
        followers.filter_map(|(_, progress)| Some(progress.snapshot_transfer()?.snapshot()))
    }

    /// Returns true while the caller must keep the bytes of `snapshot`: it is the latest snapshot,
    /// or this leader is sending it to a follower.
    ///
    /// A caller calls this for each earlier snapshot after
    /// [`report_snapshot`](Self::report_snapshot), and removes those that are not needed. At most
    /// one earlier snapshot per follower is needed. After a restart only the latest snapshot is
    /// needed.
    #[must_use]
    pub fn needs_snapshot(&self, snapshot: &Snapshot) -> bool {
        let is_same = |needed: &Snapshot| needed.matches(snapshot.last, snapshot.identity);
        self.snapshot().is_some_and(is_same)
            || self.sent_snapshots().any(|sent| sent.size > 0 && is_same(sent))
    }

    /// The latest durable snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.persistent.snapshot.as_ref()
    }

    /// The last compacted entry. The log contains the entries after it.
    #[must_use]
    pub fn log_start(&self) -> LogId {
        self.persistent.log.start()
    }

    /// Input: the bytes that a [`SnapshotChunkRequest`] requested. Bytes that are no longer needed
    /// are ignored.
    ///
    /// The server stops if there are no bytes, or more than requested.
    pub fn provide_snapshot_chunk(
        &mut self,
        request: SnapshotChunkRequest,
        data: Bytes,
        now: Instant,
    ) {
        if self.has_stopped(now) {
            return;
        }
        let SnapshotChunkRequest { to, snapshot, offset, bytes } = request;
        let Some(progress) = self.role.progress_of(to) else { return };
        let transfer = progress.snapshot_transfer();
        if !transfer.is_some_and(|it| it.awaits_read(snapshot.last, snapshot.identity, offset)) {
            return;
        }
        if data.is_empty() || data.len() > bytes {
            return self.stop(StopReason::WrongSnapshotChunk);
        }
        progress.note_chunk_sent();
        if let Some((_, mut sender)) = self.leader_and_sender() {
            sender.send_chunk(to, snapshot, offset, data);
        }
    }

    pub(super) fn on_install_snapshot(&mut self, from: NodeId, request: InstallSnapshot) {
        let InstallSnapshot { term, snapshot, offset, data } = request;
        let (last, identity) = (snapshot.last, snapshot.identity);
        if term < self.term() {
            // A response to an earlier term contains nothing about a snapshot.
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
        } else if last.index <= self.volatile.commit_index
            && self.config.enforces(Rule::SnapshotIsAhead)
        {
            // The log contains all of the snapshot, and acknowledges it once it is durable.
            self.acknowledge_snapshot(last);
        } else {
            let received = self.accept_chunk(from, snapshot, offset, data);
            self.ack_chunk(from, last, identity, received);
        }
    }

    /// The index of a committed entry that contradicts a history with the committed entry `last`.
    /// Such a snapshot shows that a server has lost data.
    fn contradicts_committed(&self, last: LogId) -> Option<LogIndex> {
        let (log, commit_index) = (&self.persistent.log, self.volatile.commit_index);
        let start = log.start();
        let (index, is_contradiction) = if last.index > commit_index {
            // Terms never decrease within a log.
            let committed = log.term_at(commit_index);
            (commit_index, committed.is_some_and(|term| term > last.term))
        } else if last.index < start.index {
            (last.index, last.term > start.term)
        } else {
            (last.index, !log.contains(last))
        };
        is_contradiction.then_some(index)
    }

    fn ack_chunk(&mut self, leader: NodeId, last: LogId, identity: u64, received: u64) {
        let response = InstallSnapshotResponse { term: self.term(), last, identity, received };
        self.outbox.send_checked(leader, Message::InstallSnapshotResponse(response));
    }

    /// Acknowledges the entries that a snapshot includes.
    fn acknowledge_snapshot(&mut self, last: LogId) {
        if let RoleState::Follower(follower) = &mut self.role {
            follower.ack.note_match(LogIndex(0), last.index);
        }
    }

    /// Accepts a chunk if it is the next one. Returns the number of received bytes.
    fn accept_chunk(
        &mut self,
        leader: NodeId,
        snapshot: Snapshot,
        offset: u64,
        data: Bytes,
    ) -> u64 {
        let last = snapshot.last;
        let (received, outcome) = self.incoming.accept(snapshot, offset, data);
        match outcome {
            ChunkOutcome::Started => self.emit(|| Event::SnapshotReceiveStarted { leader, last }),
            ChunkOutcome::Malformed => self.ignore(leader, IgnoreReason::MalformedSnapshot),
            ChunkOutcome::Continued | ChunkOutcome::Ignored => {}
        }
        received
    }

    /// Drains the received chunks, and the order to install them when all are received.
    pub(super) fn drain_snapshot(&mut self, effects: &mut Effects) {
        if self.incoming.is_empty() {
            return;
        }
        effects.install = self.incoming.drain(&mut effects.snapshot_chunks, self.writes.boot());
        #[cfg(feature = "sabotage")]
        self.acknowledge_received_snapshot(effects);
    }

    /// Input: the snapshot of a [`SnapshotInstall`] is durable, and is the state of the state
    /// machine. Tokens of earlier boots, and of other snapshots, are ignored.
    pub fn snapshot_installed(&mut self, token: SnapshotInstalled, now: Instant) {
        if self.has_stopped(now) || token.boot != self.writes.boot() {
            return;
        }
        let Some(snapshot) = self.incoming.finish(&token) else { return };
        let last = snapshot.last;
        self.release_uncommitted(last.index);
        let log = &self.persistent.log;
        let replaces_log = !log.contains(last)
            && (self.config.enforces(Rule::SnapshotReplacesConflict) || last > log.last());
        // Entries that were committed during the installation must not contradict the snapshot. Nor
        // may the log of a server that was elected during the installation be replaced.
        let leads = matches!(self.role, RoleState::Leader(_));
        let conflict = self.contradicts_committed(last);
        let conflict = conflict.or_else(|| (replaces_log && leads).then_some(last.index));
        if let Some(index) = conflict.filter(|_| self.config.enforces(Rule::SnapshotIsAhead)) {
            return self.stop(StopReason::CommittedEntryConflict { index });
        }
        if replaces_log || !self.config.enforces(Rule::SnapshotKeepsSuffix) {
            self.replace_log(&snapshot);
        } else {
            let term = self.persistent.log.term_at(last.index).unwrap_or(last.term);
            self.persistent.log.compact(LogId::new(term, last.index));
            self.persistent.memberships.compact(last.index);
        }
        self.on_membership_changed();
        self.replace_snapshot(snapshot);
        self.delivery.fetch_in_flight = false;
        self.delivery.fetched = None;
        if self.config.enforces(Rule::SnapshotIsAhead) {
            self.volatile.commit_index = self.volatile.commit_index.max(last.index);
            self.delivery.delivered = self.delivery.delivered.max(last.index);
        } else {
            self.delivery.delivered = last.index;
        }
        self.emit(|| Event::SnapshotInstalled { last });
        self.acknowledge_snapshot(last);
    }

    /// Starts the log after `snapshot`, without the entries that it contains now.
    fn replace_log(&mut self, snapshot: &Snapshot) {
        let last = snapshot.last;
        let Persistent { log, memberships, .. } = &mut self.persistent;
        log.replace(last);
        let membership = if self.config.enforces(Rule::SnapshotHasMembership) {
            snapshot.membership.clone()
        } else {
            memberships.latest().1.clone()
        };
        *memberships = MembershipHistory::from_snapshot(last.index, membership);
    }

    /// Input: the snapshot of a [`SnapshotInstall`] is damaged. The leader sends it again.
    pub fn snapshot_damaged(&mut self, install: SnapshotInstall, now: Instant) {
        if self.has_stopped(now) || install.token.boot != self.writes.boot() {
            return;
        }
        let last = install.snapshot.last;
        self.incoming.discard();
        self.emit(|| Event::SnapshotDamaged { last });
    }

    pub(super) fn on_install_snapshot_response(
        &mut self,
        from: NodeId,
        response: InstallSnapshotResponse,
    ) {
        if !self.check_response_term(from, response.term) {
            return;
        }
        let now = self.volatile.now;
        let Some(progress) = self.role.progress_of(from) else { return };
        progress.note_contact(now);
        let is_current = progress.snapshot_transfer().is_some_and(|transfer| {
            let sent = transfer.snapshot();
            sent.matches(response.last, response.identity) && response.received <= sent.size
        });
        if is_current {
            progress.note_received(response.received, now);
        } else {
            self.ignore(from, IgnoreReason::StaleResponse);
        }
    }
}

impl Sender<'_> {
    /// Sends a follower the next chunk of its snapshot, or requests the bytes from the caller.
    pub(super) fn send_snapshot(
        &mut self,
        follower: NodeId,
        progress: &mut Progress,
        requests: &mut Vec<SnapshotChunkRequest>,
    ) {
        let Some(transfer) = progress.snapshot_transfer_mut() else { return };
        let step = transfer.start_step(self.config.snapshot_chunk_bytes_max);
        let Some(step) = step else { return };
        let (snapshot, offset) = (transfer.snapshot().clone(), transfer.offset());
        match step {
            TransferStep::Probe => self.send_chunk(follower, snapshot, offset, Bytes::new()),
            TransferStep::Chunk { bytes } => {
                requests.push(SnapshotChunkRequest { to: follower, snapshot, offset, bytes });
            }
        }
    }

    fn send_chunk(&mut self, follower: NodeId, snapshot: Snapshot, offset: u64, data: Bytes) {
        let request = InstallSnapshot { term: self.term, snapshot, offset, data };
        self.outbox.send_bounded(follower, || Message::InstallSnapshot(Box::new(request)));
    }
}
