//! Linearizable reads without writing to the log: by asking a majority (ReadIndex, dissertation
//! 6.4) or by a lease (6.4.1), at the leader and at its followers.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::api::config::Config;
use crate::api::effects::{ReadId, ReadOutcome};
use crate::api::event::{Event, IgnoreReason, ReadConfirmation};
use crate::api::message::{Message, ReadIndex, ReadIndexResponse};
use crate::api::types::{Instant, LogIndex, NodeId};
use crate::macros::{described_enum, ensure};
use crate::raft::{Follower, Raft, RoleState};
use crate::sabotage::Rule;

/// How a read makes sure that it sees every write that was acknowledged before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReadMode {
    /// A majority confirms that the leader still leads. Depends on no clock.
    Quorum,
    /// The leader answers by itself while it has a lease, and asks a majority otherwise. Depends on
    /// the bound of [`Config::lease_drift_ppm`].
    Lease,
}

/// Reads that wait until a majority has confirmed that the leader still leads.
///
/// A read is confirmed by a round of heartbeats that began after the read arrived. Rounds are
/// numbered and the numbers only grow, so an answer to an earlier round cannot confirm it
/// (etcd #20418).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct PendingReads {
    waiting: VecDeque<Read>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Read {
    reader: ReadOrigin,
    read_index: LogIndex,
    round: u64,
}

/// Who wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum ReadOrigin {
    Local(ReadId),
    Remote { node: NodeId, boot: u64, batch: u64 },
}

/// What a leader knows of the time for which nobody else can lead.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Lease {
    /// When rounds of heartbeats began, which are some time apart.
    rounds: VecDeque<(u64, Instant)>,
    until: Instant,
    forfeited: bool,
}

/// Reads of a follower, which asks the leader.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct ForwardedReads {
    /// With the batch in which each is asked.
    waiting: VecDeque<(ReadId, u64)>,
    /// The latest batch that was asked.
    last_batch_sent: u64,
    /// Whether a read waits that no lease may answer.
    needs_quorum: bool,
    pub(crate) asked_at: Instant,
    /// Whether the latest batch is to be asked again.
    resend: bool,
}

described_enum! {
    /// Why a read was not accepted.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum ReadError: core::error::Error {
        /// No leader is known that could tell what is committed; ask again later.
        NoLeader => "no leader is known that could tell what is committed: ask again later";
        /// This server is not a member of the cluster, as far as it knows, and hears no leader: it
        /// was removed, or has not joined yet. Ask a member.
        NotAMember => "this server is not a member of the cluster: ask a member";
        /// A witness has nothing to read; ask another server.
        Witness => "a witness has nothing to read: ask another server";
        /// Too many reads wait already; ask again later
        /// ([`Config::reads_max`](crate::Config::reads_max)).
        Overloaded => "too many reads wait already: ask again later";
        /// The server stopped for good.
        Stopped => "the server has stopped for good";
    }
}

/// Rounds whose beginning is remembered for the lease. They span the whole time for which one can
/// make a lease: what is older is worth nothing.
const ROUNDS_MAX: u32 = 64;

impl Lease {
    /// Notes when a round began, unless one began so little before that it can stand for this one.
    /// With hundreds of rounds on the way, the oldest would be forgotten before it is answered.
    pub(crate) fn round_began(&mut self, round: u64, now: Instant, apart: Duration) {
        let latest = self.rounds.back().map(|(_, began)| *began);
        if latest.is_some_and(|began| now.saturating_since(began) < apart) {
            return;
        }
        if self.rounds.len() == ROUNDS_MAX as usize {
            self.rounds.pop_front();
        }
        self.rounds.push_back((round, now));
    }

    fn round_confirmed(&mut self, round: u64, length: Duration) {
        while let Some((_, began)) = self.rounds.pop_front_if(|(number, _)| *number <= round) {
            self.until = self.until.max(began + length);
        }
    }

    /// The leader has asked somebody to depose it: there is no lease any more in this term.
    pub(crate) fn forfeit(&mut self) {
        self.forfeited = true;
    }
}

impl Config {
    /// How far apart the rounds are that are remembered for the lease.
    pub(crate) fn lease_rounds_apart(&self) -> Duration {
        self.election_timeout_min / ROUNDS_MAX
    }

    /// How long after the beginning of a confirmed round a voter with the fastest clock keeps its
    /// promise, on the slowest clock of a leader.
    fn lease_length(&self) -> Option<Duration> {
        const MILLION: u128 = 1_000_000;
        let ppm = u128::from(self.lease_drift_ppm?);
        let promise = self.election_timeout_min.as_micros();
        let length = if self.enforces(Rule::LeaseWithinDrift) {
            promise * (MILLION - ppm) / (MILLION + ppm)
        } else {
            promise * 2
        };
        Some(Duration::from_micros(length as u64))
    }
}

impl Raft {
    /// Asks for the index that a linearizable read must see. The answer is a [`ReadOutcome`].
    ///
    /// A leader finds out by itself, a follower asks its leader. Reads that arrive between two
    /// drains share a round of heartbeats, or a question. A leader that has not committed an entry
    /// of its own term yet makes them wait for it: before, it may not know what is committed
    /// (etcd #7331).
    ///
    /// # Errors
    ///
    /// [`ReadError`]; there is no outcome then.
    pub fn read(&mut self, mode: ReadMode, now: Instant) -> Result<ReadId, ReadError> {
        ensure!(!self.start_input(now), ReadError::Stopped);
        ensure!(!self.config.witness, ReadError::Witness);
        if self.leader().is_none() {
            ensure!(self.is_member(), ReadError::NotAMember);
            return Err(ReadError::NoLeader);
        }
        let id = ReadId(self.next_read);
        if let RoleState::Leader(_) = self.role {
            self.enqueue_read(ReadOrigin::Local(id), mode)?;
        } else {
            let questions = &mut self.forwarded_reads;
            ensure!(questions.waiting.len() < self.config.reads_max, ReadError::Overloaded);
            questions.needs_quorum &= !questions.waiting.is_empty();
            questions.needs_quorum |= mode == ReadMode::Quorum;
            questions.waiting.push_back((id, questions.last_batch_sent + 1));
        }
        self.next_read += 1;
        Ok(id)
    }

    fn enqueue_read(&mut self, reader: ReadOrigin, mode: ReadMode) -> Result<(), ReadError> {
        let RoleState::Leader(leader) = &mut self.role else { return Err(ReadError::NoLeader) };
        let own_term_first = self.config.enforces(Rule::ReadAfterOwnTerm);
        let first = if own_term_first { leader.first_index } else { LogIndex(0) };
        let read_index = self.commit_index.max(first);
        let has_lease = mode == ReadMode::Lease
            && self.now < leader.lease.until
            && !(leader.lease.forfeited && self.config.enforces(Rule::LeaseEndsWithTransfer));
        let is_confirmed = has_lease || !self.config.enforces(Rule::ReadIsConfirmed);
        if is_confirmed && read_index == self.commit_index {
            let reason = if has_lease { ReadConfirmation::Lease } else { ReadConfirmation::Quorum };
            self.complete_read(reader, read_index, reason);
            return Ok(());
        }
        ensure!(leader.reads.waiting.len() < self.config.reads_max, ReadError::Overloaded);
        let round = leader.round + u64::from(self.config.enforces(Rule::ReadRoundIsLater));
        leader.reads.waiting.push_back(Read { reader, read_index, round });
        Ok(())
    }

    fn complete_read(
        &mut self,
        reader: ReadOrigin,
        read_index: LogIndex,
        reason: ReadConfirmation,
    ) {
        match reader {
            ReadOrigin::Local(id) => {
                self.read_outcomes.push(ReadOutcome::Ready { id, read_index });
                self.emit(|| Event::ReadConfirmed { id, read_index, reason });
            }
            ReadOrigin::Remote { node, boot, batch } => {
                let response = ReadIndexResponse { term: self.term(), boot, batch, read_index };
                self.send_checked(node, Message::ReadIndexResponse(response));
            }
        }
    }

    /// Begins a round of heartbeats for the reads that no round covers yet.
    pub(crate) fn start_read_round(&mut self) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        if leader.reads.waiting.back().is_none_or(|read| read.round <= leader.round) {
            return;
        }
        leader.begin_round(self.now, self.config.lease_rounds_apart());
        let round = leader.round;
        self.emit(|| Event::ReadRoundStarted { round });
        self.confirm_reads();
    }

    /// Answers the reads whose round a majority has confirmed, and prolongs the lease.
    pub(crate) fn confirm_reads(&mut self) {
        let lease_length = self.config.lease_length();
        let own_term_first = self.config.enforces(Rule::ReadAfterOwnTerm);
        let RoleState::Leader(leader) = &self.role else { return };
        if leader.reads.waiting.is_empty() && lease_length.is_none() {
            return;
        }
        let acked =
            |voter| leader.follower(voter).map_or(leader.round, |progress| progress.acked_round);
        let confirmed = self.quorum_value(acked).unwrap_or(0);
        let RoleState::Leader(leader) = &mut self.role else { return };
        if let Some(length) = lease_length {
            leader.lease.round_confirmed(confirmed, length);
        }
        if self.commit_index < leader.first_index && own_term_first {
            return;
        }
        while let RoleState::Leader(leader) = &mut self.role
            && let Some(read) = leader.reads.waiting.pop_front_if(|read| read.round <= confirmed)
        {
            self.complete_read(read.reader, read.read_index, ReadConfirmation::Quorum);
        }
    }

    /// Asks the leader, if reads wait that it was not asked about.
    pub(crate) fn forward_reads(&mut self) {
        let questions = &mut self.forwarded_reads;
        let is_new =
            questions.waiting.back().is_some_and(|(_, batch)| *batch > questions.last_batch_sent);
        if questions.waiting.is_empty() || !(is_new || questions.resend) {
            return;
        }
        if is_new {
            questions.last_batch_sent += 1;
        }
        questions.resend = false;
        questions.asked_at = self.now;
        // An answer is one for all that wait.
        let lease = is_new && !questions.needs_quorum;
        let batch = questions.last_batch_sent;
        let RoleState::Follower(Follower { leader: Some(leader), .. }) = self.role else { return };
        let request = ReadIndex { term: self.term(), boot: self.durability.boot(), batch, lease };
        self.send_checked(leader, Message::ReadIndex(request));
    }

    /// The leader was heard. If it has owed an answer for long, the question may be lost.
    pub(crate) fn retry_forwarded_reads(&mut self) {
        let questions = &mut self.forwarded_reads;
        let asked = questions.last_batch_sent;
        let is_owed = |(_, batch): &(ReadId, u64)| *batch <= asked;
        let waited = self.now.saturating_since(questions.asked_at);
        questions.resend = waited >= self.config.heartbeat_interval
            && questions.waiting.front().is_some_and(is_owed);
    }

    pub(crate) fn on_read_index(&mut self, from: NodeId, request: ReadIndex) {
        if request.term > self.term() {
            return self.adopt_term(request.term, from);
        }
        let reader = ReadOrigin::Remote { node: from, boot: request.boot, batch: request.batch };
        let mode = if request.lease { ReadMode::Lease } else { ReadMode::Quorum };
        // Who cannot be answered asks again.
        match self.enqueue_read(reader, mode) {
            Ok(()) => {}
            Err(ReadError::Overloaded) => self.ignore(from, IgnoreReason::Overloaded),
            Err(_) => self.ignore(from, IgnoreReason::NotLeader),
        }
    }

    pub(crate) fn on_read_index_response(&mut self, from: NodeId, response: ReadIndexResponse) {
        // An answer from before a restart would be too old for the reads that wait now.
        if response.boot != self.durability.boot()
            || response.batch > self.forwarded_reads.last_batch_sent
        {
            return self.ignore(from, IgnoreReason::StaleResponse);
        }
        let is_answered = |(_, batch): &mut (ReadId, u64)| *batch <= response.batch;
        while let Some((id, _)) = self.forwarded_reads.waiting.pop_front_if(is_answered) {
            let reason = ReadConfirmation::Leader { leader: from };
            self.complete_read(ReadOrigin::Local(id), response.read_index, reason);
        }
    }

    /// Gives up the reads of a leadership that ends, be it this server's or another's.
    pub(crate) fn abort_reads(&mut self) {
        let questions = self.forwarded_reads.waiting.drain(..);
        self.read_outcomes.extend(questions.map(|(id, _)| ReadOutcome::Aborted { id }));
        if let RoleState::Leader(leader) = &mut self.role {
            for read in leader.reads.waiting.drain(..) {
                if let ReadOrigin::Local(id) = read.reader {
                    self.read_outcomes.push(ReadOutcome::Aborted { id });
                }
            }
        }
    }
}
