//! The leader's clock for leases.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::apply::lease::Lease;
use crate::command::{Expiry, Revoke};
use crate::error::StoreFault;
use crate::outcome::{Outcome, RequestResult};
use crate::read::view::View;
use crate::store::ReadStore;

/// Decides when leases are over: a value that a leader has for one term, and nobody else.
///
/// Every `now` is a reading of the same monotonic clock, from whatever origin. What is decided here
/// takes effect when it has gone through the log.
///
/// The lessor's time never goes back: a reading that is earlier than a previous one counts as the
/// previous one. Without this, a reading that another thread took earlier could revive a lease that
/// [`expired`](Lessor::expired) has returned, or shorten a lease that was kept alive.
///
/// # What a client is promised
///
/// A lease lives for its time to live, by the leader's clock, since the client first sent the
/// request to grant it or the latest request to keep it alive that was answered. It may live
/// longer, as after a change of leaders, and never shorter: while leaders change more often than
/// that, it never ends. A client that counts from the *answer* counts too much. Clocks that are
/// wrong by a share are wrong about leases by the same share.
///
/// # The order of calls
///
/// 1. On becoming leader, once in each term: [`Lessor::new`] from a view of the state machine.
///    Every lease has all of its time again. A second lessor in the same term could renew a lease
///    whose revocation the first one proposed.
/// 2. Each outcome after that view goes to [`observe`](Self::observe), in order.
/// 3. At [`deadline`](Self::deadline): propose what [`expired`](Self::expired) returns, in this
///    term.
/// 4. On stepping down, or when the term changes: drop it. A revocation that is still on its way to
///    the log then is refused by the state machine, since it names its term.
///
/// # Keeping a lease alive
///
/// A leader that has been replaced without knowing it must not answer: the next one may have ended
/// the lease already. So when a request to keep a lease alive arrives,
///
/// 1. begin a linearizable read (a quorum round, or the leader's own lease) *after* it arrived;
/// 2. when that is confirmed, wait until everything up to its read index is applied and observed;
/// 3. then [`renew`](Self::renew), if this is still the same term, and answer.
///
/// That is safe. A majority still followed this leader after the request had arrived, so whoever
/// leads next was elected later than that, and gives the lease all of its time from then on. No
/// earlier leader can have ended it: what it put into the log that still counts is before the read
/// index, so it would have been observed. And this leader has not: `renew` refuses a lease whose
/// time is over, and `expired` returns no other. In another order it is not safe: a round that
/// began before the request arrived says nothing of the time since, in which the next leader may
/// have been elected and may have ended the lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lessor {
    term: u64,
    retry_after: Duration,
    /// The latest clock reading.
    now: Duration,
    /// The index of the latest entry whose outcome the lessor knows.
    observed: u64,
    leases: BTreeMap<i64, TrackedLease>,
    /// When something is to be done about each lease.
    due: BTreeSet<(Duration, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct TrackedLease {
    lease: Lease,
    /// When its time is over.
    ends: Duration,
    /// When it is to be revoked, for the first time or again.
    due: Duration,
}

/// Why a lease was not kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RenewError {
    /// There is no such lease, or not any more.
    #[error("there is no lease {id}")]
    NotFound {
        /// The lease asked for.
        id: i64,
    },
    /// Its time is over, and it is about to be revoked. Its keys may still be there for a moment.
    #[error("the time of lease {id} is over")]
    Expired {
        /// The lease asked for.
        id: i64,
    },
}

impl Lessor {
    /// Begins to keep the time of all leases, each with all of its time. A revocation that has had
    /// no effect for `retry_after` is asked for again: the time in which a proposal is usually
    /// applied, times a few.
    ///
    /// # Errors
    /// The store failed or is damaged.
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

    /// The term in which this is the leader's.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// An entry was applied, with this outcome. An outcome that repeats what an earlier entry did
    /// changes nothing, nor does the outcome of an entry that the lessor knows already.
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
                if self.held(id).map(|held| held.lease) == Some(revoke.lease) {
                    self.untrack(id);
                }
            }
            _ => {}
        }
    }

    /// Gives a lease all of its time again. See [`Lessor`] for what must have been done before.
    ///
    /// # Errors
    /// [`RenewError`]; the client must take the lease for lost.
    pub fn renew(&mut self, id: i64, now: Duration) -> Result<Lease, RenewError> {
        self.advance(now);
        let held = self.held(id).ok_or(RenewError::NotFound { id })?;
        if held.ends <= self.now {
            return Err(RenewError::Expired { id });
        }
        self.track(held.lease);
        Ok(held.lease)
    }

    /// How much time a lease has left; none if there is no such lease.
    #[must_use]
    pub fn remaining(&self, id: i64, now: Duration) -> Option<Duration> {
        Some(self.held(id)?.ends.saturating_sub(self.now.max(now)))
    }

    /// When [`expired`](Self::expired) has something to say next.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Leases whose time is over, at most so many: what the leader is to propose, in this term.
    /// Each is returned once, and again when it is still there after a while.
    pub fn expired(&mut self, now: Duration, max: usize) -> Vec<Revoke> {
        self.advance(now);
        let due = self.due.iter().take_while(|(due, _)| *due <= self.now);
        let due: Vec<_> = due.take(max).copied().collect();
        let again = self.now.saturating_add(self.retry_after);
        let revoke = |(due, id)| {
            self.due.remove(&(due, id));
            self.due.insert((again, id));
            let held = self.leases.get_mut(&id)?;
            held.due = again;
            Some(Revoke {
                id,
                expiry: Some(Expiry { term: self.term, granted_at: held.lease.granted_at }),
            })
        };
        due.into_iter().filter_map(revoke).collect()
    }

    fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    fn held(&self, id: i64) -> Option<TrackedLease> {
        self.leases.get(&id).copied()
    }

    /// Gives a lease all of its time from the latest clock reading on.
    fn track(&mut self, lease: Lease) {
        self.untrack(lease.id);
        let time_to_live = Duration::from_secs(lease.ttl.max(0).cast_unsigned());
        let ends = self.now.saturating_add(time_to_live);
        self.due.insert((ends, lease.id));
        let held = TrackedLease { lease, ends, due: ends };
        self.leases.insert(lease.id, held);
    }

    fn untrack(&mut self, id: i64) {
        if let Some(held) = self.leases.remove(&id) {
            self.due.remove(&(held.due, id));
        }
    }
}
