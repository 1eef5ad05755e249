//! The start of a server from its durable state.

use core::time::Duration;

use crate::api::config::{Config, ConfigError};
use crate::api::entry::{Entry, HardState, Payload, Snapshot};
use crate::api::membership::Membership;
use crate::api::types::{Instant, LogId, LogIndex};
use crate::log::Log;
use crate::macros::{described_enum, ensure};
use crate::raft::commit::Delivery;
use crate::raft::role::{Follower, RoleState};
use crate::raft::{Persistent, Raft, Volatile};
use crate::state::incoming_snapshot::IncomingSnapshot;
use crate::state::membership_history::MembershipHistory;
use crate::state::outbox::Outbox;
use crate::state::pending_writes::PendingWrites;
use crate::state::read_queue::ForwardedReads;
use crate::state::timer::ElectionTimer;

/// The durable state with which a server starts. At its first start, a server has the default
/// [`HardState`] and no entries.
///
/// The log may be larger than memory. Entries are [pushed](Self::push) one by one, and the oldest
/// payloads are dropped.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RestoredState {
    /// The number of this start; see [`new`](Self::new).
    boot: u64,
    persistent: Persistent,
    /// The last index that the durable state machine has applied.
    applied: LogIndex,
    /// The limit of the log cache, in bytes.
    log_cache_bytes_max: usize,
    /// The snapshot was added after entries, and replaced them.
    is_misordered: bool,
}

described_enum! {
    /// A damage of the durable log.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum RestoreError: core::error::Error {
        /// An entry does not follow the previous one.
        Gap {
            /// The previous entry.
            last: LogId,
            /// The entry that does not follow it.
            found: LogId,
        } =>
            "invalid stored log: entry {} of term {} follows entry {} of term {}; restore the log or add the server again under a new id",
                found.index, found.term, last.index, last.term;
    }
}

impl RestoredState {
    /// The durable state without log and snapshot.
    ///
    /// - `boot` is the number of this start. It must differ from the number of each earlier start
    ///   of this server to which another server, or a write, may still respond.
    /// - `membership` is the first membership of the cluster, the same on all founders. A server
    ///   that is added later starts with `Membership::default()`, and receives the membership from
    ///   the leader.
    /// - `applied` is the last index that the durable state machine has applied. That entry is
    ///   known to be committed. It is 0 for a state machine in memory.
    /// - `log_cache_bytes_max` is the value in the [`Config`].
    ///
    /// See the [guide](crate::guide::disk).
    #[must_use]
    pub fn new(
        boot: u64,
        membership: Membership,
        hard_state: HardState,
        applied: LogIndex,
        log_cache_bytes_max: usize,
    ) -> Self {
        let persistent = Persistent {
            hard_state,
            log: Log::default(),
            memberships: MembershipHistory::new(membership),
            snapshot: None,
        };
        Self { boot, persistent, applied, log_cache_bytes_max, is_misordered: false }
    }

    /// Adds the latest durable snapshot, and the start of the durable log. `log_start` is the
    /// latest [`Write::log_start`](crate::Write::log_start) that was written.
    ///
    /// Call this before the first entry is added. Otherwise [`Raft::new`] returns
    /// [`ConfigError::SnapshotAfterEntries`].
    #[must_use]
    pub fn with_snapshot(mut self, snapshot: Snapshot, log_start: LogId) -> Self {
        let Persistent { log, memberships, .. } = &mut self.persistent;
        *memberships =
            MembershipHistory::from_snapshot(snapshot.last.index, snapshot.membership.clone());
        self.is_misordered = log.last() != log.start();
        log.reset_to(log_start);
        self.persistent.snapshot = Some(snapshot);
        self
    }

    /// Adds the content of one [`Write`](crate::Write), for a journal that contains each write as a
    /// record. The writes must be added in the order in which they were stored. The entries replace
    /// the entries from the first of their indexes on.
    ///
    /// A journal contains the start of the log itself. Before the first write, call
    /// [`with_snapshot`](Self::with_snapshot) with the default as `log_start`.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Gap`] if an entry does not follow the entries before it. The journal is
    /// damaged, and the server must not start with the rest of it.
    pub fn replay(
        &mut self,
        hard_state: Option<HardState>,
        log_start: Option<LogId>,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), RestoreError> {
        let Persistent { hard_state: known, log, memberships, .. } = &mut self.persistent;
        *known = hard_state.unwrap_or(*known);
        if let Some(start) = log_start {
            if start.index > log.start().index && !log.contains(start) {
                // The snapshot replaced the log. Without this, a membership of an entry that the
                // log no longer contains would be in effect.
                memberships.truncate(start.index.next());
            }
            log.compact(start);
            // The journal contains the start, so the next write need not repeat it.
            log.take_start();
        }
        let mut entries = entries.into_iter().peekable();
        if let Some(first) = entries.peek().map(|entry| entry.id.index)
            && first <= log.last().index
        {
            let first = first.max(log.start().index.next());
            log.truncate(first);
            memberships.truncate(first);
        }
        entries.try_for_each(|entry| self.push(entry))
    }

    /// Adds the next entry of the durable log. Entries before the start of the log are ignored.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Gap`] if the entry does not follow the previous one. The log is damaged, and
    /// the server must not start with the rest of it.
    pub fn push(&mut self, entry: Entry) -> Result<(), RestoreError> {
        let Persistent { log, memberships, .. } = &mut self.persistent;
        let last = log.last();
        if entry.id.index <= log.start().index && last == log.start() {
            return Ok(());
        }
        let found = entry.id;
        let is_next = found.index == last.index.next() && found.index <= LogIndex::LAST;
        let is_no_older = found.term >= last.term && found.term.0 > 0;
        ensure!(is_next && is_no_older, RestoreError::Gap { last, found });
        if let Payload::Membership(membership) = &entry.payload {
            memberships.append(entry.id.index, (**membership).clone());
        }
        log.restore(entry, self.log_cache_bytes_max);
        Ok(())
    }

    /// Replaces the log by the snapshot if a crash prevented that, and checks that the parts of the
    /// state fit together.
    fn reconcile(&mut self) -> Result<(), ConfigError> {
        ensure!(!self.is_misordered, ConfigError::SnapshotAfterEntries);
        let Persistent { hard_state, log, memberships, snapshot } = &mut self.persistent;
        let snapshot_index = snapshot.as_ref().map_or(LogIndex(0), |snapshot| snapshot.last.index);
        let largest = log.last().index.max(snapshot_index);
        ensure!(largest <= LogIndex::LAST, ConfigError::IndexTooLarge(largest));
        let founders = memberships.latest().1;
        if *founders != Membership::default() {
            founders.validate().map_err(ConfigError::Membership)?;
        }
        if let Some(snapshot) = snapshot {
            let last = snapshot.last;
            let fits = log.start().index <= last.index && last.index <= self.applied;
            ensure!(fits, ConfigError::SnapshotDoesNotFit);
            if !log.contains(last) {
                log.replace(last);
                *memberships =
                    MembershipHistory::from_snapshot(last.index, snapshot.membership.clone());
                if last.term > hard_state.term {
                    // The crash also prevented the write of that term, so no vote was granted in
                    // it.
                    *hard_state = HardState { term: last.term, vote: None };
                }
            }
        }
        let has_start = snapshot.is_some() || log.start() == LogId::default();
        ensure!(has_start, ConfigError::SnapshotDoesNotFit);
        ensure!(self.applied <= log.last().index, ConfigError::AppliedBeyondLog);
        ensure!(log.last().term <= hard_state.term, ConfigError::LogNewerThanTerm);
        // All of the log is durable, so all of it may be delivered and sent.
        log.cache.seal();
        Ok(())
    }
}

impl Raft {
    /// Starts a server as a follower, with its durable state.
    ///
    /// `seed` determines the random election timeouts. The servers of a cluster need different
    /// seeds. `now` is the current time.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the configuration is invalid, or parts of the durable state contradict
    /// each other.
    pub fn new(
        config: Config,
        mut restored: RestoredState,
        seed: u64,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let written = restored.persistent.hard_state;
        restored.reconcile()?;
        let RestoredState { boot, persistent, applied, .. } = restored;
        let latest = persistent.memberships.latest().1;
        let is_as_named = latest.is_witness(config.id) == config.witness;
        ensure!(is_as_named || !latest.is_voter(config.id), ConfigError::WitnessMismatch);
        let mut raft = Self {
            writes: PendingWrites::new(config.id, boot, written),
            volatile: Volatile::new(&config, applied, seed, now),
            persistent,
            role: RoleState::Follower(Follower::default()),
            delivery: Delivery::new(applied),
            incoming: IncomingSnapshot::default(),
            forwarded_reads: ForwardedReads::default(),
            outbox: Outbox::default(),
            config,
        };
        #[cfg(feature = "sabotage")]
        raft.disable_component_rules();
        raft.arm_timer();
        Ok(raft)
    }
}

impl Volatile {
    /// The volatile state at a start.
    fn new(config: &Config, applied: LogIndex, seed: u64, now: Instant) -> Self {
        let block = config.lease_drift_ppm.map_or(Duration::ZERO, |_| config.election_timeout_min);
        let shortest = config.election_timeout_min.saturating_add(config.election_handicap);
        let range = config.election_timeout_max - config.election_timeout_min;
        Self {
            now,
            commit_index: applied,
            timer: ElectionTimer::new(seed, now, shortest, range),
            last_leader_contact: None,
            votes_blocked_until: now + block,
            pending_vote_grant: None,
            disk_is_full: false,
            next_read: 0,
            stopped: None,
        }
    }
}
