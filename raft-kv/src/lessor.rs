//! The clock of a leader for leases.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::apply::lease::Lease;
use crate::command::{Expiry, Revoke};
use crate::error::StoreFault;
use crate::outcome::{Outcome, RequestResult};
use crate::read::view::View;
use crate::store::ReadStore;

/// The remaining times of all leases, measured by the leader of one term.
///
/// Each `now` is a reading of the same monotonic clock, from any origin. An expired lease ends when
/// its [`Revoke`] is applied.
///
/// The time of the lessor never decreases: an earlier reading is treated as the latest one. Without
/// this, a reading that another thread took earlier could revive a lease that
/// [`expired`](Lessor::expired) has returned, or shorten a lease that was kept alive.
///
/// # Guarantee for clients
///
/// A lease lives at least for its time to live by the leader's clock. The time starts when the
/// client sends the grant, or the latest renewal that was answered. A client that counts from the
/// *response* counts too long. A lease may live longer, for example after a change of the leader.
/// If leaders change more often than the time to live, it never ends. An error of the clock's rate
/// is the same error of the lease.
///
/// # Order of calls
///
/// 1. Once per term, a new leader calls [`Lessor::new`] with a view of the state machine. Each
///    lease starts with its full time. A second lessor in the same term could renew a lease whose
///    revocation the first one proposed.
/// 2. The leader passes each later outcome to [`observe`](Self::observe), in order.
/// 3. At each [`deadline`](Self::deadline), the leader proposes the result of
///    [`expired`](Self::expired) in its term.
/// 4. The leader drops the lessor when its term ends. The state machine rejects a revocation of an
///    earlier term.
///
/// # Renewal
///
/// A replaced leader must not answer a renewal, because the next leader may have ended the lease.
/// The leader therefore executes these steps for each renewal:
///
/// 1. Start a linearizable read (a heartbeat round, or the leader's lease) *after* the request
///    arrived.
/// 2. When the read is confirmed, apply and observe everything up to its read index.
/// 3. Call [`renew`](Self::renew), if the term is still the same, and respond.
///
/// This is safe. A majority followed this leader after the request had arrived. The next leader is
/// elected later, and starts the lease with its full time. An earlier leader cannot have ended the
/// lease: its entries are before the read index, so they are observed. This leader has not ended
/// the lease either: `renew` rejects expired leases, and `expired` returns only these.
///
/// Another order is not safe. A heartbeat round that started before the request arrived proves
/// nothing about the time since then. In that time, the next leader may have ended the lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lessor {
    /// The term of the leader.
    term: u64,
    /// The time after which an unsuccessful revocation is repeated.
    retry_after: Duration,
    /// The latest clock reading.
    now: Duration,
    /// The index of the latest entry whose outcome the lessor knows.
    observed: u64,
    /// All leases by their ids.
    leases: BTreeMap<i64, TrackedLease>,
    /// The time of the next revocation of each lease, and its id.
    due: BTreeSet<(Duration, i64)>,
}

/// A lease and its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct TrackedLease {
    lease: Lease,
    /// The time at which the lease expires.
    ends: Duration,
    /// The time of the next revocation.
    due: Duration,
}

/// The reason why a lease was not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RenewError {
    /// The lease does not exist, or has ended.
    #[error("unknown lease: {id}; grant a new lease")]
    NotFound {
        /// The requested lease.
        id: i64,
    },
    /// The lease has expired, and is about to end. Its keys may still exist for a short time.
    #[error("expired lease: {id}; grant a new lease")]
    Expired {
        /// The requested lease.
        id: i64,
    },
}

impl Lessor {
    /// A lessor for the leases of a view, each with its full time.
    ///
    /// [`expired`](Self::expired) returns a revocation again if it has had no effect for
    /// `retry_after`. Use several times the usual duration of a proposal.
    ///
    /// # Errors
    /// [`StoreFault`] if the store failed or is damaged.
    pub fn new<R: ReadStore>(
        view: &View<R>,
        term: u64,
        now: Duration,
        retry_after: Duration,
    ) -> Result<Self, StoreFault<R::Error>> {
        let mut lessor = Self {
            term,
            retry_after,
            now,
            observed: view.applied().index,
            leases: BTreeMap::new(),
            due: BTreeSet::new(),
        };
        for lease in view.leases()? {
            lessor.track(lease);
        }
        Ok(lessor)
    }

    /// The term of the leader.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Updates the leases after an entry was applied. A repeated outcome of an earlier command
    /// changes nothing. Neither does the outcome of an entry that the lessor knows already.
    pub fn observe(&mut self, index: u64, outcome: &Outcome, now: Duration) {
        self.advance(now);
        // Without this, a grant that is observed twice would revive its lease.
        if index <= self.observed {
            return;
        }
        self.observed = index;
        let Outcome::Done(response) = outcome else {
            return;
        };
        match &response.result {
            RequestResult::Grant(grant) if grant.lease.granted_at == index => {
                self.track(grant.lease);
            }
            RequestResult::Revoke(revoke) => {
                let id = revoke.lease.id;
                if self.tracked(id).map(|tracked| tracked.lease) == Some(revoke.lease) {
                    self.untrack(id);
                }
            }
            _ => {}
        }
    }

    /// Restarts the time of a lease. [`Lessor`] lists the steps that must precede this call.
    ///
    /// # Errors
    /// [`RenewError`] if the lease is lost for its client.
    pub fn renew(&mut self, id: i64, now: Duration) -> Result<Lease, RenewError> {
        self.advance(now);
        let tracked = self.tracked(id).ok_or(RenewError::NotFound { id })?;
        if tracked.ends <= self.now {
            return Err(RenewError::Expired { id });
        }
        self.track(tracked.lease);
        Ok(tracked.lease)
    }

    /// The remaining time of a lease; `None` if the lease does not exist.
    #[must_use]
    pub fn remaining(&self, id: i64, now: Duration) -> Option<Duration> {
        Some(self.tracked(id)?.ends.saturating_sub(self.now.max(now)))
    }

    /// The time at which [`expired`](Self::expired) returns the next lease.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The revocations of up to `max` expired leases, which the leader proposes in its term. A
    /// lease is returned again if it still exists after the retry time.
    pub fn expired(&mut self, now: Duration, max: usize) -> Vec<Revoke> {
        self.advance(now);
        let due = self.due.iter().take_while(|(due, _)| *due <= self.now);
        let due: Vec<_> = due.take(max).copied().collect();
        let again = self.now.saturating_add(self.retry_after);
        let revoke = |(due, id)| {
            self.due.remove(&(due, id));
            self.due.insert((again, id));
            let tracked = self.leases.get_mut(&id)?;
            tracked.due = again;
            Some(Revoke {
                id,
                expiry: Some(Expiry { term: self.term, granted_at: tracked.lease.granted_at }),
            })
        };
        due.into_iter().filter_map(revoke).collect()
    }

    /// Advances the time to `now`, unless `now` is earlier.
    fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    fn tracked(&self, id: i64) -> Option<TrackedLease> {
        self.leases.get(&id).copied()
    }

    /// Starts the full time of a lease at the latest clock reading.
    fn track(&mut self, lease: Lease) {
        self.untrack(lease.id);
        let time_to_live = Duration::from_secs(lease.ttl.max(0).cast_unsigned());
        let ends = self.now.saturating_add(time_to_live);
        self.due.insert((ends, lease.id));
        let tracked = TrackedLease { lease, ends, due: ends };
        self.leases.insert(lease.id, tracked);
    }

    fn untrack(&mut self, id: i64) {
        if let Some(tracked) = self.leases.remove(&id) {
            self.due.remove(&(tracked.due, id));
        }
    }
}
